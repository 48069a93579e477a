// Package proxy is a kube-proxy made of Portolan's parts: it learns who its node is, follows Services and
// EndpointSlices, and has a backend execute what the node decides.
package proxy

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
	"github.com/portolan/portolan/bindings-go/kube"
	"github.com/portolan/portolan/bindings-go/kube/health"
)

// toBeDeletedTaint is the cluster autoscaler's, on nodes that it is about to remove.
const toBeDeletedTaint = "ToBeDeletedByClusterAutoscaler"

// Proxy is one node's proxy.
type Proxy struct {
	configuration *config.Configuration
	client        kubernetes.Interface
	open          OpenFunc
	flags         cliflag.NamedFlagSets

	identity Identity
	recorder events.EventRecorder
	health   *health.Proxy
	checks   *healthChecks
	loopback *loopback
	node     *portolan.Node
	since    uint64 // the node's generation that is told of
	ledger   ledger
	backend  Backend
	synced   bool // the first full sync has been
}

// New makes a proxy of a configuration that is complete and valid. open makes its backend: Open, or a test's own.
func New(c *config.Configuration, client kubernetes.Interface, open OpenFunc) *Proxy {
	return &Proxy{configuration: c, client: client, open: open}
}

// ShowFlags has these flags shown at /flagz, if feature gate ComponentFlagz is on. To be called before Run.
func (p *Proxy) ShowFlags(flags cliflag.NamedFlagSets) { p.flags = flags }

// Run serves until ctx ends, and then returns nil with everything in force as it is; or it says why it cannot go on.
func (p *Proxy) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: p.client.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return err
	}
	defer broadcaster.Shutdown()
	p.recorder = broadcaster.NewRecorder(kube.EventScheme(), "kube-proxy")
	p.health = health.NewProxy(config.SyncPeriod(p.configuration), metrics.Probed)

	failed := make(chan error, 2)
	if err := p.serveAll(ctx, failed); err != nil {
		return err
	}
	if p.identity, err = Identify(ctx, p.client, p.configuration); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	defer p.stop()
	return p.follow(ctx, cancel, failed)
}

// serveAll begins to serve metrics and probes. What ends a server that may not fail is sent to failed.
func (p *Proxy) serveAll(ctx context.Context, failed chan<- error) error {
	handler, err := metricsHandler(p.configuration, p.flags)
	if err != nil {
		return err
	}
	for _, each := range []struct {
		address, reason string
		handler         http.Handler
	}{
		{p.configuration.MetricsBindAddress, "FailedToStartMetricServer", handler},
		{p.configuration.HealthzBindAddress, "FailedToStartProxierHealthcheck", p.health.Handler()},
	} {
		// Ends with ctx.
		go func() {
			failed <- serve(ctx, each.address, each.handler, p.configuration.BindAddressHardFail, func(err error) {
				p.tell(corev1.EventTypeWarning, each.reason, "StartKubeProxy", err.Error())
			})
		}()
	}
	return nil
}

func (p *Proxy) start(ctx context.Context) (err error) {
	if p.identity.HostAddresses, err = hostAddresses(); err != nil {
		return err
	}
	described, err := Describe(p.identity, p.configuration, nil)
	if err != nil {
		return err
	}
	if p.node, err = portolan.NewNode(described); err != nil {
		return err
	}
	if p.backend, err = p.open(ctx, p.node, p.configuration); err != nil {
		return errors.Join(err, p.node.Close())
	}
	klog.FromContext(ctx).Info("Serving", "node", p.identity.Name, "addresses", p.identity.Addresses,
		"mode", servedMode(p.configuration), "nodePortAddresses", nodePortSelection(p.configuration))
	p.tell(corev1.EventTypeNormal, "Starting", "StartKubeProxy", "")
	if p.configuration.Mode == config.ModeIPVS {
		p.tell(corev1.EventTypeWarning, "IPVSDeprecation", "ProxyModeCheck",
			"mode ipvs is served by nftables; schedulers are those of mode userspace")
	}
	return nil
}

func (p *Proxy) stop() {
	if p.checks != nil {
		p.checks.served.Close()
		p.loopback.Close()
	}
	if err := errors.Join(p.backend.Close(), p.node.Close()); err != nil {
		klog.Background().Error(err, "Not closed in order")
	}
}

