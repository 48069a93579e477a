//! The IPv6 header and its extension headers (RFC 8200).

use super::ipv4::Quoted;
use super::parse::{Network, Refusal};
use super::transport::fragment_may_begin_at;
use super::{Headers, Kind, Offload, icmp};
use crate::net::{DropReason, Protocol};
use core::net::Ipv6Addr;

/// ICMPv6's next header number.
pub(super) const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// The fragment header's number.
pub(super) const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

/// As many extension headers as are followed. RFC 8200 recommends an order with at most seven.
const EXTENSIONS_MAX: u32 = 8;

/// Any IPv6 packet.
#[cold]
#[inline(never)]
pub(super) fn parse(packet: &[u8], offload: &Offload) -> Result<Headers<Ipv6Addr>, Refusal> {
    let Some((header, _)) = packet.split_first_chunk::<40>() else {
        return Err(Refusal::TRUNCATED);
    };
    let &[_, _, _, _, l0, l1, next, _, ..] = header;
    let (source, destination) = addresses(header);
    let payload_len = u16::from_be_bytes([l0, l1]);
    let end = u32::from(payload_len).wrapping_add(40);
    let Some(packet) = packet.get(..usize::from(payload_len).wrapping_add(40)) else {
        return Err(Refusal::TRUNCATED);
    };
    let mut network = Network {
        source,
        destination,
        end,
        transport: 40,
    };
    if let Some(protocol) = Protocol::from_number(next) {
        let (_, message) = packet.split_at_checked(40).ok_or(Refusal::TRUNCATED)?;
        return network.with_transport(protocol, Kind::Whole, message, offload);
    }
    if payload_len == 0 && next != NO_NEXT_HEADER {
        // A jumbogram (RFC 2675), or nothing where a header is announced.
        return Err(Refusal::HEADER);
    }
    let chain = walk(packet, next)?;
    network.transport = chain.at;
    finish(&network, packet, &chain, offload)
}

/// What follows a chain of extension headers.
fn finish(
    network: &Network<Ipv6Addr>,
    packet: &[u8],
    chain: &Chain,
    offload: &Offload,
) -> Result<Headers<Ipv6Addr>, Refusal> {
    let protocol = Protocol::from_number(chain.next);
    let Some((_, message)) = packet.split_at_checked(usize::from(chain.at)) else {
        return Err(Refusal::TRUNCATED);
    };
    let kind = match chain.fragment {
        None => Kind::Whole,
        Some(fragment) => {
            // RFC 8200, 4.5: every fragment but the last carries a multiple of eight bytes.
            let data = network.end.wrapping_sub(u32::from(fragment.data));
            if fragment.more && data & 7 != 0 {
                return Err(Refusal::HEADER);
            }
            let datagram = fragment.identification;
            if fragment.offset == 0 {
                Kind::FirstFragment { datagram }
            } else {
                let protocol = match protocol {
                    Some(protocol) if fragment_may_begin_at(protocol, fragment.offset) => protocol,
                    Some(_) => return Err(Refusal::Malformed(DropReason::FragmentOverlap)),
                    None if chain.next == ICMPV6 => return Ok(network.other()),
                    // Extension headers inside the fragmented part hide the protocol from later fragments.
                    None if is_extension(chain.next) => Protocol::Udp,
                    None => return Err(Refusal::NotOurs),
                };
                return network.later_fragment(protocol, datagram, fragment.offset, fragment.more);
            }
        }
    };
    match protocol {
        Some(protocol) => network.with_transport(protocol, kind, message, offload),
        None if chain.next != ICMPV6 => Err(Refusal::NotOurs),
        None if !matches!(kind, Kind::Whole) => Ok(network.other()),
        None => icmp::parse_v6(network, message, offload),
    }
}

const fn is_extension(next: u8) -> bool {
    matches!(next, ROUTING | AUTHENTICATION | DESTINATION_OPTIONS)
}

#[inline]
fn addresses(header: &[u8; 40]) -> (Ipv6Addr, Ipv6Addr) {
    let unspecified = Ipv6Addr::UNSPECIFIED;
    super::headers::read_addresses(header).unwrap_or((unspecified, unspecified))
}

