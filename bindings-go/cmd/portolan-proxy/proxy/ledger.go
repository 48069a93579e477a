package proxy

import (
	"k8s.io/apimachinery/pkg/types"

	portolan "github.com/portolan/portolan/bindings-go"
	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/metrics"
)

// ledger knows which ServicePorts have a Local policy and, while they have endpoints, none on this node. It costs what
// changed.
type ledger struct {
	lacking map[portKey]lack
}

type portKey struct {
	service  types.NamespacedName
	port     string
	protocol portolan.Protocol
	ipv6     bool
}

// lack is for which of its policies a ServicePort has no endpoint.
type lack struct{ internal, external bool }

func keyOf(change portolan.Change) portKey {
	return portKey{
		types.NamespacedName{Namespace: change.Namespace, Name: change.Name},
		change.PortName, change.Protocol, change.IPv6,
	}
}

// follow takes in what the node decided since the last time.
func (l *ledger) follow(changes portolan.Changes) {
	if changes.Full || l.lacking == nil {
		l.lacking = map[portKey]lack{}
	}
	for change := range changes.All() {
		key := keyOf(change)
		delete(l.lacking, key)
		if change.Kind == portolan.ChangePut && change.Service != nil {
			if lacks := lacksOf(change.Service); lacks != (lack{}) {
				l.lacking[key] = lacks
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
		if lacks.internal {
			services[group{key.ipv6, false}][key.service] = true
		}
		if lacks.external {
			services[group{key.ipv6, true}][key.service] = true
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