// informers watch for the follower and for what the proxy itself must know.
func (p *Proxy) informers(ctx context.Context, follower *kube.Follower) (*kube.Informers, error) {
	informers, err := kube.NewInformers(p.client, p.identity.Name, "", p.configuration.ConfigSyncPeriod.Duration)
	if err != nil {
		return nil, err
	}
	err = wait.PollUntilContextCancel(ctx, identityPause, true, func(ctx context.Context) (bool, error) {
		err := informers.WatchServiceCIDRs(ctx, p.client)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Trying again")
		}
		return err == nil, nil
	})
	if err != nil {
		return nil, err
	}
	endpointSlices := informers.Informer(portolan.KindEndpointSlice)
	if err := endpointSlices.AddIndexers(cache.Indexers{sliceOwner: indexByService}); err != nil {
		return nil, err
	}
	p.checks = &healthChecks{
		node: p.identity.Name, slices: endpointSlices.GetIndexer(),
		served:  health.NewServices(healthCheckAddresses(p.identity, p.configuration), p.health.Healthy),
		refused: p.tellOfHealthCheck, ports: map[types.NamespacedName]uint16{},
	}
	p.loopback = newLoopback(loopbackNodePorts(p.configuration))
	for _, handler := range []cache.ResourceEventHandler{p.checks.handler(), p.loopback.handler()} {
		if _, err := informers.Informer(portolan.KindService).AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	if _, err := informers.Informer(portolan.KindNode).AddEventHandler(p.eligibility()); err != nil {
		return nil, err
	}
	return informers, informers.Feed(follower)
}

// follow brings every change into force until ctx ends or something fails.
func (p *Proxy) follow(ctx context.Context, cancel func(), failed <-chan error) error {
	follower := kube.NewFollower(p.node, kube.WithRender(p.render), kube.WithDescription(p.describe),
		kube.WithLogger(klog.FromContext(ctx)), kube.WithRecorder(p.recorder),
		kube.WithPause(config.MinSyncPeriod(p.configuration)))
	informers, err := p.informers(ctx, follower)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	informers.Start(ctx.Done())
	defer informers.Shutdown()
	ended := make(chan error, 2)
	go p.watchAddresses(ctx, follower.DescribeAgain) // ends with ctx
	go func() { ended <- follower.Run(ctx) }()
	go func() { ended <- p.backend.Run(ctx) }()
	var first error
	for running := 2; running > 0; {
		select {
		case err = <-ended:
			running--
			cancel()
		case err = <-failed:
			if err != nil {
				cancel()
			}
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// describe writes the node's description anew. While the cluster says nothing of its addresses it stays as it was.
func (p *Proxy) describe(node *corev1.Node, serviceCIDRs []string) ([]byte, error) {
	if node == nil {
		return nil, errors.New("this node's object is gone")
	}
	identity, err := identityOf(node)
	if err != nil {
		return nil, err
	}
	if identity.HostAddresses, err = hostAddresses(); err != nil {
		return nil, err
	}
	return Describe(identity, p.configuration, serviceCIDRs)
}

// render is called by the follower, whose goroutine the node belongs to.
func (p *Proxy) render(ctx context.Context, batch kube.Batch) error {
	metrics.Begun(batch)
	for _, family := range metrics.Families {
		p.health.Queued(family)
	}
	begun := time.Now()
	if err := p.backend.Sync(ctx); err != nil {
		if !errors.Is(err, portolan.ErrAgain) {
			metrics.Failed(!p.synced)
		}
		return err
	}
	for _, family := range metrics.Families {
		p.health.Updated(family)
	}
	metrics.Ended(batch, begun, time.Now(), !p.synced)
	if !p.synced {
		p.synced = true
		// The first lists pass through memory twice, as answers and as text, and never again.
		go debug.FreeOSMemory()
	}
	p.checks.update()
	changes, err := p.node.Changes(p.since)
	if err != nil {
		return err
	}
	p.since = changes.To
	p.ledger.follow(changes)
	p.ledger.tell()
	p.loopback.follow(changes)
	return nil
}

// tellOfHealthCheck creates an Event about a Service whose healthCheckNodePort cannot be served.
func (p *Proxy) tellOfHealthCheck(service types.NamespacedName, err error) {
	about := &corev1.ObjectReference{Kind: "Service", Namespace: service.Namespace, Name: service.Name}
	p.recorder.Eventf(about, nil, corev1.EventTypeWarning, "FailedToStartServiceHealthcheck", "Listen", "%v", err)
}

// eligibility follows whether load balancers may send to this node.
func (p *Proxy) eligibility() cache.ResourceEventHandler {
	look := func(object any) {
		node, ok := object.(*corev1.Node)
		if !ok {
			return
		}
		eligible := node.DeletionTimestamp == nil
		for _, taint := range node.Spec.Taints {
			eligible = eligible && taint.Key != toBeDeletedTaint
		}
		p.health.SetEligible(eligible)
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, object any) { look(object) },
		DeleteFunc: func(any) { p.health.SetEligible(false) },
	}
}

// tell creates an Event about the node, as kube-proxy does: with the node's name for a UID too.
func (p *Proxy) tell(kind, reason, action, note string) {
	name, _ := NodeName(p.configuration)
	about := &corev1.ObjectReference{Kind: "Node", Name: name, UID: types.UID(name)}
	p.recorder.Eventf(about, nil, kind, reason, action, "%s", note)
}
