package portolan

import (
	"iter"
	"net/netip"
	"slices"
	"time"
)

// Batch is several changes that become one generation: see [Node.Commit]. The zero Batch changes nothing. Of several
// changes to one object the last counts.
type Batch struct {
	changes []batched
}

// batched is objects to be applied, one to be put, a kind to be replaced, or an object to be forgotten.
type batched struct {
	objects         []byte
	put             any // a *Service or an *EndpointSlice
	all             bool
	kind            Kind
	namespace, name string
}

// Apply adds: these objects are new or different; JSON or YAML, one, a list or several documents.
func (b *Batch) Apply(objects []byte) {
	b.changes = append(b.changes, batched{objects: append([]byte{}, objects...)})
}

// Delete adds: this object is gone.
func (b *Batch) Delete(kind Kind, namespace, name string) {
	b.changes = append(b.changes, batched{kind: kind, namespace: namespace, name: name})
}

// Replace adds: what this batch applies of a kind is all there is of it; the kind is synced.
func (b *Batch) Replace(kind Kind) {
	b.changes = append(b.changes, batched{all: true, kind: kind})
}

// Changes are differences of a node's decisions.
type Changes struct {
	// To is the generation that they lead to: ask from there next time.
	To uint64
	// Full: they are everything there is, and what they do not name is gone.
	Full bool

	list []Change
}

// All yields them: removals, then the node, then what is to be put.
func (c Changes) All() iter.Seq[Change] { return slices.Values(c.list) }

// ChangeKind is a kind of difference.
type ChangeKind uint8

// The kinds of differences.
const (
	// ChangePut: the ServicePort is new or different.
	ChangePut ChangeKind = 1
	// ChangeRemove: the ServicePort is gone.
	ChangeRemove ChangeKind = 2
	// ChangeNode: what is known of the node is different.
	ChangeNode ChangeKind = 3
)

// PortKey names a ServicePort in one address family; its other family is told of by itself.
type PortKey struct {
	Namespace, Name, PortName string
	Protocol                  Protocol
	IPv6                      bool
}

// Change is one difference: of a ServicePort, or of the node.
type Change struct {
	Kind ChangeKind
	// PortKey is the ServicePort's; zero for ChangeNode.
	PortKey
	// Service is what was decided, of ChangePut; else nil.
	Service *ServiceSpec
	// Node is the node, of ChangeNode; else nil.
	Node *NodeSpec
}

// ServiceSpec is what one node does with a ServicePort in one family.
type ServiceSpec struct {
	Frontends []FrontendSpec
	// Endpoints are all that serve; those that are in no set get no new connections.
	Endpoints []Endpoint
	// Affinity is for how long a client keeps its endpoint; 0: a new choice for each connection.
	Affinity time.Duration
	// Scheduler is how an endpoint is chosen.
	Scheduler Scheduler
	// SlowStart is for how long a new endpoint gets fewer connections than its share.
	SlowStart time.Duration
	// HashSeed is what Maglev's hash begins with.
	HashSeed uint64
}

// Source tells senders apart: an index of FrontendSpec.Rules.
type Source uint8

// The senders.
const (
	FromPod     Source = 0
	FromNode    Source = 1
	FromOutside Source = 2
)

// FrontendSpec is one address at which a ServicePort is served, and the rules there.
type FrontendSpec struct {
	Address netip.AddrPort
	Kind    FrontendKind
	// Rules say for each Source what is done.
	Rules [3]Rule
	// SourceRanges, if there are any: senders outside all of them are dropped.
	SourceRanges []netip.Prefix
}

// Rule is what a frontend does for one kind of senders.
type Rule struct {
	// Local: only endpoints with InLocal are chosen; else those with InCluster.
	Local bool
	// Masquerade: the source is translated too.
	Masquerade bool
}

// Endpoint is one endpoint of a ServicePort.
type Endpoint struct {
	Address netip.AddrPort
	// InCluster and InLocal: it may be chosen by policy Cluster, and by policy Local.
	InCluster, InLocal bool
	// Here: it is on this node.
	Here bool
	// Weight is how many connections it is to get beside others, where the scheduler goes by weight.
	Weight uint16
	// Tag is the host's own.
	Tag uint64
}

// NodeSpec is what a dataplane must know of the node.
type NodeSpec struct {
	Addresses                      []netip.Addr
	PodPrefixes, ServicePrefixes   []netip.Prefix
	MasqueradeIPv4, MasqueradeIPv6 netip.Addr
	// PodInterface, if there is one: pods are who sends by this interface, or with PodInterfaceIsPrefix by one whose name
	// begins so, instead of who is in PodPrefixes. The host marks such packets with FlagFromPod.
	PodInterface         string
	PodInterfaceIsPrefix bool
}

// Scheduler is how endpoints are chosen.
type Scheduler uint8

// The schedulers, as IPVS has them, and Random as kube-proxy.
const (
	Random Scheduler = iota
	RoundRobin
	WeightedRoundRobin
	LeastConnection
	WeightedLeastConnection
	SourceHashing
	DestinationHashing
	ShortestExpectedDelay
	NeverQueue
	Maglev
)
