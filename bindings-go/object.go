package portolan

import (
	"net/netip"
	"time"
)

// Service is a Kubernetes Service by hand, as far as one node's decisions need it: for hosts that have it in no text. What
// is zero is absent.
type Service struct {
	Namespace, Name string
	// Created decides who keeps an address that two Services claim: the older one.
	Created time.Time
	Ports   []ServicePort
	// ClusterIPs, if there are none, make the Service headless: it is not served by a node.
	ClusterIPs, ExternalIPs []netip.Addr
	// Ingress are the load balancer's addresses at which the node serves.
	Ingress []netip.Addr
	// SourceRanges, if there are any: senders outside all of them may not use the load balancer's addresses.
	SourceRanges []netip.Prefix
	// LoadBalancer: that is its type.
	LoadBalancer bool
	// PublishNotReady: endpoints that are not ready serve too.
	PublishNotReady bool
	// InternalLocal and ExternalLocal: the traffic policy is Local, not Cluster.
	InternalLocal, ExternalLocal bool
	HealthCheckNodePort          uint16
	// Affinity is for how long a client keeps its endpoint, in whole seconds; 0: a new choice for each connection.
	Affinity time.Duration
	// Scheduler is how an endpoint is chosen; nil: as the node says.
	Scheduler *Scheduler
	// SlowStart is for how long a new endpoint gets fewer connections than its share, in whole seconds; 0: as the node
	// says.
	SlowStart time.Duration
	// ProxyName names another proxy that serves it, as the label service.kubernetes.io/service-proxy-name does.
	ProxyName string
	// ExternalName, of a Service of that type: DNS alone serves it.
	ExternalName string
}

// ServicePort is one port of a Service.
type ServicePort struct {
	// Name is empty if the Service's only port has none.
	Name     string
	Protocol Protocol
	Port     uint16
	// NodePort is 0 for none.
	NodePort uint16
}

// EndpointSlice is a Kubernetes EndpointSlice by hand. What is zero is absent.
type EndpointSlice struct {
	Namespace, Name string
	// ServiceName is the Service's, as the label kubernetes.io/service-name says.
	ServiceName string
	// IPv6: its endpoints are; else they are IPv4.
	IPv6      bool
	Endpoints []SliceEndpoint
	Ports     []SlicePort
}

// SliceEndpoint is one endpoint of a slice; ready, if nothing else is said.
type SliceEndpoint struct {
	Address netip.Addr
	// NotReady: no new connections. NotServing: if it terminates too, connections to it end. Terminating: new connections
	// only if no endpoint is ready, and only while it serves.
	NotReady, NotServing, Terminating bool
	// Weight is how many connections it is to get beside others, where the scheduler goes by weight; 0: 1.
	Weight uint16
	// NodeName is where it is; empty: not known.
	NodeName string
	// Hostname and PodName are names of it in DNS.
	Hostname, PodName string
	// ZoneHints and NodeHints say for whom it is.
	ZoneHints, NodeHints []string
}

// SlicePort is one port of a slice; its name is that of the Service's port.
type SlicePort struct {
	Name     string
	Protocol Protocol
	Port     uint16
}

// PutService adds: this Service is new or different. [Node.Commit] says what is not allowed in it.
func (b *Batch) PutService(service Service) { b.changes = append(b.changes, batched{put: &service}) }

// PutSlice adds: this EndpointSlice is new or different.
func (b *Batch) PutSlice(slice EndpointSlice) { b.changes = append(b.changes, batched{put: &slice}) }
