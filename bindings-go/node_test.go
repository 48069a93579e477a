//go:build cgo

package portolan_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/portolan/portolan/bindings-go"
)

func TestChangesAreWhatWasDecidedAndThenWhatIsDifferent(t *testing.T) {
	node := synced(t)
	defer node.Close()
	endpoint := netip.MustParseAddr("10.200.2.7")
	must(t, node.SetEndpointTags(map[netip.Addr]uint64{endpoint: 77}))
	changes, err := node.Changes(0)
	must(t, err)
	all := slices.Collect(changes.All())
	if !changes.Full || len(all) != 2 || all[0].Kind != portolan.ChangeNode || all[1].Kind != portolan.ChangePut {
		t.Fatalf("%+v", changes)
	}
	if all[0].Node.MasqueradeIPv4 != netip.MustParseAddr("192.168.66.11") || all[0].Node.MasqueradeIPv6.IsValid() ||
		all[0].Node.PodPrefixes[0] != netip.MustParsePrefix("10.200.0.0/16") {
		t.Errorf("%+v", all[0].Node)
	}
	service := all[1].Service
	want := portolan.Endpoint{
		Address: netip.AddrPortFrom(endpoint, 8080), InCluster: true, InLocal: true, Here: true, Weight: 1, Tag: 77,
	}
	if !slices.Equal(service.Endpoints, []portolan.Endpoint{want}) {
		t.Errorf("%+v", service.Endpoints)
	}
	rules := [3]portolan.Rule{portolan.FromNode: {Masquerade: true}, portolan.FromOutside: {Masquerade: true}}
	if service.Frontends[0].Rules != rules || service.Frontends[0].Address != netip.MustParseAddrPort("10.96.0.80:80") {
		t.Errorf("%+v", service.Frontends)
	}

	must(t, node.Delete(portolan.KindService, "default", "web"))
	later, err := node.Changes(changes.To)
	must(t, err)
	all = slices.Collect(later.All())
	if later.Full || len(all) != 1 || all[0].Kind != portolan.ChangeRemove || all[0].Name != "web" {
		t.Errorf("%+v", later)
	}
}

func TestANodeTakesAnotherDescription(t *testing.T) {
	node := synced(t)
	defer node.Close()
	before, err := node.Changes(0)
	must(t, err)
	rejections, err := node.Reconfigure([]byte("{nodeName: n1, ips: [192.168.66.12], serviceCIDRs: [10.96.0.0/16]}"))
	must(t, err)
	if len(rejections) != 0 {
		t.Errorf("%v", rejections)
	}
	after, err := node.Changes(before.To)
	must(t, err)
	for change := range after.All() {
		if change.Kind != portolan.ChangeNode {
			continue
		}
		if change.Node.MasqueradeIPv4 != netip.MustParseAddr("192.168.66.12") ||
			!slices.Equal(change.Node.ServicePrefixes, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}) {
			t.Errorf("%+v", change.Node)
		}
		if _, err := node.Reconfigure([]byte("{nodeName: ''}")); err == nil {
			t.Error("a node without a name was taken")
		}
		return
	}
	t.Errorf("nothing changed: %+v", after)
}

func TestABatchIsOneGeneration(t *testing.T) {
	node, err := portolan.NewNode([]byte(config))
	must(t, err)
	defer node.Close()
	var batch portolan.Batch
	batch.Apply([]byte(objects))
	batch.Replace(portolan.KindService)
	batch.Replace(portolan.KindEndpointSlice)
	generation, rejections, err := node.Commit(&batch)
	must(t, err)
	if generation != 1 || len(rejections) != 1 {
		t.Errorf("generation %d, %v", generation, rejections)
	}
	batch.Delete(portolan.KindService, "default", "web")
	batch.Delete(portolan.KindEndpointSlice, "default", "web-1")
	generation, rejections, err = node.Commit(&batch)
	must(t, err)
	if generation != 2 || len(rejections) != 0 {
		t.Errorf("generation %d, %v", generation, rejections)
	}
	if generation, _, err = node.Commit(&batch); err != nil || generation != 2 {
		t.Errorf("an empty batch: generation %d, %v", generation, err)
	}
	batch.Delete(99, "", "")
	if _, _, err = node.Commit(&batch); err == nil {
		t.Error("99 is no kind")
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(objects))
	f.Add([]byte(`{"kind":"List","items":[]}`))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		node, err := portolan.NewNode([]byte(config))
		must(t, err)
		defer node.Close()
		_, err = node.Apply(bytes)
		must(t, err)
		must(t, node.Synced(portolan.KindService))
		must(t, node.Synced(portolan.KindEndpointSlice))
		changes, err := node.Changes(0)
		must(t, err)
		for change := range changes.All() {
			if change.Kind == portolan.ChangePut && change.Service == nil {
				t.Errorf("%+v", change)
			}
		}
	})
}
