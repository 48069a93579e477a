package portolan

import (
	"net/netip"
	"time"
)

// Explanation is what would become of a packet, and what was found on the way. What was not found is zero.
type Explanation struct {
	// Verdict is what would become of it, Reason why it would be dropped.
	Verdict Verdict
	Reason  uint8
	// Generation is that of the services asked.
	Generation uint64
	// Flow is its addresses and ports, Translated what they would become.
	Protocol         Protocol
	Flow, Translated Flow
	// Known: it belongs to a connection that is open; FromEndpoint: in the direction to the client.
	Known, FromEndpoint bool
	// Frontend is what kind of door it is for, if IsFrontend.
	IsFrontend bool
	Frontend   FrontendKind
	// Service is the dataplane's number of the ServicePort, as in ServiceStats.
	Service uint32
	// Source is who sends it.
	Source Source
	// Choices are the endpoints that may be chosen; Endpoint is the one that is, or would be.
	Choices  []netip.AddrPort
	Endpoint netip.AddrPort
	// Kept: session affinity remembers an endpoint for its sender.
	Kept bool
	// Masquerade: the source would be translated too; Hairpin: because the endpoint would reach itself.
	Masquerade, Hairpin bool
	// Text is all of it in lines, for people.
	Text string
}

// String is Text.
func (e Explanation) String() string { return e.Text }

// Flow is addresses and ports of one direction.
type Flow struct {
	Source, Destination netip.AddrPort
}

// Connection is one connection.
type Connection struct {
	Protocol Protocol
	// Original goes from the client to the frontend, Reply from the endpoint to the client or, if masqueraded, the node.
	Original, Reply Flow
	// SeenReply: the endpoint has answered. Assured: it is never evicted for a new one.
	SeenReply, Assured, Masquerade bool
	// Remaining is how long it lives without a packet.
	Remaining time.Duration
}

// Traffic is packets and their bytes.
type Traffic struct {
	Packets, Bytes uint64
}

// ServiceStats are counts of one ServicePort since it was published.
type ServiceStats struct {
	// ID is its number in the dataplane.
	ID uint32
	PortKey
	// Opened connections; first packets Rejected, or dropped for want of an endpoint here, or by source range.
	Opened, Rejected, NoLocalEndpoint, SourceRange uint64
	// To and From its endpoints, those included that it no longer has.
	To, From  Traffic
	Endpoints []EndpointStats
}

// EndpointStats are counts of one endpoint since it was published.
type EndpointStats struct {
	Address  netip.AddrPort
	Opened   uint64
	To, From Traffic
}
