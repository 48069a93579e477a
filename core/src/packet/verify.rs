//! Are all checksums of a packet right? Computed from nothing but its bytes; for tests and case files.

use super::headers::read_addresses;
use super::{
    Headers, Kind, Offload, Parsed, checksum, crc32c, ipv4, ipv6, parse, transport_checksum,
};
use crate::net::{Address, DropReason, Family, Protocol};
use core::fmt;

/// Which checksum is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrongChecksum {
    /// The packet is malformed; a wrong IPv4 header checksum is [`DropReason::MalformedChecksum`].
    Malformed(DropReason),
    /// The transport checksum, computed whole, is not zero.
    Transport(Protocol),
    /// The ICMP or ICMPv6 checksum, computed whole, is not zero.
    Icmp,
}

impl fmt::Display for WrongChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => f.write_str(reason.explanation()),
            Self::Transport(protocol) => write!(f, "the {protocol} checksum is wrong"),
            Self::Icmp => f.write_str("the ICMP checksum is wrong"),
        }
    }
}

impl core::error::Error for WrongChecksum {}

/// Computes every checksum of `packet` anew: IPv4 header, transport, ICMP. An absent UDP checksum is right. Of a
/// fragment only the IP header can be checked, and of what an ICMP error quotes nothing.
///
/// # Errors
///
/// The first checksum that is wrong.
pub fn verify(packet: &[u8]) -> Result<(), WrongChecksum> {
    match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => verify_message(packet, &headers),
        Parsed::Ipv6(headers) => verify_message(packet, &headers),
        Parsed::NotOurs => Ok(()),
        Parsed::Malformed(reason) => Err(WrongChecksum::Malformed(reason)),
    }
}

fn verify_message<A: Address>(packet: &[u8], headers: &Headers<A>) -> Result<(), WrongChecksum> {
    let truncated = WrongChecksum::Malformed(DropReason::MalformedTruncated);
    let end = usize::try_from(headers.end).map_err(|_| truncated)?;
    let message = packet
        .get(usize::from(headers.transport)..end)
        .ok_or(truncated)?;
    let (source, destination) = read_addresses::<A>(packet).ok_or(truncated)?;
    let protocol = headers.tuple.protocol;
    let right = match headers.kind {
        Kind::FirstFragment { .. } | Kind::LaterFragment { .. } => true,
        Kind::IcmpError { .. } | Kind::Other => {
            let sum = match A::FAMILY {
                Family::Ipv4 => checksum(message),
                Family::Ipv6 => transport_checksum(source, destination, ipv6::ICMPV6, message),
            };
            let fragment = headers.kind == Kind::Other && is_fragment::<A>(packet);
            return if sum == 0 || fragment {
                Ok(())
            } else {
                Err(WrongChecksum::Icmp)
            };
        }
        Kind::Whole => match protocol {
            Protocol::Sctp => sctp_is_right(message),
            Protocol::Udp if message.get(6..8) == Some(&[0, 0]) => true,
            Protocol::Udp => {
                // The UDP length decides what is summed (RFC 768); the rest is not UDP's.
                let len = message
                    .get(4..6)
                    .and_then(<[u8]>::first_chunk::<2>)
                    .map_or(0, |len| usize::from(u16::from_be_bytes(*len)));
                let datagram = message.get(..len).ok_or(truncated)?;
                transport_checksum(source, destination, protocol.number(), datagram) == 0
            }
            Protocol::Tcp => {
                transport_checksum(source, destination, protocol.number(), message) == 0
            }
        },
    };
    if right {
        Ok(())
    } else {
        Err(WrongChecksum::Transport(protocol))
    }
}

fn is_fragment<A: Address>(packet: &[u8]) -> bool {
    match (A::FAMILY, packet) {
        (Family::Ipv4, [_, _, _, _, _, _, f0, f1, _, number, ..]) => {
            *number == ipv4::ICMP && u16::from_be_bytes([*f0, *f1]) & 0x3fff != 0
        }
        (Family::Ipv6, [_, _, _, _, _, _, next, ..]) => *next == ipv6::FRAGMENT,
        (Family::Ipv4 | Family::Ipv6, _) => false,
    }
}

fn sctp_is_right(message: &[u8]) -> bool {
    let Some((header, chunks)) = message.split_first_chunk::<12>() else {
        return false;
    };
    let [ports_and_tag @ .., c0, c1, c2, c3] = *header;
    let mut zeroed = alloc::vec::Vec::with_capacity(message.len());
    zeroed.extend_from_slice(&ports_and_tag);
    zeroed.extend_from_slice(&[0; 4]);
    zeroed.extend_from_slice(chunks);
    crc32c(&zeroed) == u32::from_le_bytes([c0, c1, c2, c3])
}
