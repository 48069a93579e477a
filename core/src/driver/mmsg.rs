//! The system calls for many datagrams at a time, each behind a safe function.
#![expect(
    unsafe_code,
    reason = "system calls; every block is one call whose pointers outlive it"
)]

use super::datagrams::Slot;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Datagrams that one call takes.
pub(super) const BATCH: usize = 32;

/// Bytes of a `struct in6_pktinfo` in a control message, and some.
const CONTROL: usize = 64;

/// What the socket keeps of datagrams that nobody has read yet, in bytes; the kernel may allow less.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;

/// A socket address as the kernel wrote it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name {
    bytes: [u8; 28],
    len: libc::socklen_t,
}

/// Control messages as the kernel wrote them: the address that a datagram was sent to.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; CONTROL],
    len: usize,
}

impl Name {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; 28],
        len: 0,
    };

    /// `struct sockaddr_in` or `struct sockaddr_in6` of an address.
    fn of(address: SocketAddr) -> Self {
        let mut name = Self::EMPTY;
        let mut put = |at: usize, bytes: &[u8]| {
            let place = name.bytes.iter_mut().skip(at);
            for (to, from) in place.zip(bytes) {
                *to = *from;
            }
        };
        put(2, &address.port().to_be_bytes());
        let family = match address {
            SocketAddr::V4(address) => {
                put(4, &address.ip().octets());
                libc::AF_INET
            }
            SocketAddr::V6(address) => {
                put(8, &address.ip().octets());
                put(24, &address.scope_id().to_ne_bytes());
                libc::AF_INET6
            }
        };
        let number = libc::sa_family_t::try_from(family).unwrap_or_default();
        put(0, &number.to_ne_bytes());
        name.len = if address.is_ipv4() { 16 } else { 28 };
        name
    }
}

impl Control {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; CONTROL],
        len: 0,
    };

    /// The answer may leave by another interface than the question came by, as routes say. Only a link-local address
    /// means nothing without its interface.
    fn forget_interface(&mut self) {
        let head = size_of::<libc::cmsghdr>();
        let Some((header, data)) = self.bytes.split_at_mut_checked(head) else {
            return;
        };
        let Some(&level) = header
            .get(size_of::<usize>()..)
            .and_then(|it| it.first_chunk())
        else {
            return;
        };
        let interface = match (libc::c_int::from_ne_bytes(level), &data) {
            (libc::IPPROTO_IP, _) => data.get_mut(..4),
            (libc::IPPROTO_IPV6, [0xfe, second, ..]) if second & 0xc0 == 0x80 => None,
            (libc::IPPROTO_IPV6, _) => data.get_mut(16..20),
            _ => None,
        };
        interface.unwrap_or_default().fill(0);
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    let pointer: *const T = value;
    // SAFETY: the kernel reads `size` bytes of `value`, which lives until the call returns.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer.cast(), size) };
    checked(result).map(|_| ())
}

/// A UDP socket at an address that others may share; a call that waits, waits `patience` at most.
pub(super) fn open(address: SocketAddr, patience: Duration) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: takes numbers, touches no memory.
    let number =
        checked(unsafe { libc::socket(family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let yes: libc::c_int = 1;
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, &yes)?;
    let wait = libc::timeval {
        tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(patience.subsec_micros().cast_signed()),
    };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &wait)?;
    // As much as is allowed.
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER);
    if address.is_ipv4() {
        set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &yes)?;
    } else {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &yes)?;
    }
    let name = Name::of(address);
    // SAFETY: `name` holds `len` bytes of an address and lives until the call returns.
    checked(unsafe { libc::bind(number, name.bytes.as_ptr().cast(), name.len) })?;
    Ok(socket)
}

/// The port that a socket has.
#[cfg(test)]
pub(super) fn local_port(socket: &OwnedFd) -> io::Result<u16> {
    let socket = std::net::UdpSocket::from(socket.try_clone()?);
    Ok(socket.local_addr()?.port())
}

