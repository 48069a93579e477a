//! How long connections live without packets, in `portolan_limits`.

use crate::error::Failure;
use core::time::Duration;
use portolan::conntrack::Timeouts;
use portolan::net::TICKS_PER_SECOND;

/// How long a connection lives without packets, by protocol and state, in seconds, exact to half of one. Names and
/// defaults are those of netfilter's sysctls, nf_conntrack_tcp_timeout_syn_sent and so on; 0 is the default, too. At most
/// 268,435,455, which is 8.5 years; as in netfilter, none has to be longer than another. This struct never grows.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct portolan_timeouts {
    /// TCP after the first SYN: 120.
    pub tcp_syn_sent_seconds: u32,
    /// TCP after the SYN that answers: 60.
    pub tcp_syn_recv_seconds: u32,
    /// TCP in both directions: 432,000, five days. kube-proxy's own default is 86,400.
    pub tcp_established_seconds: u32,
    /// TCP after the first FIN: 120.
    pub tcp_fin_wait_seconds: u32,
    /// TCP after that was acknowledged: 60. kube-proxy's own default is 3,600.
    pub tcp_close_wait_seconds: u32,
    /// TCP after the other side's FIN: 30.
    pub tcp_last_ack_seconds: u32,
    /// TCP after that was acknowledged: 120.
    pub tcp_time_wait_seconds: u32,
    /// TCP after a reset: 10.
    pub tcp_close_seconds: u32,
    /// TCP, at most, while data waits for its acknowledgment or a window is closed: 300.
    pub tcp_unacknowledged_seconds: u32,
    /// UDP that is not answered yet, or is younger than two seconds: 30.
    pub udp_seconds: u32,
    /// UDP in both directions for longer than two seconds: 120.
    pub udp_stream_seconds: u32,
    /// SCTP after the INIT, and after it has ended: 10.
    pub sctp_closed_seconds: u32,
    /// SCTP after the INIT ACK: 3.
    pub sctp_cookie_wait_seconds: u32,
    /// SCTP after the COOKIE ECHO: 3.
    pub sctp_cookie_echoed_seconds: u32,
    /// SCTP after the COOKIE ACK: 210.
    pub sctp_established_seconds: u32,
    /// SCTP after the client's SHUTDOWN: 3.
    pub sctp_shutdown_sent_seconds: u32,
    /// SCTP after the endpoint's SHUTDOWN: 3.
    pub sctp_shutdown_recd_seconds: u32,
    /// SCTP after the SHUTDOWN ACK: 3.
    pub sctp_shutdown_ack_sent_seconds: u32,
}

/// The longest: what deadlines, counted in 32 bits, have room for.
const LONGEST: u32 = u32::MAX / TICKS_PER_SECOND;

/// Each field's name, the field, and what it is in the library.
type Field<'a> = (&'static str, &'a mut u32, &'a mut Duration);

impl portolan_timeouts {
    fn fields<'a>(&'a mut self, own: &'a mut Timeouts) -> [Field<'a>; 18] {
        macro_rules! fields {
            ($($field:ident: $own:expr;)*) => { [$((stringify!($field), &mut self.$field, &mut $own),)*] };
        }
        fields! {
            tcp_syn_sent_seconds: own.tcp.syn_sent;
            tcp_syn_recv_seconds: own.tcp.syn_recv;
            tcp_established_seconds: own.tcp.established;
            tcp_fin_wait_seconds: own.tcp.fin_wait;
            tcp_close_wait_seconds: own.tcp.close_wait;
            tcp_last_ack_seconds: own.tcp.last_ack;
            tcp_time_wait_seconds: own.tcp.time_wait;
            tcp_close_seconds: own.tcp.close;
            tcp_unacknowledged_seconds: own.tcp.unacknowledged;
            udp_seconds: own.udp;
            udp_stream_seconds: own.udp_stream;
            sctp_closed_seconds: own.sctp.closed;
            sctp_cookie_wait_seconds: own.sctp.cookie_wait;
            sctp_cookie_echoed_seconds: own.sctp.cookie_echoed;
            sctp_established_seconds: own.sctp.established;
            sctp_shutdown_sent_seconds: own.sctp.shutdown_sent;
            sctp_shutdown_recd_seconds: own.sctp.shutdown_recd;
            sctp_shutdown_ack_sent_seconds: own.sctp.shutdown_ack_sent;
        }
    }

    /// What the library is to keep to.
    pub(crate) fn to_timeouts(mut self) -> Result<Timeouts, Failure> {
        let mut timeouts = Timeouts::default();
        for (field, seconds, own) in self.fields(&mut timeouts) {
            if *seconds > LONGEST {
                return Err(Failure::invalid(
                    &format!("limits.timeouts.{field}"),
                    format!("{seconds} is too long: must be at most {LONGEST}, 8.5 years"),
                ));
            }
            if *seconds != 0 {
                *own = Duration::from_secs((*seconds).into());
            }
        }
        Ok(timeouts)
    }

    /// Netfilter's defaults, as numbers.
    pub(crate) fn netfilter() -> Self {
        let mut timeouts = Self::default();
        for (_, seconds, own) in timeouts.fields(&mut Timeouts::default()) {
            *seconds = u32::try_from(own.as_secs()).unwrap_or(LONGEST);
        }
        timeouts
    }
}
