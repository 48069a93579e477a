//! The system calls of a netlink socket, each behind a safe function. Nothing else in `nft` is unsafe.
#![expect(
    unsafe_code,
    reason = "system calls; every block is one call whose pointers outlive it"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const INT_BYTES: libc::socklen_t = 4;
const ADDRESS_BYTES: libc::socklen_t = 12;
const _: () = assert!(size_of::<libc::c_int>() == INT_BYTES as usize);
const _: () = assert!(size_of::<libc::sockaddr_nl>() == ADDRESS_BYTES as usize);

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn counted(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// A netlink socket of netfilter in the network namespace of the calling thread.
pub(super) fn netfilter_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers, touches no memory.
    let number = checked(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_NETFILTER) })?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn address() -> libc::sockaddr_nl {
    // SAFETY: all of its members are numbers, for which zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { core::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address
}

/// Binds to a port that the kernel chooses.
pub(super) fn bind(socket: &impl AsRawFd) -> io::Result<()> {
    let address = address();
    let pointer = (&raw const address).cast();
    // SAFETY: the kernel reads one sockaddr_nl from `address`, which lives until the call returns.
    checked(unsafe { libc::bind(socket.as_raw_fd(), pointer, ADDRESS_BYTES) }).map(|_| ())
}

/// The port that the kernel chose.
pub(super) fn port(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut address = address();
    let mut len = ADDRESS_BYTES;
    let pointer = (&raw mut address).cast();
    // SAFETY: the kernel writes at most `len` bytes into `address`; both are exclusively ours for the whole call.
    checked(unsafe { libc::getsockname(socket.as_raw_fd(), pointer, &raw mut len) })?;
    Ok(address.nl_pid)
}

/// Sets a socket option that is an `int`.
pub(super) fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let pointer = (&raw const value).cast();
    let socket = socket.as_raw_fd();
    // SAFETY: the kernel reads one int from `value`, which lives until the call returns.
    checked(unsafe { libc::setsockopt(socket, level, option, pointer, INT_BYTES) }).map(|_| ())
}

/// A socket option that is an `int`.
pub(super) fn option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = INT_BYTES;
    let pointer = (&raw mut value).cast();
    let socket = socket.as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes into `value`; both are exclusively ours for the whole call.
    checked(unsafe { libc::getsockopt(socket, level, option, pointer, &raw mut len) })?;
    Ok(value)
}

/// Sends one datagram to the kernel.
pub(super) fn send(socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    let pointer = bytes.as_ptr().cast();
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`, which is borrowed for the whole call.
    counted(unsafe { libc::send(socket.as_raw_fd(), pointer, bytes.len(), 0) })
}

/// Receives one datagram, and says how long it was; what does not fit is lost.
pub(super) fn receive(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
    flags: libc::c_int,
) -> io::Result<usize> {
    let pointer = bytes.as_mut_ptr().cast();
    let flags = flags | libc::MSG_TRUNC;
    // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`, which is exclusively ours for the whole
    // call.
    counted(unsafe { libc::recv(socket.as_raw_fd(), pointer, bytes.len(), flags) })
}

/// Waits until the socket has something to receive or an error to report, or until the time is over.
pub(super) fn wait(socket: &impl AsRawFd, timeout_ms: libc::c_int) -> io::Result<bool> {
    let mut waited = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry, as announced, exclusively ours for the whole call.
    checked(unsafe { libc::poll(&raw mut waited, 1, timeout_ms) }).map(|ready| ready > 0)
}
