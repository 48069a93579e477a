package portolan

import "net/netip"

// DNSConfig is what is served, and how. The zero value of a field is its default.
type DNSConfig struct {
	// Zone is the cluster's domain; empty: cluster.local.
	Zone string
	// ReverseZones are answered for, such as 96.10.in-addr.arpa.
	ReverseZones []string
	// NameServers are where this zone is served.
	NameServers []netip.Addr
	// TTL of records in seconds, at most 3600; 0: 5.
	TTL uint32
	// Readers is how many there may ever be; 0: 64.
	Readers uint32
	// Seed keys the index: from crypto/rand, where people create Services who are not trusted.
	Seed uint64
	// EndpointPodNames: endpoints without a hostname are named as their pod. Recursion: replies say that it is
	// available, because the host forwards what is not ours.
	EndpointPodNames, Recursion bool
}

// DNSOutcome is what is to become of a query.
type DNSOutcome uint8

// The outcomes.
const (
	// DNSReply: the reply is to be sent.
	DNSReply DNSOutcome = 0
	// DNSOnward: likewise; its last CNAME leads to a name that is not ours.
	DNSOnward DNSOutcome = 1
	// DNSNotOurs: the name is in no zone of ours; there is no reply.
	DNSNotOurs DNSOutcome = 2
	// DNSSilent: nothing is to be sent, the bytes are no query.
	DNSSilent DNSOutcome = 3
)
