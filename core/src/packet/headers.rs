//! What [`super::parse`] found: the few numbers that every later step needs.

use crate::net::{Address, DropReason, Family, Tuple};
use core::net::{Ipv4Addr, Ipv6Addr};

/// The verdict on a packet's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A well-formed IPv4 packet of a protocol that Services use.
    Ipv4(Headers<Ipv4Addr>),
    /// A well-formed IPv6 packet of a protocol that Services use.
    Ipv6(Headers<Ipv6Addr>),
    /// A protocol that no Service carries: pass it untouched.
    NotOurs,
    /// A packet that no host should see: drop it.
    Malformed(DropReason),
}

/// The headers of one packet. Valid for the packet that they were parsed from and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers<A> {
    /// Addresses, ports and protocol as on the wire. For [`Kind::IcmpError`]: of the quoted packet, as quoted.
    /// Ports are 0 for [`Kind::LaterFragment`] and [`Kind::Other`]; the protocol means nothing for
    /// [`Kind::Other`] and, over IPv6, for [`Kind::LaterFragment`].
    pub tuple: Tuple<A>,
    /// How the packet is to be treated.
    pub kind: Kind,
    /// Length of the packet in bytes as its IP header says; what follows in the frame is link padding.
    pub end: u32,
    /// Where the transport (or ICMP) header begins, in bytes from the IP header. For
    /// [`Kind::LaterFragment`]: where the fragment's data begins.
    pub transport: u16,
    /// Bits of [`tcp_flags`]; 0 unless a TCP header was parsed.
    pub tcp_flags: u8,
}

/// How a packet is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole packet, which includes IPv6 atomic fragments (RFC 6946).
    Whole,
    /// The first fragment of a datagram, with its whole transport header (RFC 7112).
    FirstFragment {
        /// Names the datagram among those from this source to this destination: IPv4 identification and, in
        /// the upper half, protocol (RFC 791); IPv6 identification (RFC 8200, 4.5).
        datagram: u32,
    },
    /// A fragment without transport header.
    LaterFragment {
        /// As in [`Kind::FirstFragment`].
        datagram: u32,
        /// Where the fragment's data belongs, in bytes from the start of the datagram's data.
        offset: u16,
        /// Do fragments follow?
        more: bool,
    },
    /// An ICMP or ICMPv6 error that quotes a packet of TCP, UDP or SCTP, ports included.
    IcmpError {
        /// Where the quoted IP header begins, in bytes from the outer IP header.
        quote: u16,
        /// Where the quoted transport header begins, in bytes from the outer IP header.
        quote_transport: u16,
        /// Length of the quoted transport header and data before it was cut, in bytes, as its IP header
        /// says; 0 where the quoted packet was a fragment.
        quote_len: u16,
    },
    /// ICMP that is no error about a connection: echo, neighbour discovery, redirect, fragments of ICMP.
    Other,
}

/// Flags of a TCP header (RFC 9293, 3.1).
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets a connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number means something.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer means something.
    pub const URG: u8 = 0x20;
    /// ECN echo (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced (RFC 3168).
    pub const CWR: u8 = 0x80;
}

impl<A: Address> Headers<A> {
    /// Is the tuple's source or destination an address that no unicast packet between hosts can have:
    /// unspecified, loopback, multicast or the limited broadcast (RFC 1122, 3.2.1.3; RFC 4291, 2.5)?
    #[must_use]
    pub fn martian(&self) -> bool {
        is_martian(self.tuple.source) || is_martian(self.tuple.destination)
    }

    /// Source and destination of the packet itself; differs from the tuple for [`Kind::IcmpError`].
    /// Unspecified addresses if `packet` is not the packet that was parsed.
    #[must_use]
    pub fn addresses(&self, packet: &[u8]) -> (A, A) {
        read_addresses(packet).unwrap_or((A::UNSPECIFIED, A::UNSPECIFIED))
    }
}

/// Unspecified, loopback, multicast or limited broadcast.
pub(super) fn is_martian<A: Address>(address: A) -> bool {
    let [high, low] = address.to_words();
    match A::FAMILY {
        Family::Ipv4 => {
            let first = low >> 24;
            low == 0 || first == 127 || first & 0xf0 == 224 || low == 0xffff_ffff
        }
        Family::Ipv6 => high >> 56 == 0xff || (high == 0 && low <= 1),
    }
}

/// Source and destination of the IP header that `packet` begins with.
#[inline]
pub(super) fn read_addresses<A: Address>(packet: &[u8]) -> Option<(A, A)> {
    match A::FAMILY {
        Family::Ipv4 => {
            let (_, addresses) = packet.split_first_chunk::<12>()?;
            let (source, rest) = addresses.split_first_chunk::<4>()?;
            let destination = rest.first_chunk::<4>()?;
            Some((
                A::from_words([0, u64::from(u32::from_be_bytes(*source))]),
                A::from_words([0, u64::from(u32::from_be_bytes(*destination))]),
            ))
        }
        Family::Ipv6 => {
            let (_, addresses) = packet.split_first_chunk::<8>()?;
            let (source, rest) = addresses.split_first_chunk::<16>()?;
            let destination = rest.first_chunk::<16>()?;
            Some((from_bits(*source), from_bits(*destination)))
        }
    }
}

#[inline]
fn from_bits<A: Address>(bytes: [u8; 16]) -> A {
    let bits = u128::from_be_bytes(bytes);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken on its own"
    )]
    A::from_words([(bits >> 64) as u64, bits as u64])
}

const _: () = assert!(size_of::<Headers<Ipv4Addr>>() <= 40);
const _: () = assert!(size_of::<Headers<Ipv6Addr>>() <= 64);
