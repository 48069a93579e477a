//! Answers to a packet's sender, built in the packet's place.

use super::rewrite::{ipv4_bytes, ipv6_bytes};
use super::{Headers, Kind, TcpSegment, checksum, icmp, ipv4, ipv6, tcp_flags, transport_checksum};
use crate::net::{Address, Family, Protocol};

const HOP_LIMIT: u8 = 64;
/// RFC 1812, 4.3.2.3: as much of the packet as fits an error of 576 bytes.
const ICMPV4_ERROR_MAX: usize = 576;
/// RFC 4443, 2.4 (c): as much of the packet as fits the least MTU.
const ICMPV6_ERROR_MAX: usize = 1280;

/// Replaces the packet in `frame` by the ICMP error "port unreachable" to its sender (RFC 792; RFC 4443, 3.1), and
/// gives the error's length in bytes.
///
/// `frame` is all the room there is, the packet at its start; the more room, the more is quoted. It must be the
/// packet as it came, before translation; the answer needs no offload. `None`, and nothing is written: the
/// packet must not be answered (an ICMP error, a later fragment, or from or to an address that is not one
/// host's: RFC 1122, 3.2.2; RFC 4443, 2.4 (e)), or there is no room to quote its headers and eight bytes.
#[must_use]
pub fn port_unreachable<A: Address>(frame: &mut [u8], headers: &Headers<A>) -> Option<u32> {
    if !answerable(headers) {
        return None;
    }
    let (header_len, max, protocol, kind, code) = match A::FAMILY {
        Family::Ipv4 => (20_usize, ICMPV4_ERROR_MAX, ipv4::ICMP, 3, 3),
        Family::Ipv6 => (40_usize, ICMPV6_ERROR_MAX, ipv6::ICMPV6, 1, 4),
    };
    let overhead = header_len.wrapping_add(usize::from(icmp::HEADER_LEN));
    let packet_len = usize::try_from(headers.end).ok()?;
    let room = frame.len().min(max).checked_sub(overhead)?;
    let quote_len = packet_len.min(room);
    if quote_len < usize::from(headers.transport).wrapping_add(8) {
        return None;
    }
    let service = type_of_service::<A>(frame);
    let total = overhead.wrapping_add(quote_len);
    let frame = frame.get_mut(..total)?;
    frame.copy_within(..quote_len, overhead);
    let (header, message) = frame.split_at_mut_checked(header_len)?;
    // RFC 1812, 4.3.2.5: errors travel with precedence 6, internetwork control.
    let service = (service & 0x1e) | 0xc0;
    write_header(header, headers, protocol, service, message.len())?;
    *message.first_chunk_mut::<8>()? = [kind, code, 0, 0, 0, 0, 0, 0];
    let value = match A::FAMILY {
        Family::Ipv4 => checksum(message),
        Family::Ipv6 => transport_checksum(
            headers.tuple.destination,
            headers.tuple.source,
            protocol,
            message,
        ),
    };
    if let [_, _, c0, c1, ..] = message {
        [*c0, *c1] = value.to_be_bytes();
    }
    u32::try_from(total).ok()
}

/// Replaces the segment in `frame` by the reset that RFC 9293, 3.10.7.1, sends for a connection that does not
/// exist, and gives the reset's length in bytes.
///
/// `None`, and nothing is written: not a whole TCP segment, itself a reset, or from or to an address that is not
/// one host's.
#[must_use]
pub fn tcp_reset<A: Address>(frame: &mut [u8], headers: &Headers<A>) -> Option<u32> {
    if !answerable(headers) || headers.kind != Kind::Whole {
        return None;
    }
    let segment = TcpSegment::read(frame, headers)?;
    if segment.flags & tcp_flags::RST != 0 {
        return None;
    }
    let (sequence, acknowledgment, flags) = if segment.flags & tcp_flags::ACK != 0 {
        (segment.acknowledgment, 0, tcp_flags::RST)
    } else {
        let next = segment.sequence.wrapping_add(segment.sequence_len());
        (0, next, tcp_flags::RST | tcp_flags::ACK)
    };
    let header_len = match A::FAMILY {
        Family::Ipv4 => 20_usize,
        Family::Ipv6 => 40_usize,
    };
    let total = header_len.wrapping_add(20);
    let frame = frame.get_mut(..total)?;
    let (header, message) = frame.split_at_mut_checked(header_len)?;
    let tuple = headers.tuple.reverse();
    let number = Protocol::Tcp.number();
    write_header(header, headers, number, 0, message.len())?;
    let [p0, p1] = tuple.source_port.to_be_bytes();
    let [q0, q1] = tuple.destination_port.to_be_bytes();
    let [s0, s1, s2, s3] = sequence.to_be_bytes();
    let [a0, a1, a2, a3] = acknowledgment.to_be_bytes();
    let mut bytes = [
        p0, p1, q0, q1, s0, s1, s2, s3, a0, a1, a2, a3, 0x50, flags, 0, 0, 0, 0, 0, 0,
    ];
    let value = transport_checksum(tuple.source, tuple.destination, number, &bytes);
    let [.., c0, c1, _, _] = &mut bytes;
    [*c0, *c1] = value.to_be_bytes();
    *message.first_chunk_mut::<20>()? = bytes;
    u32::try_from(total).ok()
}

