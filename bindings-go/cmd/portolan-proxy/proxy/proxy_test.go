//go:build cgo

package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/proxy"
	"github.com/portolan/portolan/bindings-go/kube/apiserver"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	metrics.Register(true)
	os.Exit(m.Run())
}

// recorded is a backend that remembers what the node decided at each sync.
type recorded struct {
	node *portolan.Node

	mutex sync.Mutex
	syncs [][]portolan.Frontend
	cidrs []netip.Prefix
	pods  []netip.Prefix
	fail  error
}

func (r *recorded) Sync(context.Context) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.fail != nil {
		return r.fail
	}
	frontends := []portolan.Frontend{}
	for frontend := range r.node.Frontends() {
		frontends = append(frontends, frontend)
	}
	r.syncs = append(r.syncs, frontends)
	changes, err := r.node.Changes(0)
	for change := range changes.All() {
		if change.Node != nil {
			r.cidrs, r.pods = change.Node.ServicePrefixes, change.Node.PodPrefixes
		}
	}
	return err
}

func (r *recorded) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (r *recorded) Close() error { return nil }

func (r *recorded) last() []portolan.Frontend {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.syncs) == 0 {
		return nil
	}
	return r.syncs[len(r.syncs)-1]
}

func (r *recorded) prefixes() []netip.Prefix {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.cidrs
}

// running is a proxy under test, with what it talks to.
type running struct {
	server        *apiserver.Server
	backend       *recorded
	configuration *config.Configuration
	stop          func() error
	ended         chan error
}

func freeAddress(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.Addr().String()
}

func start(t *testing.T, text string, objects ...apiserver.Object) running {
	t.Helper()
	return startWith(t, text, func(c *config.Configuration) {
		c.MetricsBindAddress, c.HealthzBindAddress = freeAddress(t), freeAddress(t)
	}, objects...)
}

func startWith(t *testing.T, text string, edit func(*config.Configuration), objects ...apiserver.Object) running {
	t.Helper()
	server := apiserver.New()
	t.Cleanup(server.Close)
	server.Delay(50 * time.Millisecond) // lists take their time
	for _, object := range objects {
		server.Put(object)
	}
	header := "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nhostnameOverride: node-1\n"
	configuration, _, err := config.Parse([]byte(header + text))
	if err != nil {
		t.Fatal(err)
	}
	edit(configuration)
	client, err := kubernetes.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	backend := &recorded{}
	made := proxy.New(configuration, client,
		func(_ context.Context, node *portolan.Node, _ *config.Configuration) (proxy.Backend, error) {
			backend.node = node
			return backend, nil
		})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- made.Run(ctx) }()
	var once sync.Once
	stop := func() (err error) {
		once.Do(func() {
			cancel()
			select {
			case err = <-ended:
			case <-time.After(patience):
				err = errors.New("the proxy does not end")
			}
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return running{server, backend, configuration, stop, ended}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

func get(address, path string) (int, string) {
	request, err := http.NewRequest(http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, ""
	}
	request.Header.Set("Accept", "*/*") // as curl has it: /flagz and /statusz insist
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

func node(addresses ...string) *corev1.Node {
	made := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{corev1.LabelTopologyZone: "z"}},
		Spec:       corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24"}},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "node-1"}}},
	}
	for _, address := range addresses {
		made.Status.Addresses = append(made.Status.Addresses,
			corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	}
	return made
}

func service(name, address string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: address, ClusterIPs: []string{address},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
}

func slice(of, nodeName string, addresses ...string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: of + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: of},
			Annotations: map[string]string{
				corev1.EndpointsLastChangeTriggerTime: time.Now().Format(time.RFC3339Nano),
			},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To[int32](8080)}},
	}
	for _, address := range addresses {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, NodeName: &nodeName})
	}
	return slice
}

