package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"k8s.io/klog/v2"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-proxy/config"
)

// hostAddresses are the addresses of this host's interfaces at which NodePorts can be served: loopback and link-local ones
// are left out, and those of the device on which kube-proxy's mode ipvs keeps ClusterIPs. Sorted.
func hostAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	ofIPVS := map[string]bool{}
	if device, err := net.InterfaceByName(ipvsDevice); err == nil {
		addresses, _ := device.Addrs()
		for _, address := range addresses {
			ofIPVS[address.String()] = true
		}
	}
	var all []netip.Addr
	for _, address := range found {
		prefix, err := netip.ParsePrefix(address.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() && !ofIPVS[address.String()] {
			all = append(all, prefix.Addr())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	if all = slices.Compact(all); len(all) > hostAddressesMost {
		klog.Background().Info("NodePorts are not served at all of the host's addresses: nodePortAddresses says which ones matter",
			"addresses", len(all), "served", hostAddressesMost)
		all = all[:hostAddressesMost]
	}
	return all, nil
}

// hostAddressesMost bounds how many addresses each NodePort is served at, beside those that the cluster knows: a host of a
// load balancer's may have hundreds, and each is an entry for each NodePort.
const hostAddressesMost = 64

// watchAddresses calls changed whenever the host has got other addresses, where NodePorts are served at more than the
// primary ones, until ctx ends. A virtual address that fails over to this node must be served at once. Addresses are looked
// at after each sync period, too, whatever the kernel says or does not say.
func (p *Proxy) watchAddresses(ctx context.Context, changed func()) {
	if slices.Equal(nodePortSelection(p.configuration), []string{config.NodePortsPrimary}) {
		return
	}
	notices, err := addressNotices(ctx)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Addresses are looked at from time to time only")
	}
	before := p.identity.HostAddresses
	ticker := time.NewTicker(config.SyncPeriod(p.configuration))
	defer ticker.Stop()
	for {
		if now, err := hostAddresses(); err == nil && !slices.Equal(now, before) {
			before = now
			klog.FromContext(ctx).Info("The host has other addresses", "addresses", now)
			changed()
		}
		select {
		case <-ctx.Done():
			return
		case <-notices:
		case <-ticker.C:
		}
	}
}

// everyAddress are the node's addresses, with those that only the host knows behind those that the cluster knows: kube-proxy
// serves NodePorts at all of them unless it is told `primary`.
func (i Identity) everyAddress() []netip.Addr {
	all := slices.Clone(i.Addresses)
	for _, address := range i.HostAddresses {
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// nodePortAddresses are those of the configuration, as a node's description has them: keywords in company are written as
// prefixes. What none means depends on the mode: the primary addresses in nftables (KEP-3866), all of them in the older
// modes. NodePorts at loopback addresses are not a node's business: see loopbackNodePorts.
func nodePortAddresses(primary []netip.Addr, c *config.Configuration) []string {
	wanted := nodePortSelection(c)
	isLocalhost := func(text string) bool { return text == config.NodePortsLocalhost }
	others := slices.DeleteFunc(slices.Clone(wanted), isLocalhost)
	switch {
	case len(others) == 0:
		return []string{"127.0.0.0/8", "::1/128"} // where a node serves none
	case slices.Contains(others, config.NodePortsAll):
		return []string{config.NodePortsAll}
	case len(others) == 1:
		return others
	}
	var prefixes []string
	for _, text := range others {
		if text != config.NodePortsPrimary {
			prefixes = append(prefixes, text)
			continue
		}
		for _, address := range primary {
			prefixes = append(prefixes, netip.PrefixFrom(address, address.BitLen()).String())
		}
	}
	return prefixes
}

// nodePortSelection is the configuration's, or the mode's default.
func nodePortSelection(c *config.Configuration) []string {
	switch {
	case len(c.NodePortAddresses) > 0:
		return c.NodePortAddresses
	case c.Mode == config.ModeNFTables || c.Mode == config.ModeUserspace:
		return []string{config.NodePortsPrimary}
	}
	return []string{config.NodePortsAll}
}

// firsts are the first address of each family: the primary ones.
func firsts(addresses []netip.Addr) []netip.Addr {
	var found []netip.Addr
	for _, ipv6 := range []bool{false, true} {
		at := slices.IndexFunc(addresses, func(address netip.Addr) bool { return address.Is6() == ipv6 })
		if at >= 0 {
			found = append(found, addresses[at])
		}
	}
	return found
}

// loopbackNodePorts are the loopback addresses at which NodePorts are served, too: those that the configuration names
// (KEP-6032), and in the modes that have iptables' name 127.0.0.1, unless iptables.localhostNodePorts is false.
func loopbackNodePorts(c *config.Configuration) []netip.Addr {
	ipv4, ipv6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	asIPTables := config.AsIPTables(c.Mode) && *c.IPTables.LocalhostNodePorts
	wanted := nodePortSelection(c)
	var all []netip.Addr
	if names(wanted, ipv4, asIPTables) {
		all = append(all, ipv4)
	}
	if names(wanted, ipv6, false) {
		all = append(all, ipv6)
	}
	return all
}

// names: does this selection name a loopback address, or, asAny, take it in with others?
func names(selection []string, loopback netip.Addr, asAny bool) bool {
	ofFamily := 0
	for _, text := range selection {
		switch text {
		case config.NodePortsLocalhost:
			return true
		case config.NodePortsPrimary:
			ofFamily++
			continue
		case config.NodePortsAll:
			if asAny {
				return true
			}
			ofFamily++
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is6() != loopback.Is6() {
			continue
		}
		ofFamily++
		if prefix.Contains(loopback) && (asAny || prefix.Addr().IsLoopback()) {
			return true
		}
	}
	return asAny && ofFamily == 0 // a list of the other family only means every address of this one
}

// healthCheckAddresses are where healthCheckNodePorts are listened at: where NodePorts are served. None: everywhere.
func healthCheckAddresses(identity Identity, c *config.Configuration) []netip.Addr {
	primary := firsts(identity.preferring(c.BindAddress))
	selection := nodePortAddresses(primary, c)
	if slices.Contains(selection, config.NodePortsAll) {
		return nil
	}
	found := loopbackNodePorts(c)
	if slices.Equal(selection, []string{config.NodePortsPrimary}) {
		return append(primary, found...)
	}
	for _, address := range identity.everyAddress() {
		ofFamily := slices.DeleteFunc(parsePrefixes(selection), func(prefix netip.Prefix) bool {
			return prefix.Addr().Is6() != address.Is6()
		})
		within := func(prefix netip.Prefix) bool { return prefix.Contains(address) }
		if len(ofFamily) == 0 || slices.ContainsFunc(ofFamily, within) {
			found = append(found, address)
		}
	}
	return found
}

func parsePrefixes(texts []string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			all = append(all, prefix)
		}
	}
	return all
}
