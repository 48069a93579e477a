//! Why a packet would go where it would go, in words.

use crate::call::{self, control, enter};
use crate::dataplane::{DataplaneState, portolan_dataplane};
use crate::error::portolan_error;
use crate::explain::arrival;
use crate::status::portolan_status;
use core::ffi::c_char;
use core::fmt::{self, Write};
use core::mem::MaybeUninit;
use portolan::dataplane::{DropReason, Explanation, MasqueradeCause, Verdict};
use portolan::net::{Direction, Instant};

/// Writes what would become of a packet and why, as lines of text, by the code that moves packets; changes
/// nothing. `packet` begins at the IP header; `flags` is what the host would set in its descriptor:
/// PORTOLAN_FLAG_FROM_POD or 0.
///
/// Writes at most `capacity` bytes to `text`, NUL included (`text` may be NULL if `capacity` is 0), and to
/// `needed` how many bytes the whole text takes, NUL included: if that is more than `capacity`, the text was
/// cut off; ask again with more room. Since 0.1.
///
/// # Safety
/// `dataplane` is NULL or a handle that lives; `packet` is NULL or valid for reading `packet_size` bytes,
/// `text` for writing `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portolan_dataplane_explain_text(
    dataplane: *const portolan_dataplane,
    now_ns: u64,
    packet: *const u8,
    packet_size: usize,
    flags: u16,
    text: *mut c_char,
    capacity: usize,
    needed: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<*mut portolan_error>>,
) -> portolan_status {
    // SAFETY: as promised.
    let dataplane = unsafe { dataplane.as_ref() };
    control(error, || {
        // SAFETY: as promised.
        let packet = unsafe { call::bytes(packet, packet_size, "packet") }?;
        let arrival = arrival(flags)?;
        let state = enter(dataplane.map(|handle| &handle.state), "dataplane")?;
        let now = Instant::from_nanos(now_ns);
        let explanation = state.dataplane.explain_from(now, packet, arrival);
        let words = Words {
            explanation: &explanation,
            state: &state,
        };
        // SAFETY: as promised.
        unsafe { call::write_text(&words.to_string(), text, capacity, needed) }
    })
}

struct Words<'call> {
    explanation: &'call Explanation,
    state: &'call DataplaneState,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation {
            tuple,
            connection,
            frontend,
            service,
            class,
            set,
            choices,
            kept,
            ..
        } = self.explanation;
        if let Some(tuple) = tuple {
            writeln!(f, "packet       {tuple}")?;
        }
        if let Some(direction) = connection {
            let direction = match direction {
                Direction::Original => "from the client",
                Direction::Reply => "from the endpoint",
            };
            writeln!(f, "connection   known, {direction}")?;
        }
        if let Some(kind) = frontend {
            write!(f, "frontend     {kind}")?;
            if let Some(id) = service {
                write!(f, " of {}", self.state.service_name(*id))?;
            }
            f.write_char('\n')?;
        }
        if let Some(class) = class {
            writeln!(f, "sender       {class}")?;
        }
        if let Some(set) = set {
            write!(f, "endpoints    {set}:")?;
            for choice in choices {
                write!(f, " {choice}")?;
            }
            f.write_str(if choices.is_empty() { " none\n" } else { "\n" })?;
        }
        if kept.is_some() {
            writeln!(f, "affinity     the sender keeps its endpoint")?;
        }
        self.outcome(f)
    }
}

impl Words<'_> {
    fn outcome(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explanation = self.explanation;
        if let Some(endpoint) = explanation.endpoint {
            writeln!(f, "endpoint     {endpoint}")?;
        }
        match explanation.masquerade {
            Some(MasqueradeCause::Hairpin) => {
                writeln!(f, "masquerade   the endpoint reaches itself")?
            }
            Some(_) => writeln!(f, "masquerade   the frontend's rule for this sender")?,
            None => {}
        }
        if let Some(translated) = explanation.translated {
            writeln!(f, "translated   {translated}")?;
        }
        let verdict = match explanation.verdict {
            Verdict::Pass => "pass",
            Verdict::Forward => "forward",
            Verdict::Reply => "reply: ICMP port unreachable, there is no usable endpoint",
            Verdict::Drop => "drop",
        };
        write!(f, "verdict      {verdict}")?;
        if let Some(reason) = explanation.reason {
            write!(f, ": {}", DropReason::explanation(reason))?;
        }
        f.write_char('\n')
    }
}
