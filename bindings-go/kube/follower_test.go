package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/kube"
	"github.com/portolan/portolan/bindings-go/kube/apiserver"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// told is a target that remembers what it was told, as text by kind and name.
type told struct {
	mutex   sync.Mutex
	objects map[string]string
	synced  []portolan.Kind
	applies int
	reject  map[string]portolan.Rejection
	// described is every description there was.
	described []string
}

func newTold() *told {
	return &told{objects: map[string]string{}, reject: map[string]portolan.Rejection{}}
}

func (t *told) Reconfigure(description []byte) ([]portolan.Rejection, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.described = append(t.described, string(description))
	return nil, nil
}

func (t *told) descriptions() []string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return slices.Clone(t.described)
}

func (t *told) Apply(text []byte) ([]portolan.Rejection, error) {
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.applies++
	var rejections []portolan.Rejection
	for _, item := range list.Items {
		var head struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
		}
		if err := json.Unmarshal(item, &head); err != nil {
			return nil, err
		}
		name := head.Kind + " " + head.Metadata.Namespace + "/" + head.Metadata.Name
		t.objects[name] = string(item)
		if rejection, bad := t.reject[name]; bad {
			rejections = append(rejections, rejection)
		}
	}
	return rejections, nil
}

func (t *told) Delete(kind portolan.Kind, namespace, name string) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	word := map[portolan.Kind]string{
		portolan.KindService: "Service", portolan.KindEndpointSlice: "EndpointSlice", portolan.KindNode: "Node",
	}[kind]
	delete(t.objects, word+" "+namespace+"/"+name)
	return nil
}

func (t *told) Synced(kind portolan.Kind) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.synced = append(t.synced, kind)
	return nil
}

func (t *told) snapshot() map[string]string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return maps.Clone(t.objects)
}

func service(name string, labels map[string]string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: labels},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{Port: port, Protocol: corev1.ProtocolTCP}},
		},
	}
}

func slice(name, of, address string) *discoveryv1.EndpointSlice {
	port := int32(8080)
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: of},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}}},
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
}

// cluster is an API server and a follower of it that runs until the test ends.
type cluster struct {
	server *apiserver.Server
	target *told
	client kubernetes.Interface
}

func follow(t *testing.T, server *apiserver.Server, target *told, options ...kube.Option) cluster {
	t.Helper()
	client, err := kubernetes.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	informers, err := kube.NewInformers(client, "node-1", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := informers.WatchServiceCIDRs(ctx, client); err != nil {
		t.Fatal(err)
	}
	follower := kube.NewFollower(target, options...)
	if err := informers.Feed(follower); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	informers.Start(ctx.Done())
	go func() { ended <- follower.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the follower ended: %v", err)
		}
		informers.Shutdown()
	})
	return cluster{server, target, client}
}

