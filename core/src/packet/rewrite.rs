//! Translates a packet in place, by checksum deltas that its connection keeps.

use super::checksum::sum;
use super::{Delta, Headers, Kind, Offload, crc32c, offload_flags};
use crate::net::{Address, DropReason, Family, Ports, Protocol, Tuple};

/// What a packet's addresses and ports become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite<A> {
    /// The new source address.
    pub source: A,
    /// The new destination address.
    pub destination: A,
    /// The new source port.
    pub source_port: u16,
    /// The new destination port.
    pub destination_port: u16,
    /// What changes by the addresses: the IPv4 header's checksum, and the pseudo-header of either family.
    pub network: Delta,
    /// What changes by addresses and ports: the transport checksum of TCP and UDP.
    pub transport: Delta,
}

impl<A: Address> Rewrite<A> {
    /// Makes `to` of `from`. A connection keeps the two deltas; see [`Rewrite::with_deltas`].
    #[must_use]
    pub fn new(from: &Tuple<A>, to: &Tuple<A>) -> Self {
        let network = Delta::of_addresses(from, to);
        Self::with_deltas(to, network, network.plus(Delta::of_ports(from, to)))
    }

    /// Makes `to` of a packet for which [`Rewrite::new`] computed these deltas before.
    #[must_use]
    #[inline]
    pub const fn with_deltas(to: &Tuple<A>, network: Delta, transport: Delta) -> Self {
        Self {
            source: to.source,
            destination: to.destination,
            source_port: to.source_port,
            destination_port: to.destination_port,
            network,
            transport,
        }
    }
}

/// Translates the packet that `headers` were parsed from: addresses, ports and checksums change, nothing else.
///
/// Whole packets and first fragments get addresses and ports, later fragments addresses only. With
/// [`offload_flags::PARTIAL`] the transport checksum field holds the sum of the pseudo-header, so the addresses'
/// delta goes in, not complemented, and that of the ports does not. An absent UDP checksum stays absent.
///
/// # Errors
///
/// The packet is then untouched. [`DropReason::FragmentUntranslatable`]: a first fragment of SCTP whose ports
/// change, because its CRC32c covers bytes whose number is not known yet. [`DropReason::MalformedHeader`]: ICMP,
/// which [`super::rewrite_error`] translates. [`DropReason::MalformedTruncated`]: `packet` is not the one that
/// `headers` were parsed from.
#[inline(always)]
pub fn rewrite<A: Address>(
    packet: &mut [u8],
    headers: &Headers<A>,
    to: &Rewrite<A>,
    offload: &Offload,
) -> Result<(), DropReason> {
    let Some((network, message)) = packet.split_at_mut_checked(usize::from(headers.transport))
    else {
        return Err(DropReason::MalformedTruncated);
    };
    match headers.kind {
        Kind::Whole => {}
        Kind::FirstFragment { .. } => {
            let ports_change = headers.tuple.source_port != to.source_port
                || headers.tuple.destination_port != to.destination_port;
            if headers.tuple.protocol == Protocol::Sctp && ports_change {
                return Err(DropReason::FragmentUntranslatable);
            }
        }
        Kind::LaterFragment { .. } => {
            return write_addresses(network, to.source, to.destination, to.network)
                .ok_or(DropReason::MalformedTruncated);
        }
        Kind::IcmpError { .. } | Kind::Other => return Err(DropReason::MalformedHeader),
    }
    let partial =
        offload.flags & offload_flags::PARTIAL != 0 && offload.checksum_start == headers.transport;
    let ports = Ports::new(to.source_port, to.destination_port);
    let deltas = (to.network, to.transport);
    let written = match headers.tuple.protocol {
        Protocol::Tcp => message.first_chunk_mut::<18>().and_then(|header| {
            write_addresses(network, to.source, to.destination, to.network)?;
            write_tcp(header, ports, deltas, partial)
        }),
        Protocol::Udp => message.first_chunk_mut::<8>().and_then(|header| {
            write_addresses(network, to.source, to.destination, to.network)?;
            write_udp(header, ports, deltas, partial)
        }),
        Protocol::Sctp => message.first_chunk_mut::<12>().and_then(|header| {
            write_addresses(network, to.source, to.destination, to.network)?;
            let len = headers.end.wrapping_sub(u32::from(headers.transport));
            write_sctp(header, ports, (!partial).then_some(len))
        }),
    };
    written.ok_or(DropReason::MalformedTruncated)
}

#[inline(always)]
pub(super) fn write_tcp(
    header: &mut [u8; 18],
    ports: Ports,
    (network, transport): (Delta, Delta),
    partial: bool,
) -> Option<()> {
    let (port_field, rest) = header.split_first_chunk_mut::<4>()?;
    let checksum = rest.last_chunk_mut::<2>()?;
    *port_field = ports.to_bytes();
    *checksum = if partial {
        network.apply_to_sum(*checksum)
    } else {
        transport.apply(*checksum)
    };
    Some(())
}

