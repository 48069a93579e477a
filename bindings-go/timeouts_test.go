//go:build cgo

package portolan_test

import (
	"errors"
	"fmt"
	"log"
	"math"
	"testing"
	"time"

	"github.com/portolan/portolan/bindings-go"
)

// remaining is how long the only connection lives yet; 0 if there is none.
func (d *door) remaining(now int64) (left time.Duration) {
	d.t.Helper()
	count := 0
	for connection := range d.dataplane.Connections(now) {
		left = connection.Remaining
		count++
	}
	if count > 1 {
		d.t.Errorf("%d connections", count)
	}
	return left
}

func TestAConnectionLivesAsLongAsItsTimeoutSays(t *testing.T) {
	firsts := map[string]func(*door, int64) portolan.Descriptor{
		"TCP":  func(d *door, now int64) portolan.Descriptor { return d.tcp(now, 1, 2) },
		"UDP":  func(d *door, now int64) portolan.Descriptor { return d.udp(now, 1) },
		"SCTP": func(d *door, now int64) portolan.Descriptor { return d.sctp(now, 1) },
	}
	chosen := portolan.Timeouts{TCPSynSent: 7 * time.Second, UDP: 8 * time.Second, SCTPClosed: 8*time.Second + 1}
	for _, timeouts := range []struct {
		set  portolan.Timeouts
		want map[string]time.Duration
	}{
		{portolan.Timeouts{}, map[string]time.Duration{"TCP": 2 * time.Minute, "UDP": 30 * time.Second, "SCTP": 10 * time.Second}},
		{chosen, map[string]time.Duration{"TCP": 7 * time.Second, "UDP": 8 * time.Second, "SCTP": 9 * time.Second}},
	} {
		for name, first := range firsts {
			for _, d := range doors(t, portolan.Limits{Timeouts: timeouts.set}) {
				want := timeouts.want[name]
				end := second + int64(want)
				if opened := first(d, second); opened.Flags != portolan.FlagNew || d.remaining(second) != want {
					t.Errorf("%s: %+v, %v left, not %v", name, opened, d.remaining(second), want)
				}
				if d.remaining(end-second) != time.Second || d.remaining(end) != 0 {
					t.Errorf("%s: %v left a second before its end, then %v", name, d.remaining(end-second), d.remaining(end))
				}
				if _, err := d.dataplane.Poll(end); err != nil {
					t.Error(err)
				}
				if again := first(d, end); again.Verdict != portolan.Forward || again.Flags != portolan.FlagNew {
					t.Errorf("%s: %+v", name, again)
				}
			}
		}
	}
}

func TestTimeoutsOfEstablishedConnectionsAndStreamsAreTheirOwn(t *testing.T) {
	limits := portolan.Limits{
		MidStream: portolan.PickUpMidStream,
		Timeouts:  portolan.Timeouts{TCPEstablished: 40 * time.Second, UDP: 5 * time.Second, UDPStream: 90 * time.Second},
	}
	for _, d := range doors(t, limits) {
		d.tcp(second, 1, ack)
		if left := d.remaining(second); left != 40*time.Second {
			t.Error(left)
		}
	}
	for _, d := range doors(t, limits) {
		d.udp(second, 1)
		d.send(2*second, d.endpoint, d.client, 17, 8080>>8, 8080&0xff, 0, 1, 0, 8, 0, 0)
		if left := d.remaining(2 * second); left != 5*time.Second {
			t.Error(left)
		}
		d.udp(4*second, 1)
		if left := d.remaining(4 * second); left != 90*time.Second {
			t.Error(left)
		}
	}
}

func TestATimeoutThatCannotBeNamesItself(t *testing.T) {
	for field, timeout := range map[string]func(*portolan.Timeouts) *time.Duration{
		"tcp_syn_sent":           func(t *portolan.Timeouts) *time.Duration { return &t.TCPSynSent },
		"tcp_syn_recv":           func(t *portolan.Timeouts) *time.Duration { return &t.TCPSynRecv },
		"tcp_established":        func(t *portolan.Timeouts) *time.Duration { return &t.TCPEstablished },
		"tcp_fin_wait":           func(t *portolan.Timeouts) *time.Duration { return &t.TCPFinWait },
		"tcp_close_wait":         func(t *portolan.Timeouts) *time.Duration { return &t.TCPCloseWait },
		"tcp_last_ack":           func(t *portolan.Timeouts) *time.Duration { return &t.TCPLastAck },
		"tcp_time_wait":          func(t *portolan.Timeouts) *time.Duration { return &t.TCPTimeWait },
		"tcp_close":              func(t *portolan.Timeouts) *time.Duration { return &t.TCPClose },
		"tcp_unacknowledged":     func(t *portolan.Timeouts) *time.Duration { return &t.TCPUnacknowledged },
		"udp":                    func(t *portolan.Timeouts) *time.Duration { return &t.UDP },
		"udp_stream":             func(t *portolan.Timeouts) *time.Duration { return &t.UDPStream },
		"sctp_closed":            func(t *portolan.Timeouts) *time.Duration { return &t.SCTPClosed },
		"sctp_cookie_wait":       func(t *portolan.Timeouts) *time.Duration { return &t.SCTPCookieWait },
		"sctp_cookie_echoed":     func(t *portolan.Timeouts) *time.Duration { return &t.SCTPCookieEchoed },
		"sctp_established":       func(t *portolan.Timeouts) *time.Duration { return &t.SCTPEstablished },
		"sctp_shutdown_sent":     func(t *portolan.Timeouts) *time.Duration { return &t.SCTPShutdownSent },
		"sctp_shutdown_recd":     func(t *portolan.Timeouts) *time.Duration { return &t.SCTPShutdownRecd },
		"sctp_shutdown_ack_sent": func(t *portolan.Timeouts) *time.Duration { return &t.SCTPShutdownAckSent },
	} {
		// The least below nothing; what deadlines have no room for; what C has none for.
		for _, wrong := range []time.Duration{-1, 268435455*time.Second + 1, math.MaxInt64} {
			var limits portolan.Limits
			*timeout(&limits.Timeouts) = wrong
			_, err := portolan.NewDataplane(limits, [16]byte{1})
			var said *portolan.Error
			if !errors.Is(err, portolan.ErrInvalid) || !errors.As(err, &said) || said.Field != "limits.timeouts."+field+"_seconds" {
				t.Errorf("%s of %v: %v", field, wrong, err)
			}
		}
	}
}

// An appliance that forgets idle connections sooner than netfilter does.
func ExampleTimeouts() {
	dataplane, err := portolan.NewDataplane(portolan.Limits{
		Timeouts: portolan.Timeouts{
			TCPEstablished: 2 * time.Hour,
			UDPStream:      time.Minute,
		},
	}, [16]byte{0x5e, 0xed}) // yours: crypto/rand
	if err != nil {
		log.Fatal(err)
	}
	defer dataplane.Close()
	_, err = portolan.NewDataplane(portolan.Limits{Timeouts: portolan.Timeouts{UDP: -time.Second}}, [16]byte{})
	fmt.Println(err)

	// Output:
	// portolan: a value is not allowed: limits.timeouts.udp_seconds: -1s: must be 0 to 268435455 seconds, 8.5 years
}
