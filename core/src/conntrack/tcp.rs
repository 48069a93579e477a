//! TCP as netfilter sees it (`nf_conntrack_proto_tcp.c` with `tcp_be_liberal`): two observers' states from one
//! place between them, timeouts by state, and what an out-of-window segment must not do.
//!
//! Liberal means: a segment out of window is translated and forwarded, but it neither moves the state nor
//! extends the connection's life. A RST closes only if its sequence number is one that the receiver expects
//! (RFC 5961, 3), so that a blind one changes nothing here either.

use super::record::{join, join16, split, split16};
use super::state::{Memory, Progress, State, Step};
use super::timeouts::TimeoutTicks;
use crate::net::Direction;
use crate::packet::{TcpSegment, tcp_flags};

/// Netfilter's states. `NONE` is no state of a connection; `IGNORE` and `INVALID` are answers.
mod is {
    pub(super) const NONE: u8 = 0;
    pub(super) const SYN_SENT: u8 = 1;
    pub(super) const SYN_RECV: u8 = 2;
    pub(super) const ESTABLISHED: u8 = 3;
    pub(super) const FIN_WAIT: u8 = 4;
    pub(super) const CLOSE_WAIT: u8 = 5;
    pub(super) const LAST_ACK: u8 = 6;
    pub(super) const TIME_WAIT: u8 = 7;
    pub(super) const CLOSE: u8 = 8;
    /// SYN in both directions: simultaneous open.
    pub(super) const SYN_SENT2: u8 = 9;
    pub(super) const IGNORE: u8 = 14;
    pub(super) const INVALID: u8 = 15;
}

/// By state, the state after a segment; `.` invalid, `-` ignored, digits as in `is`.
/// Columns: none, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE, SYN_SENT2.
const TRANSITIONS: [[[u8; 10]; 5]; 2] = [
    [
        row(b"11-----119"), // SYN
        row(b"..2......2"), // SYN ACK
        row(b"..4466678."), // FIN
        row(b"3.3355778."), // ACK
        row(b".888888888"), // RST
    ],
    [
        row(b".9.....1.9"),
        row(b".2-------2"),
        row(b"..4466678."),
        row(b".-2355778-"),
        row(b".888888888"),
    ],
];

const fn row(text: &[u8; 10]) -> [u8; 10] {
    let mut row = [is::INVALID; 10];
    let mut column = 0;
    while column < 10 {
        row[column] = match text[column] {
            b'.' => is::INVALID,
            b'-' => is::IGNORE,
            digit => digit - b'0',
        };
        column += 1;
    }
    row
}

/// Netfilter's name of a state.
pub(super) const fn name(state: u8) -> Option<&'static str> {
    match state {
        is::SYN_SENT => Some("SYN_SENT"),
        is::SYN_RECV => Some("SYN_RECV"),
        is::ESTABLISHED => Some("ESTABLISHED"),
        is::FIN_WAIT => Some("FIN_WAIT"),
        is::CLOSE_WAIT => Some("CLOSE_WAIT"),
        is::LAST_ACK => Some("LAST_ACK"),
        is::TIME_WAIT => Some("TIME_WAIT"),
        is::CLOSE => Some("CLOSE"),
        is::SYN_SENT2 => Some("SYN_SENT2"),
        _ => None,
    }
}

/// Opening or established.
pub(super) const fn is_active(state: u8) -> bool {
    matches!(
        state,
        is::SYN_SENT | is::SYN_SENT2 | is::SYN_RECV | is::ESTABLISHED
    )
}

/// Which row of [`TRANSITIONS`], `None` for a segment without any of these flags.
#[inline]
const fn kind(flags: u8) -> Option<usize> {
    // In netfilter's order: RST before SYN before FIN before ACK.
    if flags & tcp_flags::RST != 0 {
        Some(4)
    } else if flags & tcp_flags::SYN != 0 {
        Some(if flags & tcp_flags::ACK != 0 { 1 } else { 0 })
    } else if flags & tcp_flags::FIN != 0 {
        Some(2)
    } else if flags & tcp_flags::ACK != 0 {
        Some(3)
    } else {
        None
    }
}