/// Headers for the slots: each points to its slot's address, control messages, and the bytes that `bytes` chooses.
fn headers<const N: usize>(
    slots: &mut [Slot],
    parts: &mut [libc::iovec; N],
    messages: &mut [libc::mmsghdr; N],
    receiving: bool,
) -> libc::c_uint {
    let mut count = 0;
    for ((slot, part), message) in slots.iter_mut().zip(parts).zip(messages) {
        let Slot { peer, .. } = slot;
        let (base, len) = if receiving {
            peer.name.len = 28;
            peer.control.len = CONTROL;
            (slot.bytes.as_mut_ptr(), slot.bytes.len())
        } else {
            (slot.answer.as_mut_ptr(), slot.answer_len)
        };
        part.iov_base = base.cast();
        part.iov_len = len;
        message.msg_hdr.msg_name = peer.name.bytes.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = peer.name.len;
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_control = peer.control.bytes.as_mut_ptr().cast();
        message.msg_hdr.msg_controllen = peer.control.len as _;
        count += 1;
    }
    count
}

const NO_PART: libc::iovec = libc::iovec {
    iov_base: core::ptr::null_mut(),
    iov_len: 0,
};

/// A header that points nowhere.
const fn no_message() -> libc::mmsghdr {
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    unsafe { core::mem::zeroed() }
}

/// Waits for one datagram at least and takes as many as there are; 0 if none comes in time. What was longer than its
/// slot comes out empty.
pub(super) fn receive(socket: &impl AsFd, slots: &mut [Slot]) -> io::Result<usize> {
    let mut parts = [NO_PART; BATCH];
    let mut messages = [const { no_message() }; BATCH];
    let count = headers(slots, &mut parts, &mut messages, true);
    let number = socket.as_fd().as_raw_fd();
    let pointer = messages.as_mut_ptr();
    let flags = libc::MSG_WAITFORONE as _;
    // SAFETY: the first `count` headers point to parts and slots that are exclusively ours until the call returns.
    let result = unsafe { libc::recvmmsg(number, pointer, count, flags, core::ptr::null_mut()) };
    let received = match checked(result) {
        Ok(received) => usize::try_from(received).unwrap_or_default(),
        // Nothing came in time, or an earlier answer could not be delivered, which is nobody's concern here.
        Err(error)
            if [
                io::ErrorKind::WouldBlock,
                io::ErrorKind::Interrupted,
                io::ErrorKind::ConnectionRefused,
            ]
            .contains(&error.kind()) =>
        {
            0
        }
        Err(error) => return Err(error),
    };
    for (slot, message) in slots.iter_mut().zip(&messages).take(received) {
        let cut = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        slot.len = if cut {
            0
        } else {
            usize::try_from(message.msg_len).unwrap_or_default()
        };
        slot.peer.name.len = message.msg_hdr.msg_namelen;
        slot.peer.control.len = message.msg_hdr.msg_controllen as _;
        slot.peer.control.forget_interface();
    }
    Ok(received)
}

/// Sends the answers of all slots. One that cannot be sent is left out.
pub(super) fn send_all(socket: &impl AsFd, mut slots: &mut [Slot]) {
    let number = socket.as_fd().as_raw_fd();
    while !slots.is_empty() {
        let mut parts = [NO_PART; BATCH];
        let mut messages = [const { no_message() }; BATCH];
        let count = headers(slots, &mut parts, &mut messages, false);
        let pointer = messages.as_mut_ptr();
        // SAFETY: the first `count` headers point to parts and slots that are exclusively ours until the call returns.
        let result = unsafe { libc::sendmmsg(number, pointer, count, 0) };
        let sent = match checked(result) {
            Ok(sent) => usize::try_from(sent).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The first one is at fault.
            Err(_) => 1,
        };
        slots = slots.get_mut(sent.max(1)..).unwrap_or_default();
    }
}
