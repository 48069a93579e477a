//! The system calls of packet sockets, each behind a safe function.
#![expect(
    unsafe_code,
    reason = "system calls; every block is one call whose pointers outlive it"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What is kept of frames that nobody has read yet, in bytes; the kernel may allow less.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;

/// What may be on its way out, in bytes: 64 packets of 64 KiB.
const SEND_BUFFER: libc::c_int = 4 << 20;

/// Bytes of a control message with `struct tpacket_auxdata`, and some.
const CONTROL: usize = 64;

/// Control messages as the kernel writes them.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A frame that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Bytes read, the virtio header with them.
    pub(super) len: usize,
    /// It was longer than its room.
    pub(super) is_cut: bool,
    /// The VLAN tag that the kernel took out of it.
    pub(super) tag: Option<[u8; 4]>,
    /// `PACKET_HOST` and so on.
    kind: u8,
}

impl Received {
    /// Whose is it? On a single interface we take what its neighbours send to it, and the kernel the rest. Between two
    /// we are a wire: everything goes over, but what is sent to the interface itself.
    pub(super) const fn is_for_kernel(&self, between_two: bool) -> bool {
        match self.kind {
            libc::PACKET_HOST => between_two,
            libc::PACKET_OTHERHOST | libc::PACKET_BROADCAST | libc::PACKET_MULTICAST => {
                !between_two
            }
            _ => true,
        }
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

const fn size<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

fn set<T>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let (number, pointer): (_, *const T) = (socket.as_raw_fd(), value);
    // SAFETY: the kernel reads `size_of::<T>()` bytes of `value`, which lives until the call returns.
    checked(unsafe { libc::setsockopt(number, level, option, pointer.cast(), size::<T>()) })
        .map(|_| ())
}

/// A socket for all frames of an interface, each led by a virtio header and told with its VLAN tag. Not ready for any
/// before [`attach`].
pub(super) fn open() -> Result<OwnedFd, (&'static str, io::Error)> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // Protocol 0: nothing is received before the socket is attached to its interface.
    // SAFETY: takes numbers, touches no memory.
    let number =
        checked(unsafe { libc::socket(libc::AF_PACKET, kind, 0) }).map_err(named("socket"))?;
    // SAFETY: the kernel has just given us this descriptor, so nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let yes: libc::c_int = 1;
    set(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &yes)
        .map_err(named("PACKET_VNET_HDR"))?;
    set(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &yes).map_err(named("PACKET_AUXDATA"))?;
    // Since Linux 4.20; before, the kinds of frames tell our own.
    let _ = set(
        &socket,
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        &yes,
    );
    for (force, ask, bytes) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER),
    ] {
        if set(&socket, libc::SOL_SOCKET, force, &bytes).is_err() {
            // As much as is allowed.
            let _ = set(&socket, libc::SOL_SOCKET, ask, &bytes);
        }
    }
    Ok(socket)
}

fn named(operation: &'static str) -> impl Fn(io::Error) -> (&'static str, io::Error) {
    move |error| (operation, error)
}

/// Begins to receive the interface's frames, all protocols.
pub(super) fn attach(socket: &impl AsRawFd, interface: u32) -> io::Result<()> {
    let name = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let (number, pointer) = (socket.as_raw_fd(), &raw const name);
    // SAFETY: the kernel reads the address, which lives until the call returns.
    checked(unsafe { libc::bind(number, pointer.cast(), size::<libc::sockaddr_ll>()) }).map(|_| ())
}

