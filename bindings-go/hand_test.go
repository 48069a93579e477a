//go:build cgo

package portolan_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/portolan/portolan/bindings-go"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// web is default/web at 10.96.0.80 and fd96::80, port 80.
func web() portolan.Service {
	return portolan.Service{
		Namespace: "default", Name: "web",
		ClusterIPs: []netip.Addr{address("10.96.0.80"), address("fd96::80")},
		Ports:      []portolan.ServicePort{{Name: "http", Protocol: portolan.TCP, Port: 80, NodePort: 30080}},
	}
}

// webSlice is an endpoint of it on this node, and one that is not ready.
func webSlice() portolan.EndpointSlice {
	return portolan.EndpointSlice{
		Namespace: "default", Name: "web-1", ServiceName: "web",
		Endpoints: []portolan.SliceEndpoint{
			{Address: address("10.200.2.7"), NodeName: "n1"},
			{Address: address("10.200.2.8"), NotReady: true},
		},
		Ports: []portolan.SlicePort{{Name: "http", Protocol: portolan.TCP, Port: 8080}},
	}
}

// byHand is a node that knows web, and nothing from text.
func byHand(t testing.TB) *portolan.Node {
	t.Helper()
	node, err := portolan.NewNode([]byte(config))
	must(t, err)
	var batch portolan.Batch
	batch.PutService(web())
	batch.PutSlice(webSlice())
	batch.Replace(portolan.KindService)
	batch.Replace(portolan.KindEndpointSlice)
	_, rejections, err := node.Commit(&batch)
	must(t, err)
	if len(rejections) != 0 {
		t.Fatal(rejections)
	}
	return node
}

func frontends(node *portolan.Node) (all []portolan.Frontend) {
	for frontend := range node.Frontends() {
		all = append(all, frontend)
	}
	return all
}

func TestObjectsPutByHandAreServedAsIfTheyWereText(t *testing.T) {
	node := byHand(t)
	want := portolan.Frontend{
		Namespace: "default", Name: "web", PortName: "http", Protocol: portolan.TCP,
		Address: netip.MustParseAddrPort("10.96.0.80:80"), Kind: portolan.ClusterIP,
		ClusterEndpoints: 1, LocalEndpoints: 1,
	}
	if all := frontends(node); len(all) != 3 || all[0] != want {
		t.Fatalf("%+v", all)
	}
	// A field of every form: what was decided says that it arrived.
	service, scheduler := web(), portolan.WeightedRoundRobin
	service.Ingress = []netip.Addr{address("192.0.2.1")}
	service.LoadBalancer, service.ExternalLocal = true, true
	service.SourceRanges = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	service.Affinity, service.Scheduler, service.HealthCheckNodePort = time.Hour, &scheduler, 32000
	slice := webSlice()
	slice.Endpoints[0].Weight = 9
	var batch portolan.Batch
	batch.PutService(service)
	batch.PutSlice(slice)
	before, err := node.Generation()
	must(t, err)
	_, rejections, err := node.Commit(&batch)
	must(t, err)
	changes, err := node.Changes(before)
	must(t, err)
	for change := range changes.All() {
		decided := change.Service
		if change.IPv6 || decided == nil {
			continue
		}
		if decided.Affinity != time.Hour || decided.Scheduler != scheduler || decided.Endpoints[0].Weight != 9 {
			t.Errorf("%+v", decided)
		}
		for _, frontend := range decided.Frontends {
			if frontend.Kind == portolan.LoadBalancer && (len(frontend.SourceRanges) != 1 || !frontend.Rules[portolan.FromOutside].Local) {
				t.Errorf("%+v", frontend)
			}
		}
	}
	if all := frontends(node); len(rejections) != 0 || all[0].HealthCheckPort != 32000 {
		t.Errorf("%v %+v", rejections, all)
	}
	batch.Delete(portolan.KindService, "default", "web")
	_, _, err = node.Commit(&batch)
	must(t, err)
	if all := frontends(node); len(all) != 0 {
		t.Errorf("still served: %+v", all)
	}
}

