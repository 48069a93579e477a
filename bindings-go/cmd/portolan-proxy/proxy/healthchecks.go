package proxy

import (
	"errors"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/portolan/portolan/bindings-go/kube/health"
)

// sliceOwner indexes EndpointSlices by their Service.
const sliceOwner = "service"

func indexByService(object any) ([]string, error) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return nil, nil
	}
	owner := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
	return []string{owner.String()}, nil
}

// healthChecks are the Services that load balancers ask about at a healthCheckNodePort.
type healthChecks struct {
	node    string
	slices  cache.Indexer
	served  *health.Services
	refused func(about types.NamespacedName, err error)

	updating sync.Mutex // one update at a time
	begun    atomic.Bool

	mutex sync.Mutex
	ports map[types.NamespacedName]uint16
}

// handler follows the Services that have such a port: load balancers of policy Local.
func (h *healthChecks) handler() cache.ResourceEventHandler {
	return serviceHandler(func(name types.NamespacedName, spec *corev1.ServiceSpec) {
		port := uint16(0)
		if spec.Type == corev1.ServiceTypeLoadBalancer &&
			spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
			port = uint16(spec.HealthCheckNodePort)
		}
		h.know(name, port)
	})
}

// know remembers a Service's port; 0: it has none. It may be told of after what was decided about it is in force.
func (h *healthChecks) know(service types.NamespacedName, port uint16) {
	h.mutex.Lock()
	same := h.ports[service] == port
	if port == 0 {
		delete(h.ports, service)
	} else {
		h.ports[service] = port
	}
	h.mutex.Unlock()
	if !same && h.begun.Load() {
		h.update()
	}
}

// update listens at the ports there are now and counts what answers on this node.
func (h *healthChecks) update() {
	h.updating.Lock()
	defer h.updating.Unlock()
	h.begun.Store(true)
	var services []health.Service
	h.mutex.Lock()
	for name, port := range h.ports {
		services = append(services, health.Service{Name: name, Port: port, LocalEndpoints: h.localEndpoints(name)})
	}
	h.mutex.Unlock()
	err := h.served.Update(services)
	if err == nil {
		return
	}
	klog.Background().Error(err, "Health check ports not served")
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, each := range joined.Unwrap() {
		var listen *health.ListenError
		if errors.As(each, &listen) {
			h.refused(listen.Service.Name, listen)
		}
	}
}

// localEndpoints counts distinct ready addresses on this node, over all ports and both families (KEP-3836: terminating
// ones are not counted although packets still reach them, so that balancers drain the node).
func (h *healthChecks) localEndpoints(of types.NamespacedName) int {
	slices, err := h.slices.ByIndex(sliceOwner, of.String())
	if err != nil {
		return 0
	}
	addresses := map[string]bool{}
	for _, object := range slices {
		slice, ok := object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if len(endpoint.Addresses) > 0 && ptr.Deref(endpoint.NodeName, "") == h.node &&
				ptr.Deref(endpoint.Conditions.Ready, true) {
				addresses[endpoint.Addresses[0]] = true
			}
		}
	}
	return len(addresses)
}
