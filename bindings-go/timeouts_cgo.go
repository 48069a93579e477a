//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"fmt"
	"math"
	"time"
)

// toC leaves what is 0 as it is.
func (t *Timeouts) toC(to *C.portolan_timeouts) error {
	for _, timeout := range []struct {
		name string
		to   *C.uint32_t
		from time.Duration
	}{
		{"tcp_syn_sent", &to.tcp_syn_sent_seconds, t.TCPSynSent},
		{"tcp_syn_recv", &to.tcp_syn_recv_seconds, t.TCPSynRecv},
		{"tcp_established", &to.tcp_established_seconds, t.TCPEstablished},
		{"tcp_fin_wait", &to.tcp_fin_wait_seconds, t.TCPFinWait},
		{"tcp_close_wait", &to.tcp_close_wait_seconds, t.TCPCloseWait},
		{"tcp_last_ack", &to.tcp_last_ack_seconds, t.TCPLastAck},
		{"tcp_time_wait", &to.tcp_time_wait_seconds, t.TCPTimeWait},
		{"tcp_close", &to.tcp_close_seconds, t.TCPClose},
		{"tcp_unacknowledged", &to.tcp_unacknowledged_seconds, t.TCPUnacknowledged},
		{"udp", &to.udp_seconds, t.UDP},
		{"udp_stream", &to.udp_stream_seconds, t.UDPStream},
		{"sctp_closed", &to.sctp_closed_seconds, t.SCTPClosed},
		{"sctp_cookie_wait", &to.sctp_cookie_wait_seconds, t.SCTPCookieWait},
		{"sctp_cookie_echoed", &to.sctp_cookie_echoed_seconds, t.SCTPCookieEchoed},
		{"sctp_established", &to.sctp_established_seconds, t.SCTPEstablished},
		{"sctp_shutdown_sent", &to.sctp_shutdown_sent_seconds, t.SCTPShutdownSent},
		{"sctp_shutdown_recd", &to.sctp_shutdown_recd_seconds, t.SCTPShutdownRecd},
		{"sctp_shutdown_ack_sent", &to.sctp_shutdown_ack_sent_seconds, t.SCTPShutdownAckSent},
	} {
		whole := int64(timeout.from / time.Second)
		if timeout.from%time.Second > 0 {
			whole++
		}
		if timeout.from < 0 || whole > math.MaxUint32 {
			return &Error{
				Field:   "limits.timeouts." + timeout.name + "_seconds",
				Message: fmt.Sprintf("%v: must be 0 to 268435455 seconds, 8.5 years", timeout.from),
				kind:    ErrInvalid,
			}
		}
		if whole != 0 {
			*timeout.to = C.uint32_t(whole)
		}
	}
	return nil
}
