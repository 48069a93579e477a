package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	portolan "github.com/portolan/portolan/bindings-go"
)

// LabelServiceProxyName chooses the proxy that serves a Service.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// Informers watch what kube-proxy watches: Services and EndpointSlices that are this proxy's and not headless, the
// node itself and, if asked to, ServiceCIDRs.
type Informers struct {
	services informers.SharedInformerFactory
	node     informers.SharedInformerFactory
	all      informers.SharedInformerFactory

	followed map[portolan.Kind]cache.SharedIndexInformer
}

// NewInformers makes informers for the node of this name. With a proxyName, only Services with that
// service-proxy-name label are watched; with none, only those without the label. Every resync (0: never) objects are
// handed over again, which costs a comparison each.
func NewInformers(client kubernetes.Interface, nodeName, proxyName string, resync time.Duration) (*Informers, error) {
	selector, err := proxied(proxyName)
	if err != nil {
		return nil, err
	}
	services := informers.NewSharedInformerFactoryWithOptions(client, resync,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.LabelSelector = selector.String()
		}),
		informers.WithTransform(withoutBallast))
	node := informers.NewSharedInformerFactoryWithOptions(client, resync,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", nodeName).String()
		}),
		informers.WithTransform(withoutBallast))
	all := informers.NewSharedInformerFactoryWithOptions(client, resync, informers.WithTransform(withoutBallast))
	return &Informers{services, node, all, map[portolan.Kind]cache.SharedIndexInformer{
		portolan.KindService:       services.Core().V1().Services().Informer(),
		portolan.KindEndpointSlice: services.Discovery().V1().EndpointSlices().Informer(),
		portolan.KindNode:          node.Core().V1().Nodes().Informer(),
	}}, nil
}

// WatchServiceCIDRs has ServiceCIDRs watched too, if the API server has them and lets this client read them: clusters of
// before 1.33 need not. To be called before Feed. It asks the API server once.
func (i *Informers) WatchServiceCIDRs(ctx context.Context, client kubernetes.Interface) error {
	_, err := client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case err == nil:
		i.followed[KindServiceCIDR] = i.all.Networking().V1().ServiceCIDRs().Informer()
		return nil
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		return nil
	}
	return fmt.Errorf("asking for ServiceCIDRs: %w", err)
}

// Feed has follower take everything that is watched.
func (i *Informers) Feed(follower *Follower) error {
	for kind, informer := range i.followed {
		if err := follower.Follow(kind, informer); err != nil {
			return err
		}
	}
	return nil
}

// Informer is the one of a kind, for a host that wants more of it; nil if the kind is not watched.
func (i *Informers) Informer(kind portolan.Kind) cache.SharedIndexInformer { return i.followed[kind] }

// Start begins to watch, on goroutines of client-go, until stop is closed.
func (i *Informers) Start(stop <-chan struct{}) {
	i.services.Start(stop)
	i.node.Start(stop)
	i.all.Start(stop)
}

// Shutdown waits until the watches have ended.
func (i *Informers) Shutdown() {
	i.services.Shutdown()
	i.node.Shutdown()
	i.all.Shutdown()
}

// proxied selects this proxy's objects, headless ones left out (KEP-2447, and kube-proxy's own watches).
func proxied(proxyName string) (labels.Selector, error) {
	operator, values := selection.DoesNotExist, []string(nil)
	if proxyName != "" {
		operator, values = selection.Equals, []string{proxyName}
	}
	ours, err := labels.NewRequirement(LabelServiceProxyName, operator, values)
	if err != nil {
		return nil, err
	}
	served, err := labels.NewRequirement(corev1.IsHeadlessService, selection.DoesNotExist, nil)
	if err != nil {
		return nil, err
	}
	return labels.NewSelector().Add(*ours, *served), nil
}

// withoutBallast drops what nobody here reads before it is cached.
func withoutBallast(object any) (any, error) {
	if meta, ok := object.(metav1.Object); ok {
		meta.SetManagedFields(nil)
		if annotations := meta.GetAnnotations(); annotations[corev1.LastAppliedConfigAnnotation] != "" {
			delete(annotations, corev1.LastAppliedConfigAnnotation) // the whole object once more
		}
	}
	if node, ok := object.(*corev1.Node); ok {
		node.Status.Images = nil // the greater part of a Node
	}
	return object, nil
}