func TestWhatIsNotAllowedByHandNamesTheFieldAndChangesNothing(t *testing.T) {
	node := byHand(t)
	before, err := node.Generation()
	must(t, err)
	services := map[string]func(*portolan.Service){
		"service.name":                    func(s *portolan.Service) { s.Name = "" },
		"service.ports[0].port":           func(s *portolan.Service) { s.Ports[0].Port = 0 },
		"service.ports[0].protocol":       func(s *portolan.Service) { s.Ports[0].Protocol = 1 },
		"service.cluster_ips[0].family":   func(s *portolan.Service) { s.ClusterIPs[0] = netip.Addr{} },
		"service.source_ranges[0].length": func(s *portolan.Service) { s.SourceRanges = []netip.Prefix{netip.PrefixFrom(address("10.0.0.0"), 33)} },
		"service.scheduler": func(s *portolan.Service) {
			unknown := portolan.Scheduler(99)
			s.Scheduler = &unknown
		},
	}
	slices := map[string]func(*portolan.EndpointSlice){
		"slice.service_name":         func(s *portolan.EndpointSlice) { s.ServiceName = "" },
		"slice.endpoints[0].address": func(s *portolan.EndpointSlice) { s.IPv6 = true },
		"slice.ports[0].port":        func(s *portolan.EndpointSlice) { s.Ports[0].Port = 0 },
	}
	judge := func(field string, batch *portolan.Batch) {
		_, _, err := node.Commit(batch)
		var said *portolan.Error
		if !errors.Is(err, portolan.ErrInvalid) || !errors.As(err, &said) || said.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, spoil := range services {
		var batch portolan.Batch
		batch.Delete(portolan.KindEndpointSlice, "default", "web-1")
		service := web()
		spoil(&service)
		batch.PutService(service)
		judge(field, &batch)
	}
	for field, spoil := range slices {
		var batch portolan.Batch
		slice := webSlice()
		spoil(&slice)
		batch.PutSlice(slice)
		judge(field, &batch)
	}
	if after, err := node.Generation(); err != nil || after != before || len(frontends(node)) != 3 {
		t.Errorf("generation %d, then %d: %v", before, after, err)
	}
}

// An appliance that knows no Kubernetes: a dataplane, and services in its own terms.
func TestADataplaneIsFilledWithoutANode(t *testing.T) {
	dataplane, err := portolan.NewDataplane(small, [16]byte{1})
	must(t, err)
	defer dataplane.Close()
	must(t, dataplane.SetNode(portolan.NodeSpec{
		Addresses:      []netip.Addr{address("192.168.66.11")},
		PodPrefixes:    []netip.Prefix{netip.MustParsePrefix("10.200.0.0/16")},
		MasqueradeIPv4: address("192.168.66.11"),
	}))
	service := portolan.ServiceSpec{
		Frontends: []portolan.FrontendSpec{{Address: netip.MustParseAddrPort("10.96.0.80:80")}},
		Endpoints: []portolan.Endpoint{{Address: netip.MustParseAddrPort("10.200.2.7:8080"), InCluster: true, Tag: 7}},
	}
	must(t, dataplane.PutService(3, portolan.TCP, service))
	worker, err := dataplane.NewWorker()
	must(t, err)
	frames, err := dataplane.NewFrames(1, 128)
	must(t, err)
	verdict := func() portolan.Descriptor {
		t.Helper()
		_, rejections, err := dataplane.Publish()
		must(t, err)
		if len(rejections) != 0 {
			t.Fatal(rejections)
		}
		fill(frames, 1)
		must(t, worker.Process(1, frames, 1))
		return frames.Descriptors()[0]
	}
	if descriptor := verdict(); descriptor.Verdict != portolan.Forward || descriptor.EndpointTag != 7 {
		t.Errorf("%+v", descriptor)
	}
	if to := frames.Frame(0)[16:20]; [4]byte(to) != [4]byte{10, 200, 2, 7} {
		t.Errorf("to %v", to)
	}
	service.Endpoints = nil
	must(t, dataplane.PutService(4, portolan.TCP, portolan.ServiceSpec{}))
	must(t, dataplane.RemoveService(4))
	must(t, dataplane.RemoveService(3))
	must(t, dataplane.PutService(5, portolan.TCP, service))
	if descriptor := verdict(); descriptor.Verdict == portolan.Pass {
		t.Errorf("%+v", descriptor)
	}
	must(t, dataplane.RemoveService(5))

	var said *portolan.Error
	service.Frontends[0].Address = netip.MustParseAddrPort("10.96.0.80:0")
	if err := dataplane.PutService(3, portolan.TCP, service); !errors.As(err, &said) || said.Field != "service.frontends[0].port" {
		t.Errorf("%v", err)
	}
	if err := dataplane.PutService(1<<31, portolan.TCP, portolan.ServiceSpec{}); !errors.Is(err, portolan.ErrLimit) {
		t.Errorf("%v", err)
	}
	filled, _, _ := rig(t, 1)
	if err := filled.PutService(1, portolan.TCP, portolan.ServiceSpec{}); !errors.Is(err, portolan.ErrState) {
		t.Errorf("%v", err)
	}
}

// A host that marks what entered by a pod's interface, on a node that tells pods so.
func TestPodsAreToldByTheirInterface(t *testing.T) {
	dataplane, err := portolan.NewDataplane(small, [16]byte{1})
	must(t, err)
	defer dataplane.Close()
	must(t, dataplane.SetNode(portolan.NodeSpec{
		MasqueradeIPv4: address("192.168.66.11"), PodInterface: "veth", PodInterfaceIsPrefix: true,
	}))
	frontend := portolan.FrontendSpec{Address: netip.MustParseAddrPort("10.96.0.80:80")}
	frontend.Rules[portolan.FromOutside].Masquerade = true
	must(t, dataplane.PutService(0, portolan.TCP, portolan.ServiceSpec{
		Frontends: []portolan.FrontendSpec{frontend},
		Endpoints: []portolan.Endpoint{{Address: netip.MustParseAddrPort("10.200.2.7:8080"), InCluster: true}},
	}))
	_, _, err = dataplane.Publish()
	must(t, err)
	worker, err := dataplane.NewWorker()
	must(t, err)
	frames, err := dataplane.NewFrames(2, 128)
	must(t, err)
	for flags, source := range map[uint16]portolan.Source{portolan.FlagFromPod: portolan.FromPod, 0: portolan.FromOutside} {
		why, err := dataplane.Explain(1, syn, flags)
		must(t, err)
		if why.Source != source || why.Masquerade != (source == portolan.FromOutside) {
			t.Errorf("%#x: %+v", flags, why)
		}
	}
	var refused *portolan.Error
	if _, err := dataplane.Explain(1, syn, 1); !errors.As(err, &refused) || refused.Field != "flags" {
		t.Error(err)
	}
	fill(frames, 2)
	frames.Frame(1)[21]++ // another connection
	frames.Descriptors()[0].Flags = portolan.FlagFromPod
	must(t, worker.Process(1, frames, 2))
	marked, other := frames.Descriptors()[0], frames.Descriptors()[1]
	if marked.Verdict != portolan.Forward || marked.Flags&portolan.FlagMasquerade != 0 {
		t.Errorf("%+v", marked)
	}
	if other.Verdict != portolan.Forward || other.Flags&portolan.FlagMasquerade == 0 {
		t.Errorf("%+v", other)
	}
}
