//! The socket: a batch goes in and its outcome comes out; nothing counts as committed before the kernel says so.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use super::dump::Dump;
use super::rules::{self, Constants, Fingerprint, Part};
use super::table::{self, TableFlags};
use super::{Answers, Batch, ElementDump, Outcome, Progress, ask_elements, ask_generation, sys};
use crate::net::Family;
use crate::nft::{Element, Set};

/// More than any part of a dump: the kernel fills at most 32 KiB at a time.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Room for the answers to a batch of which every message is refused.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// What the kernel charges for a datagram beside its bytes, and then some.
const SEND_OVERHEAD: usize = 4096;

/// How long the kernel may take for an answer. It answers before `send` returns; this is for sockets that are not
/// what they seem.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often what the kernel had no memory for is sent again, waiting 1 ms, then twice as long each time.
const ATTEMPTS: u32 = 6;

/// How often a set that others keep changing is read.
pub(super) const READINGS: u32 = 8;
/// How long to leave a set alone that the kernel is moving into a larger table.
const REHASHING: Duration = Duration::from_millis(20);

/// The kernel goes on with a dump by counting what it gave (`nft_rhash_walk`). If a set that has just grown is moved into
/// a larger table meanwhile, some elements come twice, and as many not at all.
fn each_once(sorted: &[Element]) -> bool {
    sorted
        .windows(2)
        .all(|pair| matches!(pair, [one, next] if one.key != next.key))
}

/// A system call on the socket that the kernel refused.
#[derive(Debug)]
#[non_exhaustive]
pub struct SocketError {
    /// The system call or socket option, as in its manual page.
    pub operation: &'static str,
    /// What the kernel answered.
    pub source: io::Error,
}

impl SocketError {
    pub(super) const fn new(operation: &'static str, source: io::Error) -> Self {
        Self { operation, source }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "netlink socket: {}: {}", self.operation, self.source)
    }
}

impl core::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a question got no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum AskError {
    /// The socket failed.
    Socket(SocketError),
    /// The kernel refuses to answer.
    Refused {
        /// What was asked for.
        what: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// What was asked for changed each time while it was read.
    Unsteady {
        /// What was asked for.
        what: String,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::Refused { what, source } => write!(f, "{what}: {source}"),
            Self::Unsteady { what } => {
                write!(
                    f,
                    "{what}: changed each of the {READINGS} times it was read"
                )
            }
        }
    }
}

impl core::error::Error for AskError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            Self::Refused { source, .. } => Some(source),
            Self::Unsteady { .. } => None,
        }
    }
}

impl From<SocketError> for AskError {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}

/// A netlink socket of netfilter. It speaks to the network namespace in which it was opened, whatever namespace
/// the calling thread is in. One thread at a time.
#[derive(Debug)]
pub struct Socket {
    file: OwnedFd,
    port: u32,
    sequence: u32,
    /// The send buffer, in bytes.
    room: usize,
    received: Vec<u8>,
}

impl Socket {
    /// Opens one in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the kernel has no netfilter, or a limit on open files is reached.
    pub fn open() -> Result<Self, SocketError> {
        let file = sys::netfilter_socket().map_err(|error| SocketError::new("socket", error))?;
        Self::from_file(file)
    }

