//go:build cgo

package portolan_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"testing"

	"github.com/portolan/portolan/bindings-go"
)

const (
	rst, ack                               = 0x04, 0x10
	noConnection, newConnectionLimit uint8 = 11, 22 // reasons to drop
	second                                 = int64(1e9)
)

// door is a dataplane that serves one address in one family, and a client of it.
type door struct {
	t                         testing.TB
	dataplane                 *portolan.Dataplane
	worker                    *portolan.Worker
	frames                    *portolan.Frames
	client, address, endpoint netip.Addr
	header                    int // bytes of the IP header
}

// doors are one of each family.
func doors(t testing.TB, limits portolan.Limits) []*door {
	limits.ConnectionsIPv4, limits.ConnectionsIPv6, limits.Workers = 1<<10, 1<<10, 1
	all := []*door{
		{t: t, client: address("10.200.1.9"), address: address("10.96.0.80"), endpoint: address("10.200.2.7"), header: 20},
		{t: t, client: address("fd00::1:9"), address: address("fd96::80"), endpoint: address("fd00::2:7"), header: 40},
	}
	for _, d := range all {
		var err error
		d.dataplane, err = portolan.NewDataplane(limits, [16]byte{1})
		must(t, err)
		d.serve(portolan.Endpoint{Address: netip.AddrPortFrom(d.endpoint, 8080), InCluster: true})
		d.worker, err = d.dataplane.NewWorker()
		must(t, err)
		d.frames, err = d.dataplane.NewFrames(1, 1280)
		must(t, err)
	}
	return all
}

func (d *door) serve(endpoints ...portolan.Endpoint) {
	d.t.Helper()
	frontends := []portolan.FrontendSpec{{Address: netip.AddrPortFrom(d.address, 80)}}
	for id, protocol := range []portolan.Protocol{portolan.TCP, portolan.UDP, portolan.SCTP} {
		must(d.t, d.dataplane.PutService(uint32(id), protocol, portolan.ServiceSpec{Frontends: frontends, Endpoints: endpoints}))
	}
	_, rejections, err := d.dataplane.Publish()
	must(d.t, err)
	if len(rejections) != 0 {
		d.t.Fatal(rejections)
	}
}

// send gives the dataplane a packet, and says what became of it.
func (d *door) send(now int64, from, to netip.Addr, protocol uint8, payload ...byte) portolan.Descriptor {
	d.t.Helper()
	packet := make([]byte, d.header)
	if d.header == 20 {
		packet[0], packet[3], packet[8], packet[9] = 0x45, byte(20+len(payload)), 64, protocol
		copy(packet[12:], from.AsSlice())
		copy(packet[16:], to.AsSlice())
		binary.BigEndian.PutUint16(packet[10:], checksum(packet))
	} else {
		packet[0], packet[5], packet[6], packet[7] = 0x60, byte(len(payload)), protocol, 64
		copy(packet[8:], from.AsSlice())
		copy(packet[24:], to.AsSlice())
	}
	packet = append(packet, payload...)
	descriptor := &d.frames.Descriptors()[0]
	copy(d.frames.Frame(0), packet)
	*descriptor = portolan.Descriptor{Len: uint32(len(packet)), Capacity: 1280}
	must(d.t, d.worker.Process(now, d.frames, 1))
	return *descriptor
}

// tcp sends a segment of the client's; its checksum is wrong, which is not the dataplane's to judge.
func (d *door) tcp(now int64, port, flags byte) portolan.Descriptor {
	d.t.Helper()
	return d.send(now, d.client, d.address, 6, 0, port, 0, 80, 0, 0, 0, 9, 0, 0, 0, 9, 0x50, flags, 0xff, 0, 0, 0, 0, 0)
}

func (d *door) udp(now int64, port byte) portolan.Descriptor {
	d.t.Helper()
	return d.send(now, d.client, d.address, 17, 0, port, 0, 80, 0, 8, 0, 0)
}

// sctp sends an INIT chunk of the client's (RFC 9260, 3.3.2), without a checksum.
func (d *door) sctp(now int64, port byte) portolan.Descriptor {
	d.t.Helper()
	packet := make([]byte, 32)
	packet[1], packet[3], packet[12], packet[15], packet[19], packet[25], packet[27] = port, 80, 1, 20, 1, 1, 1
	return d.send(now, d.client, d.address, 132, packet...)
}

// isReset says whether the segment was answered by a reset.
func (d *door) isReset(descriptor portolan.Descriptor) bool {
	answer := d.frames.Frame(0)[descriptor.Offset:]
	return descriptor.Verdict == portolan.Reply && answer[d.header+13] == rst
}

