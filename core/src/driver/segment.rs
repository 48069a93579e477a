//! In software what hardware was asked to do: completes partial checksums and cuts a packet into segments.
//!
//! For an output that takes neither (a TUN without virtio header, a device with its offloads off). A packet
//! whose offload fields contradict its bytes is refused, never repaired: [`SegmentError`].

use core::fmt;

use super::virtio::gso_type;
use crate::packet::{Offload, offload_flags};

/// The most segments that one packet is cut into: 65,535 bytes in segments of 48, Linux' smallest
/// (`net.ipv4.tcp_min_snd_mss`). More is an attempt to have one packet do the work of thousands.
pub const MAX_SEGMENTS: usize = 1366;

/// The longest packet taken or made: 65,535 bytes behind an IPv6 header.
pub const MAX_PACKET_LEN: usize = 65_575;

/// Why a packet could not be finished in software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentError {
    /// The packet is shorter than its headers, or longer than any packet can be.
    Length,
    /// The offload fields point outside the packet, or to another place than its headers do.
    Checksum,
    /// To be segmented, but without a partial checksum, which virtio 1.2, 5.1.6.2 demands.
    NotPartial,
    /// A way of segmenting that is not TCP's or UDP's, or of another address family than the packet's.
    Type,
    /// Segments of no bytes, or more than [`MAX_SEGMENTS`] of them.
    Size,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the packet's length contradicts its headers",
            Self::Checksum => "checksum_start and checksum_offset do not fit the packet's headers",
            Self::NotPartial => "a packet to be segmented must have a partial checksum",
            Self::Type => "gso_type does not fit the packet's protocol",
            Self::Size => "gso_size makes no segments or too many",
        })
    }
}

impl core::error::Error for SegmentError {}

/// Adds the 16-bit words of `bytes` to a sum (RFC 1071), an odd last byte as the upper half of a word. Only the
/// last slice summed may be odd.
fn add_words(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = words.iter().fold(sum, |sum, word| {
        sum.wrapping_add(u64::from(u32::from_be_bytes(*word)))
    });
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum = sum.wrapping_add(u64::from(u32::from_be_bytes(last)));
    sum
}

/// Folds a sum to 16 bits and complements it. Never zero but 0xffff, its other spelling: UDP's zero would mean
/// that there is no checksum (RFC 768), and for TCP both are the same number.
fn complement(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16).wrapping_add(sum & 0xffff);
    }
    match !(sum as u16) {
        0 => 0xffff,
        checksum => checksum,
    }
}

fn put(packet: &mut [u8], at: usize, number: u16) -> Option<()> {
    *packet.get_mut(at..)?.first_chunk_mut::<2>()? = number.to_be_bytes();
    Some(())
}

fn take(packet: &[u8], at: usize) -> Option<u16> {
    packet
        .get(at..)?
        .first_chunk::<2>()
        .map(|bytes| u16::from_be_bytes(*bytes))
}

/// Completes the checksum of a packet that is not to be segmented, and clears the flag. A packet whose checksum
/// is complete already is left as it is.
///
/// # Errors
/// [`SegmentError::Checksum`] if the field does not lie inside the packet, [`SegmentError::Type`] if the packet
/// is to be segmented. The packet is then as it was.
pub fn complete_checksum(packet: &mut [u8], offload: &mut Offload) -> Result<(), SegmentError> {
    if offload.gso_type & !gso_type::ECN != gso_type::NONE {
        return Err(SegmentError::Type);
    }
    if offload.flags & offload_flags::PARTIAL != 0 {
        let start = usize::from(offload.checksum_start);
        let field = start.wrapping_add(usize::from(offload.checksum_offset));
        let summed = packet.get(start..).ok_or(SegmentError::Checksum)?;
        // The field holds the sum of the pseudo-header, so it is summed like everything else.
        let checksum = complement(add_words(0, summed));
        put(packet, field, checksum).ok_or(SegmentError::Checksum)?;
    }
    *offload = Offload::default();
    Ok(())
}

