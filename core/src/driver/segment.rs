//! In software what hardware was asked to do: completes partial checksums and cuts a packet into segments.
//!
//! For an output that takes neither (a TUN without virtio header, a device with its offloads off). A packet
//! whose offload fields contradict its bytes is refused, never repaired: [`SegmentError`].

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::virtio::gso_type;
use crate::net::{Address, Protocol};
use crate::packet::{self, Headers, Kind, Offload, Parsed, offload_flags, tcp_flags};

/// The most segments that one packet is cut into: 65,535 bytes in segments of 48, Linux' smallest
/// (`net.ipv4.tcp_min_snd_mss`). More is an attempt to have one packet do the work of thousands.
pub const MAX_SEGMENTS: usize = 1366;

/// The longest packet taken or made: 65,535 bytes behind an IPv6 header.
pub const MAX_PACKET_LEN: usize = 65_575;

/// Why a packet could not be finished in software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// Not a packet whose offload fields fit its headers; see [`packet::parse`].
    Malformed,
    /// To be segmented, but without a partial checksum, which virtio 1.2, 5.1.6.2 demands.
    NotPartial,
    /// To be segmented, and was not; or the other way round.
    Type,
    /// More than [`MAX_SEGMENTS`] segments.
    TooManySegments,
    /// The buffer is shorter than a segment.
    Buffer,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the offload fields do not fit the packet's headers",
            Self::NotPartial => "a packet to be segmented must have a partial checksum",
            Self::Type => "gso_type asks for something else",
            Self::TooManySegments => "gso_size makes too many segments",
            Self::Buffer => "the buffer is shorter than a segment",
        })
    }
}

impl core::error::Error for SegmentError {}

/// Completes the checksum of a packet that is not to be segmented, and clears its offload fields. A checksum
/// that is complete already is left as it is.
///
/// # Errors
/// [`SegmentError::Malformed`] if the fields point outside the packet, [`SegmentError::Type`] if the packet is
/// to be segmented. The packet is then as it was.
pub fn complete_checksum(packet: &mut [u8], offload: &mut Offload) -> Result<(), SegmentError> {
    if offload.gso_type != gso_type::NONE {
        return Err(SegmentError::Type);
    }
    // SCTP alone has another checksum than the Internet's. An ICMP error about SCTP is none.
    let sctp = match packet::parse(packet, offload) {
        Parsed::Ipv4(headers) => is_sctp(&headers),
        Parsed::Ipv6(headers) => is_sctp(&headers),
        Parsed::NotOurs => false,
        Parsed::Malformed(_) => return Err(SegmentError::Malformed),
    };
    let protocol = if sctp { Protocol::Sctp } else { Protocol::Udp };
    if !packet::complete_checksum(packet, protocol, offload) {
        return Err(SegmentError::Malformed);
    }
    *offload = Offload::default();
    Ok(())
}

fn is_sctp<A>(headers: &Headers<A>) -> bool {
    headers.tuple.protocol == Protocol::Sctp && matches!(headers.kind, Kind::Whole)
}

/// Source and destination, for the pseudo-header.
#[derive(Debug, Clone, Copy)]
enum Addresses {
    Ipv4(Ipv4Addr, Ipv4Addr),
    Ipv6(Ipv6Addr, Ipv6Addr),
}

/// The segments of one packet, one after the other, in a buffer that the caller owns.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    buffer: &'a mut [u8],
    addresses: Addresses,
    /// The first segment's sequence number; `None` for UDP.
    sequence: Option<u32>,
    /// Where the transport header begins.
    transport: usize,
    /// Bytes that every segment begins with.
    header_len: usize,
    /// Bytes of payload in every segment but the last.
    size: usize,
    /// Segments that have been given out.
    done: usize,
}

impl<'a> Segments<'a> {
    /// Prepares to cut `packet` (from its IP header on) as `offload` says. A `buffer` as long as the packet is
    /// always long enough; it is overwritten with each segment.
    ///
    /// # Errors
    /// A [`SegmentError`] if there is no right way to cut it.
    pub fn new(
        packet: &'a [u8],
        offload: &Offload,
        buffer: &'a mut [u8],
    ) -> Result<Self, SegmentError> {
        if offload.gso_type == gso_type::NONE {
            return Err(SegmentError::Type);
        }
        if offload.flags & offload_flags::PARTIAL == 0 {
            return Err(SegmentError::NotPartial);
        }
        // From here on the offload fields fit the headers, and the packet is TCP or UDP and no fragment.
        match packet::parse(packet, offload) {
            Parsed::Ipv4(headers) => {
                let addresses = Addresses::Ipv4(headers.tuple.source, headers.tuple.destination);
                Self::of(packet, &headers, addresses, offload, buffer)
            }
            Parsed::Ipv6(headers) => {
                let addresses = Addresses::Ipv6(headers.tuple.source, headers.tuple.destination);
                Self::of(packet, &headers, addresses, offload, buffer)
            }
            Parsed::NotOurs | Parsed::Malformed(_) => Err(SegmentError::Malformed),
        }
    }

