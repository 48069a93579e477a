// Package attachment is what plugin and daemon say to each other, and what the daemon keeps on disk: which network
// namespaces have access to Services, and how.
package attachment

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ID names an attachment, as the CNI specification does.
type ID struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

func (i ID) String() string { return i.ContainerID + "/" + i.IfName }

// Attachment is one network namespace with access to Services.
type Attachment struct {
	ID
	// Network is the name of the network configuration that it belongs to.
	Network string `json:"network"`
	// Netns is the path of the namespace.
	Netns string `json:"netns"`
	// Addresses are the pod's own on the interface, at most one of each family. Packets to Services get one as source.
	Addresses []netip.Addr `json:"addresses"`
	// ServiceCIDRs are routed to the dataplane.
	ServiceCIDRs []netip.Prefix `json:"serviceCIDRs"`
	// Ports are the source ports that packets to Services get; nothing else in the namespace uses them.
	Ports Ports `json:"ports"`
	// Mode is how packets get into the dataplane; empty is ModeAuto.
	Mode Mode `json:"mode,omitempty"`
}

// Mode is how packets get into the dataplane and out of it.
type Mode string

const (
	// ModeAuto is ModeTUN, and ModeWire where the kernel has no routing rules.
	ModeAuto Mode = "auto"
	// ModeTUN routes what is for Services into a TUN beside the pod's interface. Takes routing rules, and that the pod's
	// own kernel routes.
	ModeTUN Mode = "tun"
	// ModeWire has all of the pod's packets pass the dataplane on their way to its interface and from it. Nothing is asked
	// of whatever is at the pod's end: it may be a sandbox with a network stack of its own.
	ModeWire Mode = "wire"
)

// Ports are ports from First to Last.
type Ports struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// DefaultPorts lie beyond what Linux gives to programs that ask for any port (32768 to 60999). It takes no rule about port
// 65535 (net/core/fib_rules.c, fib_rule_port_range_valid).
var DefaultPorts = Ports{61000, 65534}

// Validate says what of an attachment cannot be, by field.
func (a *Attachment) Validate() error {
	var found []error
	refuse := func(field, rule string, values ...any) {
		found = append(found, fmt.Errorf(field+": "+rule, values...))
	}
	if a.ContainerID == "" || strings.ContainsAny(a.ContainerID, "/\x00") || a.ContainerID[0] == '.' {
		refuse("containerID", "%q is none", a.ContainerID)
	}
	if a.IfName == "" || len(a.IfName) > 15 || strings.ContainsAny(a.IfName, "/ \x00") {
		refuse("ifname", "%q is no interface's name", a.IfName)
	}
	if a.Netns == "" {
		refuse("netns", "is empty")
	}
	if a.Ports.First < 1024 || a.Ports.First > a.Ports.Last || a.Ports.Last == 65535 {
		refuse("masqueradePorts", "%d to %d is no range within 1024 to 65534", a.Ports.First, a.Ports.Last)
	}
	switch a.Mode {
	case "", ModeAuto, ModeTUN, ModeWire:
	default:
		refuse("mode", "%q is none of %s, %s and %s", a.Mode, ModeAuto, ModeTUN, ModeWire)
	}
	families := map[bool]bool{}
	for _, address := range a.Addresses {
		if !address.IsValid() || families[address.Is6()] {
			refuse("addresses", "%v: at most one of each family", a.Addresses)
		}
		families[address.Is6()] = true
	}
	served := false
	for index, prefix := range a.ServiceCIDRs {
		if !prefix.IsValid() || prefix.Bits() == 0 || prefix != prefix.Masked() {
			refuse(fmt.Sprintf("serviceCIDRs[%d]", index), "%v is no network", prefix)
			continue
		}
		served = served || families[prefix.Addr().Is6()]
	}
	if !served {
		refuse("serviceCIDRs", "none of %v is of a family of the pod's addresses %v", a.ServiceCIDRs, a.Addresses)
	}
	return errors.Join(found...)
}

// ServiceCIDR is the first of a family, if that is a family of the pod's.
func (a *Attachment) ServiceCIDR(ipv6 bool) (netip.Prefix, bool) {
	if _, ok := a.Address(ipv6); ok {
		for _, prefix := range a.ServiceCIDRs {
			if prefix.Addr().Is6() == ipv6 {
				return prefix, true
			}
		}
	}
	return netip.Prefix{}, false
}

// Address is the pod's of a family.
func (a *Attachment) Address(ipv6 bool) (netip.Addr, bool) {
	for _, address := range a.Addresses {
		if address.Is6() == ipv6 {
			return address, true
		}
	}
	return netip.Addr{}, false
}
