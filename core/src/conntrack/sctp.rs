//! SCTP as netfilter sees it (`nf_conntrack_proto_sctp.c`): one path per association, judged by its first chunk.

use super::state::{Memory, Progress, State, Step};
use super::timeouts::TimeoutTicks;
use crate::net::Direction;
use crate::packet::SctpChunk;

/// Netfilter's states, counted from 8: TCP's ESTABLISHED is no other protocol's number.
mod is {
    pub(super) const INVALID: u8 = 0;
    pub(super) const CLOSED: u8 = 8;
    pub(super) const COOKIE_WAIT: u8 = 9;
    pub(super) const COOKIE_ECHOED: u8 = 10;
    pub(super) const ESTABLISHED: u8 = 11;
    pub(super) const SHUTDOWN_SENT: u8 = 12;
    pub(super) const SHUTDOWN_RECD: u8 = 13;
    pub(super) const SHUTDOWN_ACK_SENT: u8 = 14;
}

/// By state, the state after a chunk; `.` invalid, digits from 1 on as in `is`. HEARTBEAT_SENT is missing: no
/// association begins with a HEARTBEAT here.
/// Columns: CLOSED, COOKIE_WAIT, COOKIE_ECHOED, ESTABLISHED, SHUTDOWN_SENT, SHUTDOWN_RECD, SHUTDOWN_ACK_SENT.
const TRANSITIONS: [[[u8; 7]; 11]; 2] = [
    [
        row(b"1234117"), // INIT
        row(b"1234567"), // INIT ACK
        row(b"1111111"), // ABORT
        row(b"1235567"), // SHUTDOWN
        row(b"1234777"), // SHUTDOWN ACK
        row(b"1234567"), // ERROR
        row(b"1334567"), // COOKIE ECHO
        row(b"1244567"), // COOKIE ACK
        row(b"1234561"), // SHUTDOWN COMPLETE
        row(b"1234567"), // HEARTBEAT
        row(b"1234567"), // HEARTBEAT ACK
    ],
    [
        row(b"1234567"),
        row(b"2234567"),
        row(b"1111111"),
        row(b"1236567"),
        row(b"1234777"),
        row(b"1214567"),
        row(b"1334567"),
        row(b"1244567"),
        row(b"1234561"),
        row(b"1234567"),
        row(b"1234567"),
    ],
];

const fn row(text: &[u8; 7]) -> [u8; 7] {
    let mut row = [is::INVALID; 7];
    let mut column = 0;
    while column < 7 {
        if text[column] != b'.' {
            row[column] = is::CLOSED + (text[column] - b'1');
        }
        column += 1;
    }
    row
}

/// Where a state stands in a row, and among timeouts.
const fn column(state: u8) -> usize {
    state as usize & 7
}

/// Opening or established.
pub(super) const fn is_active(state: u8) -> bool {
    matches!(state, is::COOKIE_WAIT | is::COOKIE_ECHOED | is::ESTABLISHED)
}

pub(super) const fn name(state: u8) -> Option<&'static str> {
    match state {
        is::CLOSED => Some("CLOSED"),
        is::COOKIE_WAIT => Some("COOKIE_WAIT"),
        is::COOKIE_ECHOED => Some("COOKIE_ECHOED"),
        is::ESTABLISHED => Some("ESTABLISHED"),
        is::SHUTDOWN_SENT => Some("SHUTDOWN_SENT"),
        is::SHUTDOWN_RECD => Some("SHUTDOWN_RECD"),
        is::SHUTDOWN_ACK_SENT => Some("SHUTDOWN_ACK_SENT"),
        _ => None,
    }
}

