//! A connection's state, and what a packet makes of it.

use super::timeouts::TimeoutTicks;
use super::{sctp, tcp, udp};
use crate::net::{Direction, Protocol};
use crate::packet::{SctpChunk, TcpSegment};
use core::fmt;

/// Six bits: the protocol's state (4), whether an answer was seen, whether the connection is assured.
///
/// Assured connections are never evicted for new ones (`IPS_ASSURED`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(u8);

const SEEN_REPLY: u8 = 0x10;
const ASSURED: u8 = 0x20;

impl State {
    #[inline]
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    #[inline]
    pub(super) const fn new(protocol_state: u8) -> Self {
        Self(protocol_state & 0x0f)
    }

    #[inline]
    pub(super) const fn protocol_state(self) -> u8 {
        self.0 & 0x0f
    }

    #[inline]
    pub(super) const fn with_protocol_state(self, state: u8) -> Self {
        Self((self.0 & !0x0f) | (state & 0x0f))
    }

    #[inline]
    pub(super) const fn with_reply(self) -> Self {
        Self(self.0 | SEEN_REPLY)
    }

    #[inline]
    pub(super) const fn with_assured(self) -> Self {
        Self(self.0 | ASSURED)
    }

    /// Has the endpoint answered?
    #[inline]
    #[must_use]
    pub const fn seen_reply(self) -> bool {
        self.0 & SEEN_REPLY != 0
    }

    /// Is it safe from eviction?
    #[inline]
    #[must_use]
    pub const fn assured(self) -> bool {
        self.0 & ASSURED != 0
    }

    /// Does the connection burden its endpoint, or is it only closing? As IPVS tells `activeconns` from `inactconns`:
    /// opening and established, and UDP always (`tcp_state_active_table`; `set_sctp_state`).
    #[must_use]
    pub const fn is_active(self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => tcp::is_active(self.protocol_state()),
            Protocol::Sctp => sctp::is_active(self.protocol_state()),
            Protocol::Udp => true,
        }
    }

    /// Netfilter's name of the state, `None` for UDP, which has none.
    #[must_use]
    pub const fn name(self, protocol: Protocol) -> Option<&'static str> {
        match protocol {
            Protocol::Tcp => tcp::name(self.protocol_state()),
            Protocol::Sctp => sctp::name(self.protocol_state()),
            Protocol::Udp => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = if self.seen_reply() { "" } else { "[UNREPLIED]" };
        let assured = if self.assured() { "[ASSURED]" } else { "" };
        write!(f, "{answered}{assured}")
    }
}

/// What the transport header says, as far as connections care.
#[derive(Debug, Clone, Copy)]
pub enum Transport {
    /// A TCP segment.
    Tcp(TcpSegment),
    /// A UDP datagram.
    Udp,
    /// An SCTP packet's first chunk.
    Sctp(SctpChunk),
}

impl Transport {
    /// May it be the first packet of a connection? May a TCP connection be picked up in its middle?
    #[must_use]
    pub fn opens(&self, pick_up: bool) -> bool {
        match self {
            Self::Tcp(segment) => tcp::opens(segment) || (pick_up && tcp::picks_up(segment)),
            Self::Udp => true,
            Self::Sctp(chunk) => sctp::opens(chunk),
        }
    }
}

/// What changes by a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub(super) state: State,
    /// Ticks from now to the new deadline.
    pub(super) timeout: u32,
    /// New words of the record's `seen`, where they change: (direction, value).
    pub(super) seen: Option<[u64; 2]>,
    /// New TCP windows, where they change.
    pub(super) windows: Option<u32>,
}

/// What a packet does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The connection goes on.
    Advance(Progress),
    /// The packet is translated and changes nothing: out of window, or a retransmission of the past.
    Ignore,
    /// The connection is over and this packet opens a new one of the same tuple.
    Reopen,
    /// The packet is translated, and nothing is left of the connection.
    End,
    /// No such packet can belong to the connection in this state: dropped (`InvalidTransport`).
    Invalid,
}

/// What the record remembers beside the state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) seen: [u64; 2],
    pub(super) windows: u32,
}

#[inline(always)]
pub(super) fn step(
    state: State,
    direction: Direction,
    transport: &Transport,
    memory: Memory,
    now: u32,
    timeouts: &TimeoutTicks,
) -> Step {
    match transport {
        Transport::Tcp(segment) => tcp::step(state, direction, segment, memory, timeouts),
        Transport::Udp => {
            let [first, _] = memory.seen;
            Step::Advance(udp::advance(state, direction, first, now, timeouts))
        }
        Transport::Sctp(chunk) => sctp::step(state, direction, chunk, memory, timeouts),
    }
}

/// The state, timeout and memory with which a first packet opens a connection; `None` if it opens none. May a TCP
/// connection be picked up in its middle?
#[inline(always)]
pub(super) fn open(
    transport: &Transport,
    pick_up: bool,
    now: u32,
    timeouts: &TimeoutTicks,
) -> Option<Progress> {
    match transport {
        Transport::Tcp(segment) => {
            let picked_up = || pick_up.then(|| tcp::pick_up(segment, timeouts)).flatten();
            tcp::open(segment, timeouts).or_else(picked_up)
        }
        Transport::Udp => Some(Progress {
            state: State::new(0),
            timeout: timeouts.udp,
            seen: Some([u64::from(now), 0]),
            windows: None,
        }),
        Transport::Sctp(chunk) => sctp::open(chunk, timeouts),
    }
}