func newServer(t *testing.T) *apiserver.Server {
	server := apiserver.New()
	t.Cleanup(server.Close)
	return server
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

func (c cluster) has(names ...string) bool {
	objects := c.target.snapshot()
	return slices.Equal(slices.Sorted(maps.Keys(objects)), names)
}

func TestOnlyThisProxysObjectsReachTheNode(t *testing.T) {
	server := newServer(t)
	server.Put(service("web", nil, 80))
	server.Put(service("other-proxy", map[string]string{kube.LabelServiceProxyName: "other"}, 80))
	headless := service("headless", nil, 80)
	headless.Spec.ClusterIP, headless.Spec.ClusterIPs = corev1.ClusterIPNone, []string{corev1.ClusterIPNone}
	server.Put(headless)
	ofHeadless := slice("headless-1", "headless", "10.0.0.1")
	ofHeadless.Labels[corev1.IsHeadlessService] = ""
	server.Put(ofHeadless)
	server.Put(slice("web-1", "web", "10.0.0.2"))
	server.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	server.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-2"}})
	c := follow(t, server, newTold())
	const node, web, webs = "Node /node-1", "Service default/web", "EndpointSlice default/web-1"
	eventually(t, "the first lists", func() bool { return c.has(webs, node, web) })

	// A label that makes the Service another proxy's takes it away, and its removal brings it back.
	server.Put(service("web", map[string]string{kube.LabelServiceProxyName: "other"}, 80))
	eventually(t, "given away", func() bool { return c.has(webs, node) })
	server.Put(service("web", nil, 81))
	eventually(t, "taken back", func() bool { return c.has(webs, node, web) })
	// A Service with a ClusterIP is served whatever it is labelled (kubernetes #134321).
	server.Put(service("labelled", map[string]string{corev1.IsHeadlessService: ""}, 80))
	eventually(t, "the labelled one", func() bool { return c.has(webs, node, "Service default/labelled", web) })
}

func TestChangesWithinAPauseAreRenderedTogether(t *testing.T) {
	const pause = 300 * time.Millisecond
	type rendering struct {
		kube.Batch
		begun time.Time
	}
	rendered := make(chan rendering, 8)
	follower := kube.NewFollower(newTold(), kube.WithPause(pause), kube.WithRender(func(_ context.Context, batch kube.Batch) error {
		rendered <- rendering{batch, time.Now()}
		return nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	services := follower.Handler(portolan.KindService)
	services.OnAdd(service("web-0", nil, 80), true)
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	go func() { ended <- follower.Run(ctx) }()
	first := <-rendered
	for index := range 5 {
		services.OnAdd(service(fmt.Sprint("web-", index+1), nil, 80), false)
	}
	second := <-rendered
	if first.Services != 1 || second.Services != 5 || second.begun.Sub(first.begun) < pause {
		t.Errorf("%d at first, %d after %v", first.Services, second.Services, second.begun.Sub(first.begun))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheNodeIsDescribedAnewOnRequest(t *testing.T) {
	target, address := newTold(), atomic.Pointer[string]{}
	before, after := "192.168.66.11", "192.168.66.12"
	address.Store(&before)
	follower := kube.NewFollower(target, kube.WithDescription(func(*corev1.Node, []string) ([]byte, error) {
		return []byte(*address.Load()), nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	follower.Handler(portolan.KindNode).OnAdd(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, true)
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	go func() { ended <- follower.Run(ctx) }()
	eventually(t, "the first", func() bool { return slices.Equal(target.descriptions(), []string{before}) })
	address.Store(&after)
	follower.DescribeAgain()
	eventually(t, "the second", func() bool { return slices.Equal(target.descriptions(), []string{before, after}) })
	follower.DescribeAgain() // says the same
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNothingIsRenderedBeforeTheFirstFullLists(t *testing.T) {
	target, rendered := newTold(), make(chan kube.Batch, 8)
	follower := kube.NewFollower(target, kube.WithRender(func(_ context.Context, batch kube.Batch) error {
		rendered <- batch
		return nil
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	follower.Handler(portolan.KindService).OnAdd(service("web", nil, 80), true)
	follower.Listed(portolan.KindService)
	select {
	case <-rendered:
		t.Fatal("rendered without a list of EndpointSlices")
	case <-time.After(300 * time.Millisecond):
	}
	if len(target.snapshot()) != 0 {
		t.Fatal("applied without a list of EndpointSlices")
	}
	follower.Handler(portolan.KindEndpointSlice).OnAdd(slice("web-1", "web", "10.0.0.1"), true)
	follower.Listed(portolan.KindEndpointSlice)
	batch := <-rendered
	if batch.Services != 1 || batch.EndpointSlices != 1 || len(target.synced) != 2 || target.applies != 1 {
		t.Errorf("batch %+v, synced %v, %d applies", batch, target.synced, target.applies)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// describe is a description of a Node's zone and the ServiceCIDRs.
func describe(node *corev1.Node, serviceCIDRs []string) ([]byte, error) {
	if node == nil {
		return nil, errors.New("no Node")
	}
	return fmt.Appendf(nil, "%s %v", node.Labels[corev1.LabelTopologyZone], serviceCIDRs), nil
}

func TestTheNodeIsDescribedAnewByItsObjectAndServiceCIDRs(t *testing.T) {
	server := newServer(t)
	inZone := func(zone string, taints ...corev1.Taint) *corev1.Node {
		return &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node-1", Labels: map[string]string{corev1.LabelTopologyZone: zone}},
			Spec:       corev1.NodeSpec{Taints: taints},
		}
	}
	cidr := func(name string, prefixes ...string) *networkingv1.ServiceCIDR {
		return &networkingv1.ServiceCIDR{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: prefixes},
		}
	}
	server.Put(inZone("a"))
	server.Put(cidr("kubernetes", "fd00:96::/112", "10.96.0.0/16"))
	c := follow(t, server, newTold(), kube.WithDescription(describe))
	expect := func(what string, want ...string) {
		t.Helper()
		eventually(t, what, func() bool { return slices.Equal(c.target.descriptions(), want) })
	}
	first := "a [10.96.0.0/16 fd00:96::/112]"
	expect("the first lists", first)
	// A change that gives the same description is none, as heartbeats are; a Node that is gone leaves things as they are.
	server.Put(inZone("a", corev1.Taint{Key: "k"}))
	server.Put(cidr("more", "10.97.0.0/16"))
	second := "a [10.96.0.0/16 10.97.0.0/16 fd00:96::/112]"
	expect("another ServiceCIDR", first, second)
	server.Delete(inZone("a"))
	server.Delete(cidr("more"))
	server.Put(inZone("b"))
	third := "b [10.96.0.0/16 fd00:96::/112]"
	eventually(t, "the end", func() bool { return c.target.descriptions()[len(c.target.descriptions())-1] == third })
	if objects := c.target.snapshot(); len(objects) != 0 {
		t.Errorf("what only the description reads was applied: %v", objects)
	}
}

func TestAClusterWithoutServiceCIDRsIsFollowedWithoutThem(t *testing.T) {
	server := newServer(t)
	server.Forbid("/apis/networking.k8s.io/v1/servicecidrs")
	server.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}})
	c := follow(t, server, newTold(), kube.WithDescription(describe))
	eventually(t, "the first lists", func() bool { return slices.Equal(c.target.descriptions(), []string{" []"}) })
}

func TestWhatHappenedBeforeTheFollowerBeganIsNotATrigger(t *testing.T) {
	batches := make(chan kube.Batch, 8)
	follower := kube.NewFollower(newTold(), kube.WithRender(func(_ context.Context, batch kube.Batch) error {
		batches <- batch
		return nil
	}))
	at := func(name string, trigger time.Time) *discoveryv1.EndpointSlice {
		told := slice(name, "web", "10.0.0.1")
		told.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: trigger.Format(time.RFC3339Nano)}
		return told
	}
	handler := follower.Handler(portolan.KindEndpointSlice)
	handler.OnAdd(at("old", time.Now().Add(-time.Hour)), true)
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	if first := <-batches; first.EndpointSlices != 1 || len(first.Triggers) != 0 {
		t.Errorf("the first lists: %+v", first)
	}
	now := time.Now()
	handler.OnAdd(at("new", now), false)
	second := <-batches
	if ofIPv4 := second.Triggers[corev1.IPv4Protocol]; len(second.Triggers) != 1 || len(ofIPv4) != 1 || !ofIPv4[0].Equal(now) {
		t.Errorf("a change: %+v", second)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMoreObjectsThanAreAppliedAtOnceAreOneBatch(t *testing.T) {
	const count = 1234
	target, batches := newTold(), make(chan kube.Batch, 8)
	follower := kube.NewFollower(target, kube.WithRender(func(_ context.Context, batch kube.Batch) error {
		batches <- batch
		return nil
	}))
	for index := range count {
		follower.Handler(portolan.KindService).OnAdd(service(fmt.Sprint("s-", index), nil, 80), true)
	}
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	if batch := <-batches; batch.Services != count || target.applies != 3 || len(target.snapshot()) != count {
		t.Errorf("%+v by %d applies", batch, target.applies)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAResyncIsNotAChange(t *testing.T) {
	target := newTold()
	follower := kube.NewFollower(target)
	handler := follower.Handler(portolan.KindService)
	old := service("web", nil, 80)
	old.ResourceVersion = "7"
	handler.OnUpdate(old, old.DeepCopy())
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := follower.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if target.applies != 0 {
		t.Errorf("%d applies", target.applies)
	}
}

func TestADeletionThatTheWatchMissedIsOne(t *testing.T) {
	target := newTold()
	follower := kube.NewFollower(target)
	handler := follower.Handler(portolan.KindService)
	handler.OnAdd(service("web", nil, 80), true)
	handler.OnAdd(service("stays", nil, 80), true)
	handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "default/web"})
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := follower.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if objects := target.snapshot(); len(objects) != 1 || objects["Service default/stays"] == "" {
		t.Errorf("left: %v", slices.Sorted(maps.Keys(objects)))
	}
}

func TestWhatCannotBeServedIsAnEventOfTheObject(t *testing.T) {
	server, target := newServer(t), newTold()
	target.reject["Service default/bad"] = portolan.Rejection{
		Object: "Service default/bad", Field: "spec.ports[0].port", Rule: "70000 is not a port",
	}
	client, err := kubernetes.NewForConfig(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.EventsV1()})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	recorder := broadcaster.NewRecorder(kube.EventScheme(), "portolan")
	bad := service("bad", nil, 80)
	bad.UID = "u-1"
	server.Put(bad)
	follow(t, server, target, kube.WithRecorder(recorder))
	eventually(t, "the Event", func() bool { return len(server.Events()) == 1 })
	event := server.Events()[0]
	regarding, _ := event["regarding"].(map[string]any)
	if regarding["kind"] != "Service" || regarding["name"] != "bad" || regarding["uid"] != "u-1" {
		t.Errorf("regarding %v", regarding)
	}
	if note, _ := event["note"].(string); note != "spec.ports[0].port: 70000 is not a port" {
		t.Errorf("note %q", note)
	}
}

func TestAFailedRenderIsTriedAgainWithWhatChangedMeanwhile(t *testing.T) {
	attempts := make(chan kube.Batch, 8)
	failures := []error{errors.New("the kernel says no"), portolan.ErrAgain, nil, nil}
	var follower *kube.Follower
	follower = kube.NewFollower(newTold(), kube.WithRender(func(_ context.Context, batch kube.Batch) error {
		attempts <- batch
		err := failures[0]
		failures = failures[1:]
		if err != nil {
			follower.Handler(portolan.KindService).OnAdd(service(fmt.Sprint(len(failures)), nil, 80), false)
		}
		return err
	}))
	follower.Listed(portolan.KindService)
	follower.Listed(portolan.KindEndpointSlice)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- follower.Run(ctx) }()
	for _, services := range []int{0, 1, 2} {
		if batch := <-attempts; batch.Services != services {
			t.Errorf("a batch of %d Services, not %d", batch.Services, services)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheNodeConvergesThroughEveryFault(t *testing.T) {
	const changes = 10_000
	server := newServer(t)
	c := follow(t, server, newTold())
	random := rand.New(rand.NewPCG(1, 2))
	for step := range changes {
		name := fmt.Sprintf("s-%d", random.IntN(50))
		switch random.IntN(4) {
		case 0:
			server.Delete(service(name, nil, 80))
		case 1:
			server.Put(service(name, nil, int32(1+random.IntN(60000))))
		case 2:
			server.Put(slice(name+"-1", name, fmt.Sprintf("10.0.%d.%d", random.IntN(256), random.IntN(256))))
		case 3:
			server.Delete(slice(name+"-1", name, ""))
		}
		switch step % 2500 {
		case 500:
			server.Cut()
		case 1000:
			server.Forget()
		case 1500:
			server.Delay(20 * time.Millisecond)
		case 1700:
			server.Delay(0)
		}
		if step%100 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	afresh := newTold()
	follow(t, server, afresh)
	// A marker that comes last: whoever has it has everything before it.
	server.Put(service("last", nil, 80))
	for _, target := range []*told{c.target, afresh} {
		eventually(t, "the last change", func() bool { return target.snapshot()["Service default/last"] != "" })
	}
	eventually(t, "the same objects as of a fresh start", func() bool {
		return maps.Equal(c.target.snapshot(), afresh.snapshot())
	})
	if server.Lists() <= 6 {
		t.Errorf("%d lists: no fault made a watch list again", server.Lists())
	}
}

func TestOnlyWhatANodeReadsIsEncoded(t *testing.T) {
	server := newServer(t)
	web := service("web", nil, 80)
	web.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	web.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}
	web.OwnerReferences = []metav1.OwnerReference{{Name: "owner"}}
	server.Put(web)
	c := follow(t, server, newTold())
	eventually(t, "the Service", func() bool { return c.has("Service default/web") })
	text := c.target.snapshot()["Service default/web"]
	for _, absent := range []string{"managedFields", "ownerReferences", "resourceVersion", "last-applied"} {
		if strings.Contains(text, absent) {
			t.Errorf("%s in %s", absent, text)
		}
	}
	if !strings.Contains(text, `"port":80`) {
		t.Errorf("no port in %s", text)
	}
}