/// Combinations of flags that no TCP sends (`tcp_valid_flags`): no flags at all, SYN with FIN, and the like.
#[inline]
const fn plausible(flags: u8) -> bool {
    let opening = flags & (tcp_flags::SYN | tcp_flags::RST | tcp_flags::FIN);
    match opening {
        0 => flags & tcp_flags::ACK != 0,
        tcp_flags::SYN => flags & tcp_flags::PSH == 0 || flags & tcp_flags::ACK == 0,
        tcp_flags::RST => true,
        tcp_flags::FIN => flags & tcp_flags::ACK != 0,
        _ => false,
    }
}

/// Does a segment open connections? A SYN does, alone or with the flags of ECN (RFC 3168).
pub(super) const fn opens(segment: &TcpSegment) -> bool {
    let decisive = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST | tcp_flags::FIN;
    segment.flags & decisive == tcp_flags::SYN
}

/// Can a connection be picked up by a segment? By an acknowledgment, out of the middle.
pub(super) const fn picks_up(segment: &TcpSegment) -> bool {
    let decisive = tcp_flags::SYN | tcp_flags::ACK | tcp_flags::RST | tcp_flags::FIN;
    segment.flags & decisive == tcp_flags::ACK
}

/// How a SYN opens a connection; `None` for any other segment.
#[inline(always)]
pub(super) fn open(segment: &TcpSegment, timeouts: &TimeoutTicks) -> Option<Progress> {
    if !opens(segment) {
        return None;
    }
    let end = segment.sequence.wrapping_add(segment.sequence_len());
    let window = Window::from_syn(segment);
    Some(Progress {
        state: State::new(is::SYN_SENT),
        timeout: timeout_of(timeouts, is::SYN_SENT),
        seen: Some([join(end, 0), 0]),
        windows: Some(u32::from(window.0) << 16),
    })
}

/// How an acknowledgment out of the middle opens a connection whose beginning was not seen (`nf_conntrack_tcp_loose`);
/// `None` for any other segment. Windows are taken for the widest, since their scale is not known.
pub(super) fn pick_up(segment: &TcpSegment, timeouts: &TimeoutTicks) -> Option<Progress> {
    if !picks_up(segment) {
        return None;
    }
    let end = segment.sequence.wrapping_add(segment.sequence_len());
    let sent = join(end, segment.acknowledgment);
    // The other side has sent what is acknowledged, and acknowledged what went before.
    let answered = join(segment.acknowledgment, segment.sequence);
    let Window(window) = Window::new(log2_up(u32::MAX), 0, 0);
    let [_, waiting] = settled_timeouts(timeouts);
    Some(Progress {
        state: State::new(is::ESTABLISHED),
        timeout: waiting,
        seen: Some([sent, answered]),
        windows: Some(join16(window, window)),
    })
}

/// May a segment with this sequence number be under way in `direction`: sent, and not acknowledged (RFC 5927, 4.1)?
pub(super) fn is_under_way(
    sequence: u32,
    state: State,
    direction: Direction,
    seen: [u64; 2],
) -> bool {
    let ends = Ends::new(direction, seen, state);
    let sent = !ends.own_known || !after(sequence, ends.own_end);
    let acknowledged = ends.peer_known && after(ends.peer_ack, sequence);
    sent && !acknowledged
}

/// The state of a connection that goes its way: established and assured. One of another protocol has it never.
pub(super) const SETTLED: State = State::new(is::ESTABLISHED).with_reply().with_assured();

/// For how long an established connection lives if it waits for nothing, and if it waits for an acknowledgment.
pub(super) fn settled_timeouts(timeouts: &TimeoutTicks) -> [u32; 2] {
    let timeout = timeout_of(timeouts, is::ESTABLISHED);
    [timeout, timeout.min(timeouts.tcp_unacknowledged)]
}

/// What is remembered of both sides of a connection, that of the segment's sender first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    /// End of the highest segment, highest acknowledgment.
    pub(super) seen: [u64; 2],
    /// The sender's window in the upper half.
    pub(super) windows: u32,
}

impl Sides {
    /// Is `window`, of a segment of the sender's that is no SYN, open and no greater than those before? `false` if it may
    /// be greater.
    #[inline(always)]
    pub(super) const fn is_common(&self, window: u16) -> bool {
        // The upper five bits of [`Window`] say it without its scale.
        window != 0 && (window as u32).wrapping_shr(self.windows >> 26) == 0
    }
}

