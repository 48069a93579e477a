//go:build cgo

package portolan

// #include "portolan.h"
import "C"

import (
	"math"
	"time"
	"unsafe"
)

// seconds is as much as C has room for.
func seconds(from time.Duration, most uint32) uint32 {
	return uint32(min(max(from/time.Second, 0), time.Duration(most)))
}

func choice(on bool, yes, no C.uint8_t) C.uint8_t {
	if on {
		return yes
	}
	return no
}

func (m *cMemory) service(from *Service) (to C.portolan_service_object) {
	to.struct_size = C.uint32_t(unsafe.Sizeof(to))
	to.name_space, to.name = m.optional(from.Namespace), m.optional(from.Name)
	if !from.Created.IsZero() {
		to.created = C.int64_t(from.Created.Unix())
	}
	to.ports, to.port_count = list(m, from.Ports, func(from ServicePort) C.portolan_service_port {
		return C.portolan_service_port{
			name: m.optional(from.Name), port: C.uint16_t(from.Port), node_port: C.uint16_t(from.NodePort),
			protocol: C.uint8_t(from.Protocol),
		}
	})
	to.port_stride = C.size_t(unsafe.Sizeof(*to.ports))
	to.cluster_ips, to.cluster_ip_count = m.addresses(from.ClusterIPs)
	to.external_ips, to.external_ip_count = m.addresses(from.ExternalIPs)
	to.ingress, to.ingress_count = m.addresses(from.Ingress)
	to.source_ranges, to.source_range_count = m.prefixes(from.SourceRanges)
	to.proxy_name, to.external_name = m.optional(from.ProxyName), m.optional(from.ExternalName)
	to.health_check_node_port = C.uint16_t(from.HealthCheckNodePort)
	to.internal_traffic_policy = choice(from.InternalLocal, C.PORTOLAN_POLICY_LOCAL, C.PORTOLAN_POLICY_CLUSTER)
	to.external_traffic_policy = choice(from.ExternalLocal, C.PORTOLAN_POLICY_LOCAL, C.PORTOLAN_POLICY_CLUSTER)
	to.flags = choice(from.LoadBalancer, C.PORTOLAN_SERVICE_LOAD_BALANCER, 0) |
		choice(from.PublishNotReady, C.PORTOLAN_SERVICE_PUBLISH_NOT_READY, 0) |
		choice(from.Scheduler != nil, C.PORTOLAN_SERVICE_SCHEDULER, 0)
	if from.Scheduler != nil {
		to.scheduler = C.uint8_t(*from.Scheduler)
	}
	to.affinity_seconds = C.uint32_t(seconds(from.Affinity, math.MaxUint32))
	to.slow_start_seconds = C.uint16_t(seconds(from.SlowStart, math.MaxUint16))
	return to
}

func (m *cMemory) slice(from *EndpointSlice) (to C.portolan_slice_object) {
	to.struct_size = C.uint32_t(unsafe.Sizeof(to))
	to.family = C.PORTOLAN_FAMILY_IPV4
	if from.IPv6 {
		to.family = C.PORTOLAN_FAMILY_IPV6
	}
	to.name_space, to.name, to.service_name = m.optional(from.Namespace), m.optional(from.Name), m.optional(from.ServiceName)
	to.endpoints, to.endpoint_count = list(m, from.Endpoints, func(from SliceEndpoint) (to C.portolan_slice_endpoint) {
		to.address, to.weight = fromAddr(from.Address), C.uint16_t(from.Weight)
		to.flags = choice(from.NotReady, C.PORTOLAN_CONDITION_NOT_READY, 0) |
			choice(from.NotServing, C.PORTOLAN_CONDITION_NOT_SERVING, 0) |
			choice(from.Terminating, C.PORTOLAN_CONDITION_TERMINATING, 0)
		to.node_name, to.hostname, to.pod_name = m.optional(from.NodeName), m.optional(from.Hostname), m.optional(from.PodName)
		to.zone_hints, to.zone_hint_count = m.strings(from.ZoneHints), C.size_t(len(from.ZoneHints))
		to.node_hints, to.node_hint_count = m.strings(from.NodeHints), C.size_t(len(from.NodeHints))
		return to
	})
	to.endpoint_stride = C.size_t(unsafe.Sizeof(*to.endpoints))
	to.ports, to.port_count = list(m, from.Ports, func(from SlicePort) C.portolan_slice_port {
		return C.portolan_slice_port{
			name: m.optional(from.Name), port: C.uint16_t(from.Port), protocol: C.uint8_t(from.Protocol),
		}
	})
	to.port_stride = C.size_t(unsafe.Sizeof(*to.ports))
	return to
}

// spec is a Service in the dataplane's terms.
func (m *cMemory) spec(id uint32, protocol Protocol, from *ServiceSpec) (to C.portolan_service) {
	to.struct_size = C.uint32_t(unsafe.Sizeof(to))
	to.id, to.protocol = C.uint32_t(id), C.uint8_t(protocol)
	to.scheduler, to.hash_seed = C.uint8_t(from.Scheduler), C.uint64_t(from.HashSeed)
	to.affinity_seconds = C.uint32_t(seconds(from.Affinity, math.MaxUint32))
	to.slow_start_seconds = C.uint16_t(seconds(from.SlowStart, math.MaxUint16))
	to.frontends, to.frontend_count = list(m, from.Frontends, func(from FrontendSpec) (to C.portolan_frontend) {
		to.address, to.port = fromAddr(from.Address.Addr()), C.uint16_t(from.Address.Port())
		to.kind = C.uint8_t(from.Kind)
		for source, rule := range from.Rules {
			to.sets[source] = choice(rule.Local, C.PORTOLAN_SET_LOCAL, C.PORTOLAN_SET_CLUSTER)
			to.masquerade[source] = choice(rule.Masquerade, 1, 0)
		}
		to.source_ranges, to.source_range_count = m.prefixes(from.SourceRanges)
		return to
	})
	to.frontend_stride = C.size_t(unsafe.Sizeof(*to.frontends))
	to.endpoints, to.endpoint_count = list(m, from.Endpoints, func(from Endpoint) (to C.portolan_endpoint) {
		to.address, to.port = fromAddr(from.Address.Addr()), C.uint16_t(from.Address.Port())
		to.weight, to.tag = C.uint16_t(from.Weight), C.uint64_t(from.Tag)
		to.flags = choice(from.InCluster, C.PORTOLAN_ENDPOINT_CLUSTER, 0) |
			choice(from.InLocal, C.PORTOLAN_ENDPOINT_LOCAL, 0) |
			choice(from.Here, C.PORTOLAN_ENDPOINT_HERE, 0)
		return to
	})
	to.endpoint_stride = C.size_t(unsafe.Sizeof(*to.endpoints))
	return to
}

func (m *cMemory) node(from *NodeSpec) (to C.portolan_node_spec) {
	to.struct_size = C.uint32_t(unsafe.Sizeof(to))
	to.addresses, to.address_count = m.addresses(from.Addresses)
	to.pod_prefixes, to.pod_prefix_count = m.prefixes(from.PodPrefixes)
	to.service_prefixes, to.service_prefix_count = m.prefixes(from.ServicePrefixes)
	to.masquerade_ipv4, to.masquerade_ipv6 = fromAddr(from.MasqueradeIPv4), fromAddr(from.MasqueradeIPv6)
	to.pod_interface = m.optional(from.PodInterface)
	to.pod_interface_is_prefix = choice(from.PodInterfaceIsPrefix, 1, 0)
	return to
}
