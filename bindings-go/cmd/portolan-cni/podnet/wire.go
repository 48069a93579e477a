package podnet

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/portolan/portolan/bindings-go/cmd/portolan-cni/attachment"
)

// Outside is the pod's interface as another plugin made it, where its packets pass the dataplane by wire. An interface
// with everything that makes it the pod's has its name then, and Device is that one's other end.
const Outside = "portolan1"

// surveyWire writes down the pod's interface as it is found. What a record already has is older, and stays.
func surveyWire(record *attachment.Record) (mtu int, err error) {
	if record.Wire.HardwareAddr != "" {
		return record.Wire.MTU, nil
	}
	link, err := netlink.LinkByName(record.IfName)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", record.IfName, err)
	}
	if link.Type() != "veth" {
		// Whatever shares a network card with others receives by link address, and loses its own here.
		return 0, fmt.Errorf("interface %s is a %s: mode %q takes a veth", record.IfName, link.Type(), attachment.ModeWire)
	}
	wire := attachment.Wire{MTU: link.Attrs().MTU}
	if wire.Addresses, err = addressesOf(link); err != nil {
		return 0, err
	}
	if wire.Routes, err = routesBy(link); err != nil {
		return 0, err
	}
	for _, ipv6 := range []bool{false, true} {
		services, ok := record.ServiceCIDR(ipv6)
		leads := func(route attachment.WireRoute) bool { return route.To.Contains(services.Addr()) }
		if ok && !slices.ContainsFunc(wire.Routes, leads) {
			return 0, fmt.Errorf("no route by %s leads to %s", record.IfName, services)
		}
	}
	record.Settings = map[string]string{}
	for _, each := range silent(record.IfName) {
		if value, err := readSetting(each.path); err == nil && value != each.value {
			record.Settings[each.path] = value
		}
	}
	wire.HardwareAddr = link.Attrs().HardwareAddr.String()
	*record.Wire = wire
	return wire.MTU, nil
}

func addressesOf(link netlink.Link) (found []attachment.WireAddress, err error) {
	there, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, each := range there {
		// These come to be by themselves.
		if each.IP.IsLinkLocalUnicast() && each.IP.To4() == nil || each.Flags&unix.IFA_F_PERMANENT == 0 {
			continue
		}
		address := attachment.WireAddress{
			Prefix: prefix(each.IPNet), Scope: each.Scope,
			Flags: each.Flags & (unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE),
		}
		address.Broadcast, _ = netip.AddrFromSlice(each.Broadcast)
		if each.IP.To4() == nil {
			// It was asked for, and nobody else has it, when the interface before had it.
			address.Flags |= unix.IFA_F_NODAD
		}
		found = append(found, address)
	}
	return found, nil
}

// routesBy are those of the main table; the kernel and routers make theirs again.
func routesBy(link netlink.Link) (found []attachment.WireRoute, err error) {
	there, err := netlink.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("routes by %s: %w", link.Attrs().Name, err)
	}
	for _, each := range there {
		if each.Protocol == unix.RTPROT_KERNEL || each.Protocol == unix.RTPROT_RA || each.Type != unix.RTN_UNICAST {
			continue
		}
		route := attachment.WireRoute{
			To: prefix(each.Dst), Table: each.Table, Protocol: int(each.Protocol), Scope: int(each.Scope),
			Priority: each.Priority, MTU: each.MTU, Flags: each.Flags & int(netlink.FLAG_ONLINK),
		}
		if each.Dst == nil {
			route.To = everything(each.Family == netlink.FAMILY_V6)
		}
		route.Gateway, _ = netip.AddrFromSlice(each.Gw)
		route.Source, _ = netip.AddrFromSlice(each.Src)
		found = append(found, route)
	}
	// Gateways are reached by the routes that have none.
	slices.SortStableFunc(found, func(one, other attachment.WireRoute) int {
		return len(one.Gateway.AsSlice()) - len(other.Gateway.AsSlice())
	})
	return found, nil
}

// silent are settings of both of the wire's ends: the kernel sees what passes, and none of it is for the kernel.
func silent(name string) []setting {
	return []setting{{"ipv4/conf/" + name + "/rp_filter", "1"}, {"ipv6/conf/" + name + "/disable_ipv6", "1"}}
}

// Lay puts the pod's interface outside and another one in its place, whose other end is Device; again has no effect, and
// mends what is missing. It is run inside.
func Lay(record *attachment.Record) error {
	outside, err := find(Outside)
	if err != nil {
		return err
	}
	device, err := find(Device)
	if err != nil {
		return err
	}
	if outside == nil {
		if device != nil {
			return fmt.Errorf("interface %s is gone", Outside)
		}
		if outside, err = putOutside(record.IfName); err != nil {
			return err
		}
	}
	own, err := net.ParseMAC(record.Wire.HardwareAddr)
	if err != nil {
		return err
	}
	if err := silence(outside, own); err != nil {
		return err
	}
	unsettled := device == nil || !record.Wire.Laid
	if device == nil {
		pair := netlink.NewVeth(netlink.LinkAttrs{Name: record.IfName, HardwareAddr: own, MTU: record.Wire.MTU})
		pair.PeerName, pair.PeerMTU = Device, uint32(record.Wire.MTU)
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("making interface %s: %w", record.IfName, err)
		}
		if device, err = netlink.LinkByName(Device); err != nil {
			return fmt.Errorf("interface %s: %w", Device, err)
		}
	}
	if err := silence(device, own); err != nil {
		return err
	}
	inside, err := netlink.LinkByName(record.IfName)
	if err != nil {
		return fmt.Errorf("interface %s: %w", record.IfName, err)
	}
	for _, link := range []netlink.Link{outside, device, inside} {
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("setting %s up: %w", link.Attrs().Name, err)
		}
	}
	if !unsettled {
		return nil
	}
	return settle(record.Wire, inside)
}