// checksum is the Internet checksum of bytes (RFC 1071).
func checksum(bytes []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(bytes); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(bytes[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func TestAWorkerOpensNoMoreConnectionsASecondThanItMay(t *testing.T) {
	for _, d := range doors(t, portolan.Limits{NewConnectionsPerSecond: 2}) {
		for now := second; now <= 3*second; now += second {
			if first := d.tcp(now, byte(now/second), 2); first.Verdict != portolan.Forward {
				t.Errorf("%+v", first)
			}
			if other := d.udp(now, byte(now/second)); other.Verdict != portolan.Forward {
				t.Errorf("%+v", other)
			}
			for _, beyond := range []portolan.Descriptor{d.tcp(now, 9, 2), d.udp(now, 9)} {
				if beyond.Verdict != portolan.Drop || beyond.Reason != newConnectionLimit {
					t.Errorf("%+v", beyond)
				}
			}
			if open := d.udp(now, byte(now/second)); open.Verdict != portolan.Forward || open.Flags&portolan.FlagNew != 0 {
				t.Errorf("%+v", open)
			}
		}
		stats, err := d.dataplane.Stats()
		must(t, err)
		if stats.Drops[newConnectionLimit] != 6 || stats.OpenedIPv4+stats.OpenedIPv6 != 6 {
			t.Errorf("%+v", stats)
		}
	}
}

func TestAClientOfAnEndpointThatIsGoneIsResetOnRequest(t *testing.T) {
	for _, ended := range []portolan.EndedTCP{portolan.KeepEnded, portolan.ResetEnded} {
		for _, d := range doors(t, portolan.Limits{EndedTCP: ended, MidStream: portolan.PickUpMidStream}) {
			if open := d.tcp(second, 1, ack); open.Verdict != portolan.Forward {
				t.Fatalf("%+v", open)
			}
			d.serve()
			next := d.tcp(second, 1, ack)
			if ended == portolan.ResetEnded && !d.isReset(next) || ended == portolan.KeepEnded && next.Verdict != portolan.Forward {
				t.Errorf("%d: %+v", ended, next)
			}
		}
	}
}

func TestASegmentOfNoConnectionIsDroppedOrResetOrPickedUp(t *testing.T) {
	for _, d := range doors(t, portolan.Limits{}) {
		if dropped := d.tcp(second, 1, ack); dropped.Verdict != portolan.Drop || dropped.Reason != noConnection {
			t.Errorf("%+v", dropped)
		}
	}
	for _, d := range doors(t, portolan.Limits{MidStream: portolan.ResetMidStream}) {
		if answered := d.tcp(second, 1, ack); !d.isReset(answered) {
			t.Errorf("%+v", answered)
		}
	}
	for _, d := range doors(t, portolan.Limits{MidStream: portolan.PickUpMidStream}) {
		if opened := d.tcp(second, 1, ack); opened.Verdict != portolan.Forward || opened.Flags != portolan.FlagNew {
			t.Errorf("%+v", opened)
		}
	}
}

func TestAnEchoRequestToAServicesAddressIsAnsweredOnRequest(t *testing.T) {
	for _, answer := range []bool{false, true} {
		for _, d := range doors(t, portolan.Limits{AnswerEcho: answer}) {
			protocol, request, reply := uint8(1), byte(8), byte(0)
			message := []byte{request, 0, 0, 0, 0, 1, 0, 1}
			summed := message
			if d.header == 40 { // ICMPv6 sums a pseudo-header, too (RFC 4443, 2.3)
				protocol, request, reply = 58, 128, 129
				message[0] = request
				summed = append(append(append(d.client.AsSlice(), d.address.AsSlice()...), 0, 8, 0, protocol), message...)
			}
			binary.BigEndian.PutUint16(message[2:], checksum(summed))
			said := d.send(second, d.client, d.address, protocol, message...)
			verdict, kind := portolan.Pass, request
			if answer {
				verdict, kind = portolan.Reply, reply
			}
			if said.Verdict != verdict || d.frames.Frame(0)[int(said.Offset)+d.header] != kind {
				t.Errorf("%v: %+v", answer, said)
			}
		}
	}
}

func TestAnOptionThatIsNoneNamesItself(t *testing.T) {
	for field, limits := range map[string]portolan.Limits{
		"limits.ended_tcp":     {EndedTCP: portolan.ResetEnded + 1},
		"limits.mid_stream":    {MidStream: portolan.PickUpMidStream + 1},
		"limits.memory_advice": {MemoryAdvice: portolan.AdviseNothing + 1},
	} {
		_, err := portolan.NewDataplane(limits, [16]byte{1})
		var said *portolan.Error
		if !errors.Is(err, portolan.ErrInvalid) || !errors.As(err, &said) || said.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// A node that keeps its processors for open connections when a flood comes, and tells clients at once that their endpoint
// is gone.
func ExampleLimits() {
	dataplane, err := portolan.NewDataplane(portolan.Limits{
		NewConnectionsPerSecond: 10_000, // for each worker
		EndedTCP:                portolan.ResetEnded,
		AnswerEcho:              true,
	}, [16]byte{0x5e, 0xed}) // yours: crypto/rand
	if err != nil {
		log.Fatal(err)
	}
	defer dataplane.Close()
	_, err = portolan.NewDataplane(portolan.Limits{MidStream: 9}, [16]byte{})
	fmt.Println(err)

	// Output:
	// portolan: a value is not allowed: limits.mid_stream: 9: must be 0 to 2
}
