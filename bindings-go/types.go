package portolan

import "net/netip"

// Kind is a kind of Kubernetes object.
type Kind uint32

// The kinds that are served.
const (
	KindService       Kind = 1
	KindEndpointSlice Kind = 2
	KindEndpoints     Kind = 3
	KindNode          Kind = 4
)

// Protocol is an IANA protocol number.
type Protocol uint8

// The protocols of Services.
const (
	TCP  Protocol = 6
	UDP  Protocol = 17
	SCTP Protocol = 132
)

// FrontendKind is what kind of door into a Service a frontend is.
type FrontendKind uint8

// The kinds of frontends.
const (
	ClusterIP    FrontendKind = 0
	NodePort     FrontendKind = 1
	ExternalIP   FrontendKind = 2
	LoadBalancer FrontendKind = 3
)

// Frontend is one address and port at which a ServicePort is served.
type Frontend struct {
	// Namespace and Name are the Service's.
	Namespace, Name string
	// PortName is the name of the Service's port; empty if it has none.
	PortName string
	// Protocol is the Service port's.
	Protocol Protocol
	// Address is where it is served.
	Address netip.AddrPort
	// Kind is what kind of door it is.
	Kind FrontendKind
	// ClusterEndpoints and LocalEndpoints count those that new connections may go to anywhere, and on this node.
	ClusterEndpoints, LocalEndpoints int
	// HealthCheckPort is the Service's healthCheckNodePort; 0 if it has none.
	HealthCheckPort uint16
}

// Limits are the capacities of a dataplane, how long its connections live, and what it does where its users differ. Fields
// that are 0 take the default of a node.
type Limits struct {
	ConnectionsIPv4, ConnectionsIPv6             uint32
	Services, Frontends, Endpoints, SourceRanges uint32
	Affinities, Fragments, Workers, HashBuckets  uint32
	// MasqueradePorts are the source ports that masqueraded connections get, and others whose own port is taken.
	MasqueradePorts PortRange
	// NewConnectionsPerSecond is how many connections each worker opens a second at most; 0: as many as come. A second's
	// worth may come at once. First packets beyond it are dropped and counted, packets of open connections never are.
	NewConnectionsPerSecond uint32
	// EndedTCP is what becomes of TCP connections whose endpoint ended.
	EndedTCP EndedTCP
	// MidStream is what becomes of a TCP segment to a frontend, of no connection and no SYN.
	MidStream MidStream
	// AnswerEcho: ICMP echo requests to ClusterIPs, external IPs and load balancers' addresses are answered, as where
	// IPVS binds them; otherwise they pass.
	AnswerEcho bool
	// MemoryAdvice is what is asked for the dataplane's memory.
	MemoryAdvice MemoryAdvice
	// Timeouts are how long connections live without packets.
	Timeouts Timeouts
}

// EndedTCP is what becomes of TCP connections whose endpoint ended.
type EndedTCP uint8

// What becomes of them.
const (
	// KeepEnded: they are translated on, until their peers end them, as kube-proxy does.
	KeepEnded EndedTCP = 0
	// ResetEnded: the client's next segment is answered by a reset, the connection forgotten.
	ResetEnded EndedTCP = 1
)

// MidStream is what becomes of a TCP segment to a frontend, of no connection and no SYN.
type MidStream uint8

// What becomes of it.
const (
	// DropMidStream: it is dropped.
	DropMidStream MidStream = 0
	// ResetMidStream: it is answered by a reset.
	ResetMidStream MidStream = 1
	// PickUpMidStream: it opens a connection, and goes where the scheduler says: to the endpoint that it was with before if
	// the scheduler hashes, or if there is only one.
	PickUpMidStream MidStream = 2
)

// MemoryAdvice is what is asked for a dataplane's memory.
type MemoryAdvice uint8

// What is asked.
const (
	// AdviseHugePages: tables of 2 MiB and more are to be on huge pages, on Linux.
	AdviseHugePages MemoryAdvice = 0
	// AdviseNothing: pages are as they come.
	AdviseNothing MemoryAdvice = 1
)

// PortRange is ports from First to Last; of either, 0 is the default.
type PortRange struct{ First, Last uint16 }

// Verdict is what to do with a packet.
type Verdict uint8

// The verdicts.
const (
	// Pass: not ours, untouched.
	Pass Verdict = 0
	// Forward: rewritten in place; route it by its new destination.
	Forward Verdict = 1
	// Reply: replaced by an answer; send it back to where it came from.
	Reply Verdict = 2
	// Drop: to be dropped, for Descriptor.Reason.
	Drop Verdict = 3
)

// String is the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return "no verdict"
}

var verdicts = [...]string{"pass", "forward", "reply", "drop"}

// Bits of Descriptor.Flags.
const (
	// FlagNew: the packet opened a connection.
	FlagNew uint16 = 1 << iota
	// FlagReplyDirection: it travels from the endpoint to the client.
	FlagReplyDirection
	// FlagMasquerade: the connection's source is translated too.
	FlagMasquerade
	// FlagLocalEndpoint: the connection's endpoint is on this node.
	FlagLocalEndpoint
	// FlagRelated: the packet is an ICMP error about a connection.
	FlagRelated
)

// FlagFromPod, set by the host before a burst: the packet entered by a pod's interface. Read for first packets, on a node
// that tells pods by their interfaces.
const FlagFromPod uint16 = 1 << 15

// Bits of Offload.Flags.
const (
	// OffloadPartial: the transport checksum field holds the pseudo-header's sum only.
	OffloadPartial uint8 = 1
	// OffloadValid: the transport checksum was verified already.
	OffloadValid uint8 = 2
)

// Offload is what is left to hardware: virtio_net_hdr, offsets counted from the IP header.
type Offload struct {
	Flags, GSOType                          uint8
	HeaderLen, GSOSize                      uint16
	ChecksumStart, ChecksumOffset, reserved uint16
}

// Descriptor is one packet of a burst: portolan_descriptor, byte for byte.
type Descriptor struct {
	// Offset is where the packet's IP header begins in the frames.
	Offset uint32
	// Len is the packet's length from the IP header on; a Reply changes it.
	Len uint32
	// Capacity is the room for the packet from Offset on; at least Len.
	Capacity uint32
	// Verdict says what to do with the packet.
	Verdict Verdict
	// Reason is why it was dropped, or 0; see [DropText].
	Reason uint8
	// Flags is FlagFromPod or 0 before a burst, and other bits of Flag... after it.
	Flags uint16
	// IngressTag is the host's own, left as it is.
	IngressTag uint64
	// EndpointTag is the tag that the host gave to the endpoint.
	EndpointTag uint64
	// Offload is what is left to hardware.
	Offload Offload
}

// Stats are counts since the start, and how full the tables are.
type Stats struct {
	Passed, Forwarded, Replied, Dropped              uint64
	Drops                                            [32]uint64
	Bytes, Related, AffinitiesNotKept                uint64
	OpenedIPv4, OpenedIPv6, EvictedIPv4, EvictedIPv6 uint64
	ConnectionsIPv4, ConnectionsIPv6                 uint64
	Services, Frontends, Endpoints, SourceRanges     uint64
	HashBuckets, Affinities, Fragments               uint64
	// EndedPackets and EndedBytes were forwarded for connections whose endpoint ended before them.
	EndedPackets, EndedBytes uint64
}
