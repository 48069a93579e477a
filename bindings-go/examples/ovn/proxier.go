// Package ovn is an example of taking only the decisions: OVN moves the packets, Portolan says where to.
//
// A [Proxier] follows a [portolan.Node]'s Changes and renders what differs as ovn-nbctl commands, one transaction for each
// Sync. What kube-proxy would do for a pod becomes a load balancer of the node's logical switch; what it would do for
// somebody outside becomes one of its gateway router, which masquerades what comes through it
// (options:lb_force_snat_ip) unless the load balancer says otherwise (options:skip_snat).
package ovn

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	portolan "github.com/portolan/portolan/bindings-go"
)

// Proxier renders one node's decisions.
type Proxier struct {
	node          *portolan.Node
	pods, outside string // the logical switch and the gateway router
	generation    uint64
	rendered      map[portolan.PortKey]map[string]balancer
	unserved      map[portolan.PortKey][]string
}

// balancer is one of OVN's load balancers.
type balancer struct {
	// of is the switch or router that it belongs to, attach the command that puts it there.
	of, attach string
	protocol   string
	// vips are frontends, and what each is translated to: "" if there is nothing.
	vips    map[netip.AddrPort]string
	options map[string]string
}

// New makes a proxier for a node whose pods are on a logical switch and which others reach by a gateway router.
func New(node *portolan.Node, logicalSwitch, gatewayRouter string) *Proxier {
	return &Proxier{
		node: node, pods: logicalSwitch, outside: gatewayRouter,
		rendered: map[portolan.PortKey]map[string]balancer{}, unserved: map[portolan.PortKey][]string{},
	}
}

// Sync gives the commands that turn what earlier calls have given into what the node decides now. They are one
// transaction: `ovn-nbctl COMMAND -- COMMAND ...`. None: nothing differs.
func (p *Proxier) Sync() (commands [][]string, err error) {
	changes, err := p.node.Changes(p.generation)
	if err != nil {
		return nil, err
	}
	named := map[portolan.PortKey]bool{}
	for change := range changes.All() {
		if change.Kind == portolan.ChangeNode {
			continue // OVN has the node's addresses from elsewhere
		}
		named[change.PortKey] = true
		commands = append(commands, p.turn(change.PortKey, change.Service)...)
	}
	if changes.Full {
		for _, port := range slices.SortedFunc(maps.Keys(p.rendered), compare) {
			if !named[port] {
				commands = append(commands, p.turn(port, nil)...)
			}
		}
	}
	p.generation = changes.To
	return commands, nil
}

// Unserved lists frontends that are left out, and why.
func (p *Proxier) Unserved() (unserved []string) {
	for _, port := range slices.SortedFunc(maps.Keys(p.unserved), compare) {
		unserved = append(unserved, p.unserved[port]...)
	}
	return unserved
}

// turn makes one ServicePort what it is to be; nil: nothing.
func (p *Proxier) turn(port portolan.PortKey, service *portolan.ServiceSpec) (commands [][]string) {
	before, after := p.rendered[port], p.balancers(port, service)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := after[name]; !stays {
			commands = append(commands, []string{"--if-exists", "lb-del", name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		was, is := before[name], after[name]
		for _, vip := range slices.SortedFunc(maps.Keys(was.vips), netip.AddrPort.Compare) {
			if _, stays := is.vips[vip]; !stays && len(is.vips) > 0 {
				commands = append(commands, []string{"--if-exists", "lb-del", name, vip.String()})
			}
		}
		for _, vip := range slices.SortedFunc(maps.Keys(is.vips), netip.AddrPort.Compare) {
			if to, known := was.vips[vip]; !known || to != is.vips[vip] {
				commands = append(commands, []string{"--may-exist", "lb-add", name, vip.String(), is.vips[vip], is.protocol})
			}
		}
		if !maps.Equal(was.options, is.options) {
			commands = append(commands, []string{"set", "load_balancer", name, "options=" + options(is.options)})
		}
		if was.of != is.of {
			commands = append(commands, []string{"--may-exist", is.attach, is.of, name})
		}
	}
	if p.rendered[port] = after; len(after) == 0 {
		delete(p.rendered, port)
	}
	return commands
}

// balancers are those of a ServicePort, by name. Frontends that are treated alike share one.
func (p *Proxier) balancers(port portolan.PortKey, service *portolan.ServiceSpec) map[string]balancer {
	delete(p.unserved, port)
	found := map[string]balancer{}
	if service == nil {
		return found
	}
	for _, frontend := range service.Frontends {
		if len(frontend.SourceRanges) > 0 {
			why := fmt.Sprintf("%v: loadBalancerSourceRanges are for ACLs, which this example has none of", frontend.Address)
			p.unserved[port] = append(p.unserved[port], why)
			continue
		}
		p.add(found, port, service, frontend, frontend.Rules[portolan.FromPod], p.pods, "ls-lb-add")
		p.add(found, port, service, frontend, frontend.Rules[portolan.FromOutside], p.outside, "lr-lb-add")
	}
	return found
}

// add puts a frontend into the load balancer of one switch or router for what a rule says.
func (p *Proxier) add(found map[string]balancer, port portolan.PortKey, service *portolan.ServiceSpec,
	frontend portolan.FrontendSpec, rule portolan.Rule, of, attach string,
) {
	var endpoints []string
	for _, endpoint := range service.Endpoints {
		if rule.Local && endpoint.InLocal || !rule.Local && endpoint.InCluster {
			endpoints = append(endpoints, endpoint.Address.String())
		}
	}
	// Nothing anywhere is refused; something, but nothing that is allowed, is silence.
	reject := !slices.ContainsFunc(service.Endpoints, func(each portolan.Endpoint) bool {
		return each.InCluster || each.InLocal
	})
	with := map[string]string{"reject": fmt.Sprint(reject)}
	if service.Affinity > 0 {
		with["affinity_timeout"] = fmt.Sprint(int(service.Affinity / time.Second))
	}
	name := fmt.Sprintf("%s/%s:%s/%s/%s", port.Namespace, port.Name, port.PortName, protocol(port), of)
	if rule.Local {
		name += "/local"
	}
	if of == p.outside && !rule.Masquerade {
		with["skip_snat"] = "true"
		name += "/keep-source"
	}
	if _, known := found[name]; !known {
		found[name] = balancer{of, attach, strings.TrimRight(protocol(port), "46"), map[netip.AddrPort]string{}, with}
	}
	found[name].vips[frontend.Address] = strings.Join(endpoints, ",")
}

// protocol is OVN's word, with the family.
func protocol(port portolan.PortKey) string {
	family := "4"
	if port.IPv6 {
		family = "6"
	}
	return map[portolan.Protocol]string{portolan.TCP: "tcp", portolan.UDP: "udp", portolan.SCTP: "sctp"}[port.Protocol] + family
}

// options are written as ovn-nbctl reads a map.
func options(of map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		pairs = append(pairs, name+"="+of[name])
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func compare(one, other portolan.PortKey) int {
	return strings.Compare(fmt.Sprint(one), fmt.Sprint(other))
}