/// Both windows, the sender's in the upper half, after a segment of its that is no SYN announced `window`. `None`: that is
/// closed.
pub(super) fn announced(window: u16, windows: u32) -> Option<u32> {
    let (own, peer) = split16(windows);
    let Window(own) = Window(own).announced(window);
    (window != 0).then_some(join16(own, peer))
}

/// Data and acknowledgments, in window, of a connection that is [`SETTLED`]: nothing but the sender's sequence
/// numbers moves. Gives these, and whether the connection waits for an acknowledgment. `None` says nothing but that
/// [`step`] must decide; `Some` is what it would say.
#[inline(always)]
pub(super) fn step_plain(segment: &TcpSegment, sides: &Sides) -> Option<(u64, bool)> {
    let decisive = tcp_flags::SYN | tcp_flags::FIN | tcp_flags::RST | tcp_flags::ACK;
    if segment.flags & decisive != tcp_flags::ACK {
        return None;
    }
    let [own, peer] = sides.seen;
    let ((own_end, own_ack), (peer_end, peer_ack)) = (split(own), split(peer));
    let end = segment.sequence.wrapping_add(segment.payload_len);
    let reach = Window::greatest_of(sides.windows);
    if after(segment.acknowledgment, peer_end)
        || after(segment.sequence, peer_ack.wrapping_add(reach))
        || after(own_end.wrapping_sub(reach), end.wrapping_add(1))
    {
        return None;
    }
    let own_end = if after(end, own_end) { end } else { own_end };
    let own_ack = if after(segment.acknowledgment, own_ack) {
        segment.acknowledgment
    } else {
        own_ack
    };
    let own = join(own_end, own_ack);
    // Each has acknowledged what the other sent, if both words say the same, turned round.
    Some((own, own.rotate_left(32) != peer))
}

/// What a segment does to a connection.
pub(super) fn step(
    state: State,
    direction: Direction,
    segment: &TcpSegment,
    memory: Memory,
    timeouts: &TimeoutTicks,
) -> Step {
    let Some(kind) = kind(segment.flags).filter(|_| plausible(segment.flags)) else {
        return Step::Invalid;
    };
    let old = state.protocol_state();
    let by_kind = TRANSITIONS
        .get(direction as usize)
        .and_then(|rows| rows.get(kind));
    let next = by_kind
        .and_then(|row| row.get(usize::from(old)))
        .copied()
        .unwrap_or(is::INVALID);
    let ends = Ends::new(direction, memory.seen, state);
    match next {
        is::INVALID => return Step::Invalid,
        is::IGNORE => return Step::Ignore,
        is::SYN_SENT if old >= is::TIME_WAIT && old != is::SYN_SENT2 => return Step::Reopen,
        is::CLOSE if kind == 4 => return reset(state, old, segment, ends, timeouts),
        _ => {}
    }
    let windows = Windows::new(direction, memory.windows);
    if !in_window(old, segment, ends, windows) {
        return Step::Ignore;
    }
    advance(state, direction, next, segment, ends, windows, timeouts)
}

/// What both sides are known to have sent and acknowledged.
#[derive(Debug, Clone, Copy)]
struct Ends {
    own_end: u32,
    own_ack: u32,
    peer_end: u32,
    peer_ack: u32,
    /// Has this side sent anything before?
    own_known: bool,
    /// Has the other side acknowledged anything?
    peer_known: bool,
}

impl Ends {
    #[inline]
    fn new(direction: Direction, [original, reply]: [u64; 2], state: State) -> Self {
        let beyond_handshake = !matches!(
            state.protocol_state(),
            is::NONE | is::SYN_SENT | is::SYN_RECV | is::SYN_SENT2
        );
        let (own, peer, own_known, peer_known) = match direction {
            Direction::Original => (original, reply, true, state.seen_reply()),
            Direction::Reply => (reply, original, state.seen_reply(), beyond_handshake),
        };
        let ((own_end, own_ack), (peer_end, peer_ack)) = (split(own), split(peer));
        Self {
            own_end,
            own_ack,
            peer_end,
            peer_ack,
            own_known,
            peer_known,
        }
    }
}