#[inline(always)]
pub(super) fn write_udp(
    header: &mut [u8; 8],
    ports: Ports,
    (network, transport): (Delta, Delta),
    partial: bool,
) -> Option<()> {
    let (port_field, rest) = header.split_first_chunk_mut::<4>()?;
    let checksum = rest.last_chunk_mut::<2>()?;
    *port_field = ports.to_bytes();
    *checksum = if partial {
        network.apply_to_sum(*checksum)
    } else {
        transport.apply_udp(*checksum)
    };
    Some(())
}

/// Writes ports, and the CRC32c if the length of the SCTP packet is given and a port changes.
#[inline]
pub(super) fn write_sctp(header: &mut [u8; 12], ports: Ports, len: Option<u32>) -> Option<()> {
    let (port_field, rest) = header.split_first_chunk_mut::<4>()?;
    let checksum = rest.last_chunk_mut::<4>()?;
    let new = ports.to_bytes();
    let change = u32::from_le_bytes(*port_field) ^ u32::from_le_bytes(new);
    *port_field = new;
    if let Some(len) = len
        && change != 0
    {
        let old = u32::from_le_bytes(*checksum);
        *checksum = (old ^ crc32c::of_leading_change(change, len)).to_le_bytes();
    }
    Some(())
}

/// Writes both addresses and, over IPv4, the header checksum. `None`, and nothing written, if `header` is short.
#[inline]
pub(super) fn write_addresses<A: Address>(
    header: &mut [u8],
    source: A,
    destination: A,
    network: Delta,
) -> Option<()> {
    match A::FAMILY {
        Family::Ipv4 => {
            let header = header.first_chunk_mut::<20>()?;
            let (_, rest) = header.split_first_chunk_mut::<10>()?;
            let (checksum, rest) = rest.split_first_chunk_mut::<2>()?;
            let (source_field, rest) = rest.split_first_chunk_mut::<4>()?;
            let destination_field = rest.first_chunk_mut::<4>()?;
            *checksum = network.apply(*checksum);
            *source_field = ipv4_bytes(source);
            *destination_field = ipv4_bytes(destination);
        }
        Family::Ipv6 => {
            let header = header.first_chunk_mut::<40>()?;
            let (_, rest) = header.split_first_chunk_mut::<8>()?;
            let (source_field, rest) = rest.split_first_chunk_mut::<16>()?;
            let destination_field = rest.first_chunk_mut::<16>()?;
            *source_field = ipv6_bytes(source);
            *destination_field = ipv6_bytes(destination);
        }
    }
    Some(())
}

#[inline]
pub(super) fn ipv4_bytes<A: Address>(address: A) -> [u8; 4] {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an IPv4 address is the low half of the low word"
    )]
    (address.to_words()[1] as u32).to_be_bytes()
}

#[inline]
pub(super) fn ipv6_bytes<A: Address>(address: A) -> [u8; 16] {
    let [high, low] = address.to_words();
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

/// Does in software what [`offload_flags::PARTIAL`] leaves to hardware, for an output that has none, and clears
/// the flag. Link padding is not summed. `protocol` decides the checksum: CRC32c for SCTP. Fields that point outside
/// `packet` change nothing and give `false`. A packet to be segmented must be segmented first.
pub fn complete_checksum(packet: &mut [u8], protocol: Protocol, offload: &mut Offload) -> bool {
    if offload.flags & offload_flags::PARTIAL == 0 {
        return true;
    }
    let start = usize::from(offload.checksum_start);
    let Some(message) = end(packet).and_then(|end| packet.get_mut(start..end)) else {
        return false;
    };
    let offset = usize::from(offload.checksum_offset);
    if protocol == Protocol::Sctp {
        let Some(field) = message
            .get_mut(offset..)
            .and_then(<[u8]>::first_chunk_mut::<4>)
        else {
            return false;
        };
        *field = [0; 4];
        let value = crc32c::crc32c(message).to_le_bytes();
        if let Some(field) = message
            .get_mut(offset..)
            .and_then(<[u8]>::first_chunk_mut::<4>)
        {
            *field = value;
        }
    } else {
        let value = match !sum(message) {
            // UDP writes a sum of zero as 0xffff (RFC 768), which is as right for TCP.
            0 => 0xffff,
            value => value,
        };
        let Some(field) = message
            .get_mut(offset..)
            .and_then(<[u8]>::first_chunk_mut::<2>)
        else {
            return false;
        };
        *field = value.to_be_bytes();
    }
    offload.flags &= !offload_flags::PARTIAL;
    true
}

/// Where the packet ends, as its IP header says.
fn end(packet: &[u8]) -> Option<usize> {
    let &[first, _, t0, t1, p0, p1] = packet.first_chunk::<6>()?;
    match first >> 4 {
        4 => Some(usize::from(u16::from_be_bytes([t0, t1]))),
        6 => Some(usize::from(u16::from_be_bytes([p0, p1])).wrapping_add(40)),
        _ => None,
    }
}
