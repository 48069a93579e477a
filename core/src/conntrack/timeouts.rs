//! How long a connection lives without packets: netfilter's defaults
//! (`nf_conntrack_proto_{tcp,udp,sctp}.c`, Linux 6.x), each of them changeable.

use crate::net::ticks;
use core::time::Duration;

/// Idle timeouts, by protocol and state. Names as in `nf_conntrack_*_timeout_*`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// TCP by state, in the order of [`super::State`]'s TCP states, `SYN_SENT` first.
    pub tcp: TcpTimeouts,
    /// UDP without an answer yet, or younger than two seconds: 30 s.
    pub udp: Duration,
    /// UDP in both directions for longer than two seconds: 120 s.
    pub udp_stream: Duration,
    /// SCTP by state.
    pub sctp: SctpTimeouts,
}

/// TCP's timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the states' own")]
#[non_exhaustive]
pub struct TcpTimeouts {
    pub syn_sent: Duration,
    pub syn_recv: Duration,
    pub established: Duration,
    pub fin_wait: Duration,
    pub close_wait: Duration,
    pub last_ack: Duration,
    pub time_wait: Duration,
    pub close: Duration,
    /// While data waits for its acknowledgement, or the peer's window is closed (`tcp_timeout_unacknowledged`).
    pub unacknowledged: Duration,
}

/// SCTP's timeouts. There is none for HEARTBEAT_SENT: associations are opened by an INIT alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the states' own")]
#[non_exhaustive]
pub struct SctpTimeouts {
    pub closed: Duration,
    pub cookie_wait: Duration,
    pub cookie_echoed: Duration,
    pub established: Duration,
    pub shutdown_sent: Duration,
    pub shutdown_recd: Duration,
    pub shutdown_ack_sent: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            tcp: TcpTimeouts {
                syn_sent: seconds(120),
                syn_recv: seconds(60),
                established: seconds(5 * 24 * 3600),
                fin_wait: seconds(120),
                close_wait: seconds(60),
                last_ack: seconds(30),
                time_wait: seconds(120),
                close: seconds(10),
                unacknowledged: seconds(300),
            },
            udp: seconds(30),
            udp_stream: seconds(120),
            sctp: SctpTimeouts {
                closed: seconds(10),
                cookie_wait: seconds(3),
                cookie_echoed: seconds(3),
                established: seconds(210),
                shutdown_sent: seconds(3),
                shutdown_recd: seconds(3),
                shutdown_ack_sent: seconds(3),
            },
        }
    }
}

/// The timeouts in ticks, by protocol state: what the packets read.
#[derive(Debug, Clone)]
pub(super) struct TimeoutTicks {
    pub(super) tcp: [u32; 16],
    pub(super) tcp_unacknowledged: u32,
    pub(super) udp: u32,
    pub(super) udp_stream: u32,
    pub(super) sctp: [u32; 7],
}

impl TimeoutTicks {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let (tcp, sctp) = (&timeouts.tcp, &timeouts.sctp);
        // In the order of the states' numbers.
        let tcp_by_state = [
            tcp.syn_sent,
            tcp.syn_sent,
            tcp.syn_recv,
            tcp.established,
            tcp.fin_wait,
            tcp.close_wait,
            tcp.last_ack,
            tcp.time_wait,
            tcp.close,
            tcp.syn_sent,
        ];
        let sctp_by_state = [
            sctp.closed,
            sctp.cookie_wait,
            sctp.cookie_echoed,
            sctp.established,
            sctp.shutdown_sent,
            sctp.shutdown_recd,
            sctp.shutdown_ack_sent,
        ];
        Self {
            tcp: by_state(&tcp_by_state),
            tcp_unacknowledged: ticks(tcp.unacknowledged),
            udp: ticks(timeouts.udp),
            udp_stream: ticks(timeouts.udp_stream),
            sctp: sctp_by_state.map(ticks),
        }
    }
}

fn by_state(durations: &[Duration]) -> [u32; 16] {
    core::array::from_fn(|state| durations.get(state).map_or(0, |duration| ticks(*duration)))
}
