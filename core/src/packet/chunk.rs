//! What connection tracking reads of an SCTP packet (RFC 9260, 3).

use super::{Headers, Kind};
use crate::net::{Address, Protocol};

/// The first chunk of an SCTP packet, and the packet's verification tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpChunk {
    /// The chunk type: 0 DATA, 1 INIT, 2 INIT ACK, 3 SACK, 4 HEARTBEAT, 6 ABORT, 7 SHUTDOWN, 10 COOKIE ECHO…
    pub kind: u8,
    /// The chunk's flags.
    pub flags: u8,
    /// The verification tag of the common header; 0 in a packet that carries INIT.
    pub verification_tag: u32,
    /// The initiate tag of INIT and INIT ACK: the verification tag that the receiver is to use.
    pub initiate_tag: Option<u32>,
}

impl SctpChunk {
    /// INIT.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// ABORT.
    pub const ABORT: u8 = 6;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 7;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 14;

    /// Reads it. `None` if this is no SCTP packet, or one whose first chunk is absent or longer than the packet.
    #[must_use]
    pub fn read<A: Address>(packet: &[u8], headers: &Headers<A>) -> Option<Self> {
        if headers.tuple.protocol != Protocol::Sctp {
            return None;
        }
        let whole = match headers.kind {
            Kind::Whole => true,
            Kind::FirstFragment { .. } => false,
            Kind::LaterFragment { .. } | Kind::IcmpError { .. } | Kind::Other => return None,
        };
        let end = usize::try_from(headers.end).ok()?;
        let message = packet.get(usize::from(headers.transport)..end)?;
        let (&[_, _, _, _, t0, t1, t2, t3, _, _, _, _], chunks) =
            message.split_first_chunk::<12>()?;
        let &[kind, flags, l0, l1] = chunks.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if len < 4 || (whole && len > chunks.len()) {
            return None;
        }
        let initiate_tag = match kind {
            Self::INIT | Self::INIT_ACK => {
                let &[_, _, _, _, i0, i1, i2, i3] = chunks.first_chunk::<8>()?;
                Some(u32::from_be_bytes([i0, i1, i2, i3]))
            }
            _ => None,
        };
        Some(Self {
            kind,
            flags,
            verification_tag: u32::from_be_bytes([t0, t1, t2, t3]),
            initiate_tag,
        })
    }
}