    /// Takes one that the host has opened, perhaps in another namespace. It may be bound; it must not be connected
    /// to anything but the kernel, and nobody else may read from it.
    ///
    /// # Errors
    /// If it is no netlink socket of netfilter.
    pub fn from_file(file: OwnedFd) -> Result<Self, SocketError> {
        let domain = sys::option(&file, libc::SOL_SOCKET, libc::SO_DOMAIN);
        let protocol = sys::option(&file, libc::SOL_SOCKET, libc::SO_PROTOCOL);
        let kind = (domain.ok(), protocol.ok());
        if kind != (Some(libc::AF_NETLINK), Some(libc::NETLINK_NETFILTER)) {
            let wrong = io::Error::from_raw_os_error(libc::EPROTOTYPE);
            return Err(SocketError::new("SO_PROTOCOL", wrong));
        }
        let port = bound(&file)?;
        // Each of these makes answers better and is missed by none but old kernels: what a refused message says
        // beside its number, answers without a copy of the message, dumps that are checked.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let _ = sys::set_option(&file, libc::SOL_NETLINK, option, 1);
        }
        let mut socket = Self {
            file,
            port,
            sequence: 0,
            room: 0,
            received: vec![0; RECEIVE_BYTES],
        };
        socket.set_receive_buffer(RECEIVE_BUFFER);
        socket.room = socket.read_room();
        Ok(socket)
    }

    /// The number that the kernel knows this socket by: events of its own commits bear it.
    #[must_use]
    pub const fn port(&self) -> u32 {
        self.port
    }

    /// Sends a batch and waits for its outcome. Memory that the kernel does not have is asked for again a few
    /// times; the send buffer grows with the batch as far as the kernel lets it.
    ///
    /// # Errors
    /// If the batch could not be sent; then nothing of it is in force. Lost answers are no error but
    /// [`Outcome::Unknown`].
    pub fn commit(&mut self, batch: &Batch) -> Result<Outcome, SocketError> {
        self.discard();
        self.send(batch.bytes())?;
        let mut answers = Answers::new(batch);
        loop {
            let Ok(received) = self.receive() else {
                // Whatever went wrong, the batch has been processed.
                return Ok(Outcome::Unknown);
            };
            if let Some(outcome) = answers.read(received) {
                return Ok(outcome.clone());
            }
        }
    }

    /// The ruleset's generation: a number that each commit of anybody in this namespace raises.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn generation(&mut self) -> Result<u32, SocketError> {
        self.discard();
        let sequence = self.take_sequences(1);
        self.send(&ask_generation(sequence))?;
        loop {
            let received = self.receive()?;
            if let Some(generation) = super::read_generation(received, sequence) {
                return Ok(generation);
            }
        }
    }

    /// All elements of a set or map as they were at one moment, sorted by key.
    ///
    /// # Errors
    /// If there is no such set, or it does not hold still.
    pub fn elements(
        &mut self,
        family: Family,
        table: &str,
        set: Set,
    ) -> Result<Vec<Element>, AskError> {
        let what = || alloc::format!("set {set} of table {table}");
        for _ in 0..READINGS {
            let before = self.generation()?;
            let sequence = self.take_sequences(1);
            let question = ask_elements(family, table, set, sequence);
            let mut dump = ElementDump::new(set, sequence);
            match self.dump(&question, |received| dump.read(received))? {
                Progress::Refused(errno) => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(AskError::Refused {
                        what: what(),
                        source,
                    });
                }
                Progress::Done if self.generation()? == before => {
                    let elements = dump.finish();
                    if each_once(&elements) {
                        return Ok(elements);
                    }
                    thread::sleep(REHASHING);
                }
                Progress::Done | Progress::Interrupted | Progress::More => {}
            }
        }
        Err(AskError::Unsteady { what: what() })
    }

    /// What is constant in a table: another value after any change. The same for all tables without any.
    ///
    /// # Errors
    /// If the socket fails, or they do not hold still.
    pub fn constants(&mut self, family: Family, table: &str) -> Result<Constants, AskError> {
        let what = || alloc::format!("rules of table {table}");
        for _ in 0..READINGS {
            let before = self.generation()?;
            let mut fingerprint = Fingerprint::default();
            let mut done = true;
            for part in Part::all() {
                let sequence = self.take_sequences(1);
                let mut dump = Dump::new(sequence);
                let question = rules::ask(part, family, table, sequence);
                let read = |received: &[u8]| fingerprint.read(&mut dump, table, received);
                done &= match self.dump(&question, read)? {
                    Progress::Done => true,
                    // There is no such table, or no such set in it.
                    Progress::Refused(libc::ENOENT) => true,
                    Progress::Refused(errno) => {
                        let source = io::Error::from_raw_os_error(errno);
                        let what = what();
                        return Err(AskError::Refused { what, source });
                    }
                    Progress::Interrupted | Progress::More => false,
                };
            }
            if done && self.generation()? == before {
                match fingerprint.finish() {
                    Some(constants) => return Ok(constants),
                    None => thread::sleep(REHASHING),
                }
            }
        }
        Err(AskError::Unsteady { what: what() })
    }

    /// The flags of a table; `None` if there is no such table.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses to tell.
    pub fn table(&mut self, family: Family, name: &str) -> Result<Option<TableFlags>, AskError> {
        let sequence = self.take_sequences(1);
        let question = table::ask(family, name, sequence);
        let mut dump = Dump::new(sequence);
        let mut found = None;
        match self.dump(&question, |received| {
            table::read(&mut dump, &mut found, received)
        })? {
            Progress::Refused(0 | libc::ENOENT) | Progress::Done => Ok(found),
            Progress::Refused(errno) => Err(AskError::Refused {
                what: alloc::format!("table {name}"),
                source: io::Error::from_raw_os_error(errno),
            }),
            Progress::Interrupted | Progress::More => Err(AskError::Unsteady {
                what: alloc::format!("table {name}"),
            }),
        }
    }

    /// The names of a table's chains, in no order; none if there is no such table.
    ///
    /// # Errors
    /// If the socket fails, or they do not hold still.
    pub fn chains(&mut self, family: Family, table: &str) -> Result<Vec<String>, AskError> {
        let what = || alloc::format!("chains of table {table}");
        for _ in 0..READINGS {
            let sequence = self.take_sequences(1);
            let question = rules::ask(Part::Chains, family, table, sequence);
            let mut dump = Dump::new(sequence);
            let mut names = Vec::new();
            match self.dump(&question, |received| {
                table::read_chains(&mut dump, table, &mut names, received)
            })? {
                Progress::Done | Progress::Refused(libc::ENOENT) => return Ok(names),
                Progress::Refused(errno) => {
                    let source = io::Error::from_raw_os_error(errno);
                    return Err(AskError::Refused {
                        what: what(),
                        source,
                    });
                }
                Progress::Interrupted | Progress::More => {}
            }
        }
        Err(AskError::Unsteady { what: what() })
    }

    /// Asks for a dump and hands on its parts until the end. Lost parts make it [`Progress::Interrupted`].
    pub(super) fn dump(
        &mut self,
        question: &[u8],
        mut read: impl FnMut(&[u8]) -> Progress,
    ) -> Result<Progress, SocketError> {
        self.discard();
        self.send(question)?;
        let mut lost = false;
        loop {
            match self.receive() {
                Ok(received) => match read(received) {
                    Progress::More => {}
                    Progress::Done if lost => return Ok(Progress::Interrupted),
                    ended @ (Progress::Done | Progress::Interrupted | Progress::Refused(_)) => {
                        return Ok(ended);
                    }
                },
                Err(error) if error.source.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// So many sequence numbers that no question before had; the first of them.
    pub(super) const fn take_sequences(&mut self, count: u32) -> u32 {
        let (first, last) = match self.sequence.checked_add(count) {
            Some(last) => (self.sequence.wrapping_add(1), last),
            // 0 is what the kernel's own notices bear.
            None => (1, count),
        };
        self.sequence = last;
        first
    }

    /// Sends one datagram whole.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), SocketError> {
        if bytes.len().saturating_add(SEND_OVERHEAD) > self.room {
            self.grow(bytes.len().saturating_add(SEND_OVERHEAD));
        }
        let mut pause = Duration::from_millis(1);
        let mut attempts = 0;
        loop {
            let Err(error) = sys::send(&self.file, bytes) else {
                return Ok(());
            };
            // Neither of these means that the kernel has seen any of it.
            match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) if attempts < ATTEMPTS => {
                    thread::sleep(pause);
                    pause = pause.saturating_mul(2);
                }
                Some(libc::EMSGSIZE) if attempts == 0 => self.grow(bytes.len().saturating_mul(2)),
                _ => return Err(SocketError::new("send", error)),
            }
            attempts += 1;
        }
    }

    /// Receives one datagram.
    pub(super) fn receive(&mut self) -> Result<&[u8], SocketError> {
        let failed = |error| SocketError::new("recv", error);
        let len = loop {
            match sys::receive(&self.file, &mut self.received, libc::MSG_DONTWAIT) {
                Ok(len) => break len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PATIENCE).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        };
        match self.received.get(..len) {
            Some(received) => Ok(received),
            // Longer than the buffer: as good as lost.
            None => Err(failed(io::Error::from_raw_os_error(libc::ENOBUFS))),
        }
    }

    fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
        match sys::wait(&self.file, limit) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Throws away what is left of earlier answers, errors with it.
    pub(super) fn discard(&mut self) {
        loop {
            // Each turn takes a datagram or an error out of a queue of limited size.
            match sys::receive(&self.file, &mut self.received, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }

    fn set_receive_buffer(&self, bytes: usize) {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        self.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes);
    }

    fn grow(&mut self, bytes: usize) {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        self.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes);
        self.room = self.read_room();
    }

    /// Beyond the system's limit where that is allowed, up to it otherwise.
    fn set_buffer(&self, force: libc::c_int, ask: libc::c_int, bytes: libc::c_int) {
        if sys::set_option(&self.file, libc::SOL_SOCKET, force, bytes).is_err() {
            // A socket whose buffer stays as it was says so when something does not fit.
            let _ = sys::set_option(&self.file, libc::SOL_SOCKET, ask, bytes);
        }
    }

    fn read_room(&self) -> usize {
        let room = sys::option(&self.file, libc::SOL_SOCKET, libc::SO_SNDBUF);
        usize::try_from(room.unwrap_or(0)).unwrap_or(0)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The port of a socket, which gets one if it has none.
pub(super) fn bound(file: &OwnedFd) -> Result<u32, SocketError> {
    let port = || sys::port(file).map_err(|error| SocketError::new("getsockname", error));
    match port()? {
        0 => {
            sys::bind(file).map_err(|error| SocketError::new("bind", error))?;
            port()
        }
        port => Ok(port),
    }
}