/// One side's window: log2 (rounded up) of the greatest it announced 5, shift 4, does it scale 1; and again, log2 of that
/// greatest in a segment's field, not scaled, 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window(u16);

impl Window {
    const SCALES: u16 = 1 << 9;

    const fn new(log2: u16, shift: u16, scales: u16) -> Self {
        let unscaled = log2.saturating_sub(shift);
        Self((unscaled << 10) | scales | (shift << 5) | log2)
    }

    fn from_syn(segment: &TcpSegment) -> Self {
        let (shift, scales) = match segment.window_scale {
            Some(shift) => (u16::from(shift & 0x0f), Self::SCALES),
            None => (0, 0),
        };
        Self::new(log2_up(u32::from(segment.window)), shift, scales)
    }

    #[inline]
    const fn log2(self) -> u16 {
        self.0 & 0x1f
    }

    #[inline]
    const fn shift(self) -> u16 {
        (self.0 >> 5) & 0x0f
    }

    #[inline]
    const fn greatest(self) -> u32 {
        Self::greatest_of(self.0 as u32)
    }

    /// Of the window that is the lower half of `word`.
    #[inline(always)]
    const fn greatest_of(word: u32) -> u32 {
        1_u32.wrapping_shl(word)
    }

    /// After a segment that is no SYN.
    fn announced(self, window: u16) -> Self {
        self.at_least(u32::from(window).wrapping_shl(u32::from(self.shift())))
    }

    fn at_least(self, window: u32) -> Self {
        let log2 = log2_up(window);
        if log2 > self.log2() {
            Self::new(log2, self.shift(), self.0 & Self::SCALES)
        } else {
            self
        }
    }

    const fn unscaled(self) -> Self {
        Self::new(self.log2(), 0, 0)
    }
}

/// The least n with 2^n greater than `window`, at most 30 (RFC 7323: windows are below 2^30).
#[inline]
fn log2_up(window: u32) -> u16 {
    (32_u32.wrapping_sub(window.leading_zeros())).min(30) as u16
}

#[derive(Debug, Clone, Copy)]
struct Windows {
    own: Window,
    peer: Window,
}

impl Windows {
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken on its own"
    )]
    const fn new(direction: Direction, packed: u32) -> Self {
        let (original, reply) = (Window((packed >> 16) as u16), Window(packed as u16));
        match direction {
            Direction::Original => Self {
                own: original,
                peer: reply,
            },
            Direction::Reply => Self {
                own: reply,
                peer: original,
            },
        }
    }

    /// After a segment of its own side, perhaps that side's first.
    fn after(self, segment: &TcpSegment, first: bool) -> Self {
        let is_syn = segment.flags & tcp_flags::SYN != 0;
        if first && is_syn {
            let (own, peer) = (Window::from_syn(segment), self.peer);
            // Scaling holds only if both sides offer it (RFC 7323, 2.2).
            return if (own.0 & peer.0) & Window::SCALES == 0 {
                Self {
                    own: own.unscaled(),
                    peer: peer.unscaled(),
                }
            } else {
                Self { own, peer }
            };
        }
        let own = if is_syn {
            // Never scaled (RFC 7323, 2.2).
            self.own.at_least(u32::from(segment.window))
        } else {
            self.own.announced(segment.window)
        };
        Self { own, ..self }
    }

    #[inline]
    fn packed(self, direction: Direction) -> u32 {
        let (original, reply) = match direction {
            Direction::Original => (self.own, self.peer),
            Direction::Reply => (self.peer, self.own),
        };
        (u32::from(original.0) << 16) | u32::from(reply.0)
    }
}

