package portolan

import "time"

// Timeouts are how long connections live without packets, by protocol and state, exact to half a second. Names and defaults
// are those of netfilter's sysctls, nf_conntrack_tcp_timeout_syn_sent and so on; 0 is the default. A part of a second counts
// as a whole one; 8.5 years are the most. As in netfilter, none has to be longer than another.
type Timeouts struct {
	// TCP after the first SYN: 2 minutes; after the SYN that answers: 1 minute.
	TCPSynSent, TCPSynRecv time.Duration
	// TCPEstablished is TCP's in both directions: 5 days. kube-proxy's own default is 1 day.
	TCPEstablished time.Duration
	// TCPFinWait is TCP's after the first FIN: 2 minutes.
	TCPFinWait time.Duration
	// TCPCloseWait is TCP's after that was acknowledged: 1 minute. kube-proxy's own default is 1 hour.
	TCPCloseWait time.Duration
	// TCP after the other side's FIN: 30 seconds; after that was acknowledged: 2 minutes.
	TCPLastAck, TCPTimeWait time.Duration
	// TCPClose is TCP's after a reset: 10 seconds.
	TCPClose time.Duration
	// TCPUnacknowledged is TCP's, at most, while data waits for its acknowledgment or a window is closed: 5 minutes.
	TCPUnacknowledged time.Duration
	// UDP that is not answered yet, or is younger than two seconds: 30 seconds.
	UDP time.Duration
	// UDPStream is UDP's in both directions for longer than two seconds: 2 minutes.
	UDPStream time.Duration
	// SCTPClosed is SCTP's after the INIT, and after it has ended: 10 seconds.
	SCTPClosed time.Duration
	// SCTP after the INIT ACK, and after the COOKIE ECHO: 3 seconds.
	SCTPCookieWait, SCTPCookieEchoed time.Duration
	// SCTPEstablished is SCTP's after the COOKIE ACK: 210 seconds.
	SCTPEstablished time.Duration
	// SCTP after the client's SHUTDOWN, the endpoint's, and the SHUTDOWN ACK: 3 seconds.
	SCTPShutdownSent, SCTPShutdownRecd, SCTPShutdownAckSent time.Duration
}
