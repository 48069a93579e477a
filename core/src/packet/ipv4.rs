//! The IPv4 header (RFC 791).

use super::checksum::sum;
use super::parse::{Network, Refusal};
use super::transport::fragment_may_begin_at;
use super::{Headers, Kind, Offload, icmp};
use crate::net::{DropReason, Protocol};
use core::net::Ipv4Addr;

/// ICMP's protocol number.
pub(super) const ICMP: u8 = 1;

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Any IPv4 packet.
#[cold]
#[inline(never)]
pub(super) fn parse(packet: &[u8], offload: &Offload) -> Result<Headers<Ipv4Addr>, Refusal> {
    let Some(header) = packet.first_chunk::<20>() else {
        return Err(Refusal::TRUNCATED);
    };
    let [
        first,
        _,
        l0,
        l1,
        i0,
        i1,
        f0,
        f1,
        _,
        number,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    let header_len = u16::from(first & 0x0f) << 2;
    if header_len < 20 {
        return Err(Refusal::HEADER);
    }
    let total = u16::from_be_bytes([l0, l1]);
    if total < header_len {
        return Err(Refusal::TRUNCATED);
    }
    let Some((header_and_options, message)) = packet
        .get(..usize::from(total))
        .and_then(|packet| packet.split_at_checked(usize::from(header_len)))
    else {
        return Err(Refusal::TRUNCATED);
    };
    if sum(header_and_options) != 0xffff {
        return Err(Refusal::Malformed(DropReason::MalformedChecksum));
    }
    let network = Network {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        end: u32::from(total),
        transport: header_len,
    };
    let fragment = u16::from_be_bytes([f0, f1]) & (MORE_FRAGMENTS | FRAGMENT_OFFSET);
    let Some(protocol) = Protocol::from_number(number) else {
        if number != ICMP {
            return Err(Refusal::NotOurs);
        }
        if fragment != 0 {
            return Ok(network.other());
        }
        return icmp::parse_v4(&network, message, offload);
    };
    if fragment == 0 {
        return network.with_transport(protocol, Kind::Whole, message, offload);
    }
    let datagram = (u32::from(number) << 16) | u32::from(u16::from_be_bytes([i0, i1]));
    let offset = (fragment & FRAGMENT_OFFSET) << 3;
    if offset == 0 {
        return network.with_transport(
            protocol,
            Kind::FirstFragment { datagram },
            message,
            offload,
        );
    }
    if !fragment_may_begin_at(protocol, offset) {
        return Err(Refusal::Malformed(DropReason::FragmentOverlap));
    }
    network.later_fragment(protocol, datagram, offset, fragment & MORE_FRAGMENTS != 0)
}

/// What an ICMP error quotes: the quoted packet's addresses, protocol, and where its transport header begins.
pub(super) struct Quoted<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) protocol: Protocol,
    /// In bytes from the quoted IP header.
    pub(super) transport: u16,
    /// Bytes of transport header and data before the quote was cut; 0 for a fragment.
    pub(super) len: u16,
}

/// Reads the IPv4 header that an ICMP error quotes. `None`: no packet of ours, or none with ports. Its checksum
/// and total length are not held against it: routers are known to quote them half-edited.
pub(super) fn quoted(quote: &[u8]) -> Result<Option<Quoted<Ipv4Addr>>, Refusal> {
    let Some(header) = quote.first_chunk::<20>() else {
        return Err(Refusal::TRUNCATED);
    };
    let [
        first,
        _,
        l0,
        l1,
        _,
        _,
        f0,
        f1,
        _,
        number,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    let header_len = u16::from(first & 0x0f) << 2;
    if first >> 4 != 4 || header_len < 20 {
        return Err(Refusal::HEADER);
    }
    let fragment = u16::from_be_bytes([f0, f1]);
    let Some(protocol) = Protocol::from_number(number) else {
        return Ok(None);
    };
    if fragment & FRAGMENT_OFFSET != 0 {
        return Ok(None);
    }
    let total = u16::from_be_bytes([l0, l1]);
    Ok(Some(Quoted {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        protocol,
        transport: header_len,
        len: if fragment & MORE_FRAGMENTS != 0 {
            0
        } else {
            total.saturating_sub(header_len)
        },
    }))
}