/// Is `a` after `b`, on the circle of sequence numbers (RFC 9293, 3.4)?
#[inline]
#[expect(
    clippy::cast_possible_wrap,
    reason = "the circle's order is the sign of the difference"
)]
const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// Netfilter's window check, without SACK: the segment begins no further than the peer's window reaches, ends
/// no earlier than one window before what was sent, and acknowledges nothing that was not sent.
#[inline]
fn in_window(old: u8, segment: &TcpSegment, ends: Ends, windows: Windows) -> bool {
    let handshake = matches!(old, is::SYN_SENT | is::SYN_RECV | is::SYN_SENT2);
    if segment.flags & tcp_flags::ACK != 0 {
        // A handshake's acknowledgement must be of the very SYN (RFC 9293, 3.10.7.3).
        let acknowledges_sent = !after(segment.acknowledgment, ends.peer_end);
        if !acknowledges_sent || (old == is::SYN_SENT && segment.acknowledgment != ends.peer_end) {
            return false;
        }
    }
    if handshake || !ends.own_known || !ends.peer_known {
        return true;
    }
    let end = segment.sequence.wrapping_add(segment.sequence_len());
    let reach = windows.peer.greatest();
    !after(segment.sequence, ends.peer_ack.wrapping_add(reach))
        && !after(ends.own_end.wrapping_sub(reach), end.wrapping_add(1))
}

/// A RST closes if its sequence number is exactly what the receiver expects next, or follows directly on what
/// this side sent last, or, answering a SYN, if it acknowledges that SYN. A connection that was never answered
/// otherwise is forgotten at once (`nf_conntrack_tcp_packet`, where `IPS_SEEN_REPLY` is not set).
fn reset(state: State, old: u8, segment: &TcpSegment, ends: Ends, timeouts: &TimeoutTicks) -> Step {
    let expected = ends.peer_known && segment.sequence == ends.peer_ack;
    let follows = ends.own_known && segment.sequence == ends.own_end;
    let answers_syn = old == is::SYN_SENT
        && segment.flags & tcp_flags::ACK != 0
        && segment.acknowledgment == ends.peer_end;
    if !(expected || follows || answers_syn) {
        return Step::Ignore;
    }
    if !state.seen_reply() {
        return Step::End;
    }
    Step::Advance(Progress {
        state: state.with_protocol_state(is::CLOSE),
        timeout: timeout_of(timeouts, is::CLOSE),
        seen: None,
        windows: None,
    })
}

#[inline]
fn advance(
    state: State,
    direction: Direction,
    next: u8,
    segment: &TcpSegment,
    ends: Ends,
    windows: Windows,
    timeouts: &TimeoutTicks,
) -> Step {
    let end = segment.sequence.wrapping_add(segment.sequence_len());
    let first = !ends.own_known;
    let own_end = if first || after(end, ends.own_end) {
        end
    } else {
        ends.own_end
    };
    let acknowledges = segment.flags & tcp_flags::ACK != 0;
    let newer = first
        || !ends.own_ack_known(state, direction)
        || after(segment.acknowledgment, ends.own_ack);
    let own_ack = if acknowledges && newer {
        segment.acknowledgment
    } else if first {
        // A SYN that crosses the other one acknowledges nothing, but its sender expects what that SYN began.
        ends.peer_end
    } else {
        ends.own_ack
    };

    let mut state_next = state.with_protocol_state(next);
    if direction == Direction::Reply {
        state_next = state_next.with_reply();
    }
    if next == is::ESTABLISHED && matches!(state.protocol_state(), is::SYN_RECV | is::ESTABLISHED) {
        state_next = state_next.with_assured();
    }
    let own = join(own_end, own_ack);
    let peer = join(ends.peer_end, ends.peer_ack);
    let seen = match direction {
        Direction::Original => [own, peer],
        Direction::Reply => [peer, own],
    };
    let unacknowledged = own_end != ends.peer_ack || ends.peer_end != own_ack;
    let mut timeout = timeout_of(timeouts, next);
    if unacknowledged || segment.window == 0 {
        timeout = timeout.min(timeouts.tcp_unacknowledged);
    }
    Step::Advance(Progress {
        state: state_next,
        timeout,
        seen: Some(seen),
        windows: Some(windows.after(segment, first).packed(direction)),
    })
}

impl Ends {
    /// Has this side acknowledged anything before?
    #[inline]
    fn own_ack_known(&self, state: State, direction: Direction) -> bool {
        match direction {
            Direction::Original => !matches!(
                state.protocol_state(),
                is::SYN_SENT | is::SYN_RECV | is::SYN_SENT2
            ),
            Direction::Reply => self.own_known,
        }
    }
}

#[inline]
fn timeout_of(timeouts: &TimeoutTicks, state: u8) -> u32 {
    timeouts.tcp.get(usize::from(state)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
