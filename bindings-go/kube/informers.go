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

// Informers watch what kube-proxy watches: Services with a ClusterIP that are this proxy's, EndpointSlices but those of
// headless Services, the node itself and, if asked to, ServiceCIDRs.
type Informers struct {
	services informers.SharedInformerFactory
	slices   informers.SharedInformerFactory
	node     informers.SharedInformerFactory
	all      informers.SharedInformerFactory

	followed map[portolan.Kind]cache.SharedIndexInformer
}

// NewInformers makes informers for the node of this name. With a proxyName, only Services with that
// service-proxy-name label are watched; with none, only those without the label. Every resync (0: never) objects are
// handed over again, which costs a comparison each.
func NewInformers(client kubernetes.Interface, nodeName, proxyName string, resync time.Duration) (*Informers, error) {
	ours, err := proxied(proxyName)
	if err != nil {
		return nil, err
	}
	notHeadless, err := labels.NewRequirement(corev1.IsHeadlessService, selection.DoesNotExist, nil)
	if err != nil {
		return nil, err
	}
	watching := func(narrow func(*metav1.ListOptions)) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, resync,
			informers.WithTweakListOptions(narrow), informers.WithTransform(withoutBallast))
	}
	made := &Informers{
		services: watching(func(options *metav1.ListOptions) {
			options.LabelSelector = ours.String()
			options.FieldSelector = fields.OneTermNotEqualSelector("spec.clusterIP", corev1.ClusterIPNone).String()
		}),
		// The controller that writes slices labels those of headless Services so; the label of a Service says nothing.
		slices: watching(func(options *metav1.ListOptions) { options.LabelSelector = notHeadless.String() }),
		node: watching(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", nodeName).String()
		}),
		all: watching(func(*metav1.ListOptions) {}),
	}
	made.followed = map[portolan.Kind]cache.SharedIndexInformer{
		portolan.KindService:       made.services.Core().V1().Services().Informer(),
		portolan.KindEndpointSlice: made.slices.Discovery().V1().EndpointSlices().Informer(),
		portolan.KindNode:          made.node.Core().V1().Nodes().Informer(),
	}
	return made, nil
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
	i.slices.Start(stop)
	i.node.Start(stop)
	i.all.Start(stop)
}

// Shutdown waits until the watches have ended.
func (i *Informers) Shutdown() {
	i.services.Shutdown()
	i.slices.Shutdown()
	i.node.Shutdown()
	i.all.Shutdown()
}

// proxied selects this proxy's Services (KEP-2447).
func proxied(proxyName string) (*labels.Requirement, error) {
	if proxyName == "" {
		return labels.NewRequirement(LabelServiceProxyName, selection.DoesNotExist, nil)
	}
	return labels.NewRequirement(LabelServiceProxyName, selection.Equals, []string{proxyName})
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