/// Turns the echo request in `frame` into its reply (RFC 792; RFC 4443, 4.2), and gives its length in bytes.
///
/// `headers` must be of kind [`Kind::Other`]. `None`, and nothing is written: not an ICMP echo request, in fragments
/// or behind extension headers, cut, with a wrong checksum, or from or to an address that is not one host's.
#[must_use]
pub fn echo_reply<A: Address>(frame: &mut [u8], headers: &Headers<A>) -> Option<u32> {
    let (header_len, protocol, request, reply) = match A::FAMILY {
        Family::Ipv4 => (20_usize, ipv4::ICMP, 8_u8, 0_u8),
        Family::Ipv6 => (40_usize, ipv6::ICMPV6, 128, 129),
    };
    if headers.kind != Kind::Other || headers.martian() || !is_whole::<A>(frame, headers, protocol)
    {
        return None;
    }
    let (start, end) = (usize::from(headers.transport), headers.end as usize);
    let message = frame.get(start..end)?;
    let [kind, 0, ..] = message else {
        return None;
    };
    let (source, destination) = (headers.tuple.source, headers.tuple.destination);
    let sum = |message: &[u8]| match A::FAMILY {
        Family::Ipv4 => checksum(message),
        Family::Ipv6 => transport_checksum(source, destination, protocol, message),
    };
    if *kind != request || message.len() < usize::from(icmp::HEADER_LEN) || sum(message) != 0 {
        return None;
    }
    let service = type_of_service::<A>(frame);
    // Without the options that the request may have had.
    let options = start.checked_sub(header_len)?;
    let moved = frame.get_mut(header_len..end)?;
    if options > moved.len() {
        return None;
    }
    moved.copy_within(options.., 0);
    let total = end.wrapping_sub(options);
    let (header, message) = frame.get_mut(..total)?.split_at_mut_checked(header_len)?;
    write_header(header, headers, protocol, service, message.len())?;
    if let [kind, _, c0, c1, ..] = message {
        *kind = reply;
        [*c0, *c1] = [0, 0];
    }
    let value = sum(message);
    if let [_, _, c0, c1, ..] = message {
        [*c0, *c1] = value.to_be_bytes();
    }
    u32::try_from(total).ok()
}

/// Is the packet a whole one of this protocol, which follows its IP header directly?
fn is_whole<A: Address>(packet: &[u8], headers: &Headers<A>, protocol: u8) -> bool {
    match (A::FAMILY, packet) {
        (Family::Ipv4, [_, _, _, _, _, _, f0, f1, _, number, ..]) => {
            *number == protocol && u16::from_be_bytes([*f0, *f1]) & 0x3fff == 0
        }
        (Family::Ipv6, [_, _, _, _, _, _, number, ..]) => {
            *number == protocol && headers.transport == 40
        }
        (Family::Ipv4 | Family::Ipv6, _) => false,
    }
}

fn answerable<A: Address>(headers: &Headers<A>) -> bool {
    matches!(headers.kind, Kind::Whole | Kind::FirstFragment { .. }) && !headers.martian()
}

/// The IPv4 type of service; the IPv6 traffic class.
fn type_of_service<A: Address>(packet: &[u8]) -> u8 {
    match (A::FAMILY, packet) {
        (Family::Ipv4, [_, service, ..]) => *service,
        (Family::Ipv6, [high, low, ..]) => (high << 4) | (low >> 4),
        (Family::Ipv4 | Family::Ipv6, _) => 0,
    }
}

/// Writes an IP header back to the packet's sender, in front of `message_len` bytes.
fn write_header<A: Address>(
    header: &mut [u8],
    headers: &Headers<A>,
    protocol: u8,
    service: u8,
    message_len: usize,
) -> Option<()> {
    let (source, destination) = (headers.tuple.destination, headers.tuple.source);
    let message_len = u16::try_from(message_len).ok()?;
    match A::FAMILY {
        Family::Ipv4 => {
            let [l0, l1] = message_len.checked_add(20)?.to_be_bytes();
            let [s0, s1, s2, s3] = ipv4_bytes(source);
            let [d0, d1, d2, d3] = ipv4_bytes(destination);
            // Do not fragment, and so no identification (RFC 6864, 4.1).
            let mut bytes = [
                0x45, service, l0, l1, 0, 0, 0x40, 0, HOP_LIMIT, protocol, 0, 0, s0, s1, s2, s3,
                d0, d1, d2, d3,
            ];
            let value = checksum(&bytes);
            let [_, _, _, _, _, _, _, _, _, _, c0, c1, ..] = &mut bytes;
            [*c0, *c1] = value.to_be_bytes();
            *header.first_chunk_mut::<20>()? = bytes;
        }
        Family::Ipv6 => {
            let [l0, l1] = message_len.to_be_bytes();
            let header = header.first_chunk_mut::<40>()?;
            let (start, rest) = header.split_first_chunk_mut::<8>()?;
            let (source_field, rest) = rest.split_first_chunk_mut::<16>()?;
            *start = [
                0x60 | (service >> 4),
                service << 4,
                0,
                0,
                l0,
                l1,
                protocol,
                HOP_LIMIT,
            ];
            *source_field = ipv6_bytes(source);
            *rest.first_chunk_mut::<16>()? = ipv6_bytes(destination);
        }
    }
    Some(())
}