/// Has the interface take frames that are addressed to others, as long as the socket lives.
pub(super) fn take_all(socket: &impl AsRawFd, interface: u32) -> io::Result<()> {
    let membership = libc::packet_mreq {
        mr_ifindex: interface.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let option = libc::PACKET_ADD_MEMBERSHIP;
    set(socket, libc::SOL_PACKET, option, &membership)
}

/// Shares the interface's frames with other sockets of a group, by connection: `None` begins a group. Returns it.
pub(super) fn share(socket: &impl AsRawFd, group: Option<u16>) -> io::Result<u16> {
    // Lower half: the group; upper half: how, PACKET_FANOUT_HASH, and that the kernel is to choose the group.
    let wanted = match group {
        Some(group) => u32::from(group),
        None => libc::PACKET_FANOUT_FLAG_UNIQUEID << 16,
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &wanted)?;
    let mut granted: u32 = 0;
    get(socket, libc::PACKET_FANOUT, &mut granted)?;
    Ok(granted as u16)
}

fn get<T>(socket: &impl AsRawFd, option: libc::c_int, value: &mut T) -> io::Result<()> {
    let (number, pointer): (_, *mut T) = (socket.as_raw_fd(), value);
    let mut len = size::<T>();
    // SAFETY: the kernel writes at most `len` bytes of `value`, and the length, which are exclusively ours until the
    // call returns; callers give numbers and structs of numbers, for which all bytes are values.
    checked(unsafe {
        libc::getsockopt(
            number,
            libc::SOL_PACKET,
            option,
            pointer.cast(),
            &raw mut len,
        )
    })
    .map(|_| ())
}

/// Frames that were dropped since the last call, because the socket's buffer was full.
pub(super) fn drops(socket: &impl AsRawFd) -> usize {
    let mut counts = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    match get(socket, libc::PACKET_STATISTICS, &mut counts) {
        Ok(()) => counts.tp_drops as usize,
        Err(_) => 0,
    }
}

/// Reads one frame behind its virtio header.
pub(super) fn receive(socket: &impl AsRawFd, room: &mut [u8]) -> io::Result<Received> {
    let mut part = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    };
    let mut control = Control([0; CONTROL]);
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut name: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size::<libc::sockaddr_ll>();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL as _;
    // SAFETY: the message points to the room, the name and the control bytes, which are exclusively ours until the
    // call returns.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let len = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    let told = control.0.get(..message.msg_controllen as usize);
    Ok(Received {
        len,
        is_cut: message.msg_flags & libc::MSG_TRUNC != 0,
        tag: told.and_then(tag),
        kind: name.sll_pkttype,
    })
}

/// The tag that a control message of packet sockets tells (`struct tpacket_auxdata`); it is the only one that these
/// sockets were asked for.
fn tag(control: &[u8]) -> Option<[u8; 4]> {
    let auxiliary = control.get(size_of::<libc::cmsghdr>()..)?.first_chunk()?;
    let [
        s0,
        s1,
        s2,
        s3,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        _,
        i0,
        i1,
        p0,
        p1,
    ] = *auxiliary;
    let status = u32::from_ne_bytes([s0, s1, s2, s3]);
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let protocol = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        libc::ETH_P_8021Q as u16
    } else {
        u16::from_ne_bytes([p0, p1])
    };
    let [p0, p1] = protocol.to_be_bytes();
    let [i0, i1] = u16::from_ne_bytes([i0, i1]).to_be_bytes();
    Some([p0, p1, i0, i1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A control message with this auxiliary data.
    fn told(status: u32, tag: u16, protocol: u16) -> [u8; size_of::<libc::cmsghdr>() + 20] {
        let mut bytes = [0; size_of::<libc::cmsghdr>() + 20];
        let (_, auxiliary) = bytes.split_at_mut(size_of::<libc::cmsghdr>());
        auxiliary[..4].copy_from_slice(&status.to_ne_bytes());
        auxiliary[16..18].copy_from_slice(&tag.to_ne_bytes());
        auxiliary[18..].copy_from_slice(&protocol.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_tag_is_told_with_its_protocol_or_is_that_of_802_1q() {
        let valid = libc::TP_STATUS_VLAN_VALID;
        let with_protocol = valid | libc::TP_STATUS_VLAN_TPID_VALID;
        assert_eq!(tag(&told(0, 7, 0x88a8)), None);
        assert_eq!(tag(&told(valid, 7, 0)), Some([0x81, 0x00, 0, 7]));
        assert_eq!(
            tag(&told(with_protocol, 0x2007, 0x88a8)),
            Some([0x88, 0xa8, 0x20, 0x07])
        );
        for short in 0..told(0, 0, 0).len() {
            assert_eq!(tag(&told(valid, 7, 0)[..short]), None);
        }
    }

    #[test]
    fn one_interface_takes_what_is_sent_to_it_and_two_the_rest() {
        let received = |kind| Received {
            len: 0,
            is_cut: false,
            tag: None,
            kind,
        };
        let kinds = [
            libc::PACKET_HOST,
            libc::PACKET_OTHERHOST,
            libc::PACKET_BROADCAST,
            libc::PACKET_MULTICAST,
            libc::PACKET_OUTGOING,
        ];
        let ours = |between| kinds.map(|kind| !received(kind).is_for_kernel(between));
        assert_eq!(ours(false), [true, false, false, false, false]);
        assert_eq!(ours(true), [false, true, true, true, false]);
    }
}
