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
	wholePriority      = 12
	fragmentsPriority  = 13
	localPriority      = 20
)

// ErrNoRules: the kernel has no routing rules, or does not let us make any.
var ErrNoRules = errors.New("no routing rules can be had")

// Survey says what of the namespace will change, as it is now, and the MTU of the pod's interface. What a record already
// has is older, and stays. It is run inside.
func Survey(record *attachment.Record) (mtu int, err error) {
	if record.Wire != nil {
		return surveyWire(record)
	}
	for _, address := range record.Addresses {
		if _, err := listRules(family(address)); err != nil {
			return 0, err
		}
	}
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
		back := netlink.Route{LinkIndex: device.Attrs().Index, Dst: ipNet(everything(address.Is6())), Table: Table}
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

// newRule is of the family of an address.
func newRule(address netip.Addr, priority, table int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Family = priority, table, family(address)
	return rule
}

// rules lead replies into the device, and what comes out of it past themselves. To a rule a fragment has no ports, the
// first one neither (net/core/flow_dissector.c): UDP that has none is led into the device, and what is not for it comes
// out again.
func rules(a *attachment.Attachment, address netip.Addr) []*netlink.Rule {
	fromDevice := newRule(address, fromDevicePriority, unix.RT_TABLE_LOCAL)
	fromDevice.IifName = Device
	replies := newRule(address, repliesPriority, Table)
	replies.Dport = netlink.NewRulePortRange(a.Ports.First, a.Ports.Last)
	whole := newRule(address, wholePriority, unix.RT_TABLE_LOCAL)
	whole.IPProto, whole.Dport = unix.IPPROTO_UDP, netlink.NewRulePortRange(1, 65534)
	fragments := newRule(address, fragmentsPriority, Table)
	fragments.IPProto = unix.IPPROTO_UDP
	for _, each := range []*netlink.Rule{replies, whole, fragments} {
		each.Dst = ipNet(netip.PrefixFrom(address, address.BitLen()))
	}
	return []*netlink.Rule{fromDevice, replies, whole, fragments, local(address)}
}

// local is what stands in the place of the kernel's rule for local addresses.
func local(address netip.Addr) *netlink.Rule {
	return newRule(address, localPriority, unix.RT_TABLE_LOCAL)
}

// kernelsLocal is the first rule of all, as the kernel makes it.
func kernelsLocal(address netip.Addr) *netlink.Rule { return newRule(address, 0, unix.RT_TABLE_LOCAL) }

func addRules(a *attachment.Attachment, address netip.Addr) error {
	for _, rule := range rules(a, address) {
		if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%v: %w", rule, refused(err))
		}
	}
	// Last, or the namespace is deaf in between.
	if err := netlink.RuleDel(kernelsLocal(address)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("moving the rule for local addresses: %w", err)
	}
	return nil
}

// listRules fails with ErrNoRules where there can be none.
func listRules(family int) ([]netlink.Rule, error) {
	found, err := netlink.RuleList(family)
	return found, refused(err)
}

// refused marks an error by which a kernel without routing rules, or one that is locked, answers.
func refused(err error) error {
	for _, each := range []error{unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.ENOSYS, unix.EPERM, unix.EACCES} {
		if errors.Is(err, each) {
			return fmt.Errorf("%w: %w", ErrNoRules, err)
		}
	}
	return err
}

// Check says what of the arrangement is missing. It is run inside.
func Check(record *attachment.Record) error {
	if record.Wire != nil {
		return checkWire(record)
	}
	a := &record.Attachment
	device, err := netlink.LinkByName(Device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", Device, err)
	}
	if device.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %s is down", Device)
	}
	for _, address := range a.Addresses {
		there, err := listRules(family(address))
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
		if each.Priority == wanted.Priority && each.Table == wanted.Table && each.IifName == wanted.IifName &&
			each.IPProto == wanted.IPProto && samePorts {
			return true
		}
	}
	return false
}

// Undo leaves the namespace as it was found; again has no effect. The device goes with its dataplane, and its routes with
// it. It is run inside.
func Undo(record *attachment.Record) error {
	if record.Wire != nil {
		return undoWire(record)
	}
	var failed []error
	for _, address := range record.Addresses {
		there, err := listRules(family(address))
		if errors.Is(err, ErrNoRules) {
			continue // and none were made
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if contains(there, local(address)) {
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