func TestWhatTheClusterSaysIsServedAndToldOf(t *testing.T) {
	r := start(t, "mode: nftables\nclusterCIDR: 10.244.0.0/16\n",
		node("192.168.66.11"), service("web", "10.96.0.80"), slice("web", "node-1", "10.244.1.5", "10.244.1.6"))
	eventually(t, "the Service", func() bool {
		last := r.backend.last()
		return len(last) == 1 && last[0].ClusterEndpoints == 2
	})
	r.server.Put(slice("web", "node-1", "10.244.1.5"))
	eventually(t, "the endpoint gone", func() bool { return r.backend.last()[0].ClusterEndpoints == 1 })

	healthz, metricsAt := r.configuration.HealthzBindAddress, r.configuration.MetricsBindAddress
	eventually(t, "healthy", func() bool { code, _ := get(healthz, "/healthz"); return code == 200 })
	if code, _ := get(healthz, "/livez"); code != 200 {
		t.Errorf("livez %d", code)
	}
	if _, mode := get(metricsAt, "/proxyMode"); mode != "nftables" {
		t.Errorf("proxyMode %q", mode)
	}
	if _, shown := get(metricsAt, "/configz"); !strings.Contains(shown, `"clusterCIDR": "10.244.0.0/16"`) &&
		!strings.Contains(shown, `"clusterCIDR":"10.244.0.0/16"`) {
		t.Errorf("configz %s", shown)
	}
	eventually(t, "the Event of the start", func() bool {
		for _, event := range r.server.Events() {
			regarding, _ := event["regarding"].(map[string]any)
			if event["reason"] == "Starting" && event["action"] == "StartKubeProxy" && regarding["name"] == "node-1" {
				return true
			}
		}
		return false
	})
	// What boards, alerts and their drop-downs read.
	_, text := get(metricsAt, "/metrics")
	for _, name := range []string{
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}`,
		`kubeproxy_sync_full_proxy_rules_duration_seconds_bucket{ip_family="IPv6",le="0.001"}`,
		`kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds `,
		`kubeproxy_sync_proxy_rules_service_changes_total{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_pending{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"}`,
		`kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"}`,
		`kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family="IPv6"}`,
		`kubeproxy_nftables_localhost_nodeport_listeners{ip_family="IPv6"}`,
		`kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"}`,
		`kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv6"}`,
		`kubeproxy_sync_proxy_rules_iptables_total{ip_family="IPv4",table="nat"}`,
		`kubeproxy_sync_proxy_rules_iptables_last{ip_family="IPv6",table="filter"}`,
		`kubeproxy_iptables_localhost_nodeports_accepted_packets_total`,
		`kubeproxy_proxy_healthz_total{code="200"}`, `kubeproxy_proxy_livez_total{code="200"}`,
		"rest_client_requests_total", "rest_client_request_duration_seconds_bucket", "kubernetes_build_info",
		"process_resident_memory_bytes", "process_cpu_seconds_total", "go_goroutines",
	} {
		if !strings.Contains(text, name) {
			t.Errorf("no %s", name)
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestNothingIsProgrammedBeforeTheFirstFullLists(t *testing.T) {
	r := start(t, "", node("192.168.66.11"), service("web", "10.96.0.80"), slice("web", "node-1", "10.244.1.5"))
	eventually(t, "the first sync", func() bool { return r.backend.last() != nil })
	r.backend.mutex.Lock()
	defer r.backend.mutex.Unlock()
	if first := r.backend.syncs[0]; len(first) != 1 || first[0].ClusterEndpoints != 1 {
		t.Errorf("the first sync had %+v", first)
	}
}

func TestANodesOtherAddressesAndServiceCIDRsAreFollowed(t *testing.T) {
	web := service("web", "10.96.0.80")
	web.Spec.Type, web.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
	r := start(t, "mode: nftables\n", node("192.168.66.11"), web, slice("web", "node-1", "10.244.1.5"))
	servedAt := func(address string) func() bool {
		return func() bool {
			return slices.ContainsFunc(r.backend.last(), func(frontend portolan.Frontend) bool {
				return frontend.Address == netip.MustParseAddrPort(address)
			})
		}
	}
	eventually(t, "a NodePort", servedAt("192.168.66.11:30080"))
	r.server.Put(node("192.168.66.12"))
	eventually(t, "a NodePort elsewhere", servedAt("192.168.66.12:30080"))
	// A Node that has no address for a while keeps those that it had.
	r.server.Put(node())
	r.server.Put(&networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}},
	})
	r.server.Put(node("192.168.66.12"))
	eventually(t, "the ServiceCIDR", func() bool {
		return slices.Equal(r.backend.prefixes(), []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")})
	})
	if !servedAt("192.168.66.12:30080")() {
		t.Error("the NodePort is gone")
	}
}

func TestAProxyWaitsForItsNodeAndFollowsItsPodCIDRs(t *testing.T) {
	r := start(t, "mode: nftables\ndetectLocalMode: NodeCIDR\n", service("web", "10.96.0.80"), slice("web", "node-2", "10.244.2.5"))
	healthz := r.configuration.HealthzBindAddress
	eventually(t, "healthy while it starts", func() bool { code, _ := get(healthz, "/healthz"); return code == 200 })
	without := node("192.168.66.11")
	without.Spec.PodCIDRs = nil
	r.server.Fail(true)
	r.server.Put(without)
	time.Sleep(50 * time.Millisecond)
	r.server.Fail(false)
	time.Sleep(50 * time.Millisecond)
	if len(r.ended) > 0 || r.backend.last() != nil {
		t.Fatalf("ended %v, served %v", len(r.ended), r.backend.last())
	}
	r.server.Put(node("192.168.66.11"))
	pods := func(want string) func() bool {
		return func() bool {
			r.backend.mutex.Lock()
			defer r.backend.mutex.Unlock()
			return slices.Equal(r.backend.pods, []netip.Prefix{netip.MustParsePrefix(want)})
		}
	}
	eventually(t, "the node's pods", pods("10.244.1.0/24"))
	moved := node("192.168.66.11")
	moved.Spec.PodCIDRs = []string{"10.244.7.0/24"}
	r.server.Put(moved)
	eventually(t, "others", pods("10.244.7.0/24"))
	// A node that is gone is no place for new clients; what is in force stays.
	r.server.Delete(moved)
	eventually(t, "not eligible", func() bool { code, _ := get(healthz, "/healthz"); return code == 503 })
	if len(r.ended) > 0 || len(r.backend.last()) != 1 {
		t.Errorf("ended %v, served %v", len(r.ended), r.backend.last())
	}
}

func TestANodeAboutToBeRemovedIsNotEligible(t *testing.T) {
	r := start(t, "", node("192.168.66.11"))
	healthz := r.configuration.HealthzBindAddress
	eventually(t, "healthy", func() bool { code, _ := get(healthz, "/healthz"); return code == 200 })
	leaving := node("192.168.66.11")
	leaving.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}
	r.server.Put(leaving)
	eventually(t, "not eligible", func() bool { code, _ := get(healthz, "/healthz"); return code == 503 })
	if code, _ := get(healthz, "/livez"); code != 200 {
		t.Errorf("livez %d", code)
	}
}

func TestABalancersHealthCheckPortIsServed(t *testing.T) {
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	balanced := service("lb", "10.96.0.90")
	balanced.Spec.Type = corev1.ServiceTypeLoadBalancer
	balanced.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	_, err := fmt.Sscan(port, &balanced.Spec.HealthCheckNodePort)
	if err != nil {
		t.Fatal(err)
	}
	balanced.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.7"}}
	r := start(t, "", node("192.168.66.11"), balanced, slice("lb", "node-1", "10.244.1.5"))
	eventually(t, "an endpoint here", func() bool { code, _ := get(address, "/"); return code == 200 })
	r.server.Put(slice("lb", "node-2", "10.244.2.5"))
	eventually(t, "none here", func() bool { code, _ := get(address, "/"); return code == 503 })
}

// told: has an Event with this reason about an object of this kind and name been created?
func (r running) told(kind, name, reason, action, of string) bool {
	for _, event := range r.server.Events() {
		regarding, _ := event["regarding"].(map[string]any)
		if event["reason"] == reason && event["action"] == action && event["type"] == of &&
			regarding["kind"] == kind && regarding["name"] == name {
			return true
		}
	}
	return false
}

func TestAPortThatIsTakenIsAnEventAndIsAskedForAgain(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := func(c *config.Configuration) {
		c.MetricsBindAddress, c.HealthzBindAddress = taken.Addr().String(), taken.Addr().String()
	}
	r := startWith(t, "mode: ipvs\n", at, node("192.168.66.11"))
	for _, want := range []struct{ reason, action, of string }{
		{"FailedToStartMetricServer", "StartKubeProxy", corev1.EventTypeWarning},
		{"FailedToStartProxierHealthcheck", "StartKubeProxy", corev1.EventTypeWarning},
		{"Starting", "StartKubeProxy", corev1.EventTypeNormal},
		{"IPVSDeprecation", "ProxyModeCheck", corev1.EventTypeWarning},
	} {
		eventually(t, want.reason, func() bool { return r.told("Node", "node-1", want.reason, want.action, want.of) })
	}
	// With bindAddressHardFail it is the end.
	hard := startWith(t, "bindAddressHardFail: true\n", at, node("192.168.66.11"))
	select {
	case err := <-hard.ended:
		hard.ended <- err // whoever stops it waits for it too
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

func TestAHealthCheckPortThatIsTakenIsAnEventOfTheService(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	balanced := service("lb", "10.96.0.90")
	balanced.Spec.Type = corev1.ServiceTypeLoadBalancer
	balanced.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	balanced.Spec.HealthCheckNodePort = int32(taken.Addr().(*net.TCPAddr).Port)
	r := start(t, "", node("192.168.66.11"), balanced)
	eventually(t, "the Event", func() bool {
		return r.told("Service", "lb", "FailedToStartServiceHealthcheck", "Listen", corev1.EventTypeWarning)
	})
}

func TestServicesWithoutALocalEndpointAreCounted(t *testing.T) {
	here := service("here", "10.96.0.91")
	here.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	r := start(t, "", node("192.168.66.11"), here, slice("here", "node-2", "10.244.2.5"))
	lacking := func(want string) func() bool {
		return func() bool {
			_, text := get(r.configuration.MetricsBindAddress, "/metrics")
			return strings.Contains(text, "kubeproxy_sync_proxy_rules_no_local_endpoints_total"+
				`{ip_family="IPv4",traffic_policy="internal"} `+want+"\n")
		}
	}
	eventually(t, "one", lacking("1"))
	r.server.Put(slice("here", "node-1", "10.244.1.5"))
	eventually(t, "none", lacking("0"))
	r.server.Put(slice("here", "node-2", "10.244.2.5"))
	eventually(t, "one again", lacking("1"))
	r.server.Delete(here)
	eventually(t, "no Service", lacking("0"))
}

func TestPagesAreServedAtTheMetricsPort(t *testing.T) {
	r := start(t, "enableProfiling: true\nfeatureGates: {ComponentFlagz: true, ComponentStatusz: true}\n", node("192.168.66.11"))
	at := r.configuration.MetricsBindAddress
	for path, want := range map[string]string{
		"/healthz": "ok", "/proxyMode": "iptables", "/flagz": "kube-proxy flags", "/statusz": "kube-proxy statusz",
		"/metrics/slis": "", "/configz": "KubeProxyConfiguration", "/debug/pprof/": "goroutine",
	} {
		eventually(t, path, func() bool { code, text := get(at, path); return code == 200 && strings.Contains(text, want) })
	}
	request, err := http.NewRequest(http.MethodPut, "http://"+at+"/debug/flags/v", strings.NewReader("0"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("another verbosity: %v, %v", answer, err)
	}
	_ = answer.Body.Close()
	if _, text := get(at, "/statusz"); !strings.Contains(text, "/proxyMode") {
		t.Errorf("/statusz lists no paths: %s", text)
	}
	bare := start(t, "", node("192.168.66.11"))
	eventually(t, "served", func() bool { code, _ := get(bare.configuration.MetricsBindAddress, "/healthz"); return code == 200 })
	for _, path := range []string{"/flagz", "/statusz", "/debug/pprof/"} {
		if code, _ := get(bare.configuration.MetricsBindAddress, path); code != 404 {
			t.Errorf("%s: %d without being asked for", path, code)
		}
	}
}

func TestAFailingBackendMakesTheProxyUnhealthyAndIsTriedAgain(t *testing.T) {
	r := start(t, "mode: nftables\nnftables: {syncPeriod: 100ms}\n", node("192.168.66.11"))
	healthz := r.configuration.HealthzBindAddress
	eventually(t, "healthy", func() bool { code, _ := get(healthz, "/healthz"); return code == 200 && r.backend.last() != nil })
	r.backend.mutex.Lock()
	r.backend.fail = errors.New("the kernel says no")
	r.backend.mutex.Unlock()
	r.server.Put(service("web", "10.96.0.80"))
	eventually(t, "late", func() bool { code, _ := get(healthz, "/livez"); return code == 503 })
	r.backend.mutex.Lock()
	r.backend.fail = nil
	r.backend.mutex.Unlock()
	eventually(t, "caught up", func() bool {
		code, _ := get(healthz, "/livez")
		return code == 200 && len(r.backend.last()) == 1
	})
}

func addresses(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestDescriptionsFollowTheMode(t *testing.T) {
	identity := proxy.Identity{
		Name: "node-1", Zone: "z", PodCIDRs: []string{"10.244.1.0/24"},
		Addresses:     addresses("192.168.66.11", "192.168.66.12", "fd00::11"),
		HostAddresses: addresses("172.17.0.1", "192.168.66.11"),
	}
	for _, each := range []struct{ text, has string }{
		{"mode: userspace\nipvs: {scheduler: wlc}\n", `"scheduler":"wlc"`},
		{"mode: ipvs\n", `"nodePortAddresses":["all"]`},
		{"mode: nftables\nnodePortAddresses: [primary, localhost]\n", `"nodePortAddresses":["primary"]`},
		{"mode: nftables\nnodePortAddresses: [localhost]\n", `"nodePortAddresses":["127.0.0.0/8","::1/128"]`},
		{"nodePortAddresses: [primary, 10.0.0.0/8, localhost]\n", `"nodePortAddresses":["192.168.66.11/32","fd00::11/128","10.0.0.0/8"]`},
		{"nodePortAddresses: [10.0.0.0/8, all]\n", `"nodePortAddresses":["all"]`},
		{"", `"ips":["192.168.66.11","192.168.66.12","fd00::11","172.17.0.1"]`},
		{"bindAddress: 172.17.0.1\n", `"ips":["172.17.0.1","192.168.66.11","192.168.66.12","fd00::11"]`},
		{"mode: iptables\n", `"nodePortAddresses":["all"]`},
		{"mode: nftables\n", `"nodePortAddresses":["primary"]`},
		{"mode: nftables\nnodePortAddresses: [10.0.0.0/8]\n", `"nodePortAddresses":["10.0.0.0/8"]`},
		{"mode: nftables\niptables: {masqueradeAll: true}\n", `"masqueradeAll":false`},
		{"mode: nftables\nnftables: {masqueradeAll: true}\n", `"masqueradeAll":true`},
		{"clusterCIDR: 10.244.0.0/16\n", `"detectLocal":"ClusterCIDR"`},
		{"", `"detectLocal":"None"`},
		{"detectLocalMode: NodeCIDR\n", `"detectLocal":"NodeCIDR"`},
		{"detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n", `"detectLocal":"BridgeInterface","bridgeInterface":"cni0"`},
		{"detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: cali}\n", `"detectLocal":"InterfaceNamePrefix","interfaceNamePrefix":"cali"`},
		{"mode: userspace\ndetectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n", `"detectLocal":"None"`},
	} {
		header := "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
		c, _, err := config.Parse([]byte(header + each.text))
		if err != nil {
			t.Fatal(err)
		}
		described, err := proxy.Describe(identity, c, nil)
		if err != nil || !bytes.Contains(described, []byte(each.has)) || !json.Valid(described) {
			t.Errorf("%q: %s (%v), not %s", each.text, described, err, each.has)
		}
	}
}

func TestAnEditedConfigurationFileEndsTheProxy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.conf")
	if err := os.WriteFile(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go proxy.WatchFile(ctx, path, cancel)
	time.Sleep(50 * time.Millisecond)
	if err := os.WriteFile(path, []byte("b"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(patience):
	}
	if !errors.Is(context.Cause(ctx), proxy.ErrFileChanged) {
		t.Errorf("%v", context.Cause(ctx))
	}
}
