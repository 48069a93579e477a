//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"net/netip"
	"time"
	"unsafe"
)

// toAddr is the zero Addr for no address.
func toAddr(from C.portolan_address) netip.Addr {
	bytes := *(*[16]byte)(unsafe.Pointer(&from.bytes))
	switch from.family {
	case C.PORTOLAN_FAMILY_IPV4:
		return netip.AddrFrom4([4]byte(bytes[:4]))
	case C.PORTOLAN_FAMILY_IPV6:
		return netip.AddrFrom16(bytes)
	default:
		return netip.Addr{}
	}
}

// fromAddr is no address for the zero Addr; an IPv4 address mapped into IPv6 is IPv4.
func fromAddr(from netip.Addr) (to C.portolan_address) {
	from = from.Unmap()
	bytes := (*[16]byte)(unsafe.Pointer(&to.bytes))
	switch {
	case from.Is4():
		to.family = C.PORTOLAN_FAMILY_IPV4
		four := from.As4()
		copy(bytes[:], four[:])
	case from.Is6():
		to.family = C.PORTOLAN_FAMILY_IPV6
		*bytes = from.As16()
	}
	return to
}

func toPrefixes(first *C.portolan_prefix, count C.size_t) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, count)
	for _, each := range unsafe.Slice(first, int(count)) {
		prefixes = append(prefixes, netip.PrefixFrom(toAddr(each.address), int(each.length)))
	}
	return prefixes
}

func toPortKey(namespace, name, portName *C.char, protocol, family C.uint8_t) PortKey {
	return PortKey{
		Namespace: C.GoString(namespace), Name: C.GoString(name), PortName: C.GoString(portName),
		Protocol: Protocol(protocol), IPv6: family == C.PORTOLAN_FAMILY_IPV6,
	}
}

func toChange(from *C.portolan_change) Change {
	change := Change{
		Kind:    ChangeKind(from.kind),
		PortKey: toPortKey(from.name_space, from.name, from.port_name, from.protocol, from.family),
	}
	if from.service != nil {
		change.Service = toService(from.service)
	}
	if node := from.node; node != nil {
		change.Node = &NodeSpec{
			PodPrefixes:     toPrefixes(node.pod_prefixes, node.pod_prefix_count),
			ServicePrefixes: toPrefixes(node.service_prefixes, node.service_prefix_count),
			MasqueradeIPv4:  toAddr(node.masquerade_ipv4),
			MasqueradeIPv6:  toAddr(node.masquerade_ipv6),

			PodInterface:         C.GoString(node.pod_interface),
			PodInterfaceIsPrefix: node.pod_interface_is_prefix != 0,
		}
		for _, address := range unsafe.Slice(node.addresses, int(node.address_count)) {
			change.Node.Addresses = append(change.Node.Addresses, toAddr(address))
		}
	}
	return change
}

func toService(from *C.portolan_service) *ServiceSpec {
	service := &ServiceSpec{
		Affinity:  time.Duration(from.affinity_seconds) * time.Second,
		Scheduler: Scheduler(from.scheduler),
		SlowStart: time.Duration(from.slow_start_seconds) * time.Second,
		HashSeed:  uint64(from.hash_seed),
	}
	for _, each := range unsafe.Slice(from.frontends, int(from.frontend_count)) {
		frontend := FrontendSpec{
			Address:      netip.AddrPortFrom(toAddr(each.address), uint16(each.port)),
			Kind:         FrontendKind(each.kind),
			SourceRanges: toPrefixes(each.source_ranges, each.source_range_count),
		}
		for source := range frontend.Rules {
			frontend.Rules[source] = Rule{Local: each.sets[source] == C.PORTOLAN_SET_LOCAL, Masquerade: each.masquerade[source] != 0}
		}
		service.Frontends = append(service.Frontends, frontend)
	}
	for _, each := range unsafe.Slice(from.endpoints, int(from.endpoint_count)) {
		service.Endpoints = append(service.Endpoints, Endpoint{
			Address:   netip.AddrPortFrom(toAddr(each.address), uint16(each.port)),
			InCluster: each.flags&C.PORTOLAN_ENDPOINT_CLUSTER != 0,
			InLocal:   each.flags&C.PORTOLAN_ENDPOINT_LOCAL != 0,
			Here:      each.flags&C.PORTOLAN_ENDPOINT_HERE != 0,
			Weight:    uint16(each.weight),
			Tag:       uint64(each.tag),
		})
	}
	return service
}

func toFlow(from *C.portolan_tuple) Flow {
	return Flow{
		Source:      netip.AddrPortFrom(toAddr(from.source), uint16(from.source_port)),
		Destination: netip.AddrPortFrom(toAddr(from.destination), uint16(from.destination_port)),
	}
}
