//! A second socket that hears of every commit in the namespace, to notice what others do to a table.

use alloc::vec;
use alloc::vec::Vec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::socket::SocketError;
use super::{Notice, read_notices, sys};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const GROUP: libc::c_int = 7;

/// As much as the kernel may queue before events are lost: some thousand element changes.
const RECEIVE_BUFFER: libc::c_int = 2 * 1024 * 1024;

/// More than the longest event.
const EVENT_BYTES: usize = 64 * 1024;

/// More than its buffer holds.
const EVENTS_AT_A_TIME: u32 = 65_536;

/// Hears of commits from when it was opened. One thread at a time.
///
/// While one is open, each element that anybody commits costs the kernel an event: close it for large loads, and
/// compare generations afterwards.
#[derive(Debug)]
pub struct Monitor {
    file: OwnedFd,
    received: Vec<u8>,
}

impl Monitor {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel has no netfilter, or does not let this process listen.
    pub fn open() -> Result<Self, SocketError> {
        let file = sys::netfilter_socket().map_err(|error| SocketError::new("socket", error))?;
        Self::from_file(file)
    }

    /// Listens on a netlink socket of netfilter that the host has opened, perhaps in another namespace.
    ///
    /// # Errors
    /// If it is none, or the kernel does not let this process listen.
    pub fn from_file(file: OwnedFd) -> Result<Self, SocketError> {
        super::socket::bound(&file)?;
        let option = libc::NETLINK_ADD_MEMBERSHIP;
        sys::set_option(&file, libc::SOL_NETLINK, option, GROUP)
            .map_err(|error| SocketError::new("NETLINK_ADD_MEMBERSHIP", error))?;
        // A smaller buffer loses events sooner, and says so.
        for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
            let _ = sys::set_option(&file, libc::SOL_SOCKET, option, RECEIVE_BUFFER);
        }
        Ok(Self {
            file,
            received: vec![0; EVENT_BYTES],
        })
    }

    /// Hands on what was heard since the last call, the newest perhaps excepted if others commit all the time;
    /// does not wait.
    ///
    /// # Errors
    /// If the socket fails. Lost events are no error but [`Notice::Lost`].
    pub fn hear(&mut self, mut each: impl FnMut(Notice<'_>)) -> Result<(), SocketError> {
        for _ in 0..EVENTS_AT_A_TIME {
            match sys::receive(&self.file, &mut self.received, libc::MSG_DONTWAIT) {
                Ok(len) => match self.received.get(..len) {
                    Some(received) => read_notices(received).for_each(&mut each),
                    None => each(Notice::Lost),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => each(Notice::Lost),
                Err(error) => return Err(SocketError::new("recv", error)),
            }
        }
        Ok(())
    }
}

/// To wait for events with a poller of the host's.
impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
