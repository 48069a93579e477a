//! ICMP (RFC 792) and ICMPv6 (RFC 4443) errors about connections: which they are, and how they are translated.

use super::ipv4::{self, Quoted};
use super::parse::{Network, Refusal};
use super::rewrite::{write_addresses, write_sctp};
use super::{Delta, Headers, Kind, Offload, ipv6, offload_flags};
use crate::net::{Address, DropReason, Family, Protocol, Tuple};
use core::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of an ICMP header; what an error quotes follows.
pub(super) const HEADER_LEN: u16 = 8;

/// Destination unreachable, source quench, time exceeded and parameter problem are about a connection; a
/// redirect (5) is about a route.
pub(super) fn parse_v4(
    network: &Network<Ipv4Addr>,
    message: &[u8],
    offload: &Offload,
) -> Result<Headers<Ipv4Addr>, Refusal> {
    let Some(([kind, ..], quote)) = message.split_first_chunk::<8>() else {
        return Err(Refusal::TRUNCATED);
    };
    match kind {
        3 | 4 | 11 | 12 => error(network, quote, ipv4::quoted(quote)?, offload),
        _ => Ok(network.other()),
    }
}

/// Types 1 to 4 are errors; a redirect (137) is about a route.
pub(super) fn parse_v6(
    network: &Network<Ipv6Addr>,
    message: &[u8],
    offload: &Offload,
) -> Result<Headers<Ipv6Addr>, Refusal> {
    let Some(([kind, ..], quote)) = message.split_first_chunk::<8>() else {
        return Err(Refusal::TRUNCATED);
    };
    match kind {
        1..=4 => error(network, quote, ipv6::quoted(quote)?, offload),
        _ => Ok(network.other()),
    }
}

fn error<A: Address>(
    network: &Network<A>,
    quote: &[u8],
    quoted: Option<Quoted<A>>,
    offload: &Offload,
) -> Result<Headers<A>, Refusal> {
    let Some(quoted) = quoted else {
        return Ok(network.other());
    };
    // RFC 792 promises eight bytes of the quoted transport header: all of UDP, the ports of the others.
    let Some(&[s0, s1, d0, d1, ..]) = quote
        .get(usize::from(quoted.transport)..)
        .and_then(<[u8]>::first_chunk::<8>)
    else {
        return Err(Refusal::TRUNCATED);
    };
    if (offload.flags & offload_flags::PARTIAL) | offload.gso_type != 0 {
        return Err(Refusal::Malformed(DropReason::MalformedOffload));
    }
    let quote = network.transport.wrapping_add(HEADER_LEN);
    Ok(Headers {
        tuple: Tuple {
            source: quoted.source,
            destination: quoted.destination,
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            protocol: quoted.protocol,
        },
        kind: Kind::IcmpError {
            quote,
            quote_transport: quote.wrapping_add(quoted.transport),
            quote_len: quoted.len,
        },
        end: network.end,
        transport: network.transport,
        tcp_flags: 0,
    })
}

/// What an ICMP error's addresses, and those of the packet that it quotes, become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRewrite<A> {
    /// The new source of the error itself.
    pub source: A,
    /// The new destination of the error itself.
    pub destination: A,
    /// The quoted packet's tuple as its sender is to see it: as it was before translation.
    pub quoted: Tuple<A>,
}

