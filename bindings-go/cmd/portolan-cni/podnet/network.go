package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// Device is the dataplane's TUN in the pod's namespace.
const Device = "portolan0"

// Table is the routing table in which everything leads into the device.
const Table = 100

// Priorities of the rules, before which the kernel's own for local addresses must not stand.
const (
	fromDevicePriority = 10
	repliesPriority    = 11
	localPriority      = 20
)

// Survey says which settings of the namespace will change, with their values now, and the MTU of the pod's interface.
// Values that a record already has are older, and stay. It is run inside.
func Survey(record *attachment.Record) (mtu int, err error) {
	link, err := netlink.LinkByName(record.IfName)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", record.IfName, err)
	}
	settings, err := plan(&record.Attachment)
	if err != nil {
		return 0, err
	}
	if record.Settings == nil {
		record.Settings = map[string]string{}
	}
	for _, each := range settings {
		value, err := readSetting(each.path)
		if _, known := record.Settings[each.path]; err == nil && !known && value != each.value {
			record.Settings[each.path] = value
		}
	}
	return link.Attrs().MTU, nil
}

// Configure leads packets to Services into the device, which is there, and replies back into it; again has no effect.
// It is run inside.
func Configure(a *attachment.Attachment) error {
	device, err := netlink.LinkByName(Device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", Device, err)
	}
	// No address of its own, not even a link-local one. Kernels without IPv6 have no such mode.
	_ = netlink.LinkSetIP6AddrGenMode(device, nl.IN6_ADDR_GEN_MODE_NONE)
	settings, err := plan(a)
	if err != nil {
		return err
	}
	for _, each := range append(ofDevice(a), settings...) {
		if err := writeSetting(each.path, each.value); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return fmt.Errorf("setting %s up: %w", Device, err)
	}
	for _, address := range a.Addresses {
		everything := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if address.Is6() {
			everything = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		back := netlink.Route{LinkIndex: device.Attrs().Index, Dst: ipNet(everything), Table: Table}
		if err := netlink.RouteReplace(&back); err != nil {
			return fmt.Errorf("route to %s in table %d: %w", Device, Table, err)
		}
		if err := addRules(a, address); err != nil {
			return err
		}
	}
	for _, prefix := range a.ServiceCIDRs {
		address, ok := a.Address(prefix.Addr().Is6())
		if !ok {
			continue
		}
		route := netlink.Route{LinkIndex: device.Attrs().Index, Dst: ipNet(prefix), Src: address.AsSlice()}
		if err := replaceWhenUsable(&route); err != nil {
			return fmt.Errorf("route to %s by %s: %w", prefix, Device, err)
		}
	}
	return nil
}

// replaceWhenUsable waits for the source address: an IPv6 address is not, as long as others are asked whether they have it
// (RFC 4862, 5.4).
func replaceWhenUsable(route *netlink.Route) (err error) {
	for range 50 {
		if err = netlink.RouteReplace(route); !errors.Is(err, unix.EINVAL) || route.Src.To4() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// rules lead replies into the device, and what comes out of it past themselves.
func rules(a *attachment.Attachment, address netip.Addr) []*netlink.Rule {
	rule := func(priority, table int) *netlink.Rule {
		rule := netlink.NewRule()
		rule.Priority, rule.Table, rule.Family = priority, table, family(address)
		return rule
	}
	fromDevice := rule(fromDevicePriority, unix.RT_TABLE_LOCAL)
	fromDevice.IifName = Device
	replies := rule(repliesPriority, Table)
	replies.Dst = ipNet(netip.PrefixFrom(address, address.BitLen()))
	replies.Dport = netlink.NewRulePortRange(a.Ports.First, a.Ports.Last)
	return []*netlink.Rule{fromDevice, replies, rule(localPriority, unix.RT_TABLE_LOCAL)}
}

// kernelsLocal is the first rule of all, as the kernel makes it.
func kernelsLocal(address netip.Addr) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Family = 0, unix.RT_TABLE_LOCAL, family(address)
	return rule
}

func addRules(a *attachment.Attachment, address netip.Addr) error {
	for _, rule := range rules(a, address) {
		if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%v: %w", rule, err)
		}
	}
	// Last, or the namespace is deaf in between.
	if err := netlink.RuleDel(kernelsLocal(address)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("moving the rule for local addresses: %w", err)
	}
	return nil
}

// Check says what of the arrangement is missing. It is run inside.
func Check(a *attachment.Attachment) error {
	device, err := netlink.LinkByName(Device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", Device, err)
	}
	if device.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %s is down", Device)
	}
	for _, address := range a.Addresses {
		there, err := netlink.RuleList(family(address))
		if err != nil {
			return err
		}
		for _, rule := range rules(a, address) {
			if !contains(there, rule) {
				return fmt.Errorf("there is no %v", rule)
			}
		}
	}
	for _, prefix := range a.ServiceCIDRs {
		if _, ok := a.Address(prefix.Addr().Is6()); !ok {
			continue
		}
		routes, err := netlink.RouteGet(prefix.Addr().AsSlice())
		if err != nil {
			return fmt.Errorf("route to %s: %w", prefix, err)
		}
		if len(routes) == 0 || routes[0].LinkIndex != device.Attrs().Index {
			return fmt.Errorf("%s is not routed to %s", prefix, Device)
		}
	}
	return nil
}

func contains(rules []netlink.Rule, wanted *netlink.Rule) bool {
	for _, each := range rules {
		samePorts := (each.Dport == nil) == (wanted.Dport == nil) && (each.Dport == nil || *each.Dport == *wanted.Dport)
		if each.Priority == wanted.Priority && each.Table == wanted.Table && each.IifName == wanted.IifName && samePorts {
			return true
		}
	}
	return false
}

// Undo leaves the namespace as it was found; again has no effect. The device goes with its dataplane, and its routes with
// it. It is run inside.
func Undo(record *attachment.Record) error {
	var failed []error
	for _, address := range record.Addresses {
		if there, err := netlink.RuleList(family(address)); err != nil {
			failed = append(failed, err)
			continue
		} else if contains(there, rules(&record.Attachment, address)[2]) {
			if err := netlink.RuleAdd(kernelsLocal(address)); err != nil && !errors.Is(err, unix.EEXIST) {
				failed = append(failed, fmt.Errorf("rule for local addresses: %w", err))
				continue
			}
		}
		for _, rule := range rules(&record.Attachment, address) {
			if err := netlink.RuleDel(rule); err != nil && !errors.Is(err, unix.ENOENT) {
				failed = append(failed, fmt.Errorf("%v: %w", rule, err))
			}
		}
	}
	for path, value := range record.Settings {
		if err := writeSetting(path, value); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func family(address netip.Addr) int {
	if address.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}