    fn of<A: Address>(
        packet: &'a [u8],
        headers: &Headers<A>,
        addresses: Addresses,
        offload: &Offload,
        buffer: &'a mut [u8],
    ) -> Result<Self, SegmentError> {
        let packet = packet
            .get(..headers.end as usize)
            .ok_or(SegmentError::Malformed)?;
        let transport = usize::from(headers.transport);
        let message = packet.get(transport..).ok_or(SegmentError::Malformed)?;
        let (sequence, transport_len) = if headers.tuple.protocol == Protocol::Tcp {
            let header = message.first_chunk::<20>().ok_or(SegmentError::Malformed)?;
            let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, data_offset, ..] = *header;
            let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
            (
                Some(sequence),
                usize::from(data_offset >> 4).wrapping_mul(4),
            )
        } else {
            (None, 8)
        };
        let header_len = transport.wrapping_add(transport_len);
        let payload_len = packet
            .len()
            .checked_sub(header_len)
            .ok_or(SegmentError::Malformed)?;
        let size = usize::from(offload.gso_size);
        if size == 0 {
            return Err(SegmentError::Malformed);
        }
        if payload_len.div_ceil(size) > MAX_SEGMENTS {
            return Err(SegmentError::TooManySegments);
        }
        if buffer.len() < header_len.wrapping_add(size.min(payload_len)) {
            return Err(SegmentError::Buffer);
        }
        Ok(Self {
            packet,
            buffer,
            addresses,
            sequence,
            transport,
            header_len,
            size,
            done: 0,
        })
    }

    /// The next segment, complete with its checksums; `None` after the last. A packet without payload is one
    /// segment.
    pub fn next_segment(&mut self) -> Option<&[u8]> {
        let done_len = self.done.checked_mul(self.size)?;
        let rest = self.packet.get(self.header_len.checked_add(done_len)?..)?;
        if rest.is_empty() && self.done > 0 {
            return None;
        }
        let payload = rest.get(..self.size).unwrap_or(rest);
        let last = payload.len() == rest.len();
        let segment = self
            .buffer
            .get_mut(..self.header_len.checked_add(payload.len())?)?;
        let (header, body) = segment.split_at_mut_checked(self.header_len)?;
        header.copy_from_slice(self.packet.get(..self.header_len)?);
        body.copy_from_slice(payload);
        match self.addresses {
            Addresses::Ipv4(..) => finish_ipv4(segment, self.done)?,
            Addresses::Ipv6(..) => {
                put(
                    segment,
                    4,
                    u16::try_from(segment.len().checked_sub(40)?).ok()?,
                )?;
            }
        }
        let message = segment.get_mut(self.transport..)?;
        let (protocol, field) = match self.sequence {
            Some(first) => {
                let sequence = first.wrapping_add(u32::try_from(done_len).ok()?);
                finish_tcp(message, sequence, self.done == 0, last)?;
                (6, 16)
            }
            None => {
                put(message, 4, u16::try_from(message.len()).ok()?)?;
                (17, 6)
            }
        };
        put(message, field, 0)?;
        let checksum = match self.addresses {
            Addresses::Ipv4(from, to) => packet::transport_checksum(from, to, protocol, message),
            Addresses::Ipv6(from, to) => packet::transport_checksum(from, to, protocol, message),
        };
        // UDP writes a sum of zero as 0xffff (RFC 768), which is as right for TCP.
        put(
            message,
            field,
            if checksum == 0 { 0xffff } else { checksum },
        )?;
        self.done = self.done.checked_add(1)?;
        self.buffer
            .get(..self.header_len.checked_add(payload.len())?)
    }
}

fn put(bytes: &mut [u8], at: usize, number: u16) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut::<2>()? = number.to_be_bytes();
    Some(())
}

/// Length, identification and header checksum of segment number `index`. Each segment is a datagram of its own,
/// and its identification must tell it from the others if it is fragmented (RFC 6864, 4).
fn finish_ipv4(segment: &mut [u8], index: usize) -> Option<()> {
    let total_len = u16::try_from(segment.len()).ok()?;
    let [first, ..] = *segment.first_chunk::<1>()?;
    let header = segment.get_mut(..usize::from(first & 0x0f).wrapping_mul(4))?;
    let [_, _, _, _, i0, i1] = *header.first_chunk()?;
    put(header, 2, total_len)?;
    put(
        header,
        4,
        u16::from_be_bytes([i0, i1]).wrapping_add(u16::try_from(index).ok()?),
    )?;
    put(header, 10, 0)?;
    let checksum = packet::checksum(header);
    put(header, 10, checksum)
}

/// Only the last segment ends something (FIN, PSH); only the first one announces a smaller window, which is
/// announced once (RFC 3168, 6.1.2).
fn finish_tcp(message: &mut [u8], sequence: u32, first: bool, last: bool) -> Option<()> {
    let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, _, flags, ..] = message.first_chunk_mut::<20>()?;
    [*s0, *s1, *s2, *s3] = sequence.to_be_bytes();
    if !last {
        *flags &= !(tcp_flags::FIN | tcp_flags::PSH);
    }
    if !first {
        *flags &= !tcp_flags::CWR;
    }
    Some(())
}

#[cfg(test)]
mod tests;
