//go:build cgo

package portolan_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/portolan/portolan/bindings-go"
)

func TestExplainIsWhatHappens(t *testing.T) {
	dataplane, worker, frames := rig(t, 1)
	endpoint := netip.MustParseAddrPort("10.200.2.7:8080")
	before, err := dataplane.Explain(1, syn, 0)
	must(t, err)
	if before.Verdict != portolan.Forward || before.Known || before.Endpoint != endpoint ||
		!slices.Equal(before.Choices, []netip.AddrPort{endpoint}) || before.Source != portolan.FromPod {
		t.Errorf("%+v", before)
	}
	if before.Flow.Destination != netip.MustParseAddrPort("10.96.0.80:80") || before.Translated.Destination != endpoint {
		t.Errorf("%+v", before)
	}
	if !strings.Contains(before.String(), "frontend     ClusterIP of default/web:http") {
		t.Error(before)
	}
	must(t, worker.Process(1, frames, 1))
	after, err := dataplane.Explain(1, syn, 0)
	must(t, err)
	if !after.Known || after.Endpoint != endpoint || after.IsFrontend {
		t.Errorf("%+v", after)
	}
	garbage, err := dataplane.Explain(1, []byte{0x45}, 0)
	must(t, err)
	if garbage.Verdict != portolan.Drop || portolan.DropText(garbage.Reason) == "" {
		t.Errorf("%+v", garbage)
	}
}

func TestCountsAreByServiceAndEndpoint(t *testing.T) {
	dataplane, worker, frames := rig(t, 3)
	must(t, worker.Process(1, frames, 3))
	services, err := dataplane.Services()
	must(t, err)
	if len(services) != 1 || services[0].Name != "web" || services[0].PortName != "http" || services[0].IPv6 {
		t.Fatalf("%+v", services)
	}
	want := portolan.Traffic{Packets: 3, Bytes: 3 * uint64(len(syn))}
	if services[0].Opened != 1 || services[0].To != want || services[0].From != (portolan.Traffic{}) {
		t.Errorf("%+v", services[0])
	}
	endpoints := services[0].Endpoints
	if len(endpoints) != 1 || endpoints[0].To != want || endpoints[0].Address.Port() != 8080 {
		t.Errorf("%+v", endpoints)
	}
	connections := slices.Collect(dataplane.Connections(1))
	if len(connections) != 1 || connections[0].Original.Source.Port() != 40000 || connections[0].SeenReply {
		t.Errorf("%+v", connections)
	}
	if connections[0].Reply.Source != endpoints[0].Address || connections[0].Remaining <= 0 {
		t.Errorf("%+v", connections[0])
	}
}

func TestMemoryIsSaidBeforeItIsTaken(t *testing.T) {
	defaults, err := portolan.Limits{}.Memory()
	must(t, err)
	less, err := small.Memory()
	must(t, err)
	if less >= defaults || less < 1<<20 {
		t.Errorf("%d and %d bytes", less, defaults)
	}
}