/// Where a chain of extension headers ended.
struct Chain {
    /// The number of the header that ended it.
    next: u8,
    /// Where that header begins, in bytes from the IPv6 header.
    at: u16,
    /// The fragment header, unless there was none or it was atomic (RFC 6946).
    fragment: Option<Fragment>,
}

#[derive(Clone, Copy)]
struct Fragment {
    identification: u32,
    /// In bytes.
    offset: u16,
    more: bool,
    /// Where the fragmented part begins, in bytes from the IPv6 header.
    data: u16,
}

/// Follows the extension headers of `packet`, which ends where its IPv6 header says.
fn walk(packet: &[u8], first: u8) -> Result<Chain, Refusal> {
    let mut chain = Chain {
        next: first,
        at: 40,
        fragment: None,
    };
    let mut fragmented = false;
    let mut count = 0;
    loop {
        match chain.next {
            HOP_BY_HOP if count > 0 => return Err(Refusal::EXTENSIONS),
            HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS => {}
            _ => return Ok(chain),
        }
        if count == EXTENSIONS_MAX {
            return Err(Refusal::EXTENSIONS);
        }
        let Some(&[next, len, h2, h3, h4, h5, h6, h7]) = packet
            .get(usize::from(chain.at)..)
            .and_then(<[u8]>::first_chunk::<8>)
        else {
            return Err(Refusal::TRUNCATED);
        };
        let header_len = match chain.next {
            FRAGMENT => 8,
            // RFC 4302: counted in words of four bytes, less two; RFC 8200: of eight, less one.
            AUTHENTICATION => u16::from(len).wrapping_add(2) << 2,
            _ => u16::from(len).wrapping_add(1) << 3,
        };
        // With segments left the packet is on its way to a waypoint, and its checksum covers another
        // destination (RFC 8200, 8.1): not to be translated here.
        if chain.next == ROUTING && h3 != 0 {
            return Err(Refusal::NotOurs);
        }
        let is_fragment = chain.next == FRAGMENT;
        if is_fragment && fragmented {
            return Err(Refusal::EXTENSIONS);
        }
        chain.next = next;
        chain.at = chain.at.wrapping_add(header_len);
        if usize::from(chain.at) > packet.len() {
            return Err(Refusal::TRUNCATED);
        }
        if is_fragment {
            fragmented = true;
            let field = u16::from_be_bytes([h2, h3]);
            let fragment = Fragment {
                identification: u32::from_be_bytes([h4, h5, h6, h7]),
                offset: field & 0xfff8,
                more: field & 1 != 0,
                data: chain.at,
            };
            if fragment.offset != 0 {
                chain.fragment = Some(fragment);
                return Ok(chain);
            }
            if fragment.more {
                chain.fragment = Some(fragment);
            }
        }
        count = count.wrapping_add(1);
    }
}

/// Reads the IPv6 headers that an ICMPv6 error quotes. `None`: no packet of ours, or none with ports.
pub(super) fn quoted(quote: &[u8]) -> Result<Option<Quoted<Ipv6Addr>>, Refusal> {
    let Some((header, _)) = quote.split_first_chunk::<40>() else {
        return Err(Refusal::TRUNCATED);
    };
    let &[first, _, _, _, l0, l1, next, _, ..] = header;
    if first >> 4 != 6 {
        return Err(Refusal::HEADER);
    }
    let chain = match walk(quote, next) {
        Ok(chain) => chain,
        Err(Refusal::NotOurs) => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let Some(protocol) = Protocol::from_number(chain.next) else {
        return Ok(None);
    };
    if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(None);
    }
    let (source, destination) = addresses(header);
    let payload_len = u16::from_be_bytes([l0, l1]);
    Ok(Some(Quoted {
        source,
        destination,
        protocol,
        transport: chain.at,
        len: if chain.fragment.is_some() {
            0
        } else {
            payload_len.saturating_sub(chain.at.wrapping_sub(40))
        },
    }))
}
