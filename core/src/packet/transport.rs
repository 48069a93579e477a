//! Transport headers: ports, TCP flags, and the lengths they claim.

use crate::net::{DropReason, Ports, Protocol};

/// The transport header's part of [`super::Headers`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Transport {
    pub(super) ports: Ports,
    pub(super) tcp_flags: u8,
    /// Bytes behind a TCP header; 0 of other protocols.
    pub(super) tcp_payload: usize,
}

/// Where the checksum lies, in bytes from the transport header.
#[inline]
pub(super) const fn checksum_offset(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 16,
        Protocol::Udp => 6,
        Protocol::Sctp => 8,
    }
}

/// Length of the header without options, in bytes.
#[inline]
pub(super) const fn header_len(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 20,
        Protocol::Udp => 8,
        Protocol::Sctp => 12,
    }
}

/// Reads the header that `message` begins with. `message` ends where the IP packet ends; `whole` is false for
/// a first fragment, whose UDP length reaches beyond it.
#[inline]
pub(super) fn read(
    protocol: Protocol,
    message: &[u8],
    whole: bool,
) -> Result<Transport, DropReason> {
    match protocol {
        Protocol::Tcp => {
            let Some(&[s0, s1, d0, d1, .., offset, flags, _, _, _, _, _, _]) =
                message.first_chunk::<20>()
            else {
                return Err(DropReason::MalformedTruncated);
            };
            let header_len = usize::from(offset >> 4) << 2;
            if header_len < 20 {
                return Err(DropReason::MalformedHeader);
            }
            let Some(tcp_payload) = message.len().checked_sub(header_len) else {
                return Err(DropReason::MalformedTruncated);
            };
            Ok(Transport {
                ports: Ports::from_bytes([s0, s1, d0, d1]),
                tcp_flags: flags,
                tcp_payload,
            })
        }
        Protocol::Udp => {
            let Some(&[s0, s1, d0, d1, l0, l1, _, _]) = message.first_chunk::<8>() else {
                return Err(DropReason::MalformedTruncated);
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            if length < 8 {
                // Zero is legal in jumbograms only (RFC 2675, 4).
                return Err(DropReason::MalformedHeader);
            }
            if whole && length > message.len() {
                return Err(DropReason::MalformedTruncated);
            }
            Ok(Transport {
                ports: Ports::from_bytes([s0, s1, d0, d1]),
                tcp_flags: 0,
                tcp_payload: 0,
            })
        }
        Protocol::Sctp => {
            let Some(&[s0, s1, d0, d1, ..]) = message.first_chunk::<12>() else {
                return Err(DropReason::MalformedTruncated);
            };
            Ok(Transport {
                ports: Ports::from_bytes([s0, s1, d0, d1]),
                tcp_flags: 0,
                tcp_payload: 0,
            })
        }
    }
}

/// May a later fragment of this protocol begin at `offset` bytes? Not inside the header that the first
/// fragment must hold (RFC 1858, RFC 3128).
#[inline]
pub(super) const fn fragment_may_begin_at(protocol: Protocol, offset: u16) -> bool {
    offset >= header_len(protocol)
}
