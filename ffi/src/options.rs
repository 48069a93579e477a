//! What a dataplane does where kube-proxy and its users differ, as numbers in `portolan_limits`.

use crate::error::Failure;
use crate::limits::portolan_limits;
use core::num::NonZeroU32;
use portolan::dataplane::{EndedTcp, MidStream, Options};
use portolan::sync::Advice;

/// They are translated on, until their peers end them: kube-proxy never cleans up TCP. (A number of
/// portolan_limits.ended_tcp.)
pub const PORTOLAN_ENDED_TCP_KEEP: u8 = 0;
/// The client's next segment is answered by a reset, the connection forgotten (kubernetes #100698, #104098).
pub const PORTOLAN_ENDED_TCP_RESET: u8 = 1;

/// It is dropped for PORTOLAN_DROP_NO_CONNECTION. (A number of portolan_limits.mid_stream.)
pub const PORTOLAN_MID_STREAM_DROP: u8 = 0;
/// It is answered by a reset (RFC 9293, 3.10.7.1).
pub const PORTOLAN_MID_STREAM_RESET: u8 = 1;
/// It opens a connection (nf_conntrack_tcp_loose) and goes where the scheduler says: to the endpoint that it was with
/// before if the scheduler hashes, or if there is only one.
pub const PORTOLAN_MID_STREAM_PICK_UP: u8 = 2;

/// Tables of 2 MiB and more are to be on huge pages: Linux's madvise(), which its setting may ignore; nothing elsewhere. (A
/// number of portolan_limits.memory_advice.)
pub const PORTOLAN_MEMORY_ADVICE_HUGE_PAGES: u8 = 0;
/// Nothing is asked for: pages are as they come.
pub const PORTOLAN_MEMORY_ADVICE_NONE: u8 = 1;

#[cfg(target_os = "linux")]
const HUGE_PAGES: Option<Advice> = Some(portolan::driver::huge_pages);
#[cfg(not(target_os = "linux"))]
const HUGE_PAGES: Option<Advice> = None;

fn unknown(field: &str, number: u8, rule: &str) -> Failure {
    Failure::invalid(field, format!("{number}: {rule}"))
}

impl portolan_limits {
    /// The choices beyond the objects.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            ended_tcp: match self.ended_tcp {
                PORTOLAN_ENDED_TCP_KEEP => EndedTcp::Keep,
                PORTOLAN_ENDED_TCP_RESET => EndedTcp::Reset,
                other => return Err(unknown("limits.ended_tcp", other, "must be 0 or 1")),
            },
            mid_stream: match self.mid_stream {
                PORTOLAN_MID_STREAM_DROP => MidStream::Drop,
                PORTOLAN_MID_STREAM_RESET => MidStream::Reset,
                PORTOLAN_MID_STREAM_PICK_UP => MidStream::PickUp,
                other => return Err(unknown("limits.mid_stream", other, "must be 0 to 2")),
            },
            answer_echo: match self.answer_echo {
                0 => false,
                1 => true,
                other => return Err(unknown("limits.answer_echo", other, "must be 0 or 1")),
            },
            new_connections_per_second: NonZeroU32::new(self.new_connections_per_second),
        })
    }

    /// Who sees the memory of large tables first.
    pub(crate) fn advice(&self) -> Result<Option<Advice>, Failure> {
        match self.memory_advice {
            PORTOLAN_MEMORY_ADVICE_HUGE_PAGES => Ok(HUGE_PAGES),
            PORTOLAN_MEMORY_ADVICE_NONE => Ok(None),
            other => Err(unknown("limits.memory_advice", other, "must be 0 or 1")),
        }
    }
}
