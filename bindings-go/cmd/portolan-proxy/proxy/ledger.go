package proxy

import (
	"k8s.io/apimachinery/pkg/types"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
)

// ledger knows which ServicePorts have a Local policy and, while they have endpoints, none on this node. It costs what
// changed.
type ledger struct {
	lacking map[portolan.PortKey]lack
}

// lack is for which of its policies a ServicePort has no endpoint.
type lack struct{ internal, external bool }

// follow takes in what the node decided since the last time.
func (l *ledger) follow(changes portolan.Changes) {
	if changes.Full || l.lacking == nil {
		l.lacking = map[portolan.PortKey]lack{}
	}
	for change := range changes.All() {
		delete(l.lacking, change.PortKey)
		if change.Kind == portolan.ChangePut && change.Service != nil {
			if lacks := lacksOf(change.Service); lacks != (lack{}) {
				l.lacking[change.PortKey] = lacks
			}
		}
	}
}

func lacksOf(service *portolan.ServiceSpec) lack {
	anywhere, here := false, false
	for _, endpoint := range service.Endpoints {
		anywhere = anywhere || endpoint.InCluster || endpoint.InLocal
		here = here || endpoint.InLocal
	}
	var lacks lack
	if here || !anywhere {
		return lacks
	}
	for _, frontend := range service.Frontends {
		if frontend.Kind == portolan.ClusterIP {
			lacks.internal = lacks.internal || frontend.Rules[portolan.FromNode].Local
		} else {
			lacks.external = lacks.external || frontend.Rules[portolan.FromOutside].Local
		}
	}
	return lacks
}

// tell writes the counts of Services as metrics.
func (l *ledger) tell() {
	type group struct {
		ipv6     bool
		external bool
	}
	services := map[group]map[types.NamespacedName]bool{
		{false, false}: {}, {false, true}: {}, {true, false}: {}, {true, true}: {},
	}
	for key, lacks := range l.lacking {
		service := types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
		if lacks.internal {
			services[group{key.IPv6, false}][service] = true
		}
		if lacks.external {
			services[group{key.IPv6, true}][service] = true
		}
	}
	for of, names := range services {
		family, policy := metrics.Families[0], "internal"
		if of.ipv6 {
			family = metrics.Families[1]
		}
		if of.external {
			policy = "external"
		}
		metrics.NoLocalEndpoints(family, policy, len(names))
	}
}
