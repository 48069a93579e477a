//! UDP as netfilter sees it (`nf_conntrack_proto_udp.c`): a stream once it is answered and two seconds old.

use super::state::{Progress, State};
use super::timeouts::TimeoutTicks;
use crate::net::{Direction, TICKS_PER_SECOND};

/// What a datagram does to a connection that began at tick `first`.
#[inline]
pub(super) fn advance(
    state: State,
    direction: Direction,
    first: u64,
    now: u32,
    timeouts: &TimeoutTicks,
) -> Progress {
    let seen_reply = state.seen_reply() || direction == Direction::Reply;
    let stream =
        seen_reply && u64::from(now) > first.saturating_add(u64::from(2 * TICKS_PER_SECOND));
    let mut next = state;
    if seen_reply {
        next = next.with_reply();
    }
    if stream {
        next = next.with_assured();
    }
    let timeout = if stream {
        timeouts.udp_stream
    } else {
        timeouts.udp
    };
    Progress {
        state: next,
        timeout,
        seen: None,
        windows: None,
    }
}