/// What every segment starts with, and how its fields depend on its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp { sequence: u32 },
    Udp,
}

/// The segments of one packet, one after the other, in a buffer that the caller owns.
#[derive(Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    buffer: &'a mut [u8],
    ipv4: bool,
    transport: Transport,
    transport_start: usize,
    header_len: usize,
    segment_len: usize,
    /// Bytes of payload that have been given out.
    done: usize,
}

const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

impl<'a> Segments<'a> {
    /// Prepares to cut `packet` (from its IP header on) as `offload` says. `buffer` must be as long as the
    /// packet; it is overwritten with each segment.
    ///
    /// # Errors
    /// A [`SegmentError`] if the packet contradicts its offload fields, or the buffer is shorter than a segment.
    pub fn new(
        packet: &'a [u8],
        offload: &Offload,
        buffer: &'a mut [u8],
    ) -> Result<Self, SegmentError> {
        if offload.flags & offload_flags::PARTIAL == 0 {
            return Err(SegmentError::NotPartial);
        }
        let version = packet.first().ok_or(SegmentError::Length)? >> 4;
        let transport_start = usize::from(offload.checksum_start);
        let (ipv4, tcp) = match (version, offload.gso_type & !gso_type::ECN) {
            (4, gso_type::TCP_IPV4) => (true, true),
            (6, gso_type::TCP_IPV6) => (false, true),
            (4, gso_type::UDP_SEGMENTATION) => (true, false),
            (6, gso_type::UDP_SEGMENTATION) => (false, false),
            _ => return Err(SegmentError::Type),
        };
        check_network_header(packet, ipv4, transport_start, tcp)?;
        let header = packet
            .get(transport_start..)
            .ok_or(SegmentError::Checksum)?;
        let (transport, transport_len, field) = if tcp {
            let header = header.first_chunk::<20>().ok_or(SegmentError::Length)?;
            let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, offset, ..] = *header;
            let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
            (
                Transport::Tcp { sequence },
                usize::from(offset >> 4).wrapping_mul(4),
                16,
            )
        } else {
            (Transport::Udp, 8, 6)
        };
        if usize::from(offload.checksum_offset) != field {
            return Err(SegmentError::Checksum);
        }
        let header_len = transport_start.wrapping_add(transport_len);
        let payload_len = packet
            .len()
            .checked_sub(header_len)
            .ok_or(SegmentError::Length)?;
        let segment_len = usize::from(offload.gso_size);
        if packet.len() > MAX_PACKET_LEN || (tcp && transport_len < 20) {
            return Err(SegmentError::Length);
        }
        if segment_len == 0 || payload_len.div_ceil(segment_len) > MAX_SEGMENTS {
            return Err(SegmentError::Size);
        }
        if buffer.len() < header_len.wrapping_add(segment_len.min(payload_len)) {
            return Err(SegmentError::Length);
        }
        Ok(Self {
            packet,
            buffer,
            ipv4,
            transport,
            transport_start,
            header_len,
            segment_len,
            done: 0,
        })
    }

    /// The next segment, complete with its checksums; `None` after the last. A packet without payload is one
    /// segment.
    pub fn next_segment(&mut self) -> Option<&[u8]> {
        let rest = self.packet.get(self.header_len.checked_add(self.done)?..)?;
        if rest.is_empty() && self.done > 0 {
            return None;
        }
        let payload = rest.get(..self.segment_len).unwrap_or(rest);
        let last = payload.len() == rest.len();
        let segment = self
            .buffer
            .get_mut(..self.header_len.checked_add(payload.len())?)?;
        let (header, body) = segment.split_at_mut_checked(self.header_len)?;
        header.copy_from_slice(self.packet.get(..self.header_len)?);
        body.copy_from_slice(payload);
        let index = self.done.checked_div(self.segment_len)?;
        finish_network_header(segment, self.ipv4, index)?;
        let start = self.transport_start;
        let checksum_at = match self.transport {
            Transport::Tcp { sequence } => {
                let tcp = segment.get_mut(start..)?.first_chunk_mut::<20>()?;
                let [_, _, _, _, s0, s1, s2, s3, _, _, _, _, _, flags, ..] = tcp;
                let sequence = sequence.wrapping_add(u32::try_from(self.done).ok()?);
                [*s0, *s1, *s2, *s3] = sequence.to_be_bytes();
                if !last {
                    *flags &= !TCP_FIN_PSH;
                }
                // CWR announces one reduction of the window, once (RFC 3168, 6.1.2).
                if index > 0 {
                    *flags &= !TCP_CWR;
                }
                start.wrapping_add(16)
            }
            Transport::Udp => {
                let len = segment.len().wrapping_sub(start);
                put(segment, start.wrapping_add(4), u16::try_from(len).ok()?)?;
                start.wrapping_add(6)
            }
        };
        put(segment, checksum_at, 0)?;
        let protocol = if checksum_at.wrapping_sub(start) == 16 {
            6
        } else {
            17
        };
        let sum = add_pseudo_header(segment, self.ipv4, start, protocol)?;
        let checksum = complement(add_words(sum, segment.get(start..)?));
        put(segment, checksum_at, checksum)?;
        self.done = self.done.checked_add(payload.len().max(1))?;
        Some(segment)
    }
}

