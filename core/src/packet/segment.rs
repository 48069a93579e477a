//! What connection tracking reads of a TCP segment (RFC 9293, 3.1).

use super::{Headers, Kind, tcp_flags};
use crate::net::{Address, Protocol};

/// A TCP segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSegment {
    /// Bits of [`tcp_flags`].
    pub flags: u8,
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// The next byte expected, if [`tcp_flags::ACK`] is set.
    pub acknowledgment: u32,
    /// The window field, not scaled.
    pub window: u16,
    /// Bytes of data. Of a first fragment: those in the fragment.
    pub payload_len: u32,
    /// The shift that a SYN offers (RFC 7323, 2.2), at most 14; `None` on other segments.
    pub window_scale: Option<u8>,
}

impl TcpSegment {
    /// Reads it. `None` if this is no TCP segment.
    #[must_use]
    #[inline]
    pub fn read<A: Address>(packet: &[u8], headers: &Headers<A>) -> Option<Self> {
        if headers.tuple.protocol != Protocol::Tcp
            || !matches!(headers.kind, Kind::Whole | Kind::FirstFragment { .. })
        {
            return None;
        }
        let end = usize::try_from(headers.end).ok()?;
        Self::of_message(packet.get(usize::from(headers.transport)..end)?)
    }

    /// Reads a message, options included.
    #[inline(always)]
    pub(super) fn of_message(message: &[u8]) -> Option<Self> {
        let header = message.first_chunk::<20>()?;
        let header_len = u32::from(header[12] >> 4) << 2;
        let len = u32::try_from(message.len()).ok()?;
        let mut segment = Self::of_header(header, len.checked_sub(header_len)?);
        if segment.flags & tcp_flags::SYN != 0 {
            let len = usize::from(header[12] >> 4) << 2;
            segment.window_scale = window_scale(message.get(20..len)?);
        }
        Some(segment)
    }

    /// Reads all but the options of a segment with so many bytes of data.
    #[inline(always)]
    #[must_use]
    pub const fn of_header(header: &[u8; 20], payload_len: u32) -> Self {
        let &[
            _,
            _,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            a0,
            a1,
            a2,
            a3,
            _,
            flags,
            w0,
            w1,
            ..,
        ] = header;
        Self {
            flags,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            window: u16::from_be_bytes([w0, w1]),
            payload_len,
            window_scale: None,
        }
    }

    /// Sequence numbers that the segment occupies: its data, and one each for SYN and FIN.
    #[must_use]
    #[inline]
    pub const fn sequence_len(&self) -> u32 {
        let syn = (self.flags & tcp_flags::SYN != 0) as u32;
        let fin = (self.flags & tcp_flags::FIN != 0) as u32;
        self.payload_len.wrapping_add(syn).wrapping_add(fin)
    }
}

fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        // What is shorter holds none.
        let &[kind, len, shift] = options.first_chunk()?;
        let skip = match (kind, len) {
            (0, _) => return None,
            (1, _) => 1,
            // More than 14 is to be taken as 14 (RFC 7323, 2.3).
            (3, 3) => return Some(shift.min(14)),
            (_, 0 | 1) => return None,
            (_, len) => usize::from(len),
        };
        options = options.get(skip..)?;
    }
}