/// Translates the ICMP error that `headers` were parsed from: its addresses, the quoted addresses and ports, the
/// quoted checksums as far as they were quoted, and the checksums of the error itself. What was wrong stays
/// wrong by the same error. The packet's length does not change.
///
/// # Errors
///
/// The packet is then untouched. [`DropReason::MalformedHeader`]: no ICMP error.
/// [`DropReason::MalformedTruncated`]: `packet` is not the one that `headers` were parsed from.
pub fn rewrite_error<A: Address>(
    packet: &mut [u8],
    headers: &Headers<A>,
    to: &ErrorRewrite<A>,
) -> Result<(), DropReason> {
    let Kind::IcmpError {
        quote,
        quote_transport,
        quote_len,
    } = headers.kind
    else {
        return Err(DropReason::MalformedHeader);
    };
    let parts = usize::try_from(headers.end)
        .ok()
        .and_then(|end| packet.get_mut(..end))
        .and_then(|packet| packet.split_at_mut_checked(usize::from(quote_transport)))
        .and_then(|(before, quoted_message)| {
            let (outer, quoted_header) = before.split_at_mut_checked(usize::from(quote))?;
            let (outer_header, icmp) =
                outer.split_at_mut_checked(usize::from(headers.transport))?;
            Some((outer_header, icmp, quoted_header, quoted_message))
        });
    let Some((outer_header, icmp, quoted_header, quoted_message)) = parts else {
        return Err(DropReason::MalformedTruncated);
    };
    let (Some((source, destination)), Some(icmp), Some(_)) = (
        super::headers::read_addresses::<A>(outer_header),
        icmp.first_chunk_mut::<8>(),
        quoted_message.first_chunk::<8>(),
    ) else {
        return Err(DropReason::MalformedTruncated);
    };
    let outer = outer_delta(&headers.tuple, (source, destination), to);
    let changed = rewrite_quote(
        headers,
        &to.quoted,
        quoted_header,
        quoted_message,
        quote_len,
    )
    .and_then(|quoted| {
        write_addresses(outer_header, to.source, to.destination, outer)?;
        // Only ICMPv6 sums a pseudo-header (RFC 4443, 2.3).
        let delta = match A::FAMILY {
            Family::Ipv4 => quoted,
            Family::Ipv6 => quoted.plus(outer),
        };
        let [_, _, c0, c1, ..] = icmp;
        [*c0, *c1] = delta.apply([*c0, *c1]);
        Some(())
    });
    changed.ok_or(DropReason::MalformedTruncated)
}

fn outer_delta<A: Address>(any: &Tuple<A>, from: (A, A), to: &ErrorRewrite<A>) -> Delta {
    let with = |source, destination| Tuple {
        source,
        destination,
        ..*any
    };
    Delta::of_addresses(&with(from.0, from.1), &with(to.source, to.destination))
}

/// Rewrites what is quoted; gives the change of the sum over the quote.
fn rewrite_quote<A: Address>(
    headers: &Headers<A>,
    to: &Tuple<A>,
    header: &mut [u8],
    message: &mut [u8],
    quote_len: u16,
) -> Option<Delta> {
    let addresses = Delta::of_addresses(&headers.tuple, to);
    let ports = Delta::of_ports(&headers.tuple, to);
    let mut changed = addresses.plus(ports);
    let checksum_before = header_checksum::<A>(header);
    write_addresses(header, to.source, to.destination, addresses)?;
    let checksum_after = header_checksum::<A>(header);
    changed = changed.plus(Delta::of_field(checksum_before, checksum_after));

    let new_ports = to.ports();
    if headers.tuple.protocol == Protocol::Sctp
        && let Some(header) = message.first_chunk_mut::<12>()
    {
        let len = (quote_len != 0).then_some(u32::from(quote_len));
        let before = last_words(header);
        write_sctp(header, new_ports, len)?;
        let after = last_words(header);
        return Some(
            changed
                .plus(Delta::of_field(before.0, after.0))
                .plus(Delta::of_field(before.1, after.1)),
        );
    }
    let (port_field, rest) = message.split_first_chunk_mut::<4>()?;
    *port_field = new_ports.to_bytes();
    let transport = addresses.plus(ports);
    let field = match headers.tuple.protocol {
        // At 16 and 6 bytes, less the ports. A TCP checksum is often cut off.
        Protocol::Tcp => rest.get_mut(12..14),
        Protocol::Udp => rest.get_mut(2..4),
        Protocol::Sctp => None,
    };
    if let Some(field) = field.and_then(<[u8]>::first_chunk_mut::<2>) {
        let old = *field;
        let new = match headers.tuple.protocol {
            Protocol::Udp => transport.apply_udp(old),
            Protocol::Tcp | Protocol::Sctp => transport.apply(old),
        };
        *field = new;
        changed = changed.plus(Delta::of_field(old, new));
    }
    Some(changed)
}

/// The IPv4 header's checksum; 0 over IPv6, which has none.
fn header_checksum<A: Address>(header: &[u8]) -> [u8; 2] {
    match (A::FAMILY, header) {
        (Family::Ipv4, [_, _, _, _, _, _, _, _, _, _, c0, c1, ..]) => [*c0, *c1],
        (Family::Ipv4 | Family::Ipv6, _) => [0; 2],
    }
}

const fn last_words(header: &[u8; 12]) -> ([u8; 2], [u8; 2]) {
    let [.., a, b, c, d] = *header;
    ([a, b], [c, d])
}