/// Whether the IP header ends where the transport header is said to begin. IPv6 extension headers are copied to
/// every segment, so only their end matters.
fn check_network_header(
    packet: &[u8],
    ipv4: bool,
    transport_start: usize,
    tcp: bool,
) -> Result<(), SegmentError> {
    if ipv4 {
        let header = packet.first_chunk::<20>().ok_or(SegmentError::Length)?;
        let [
            version,
            _,
            _,
            _,
            _,
            _,
            fragment_high,
            fragment_low,
            _,
            protocol,
            ..,
        ] = *header;
        let header_len = usize::from(version & 0x0f).wrapping_mul(4);
        if header_len < 20 || header_len != transport_start {
            return Err(SegmentError::Checksum);
        }
        let fragment = u16::from_be_bytes([fragment_high, fragment_low]) & 0x3fff;
        if fragment != 0 || protocol != if tcp { 6 } else { 17 } {
            return Err(SegmentError::Type);
        }
    } else if transport_start < 40 {
        return Err(SegmentError::Checksum);
    }
    Ok(())
}

/// Length, and for IPv4 identification and header checksum, of segment number `index`.
fn finish_network_header(segment: &mut [u8], ipv4: bool, index: usize) -> Option<()> {
    if !ipv4 {
        return put(
            segment,
            4,
            u16::try_from(segment.len().checked_sub(40)?).ok()?,
        );
    }
    put(segment, 2, u16::try_from(segment.len()).ok()?)?;
    // Each segment is a datagram of its own and may be fragmented on its own (RFC 6864, 4).
    let identification = take(segment, 4)?.wrapping_add(index as u16);
    put(segment, 4, identification)?;
    put(segment, 10, 0)?;
    let header_len = usize::from(segment.first()? & 0x0f).wrapping_mul(4);
    let checksum = complement(add_words(0, segment.get(..header_len)?));
    put(segment, 10, checksum)
}

/// RFC 9293, 3.1 and RFC 8200, 8.1.
fn add_pseudo_header(segment: &[u8], ipv4: bool, start: usize, protocol: u64) -> Option<u64> {
    let len = segment.len().checked_sub(start)?;
    let addresses = if ipv4 {
        segment.get(12..20)?
    } else {
        segment.get(8..40)?
    };
    let sum = protocol.wrapping_add(u64::try_from(len).ok()?);
    Some(add_words(sum, addresses))
}

#[cfg(test)]
mod tests;
