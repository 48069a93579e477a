package portolan

// NFTOptions are names and places of nftables tables, and how the kernel is reached. The zero value of a field is its
// default.
type NFTOptions struct {
	// Table is the name of both families' tables; empty: portolan. Neighbours look for kube-proxy.
	Table string
	// Socket, if not nil, is a NETLINK_NETFILTER socket that the host opened, perhaps in another network namespace. It
	// stays the host's.
	Socket *int
	// Command is how nft is called, in the socket's namespace: ip netns exec n1 nft, for instance. Empty: nft.
	Command []string
	// Priorities of the chains; nil: kube-proxy's.
	Priorities *NFTPriorities
	// AffinityClients are remembered in each family; 0: 1048576.
	AffinityClients uint32
	// MasqueradePorts are the source ports that masqueraded connections get; the zero value: any from 1024. Where a
	// Dataplane masquerades to the same addresses, because one backend takes over from the other, each needs ports of
	// its own: an answer tells by its port alone whose it is.
	MasqueradePorts PortRange
	// Replaces are tables of other programs that these take the place of, by name: kube-proxy, for instance. Once these
	// serve they are put to sleep, and deleted a second later, so no connection finds neither.
	Replaces []string
	// Owned tables belong to this process: nobody else may change them, nft flush ruleset leaves them alone, and the
	// next process takes them over. Needs Linux 6.9, and neither Socket nor NFTOnly.
	Owned bool
	// NFTOnly does without netlink: slower, and without noticing what others change.
	NFTOnly bool
}

// NFTPriorities are those of the nat chains in prerouting and output, of the chains that reject and drop, and of the nat
// chain in postrouting.
type NFTPriorities struct {
	DNAT, Filter, SNAT int32
}

// NFTStats are what was done to the tables since they were opened.
type NFTStats struct {
	// Transactions that were committed, and their Operations.
	Transactions, Operations uint64
	// Repairs is how often tables were read and compared, at the start or because something had been different.
	Repairs uint64
	// FlowReadsIPv4 and FlowReadsIPv6 are how often the kernel's connections of a family were read, because UDP of endpoints
	// that serve no more may have been there; StaleFlowsIPv4 and StaleFlowsIPv6 are those that it was made to forget.
	FlowReadsIPv4, FlowReadsIPv6, StaleFlowsIPv4, StaleFlowsIPv6 uint64
}