// find looks for an interface; nil if there is none.
func find(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return link, nil
}

// putOutside gives the pod's interface another name.
func putOutside(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = rename(link, Outside)
	}
	if err == nil {
		link, err = netlink.LinkByName(Outside)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return link, nil
}

// rename leaves an interface down: older kernels rename none that is up.
func rename(link netlink.Link, to string) error {
	if err := netlink.LinkSetDown(link); err != nil {
		return err
	}
	return netlink.LinkSetName(link, to)
}

// silence has the kernel take nothing from one of the wire's ends: it has no address, of the link neither, and answers
// nobody who asks for one.
func silence(link netlink.Link, own net.HardwareAddr) error {
	failed := func(err error) error { return fmt.Errorf("silencing %s: %w", link.Attrs().Name, err) }
	if bytes.Equal(link.Attrs().HardwareAddr, own) {
		other := make(net.HardwareAddr, len(own))
		rand.Read(other) // never fails
		other[0] = other[0]&^1 | 2
		if err := netlink.LinkSetHardwareAddr(link, other); err != nil {
			return failed(err)
		}
	}
	if err := netlink.LinkSetARPOff(link); err != nil {
		return failed(err)
	}
	there, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return failed(err)
	}
	for _, each := range there {
		if err := netlink.AddrDel(link, &each); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return failed(err)
		}
	}
	for _, each := range silent(link.Attrs().Name) {
		if err := writeSetting(each.path, each.value); err != nil {
			return failed(err)
		}
	}
	return nil
}

// settle gives an interface addresses and routes.
func settle(wire *attachment.Wire, to netlink.Link) error {
	for _, each := range wire.Addresses {
		address := netlink.Addr{IPNet: ipNet(each.Prefix), Scope: each.Scope, Flags: each.Flags, Broadcast: net.IPv4zero}
		if each.Broadcast.IsValid() {
			address.Broadcast = each.Broadcast.AsSlice()
		}
		if err := netlink.AddrReplace(to, &address); err != nil {
			return fmt.Errorf("address %s of %s: %w", each.Prefix, to.Attrs().Name, err)
		}
	}
	for _, each := range wire.Routes {
		route := netlink.Route{
			LinkIndex: to.Attrs().Index, Dst: ipNet(each.To), Gw: each.Gateway.AsSlice(), Src: each.Source.AsSlice(),
			Table: each.Table, Protocol: netlink.RouteProtocol(each.Protocol), Scope: netlink.Scope(each.Scope),
			Priority: each.Priority, MTU: each.MTU, Flags: each.Flags,
		}
		if err := netlink.RouteReplace(&route); err != nil {
			return fmt.Errorf("route to %s by %s: %w", each.To, to.Attrs().Name, err)
		}
	}
	return nil
}

// checkWire says what of the wire is missing. Addresses and routes may be in a sandbox.
func checkWire(record *attachment.Record) error {
	links := map[string]*netlink.LinkAttrs{}
	for _, name := range []string{Outside, Device, record.IfName} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		links[name] = link.Attrs()
		if link.Attrs().Flags&net.FlagUp == 0 {
			return fmt.Errorf("interface %s is down", name)
		}
	}
	if links[Device].ParentIndex != links[record.IfName].Index {
		return fmt.Errorf("interface %s is not the other end of %s", record.IfName, Device)
	}
	return nil
}

// undoWire puts the pod's interface back in its place, as it was found; again has no effect. It is run inside.
func undoWire(record *attachment.Record) error {
	if record.Wire.HardwareAddr == "" {
		return nil
	}
	if device, err := find(Device); err != nil {
		return err
	} else if device != nil {
		// The pair goes, and with it what is in the place of the pod's interface.
		if err := netlink.LinkDel(device); err != nil {
			return fmt.Errorf("deleting %s: %w", Device, err)
		}
	}
	if outside, err := find(Outside); err != nil {
		return err
	} else if outside != nil {
		if err := rename(outside, record.IfName); err != nil {
			return fmt.Errorf("renaming %s: %w", Outside, err)
		}
	}
	link, err := find(record.IfName)
	if err != nil || link == nil {
		return err // whoever made it has taken it away
	}
	own, err := net.ParseMAC(record.Wire.HardwareAddr)
	if err != nil {
		return err
	}
	failed := []error{netlink.LinkSetHardwareAddr(link, own), netlink.LinkSetARPOn(link)}
	for path, value := range record.Settings {
		failed = append(failed, writeSetting(path, value))
	}
	return errors.Join(append(failed, netlink.LinkSetUp(link), settle(record.Wire, link))...)
}

func prefix(network *net.IPNet) netip.Prefix {
	if network == nil {
		return netip.Prefix{}
	}
	address, _ := netip.AddrFromSlice(network.IP)
	ones, bits := network.Mask.Size()
	if bits == 32 {
		address = address.Unmap()
	}
	return netip.PrefixFrom(address, ones)
}

// everything is the destination of a default route.
func everything(ipv6 bool) netip.Prefix {
	if ipv6 {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}