/// Which row of [`TRANSITIONS`]; `None` for chunks that change no state (DATA, SACK and unknown ones).
const fn kind(chunk: u8) -> Option<usize> {
    match chunk {
        SctpChunk::INIT => Some(0),
        SctpChunk::INIT_ACK => Some(1),
        SctpChunk::ABORT => Some(2),
        SctpChunk::SHUTDOWN => Some(3),
        SctpChunk::SHUTDOWN_ACK => Some(4),
        9 => Some(5),
        SctpChunk::COOKIE_ECHO => Some(6),
        SctpChunk::COOKIE_ACK => Some(7),
        SctpChunk::SHUTDOWN_COMPLETE => Some(8),
        4 => Some(9),
        5 => Some(10),
        _ => None,
    }
}

/// The T bit of ABORT and SHUTDOWN COMPLETE: the tag is reflected (RFC 9260, 8.5.1).
const T_BIT: u8 = 1;

/// How an INIT opens an association; `None` for any other chunk. As in netfilter, the state is CLOSED until
/// the INIT is acknowledged.
pub(super) fn open(chunk: &SctpChunk, timeouts: &TimeoutTicks) -> Option<Progress> {
    if !opens(chunk) {
        return None;
    }
    Some(Progress {
        state: State::new(is::CLOSED),
        timeout: timeout_of(timeouts, is::CLOSED),
        seen: Some([0, tag(chunk.initiate_tag?)]),
        windows: None,
    })
}

/// An INIT carries tag 0 and names the tag that the other side is to use (RFC 9260, 8.5.1).
pub(super) const fn opens(chunk: &SctpChunk) -> bool {
    chunk.kind == SctpChunk::INIT && chunk.verification_tag == 0 && chunk.initiate_tag.is_some()
}

/// A tag as remembered: never 0, which means "not known yet".
const fn tag(tag: u32) -> u64 {
    tag as u64 | 1 << 32
}

/// What a packet does to an association. A wrong verification tag changes nothing.
pub(super) fn step(
    state: State,
    direction: Direction,
    chunk: &SctpChunk,
    memory: Memory,
    timeouts: &TimeoutTicks,
) -> Step {
    let old = state.protocol_state();
    let [original, reply] = memory.seen;
    let (own, peer) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let reflects = matches!(chunk.kind, SctpChunk::ABORT | SctpChunk::SHUTDOWN_COMPLETE)
        && chunk.flags & T_BIT != 0;
    let wanted = if reflects { peer } else { own };
    let is_init = chunk.kind == SctpChunk::INIT;
    if is_init && old == is::CLOSED && chunk.initiate_tag.map(tag) == Some(peer) {
        // A retransmitted INIT does not prolong the mapping.
        return Step::Ignore;
    }
    if !is_init && wanted != 0 && wanted != tag(chunk.verification_tag) {
        return Step::Ignore;
    }
    let next = match kind(chunk.kind) {
        Some(kind) => TRANSITIONS
            .get(direction as usize)
            .and_then(|rows| rows.get(kind))
            .and_then(|row| row.get(column(old)))
            .copied()
            .unwrap_or(is::INVALID),
        None => old,
    };
    if next == is::INVALID {
        return Step::Invalid;
    }
    let mut state_next = state.with_protocol_state(next);
    if direction == Direction::Reply {
        state_next = state_next.with_reply();
        if next == is::ESTABLISHED {
            state_next = state_next.with_assured();
        }
    }
    // INIT and INIT ACK name the tag of the direction that answers them.
    let seen = match (chunk.kind, chunk.initiate_tag, direction) {
        (SctpChunk::INIT_ACK, Some(initiate), Direction::Reply) => Some([tag(initiate), reply]),
        (SctpChunk::INIT, Some(initiate), Direction::Original) if old == is::CLOSED => {
            Some([0, tag(initiate)])
        }
        _ => None,
    };
    Step::Advance(Progress {
        state: state_next,
        timeout: timeout_of(timeouts, next),
        seen,
        windows: None,
    })
}

fn timeout_of(timeouts: &TimeoutTicks, state: u8) -> u32 {
    timeouts.sctp.get(column(state)).copied().unwrap_or(0)
}
