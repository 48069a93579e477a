//! Services filled by hand, for hosts with a control plane of their own.

use crate::address::{portolan_address, portolan_prefix};
use crate::call;
use crate::error::Failure;
use crate::scheduler::schedule;
use crate::sized::SizedStruct;
use crate::value::{self, concrete};
use core::ffi::c_char;
use core::net::IpAddr;
use portolan::service::{
    EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, PodInterface, ServiceSpec,
    SourceRule,
};

/// TCP's number (IANA).
pub const PORTOLAN_PROTOCOL_TCP: u8 = 6;
/// UDP's number (IANA).
pub const PORTOLAN_PROTOCOL_UDP: u8 = 17;
/// SCTP's number (IANA).
pub const PORTOLAN_PROTOCOL_SCTP: u8 = 132;

/// A frontend at a ClusterIP.
pub const PORTOLAN_FRONTEND_CLUSTER_IP: u8 = 0;
/// A frontend at a NodePort.
pub const PORTOLAN_FRONTEND_NODE_PORT: u8 = 1;
/// A frontend at an external IP.
pub const PORTOLAN_FRONTEND_EXTERNAL_IP: u8 = 2;
/// A frontend at an address of a load balancer.
pub const PORTOLAN_FRONTEND_LOAD_BALANCER: u8 = 3;

/// Index of senders that are pods (portolan_node_spec.pod_prefixes).
pub const PORTOLAN_SOURCE_POD: u8 = 0;
/// Index of packets sent by this node itself.
pub const PORTOLAN_SOURCE_NODE: u8 = 1;
/// Index of all other senders.
pub const PORTOLAN_SOURCE_OUTSIDE: u8 = 2;

/// Choose among the endpoints with PORTOLAN_ENDPOINT_CLUSTER.
pub const PORTOLAN_SET_CLUSTER: u8 = 0;
/// Choose among the endpoints with PORTOLAN_ENDPOINT_LOCAL.
pub const PORTOLAN_SET_LOCAL: u8 = 1;

/// The endpoint may be chosen by frontends whose set is PORTOLAN_SET_CLUSTER.
pub const PORTOLAN_ENDPOINT_CLUSTER: u8 = 1;
/// The endpoint may be chosen by frontends whose set is PORTOLAN_SET_LOCAL.
pub const PORTOLAN_ENDPOINT_LOCAL: u8 = 2;
/// The endpoint is on this node.
pub const PORTOLAN_ENDPOINT_HERE: u8 = 4;

/// One address and port at which a service is served. All zeros but address and port: a ClusterIP that
/// chooses among the cluster's endpoints for every sender and masquerades nobody.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_frontend {
    /// The address.
    pub address: portolan_address,
    /// The port, in host order; not 0.
    pub port: u16,
    /// PORTOLAN_FRONTEND_...
    pub kind: u8,
    /// For each PORTOLAN_SOURCE_...: PORTOLAN_SET_..., the endpoints that may be chosen.
    pub sets: [u8; 3],
    /// For each PORTOLAN_SOURCE_...: 1 to translate the source to the node's address too, else 0. A hairpin
    /// (an endpoint that reaches itself) always is.
    pub masquerade: [u8; 3],
    /// Zero.
    pub reserved: [u8; 3],
    /// If there are any: senders outside all of these are dropped.
    pub source_ranges: *const portolan_prefix,
    /// How many there are.
    pub source_range_count: usize,
}

/// One endpoint of a service.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_endpoint {
    /// The address, of the same family as the frontends.
    pub address: portolan_address,
    /// The port, in host order; not 0.
    pub port: u16,
    /// How many connections it is to get beside others, where the scheduler goes by weight; 0: 1.
    pub weight: u16,
    /// Given back in portolan_descriptor.endpoint_tag.
    pub tag: u64,
    /// Bits of PORTOLAN_ENDPOINT_... An endpoint that is in no set gets no new connections; those that it has live on.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

/// One service: one protocol, one address family, the frontends and the endpoints behind them. Memory that
/// it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_service {
    /// sizeof(portolan_service).
    pub struct_size: u32,
    /// The service's number, chosen by the caller: less than portolan_limits.services. Small is best.
    pub id: u32,
    /// PORTOLAN_PROTOCOL_...
    pub protocol: u8,
    /// How an endpoint is chosen: PORTOLAN_SCHEDULER_...
    pub scheduler: u8,
    /// For how many seconds a new endpoint gets fewer connections than its share; 0: not at all.
    pub slow_start_seconds: u16,
    /// For how many seconds a client keeps its endpoint; 0: a new choice for each connection.
    pub affinity_seconds: u32,
    /// Where it is served.
    pub frontends: *const portolan_frontend,
    /// How many frontends there are.
    pub frontend_count: usize,
    /// sizeof(portolan_frontend).
    pub frontend_stride: usize,
    /// Where it goes. None: senders are answered with ICMP port unreachable.
    pub endpoints: *const portolan_endpoint,
    /// How many endpoints there are.
    pub endpoint_count: usize,
    /// sizeof(portolan_endpoint).
    pub endpoint_stride: usize,
    /// What Maglev's hash begins with: nodes that are to make the same choice have the same.
    pub hash_seed: u64,
}

/// What the dataplane must know of the node. Memory that it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_node_spec {
    /// sizeof(portolan_node_spec).
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The node's own addresses: packets from these are the node's own.
    pub addresses: *const portolan_address,
    /// How many there are.
    pub address_count: usize,
    /// Senders in these are pods.
    pub pod_prefixes: *const portolan_prefix,
    /// How many there are.
    pub pod_prefix_count: usize,
    /// Packets to addresses in these that are no frontend's are dropped.
    pub service_prefixes: *const portolan_prefix,
    /// How many there are.
    pub service_prefix_count: usize,
    /// The source of masqueraded IPv4 connections; PORTOLAN_FAMILY_NONE: those that need it are dropped.
    pub masquerade_ipv4: portolan_address,
    /// The source of masqueraded IPv6 connections; PORTOLAN_FAMILY_NONE: those that need it are dropped.
    pub masquerade_ipv6: portolan_address,
    /// Pods are who sends by this interface, which the host marks with PORTOLAN_FLAG_FROM_POD, instead of who is in
    /// pod_prefixes; NULL: they are told by their addresses.
    pub pod_interface: *const c_char,
    /// 1: by interfaces whose names begin so.
    pub pod_interface_is_prefix: u8,
    /// Zero.
    pub reserved_too: [u8; 7],
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_service {
    const FIRST_SIZE: usize = size_of::<Self>();
}

// SAFETY: likewise.
unsafe impl SizedStruct for portolan_node_spec {
    const FIRST_SIZE: usize = core::mem::offset_of!(Self, pod_interface);
}

impl portolan_service {
    /// The service in the dataplane's terms.
    ///
    /// # Safety
    /// Its pointers are NULL or valid for reading as many elements as the counts beside them say.
    pub(crate) unsafe fn to_spec(self) -> Result<ServiceSpec, Failure> {
        // SAFETY: as promised.
        let frontends = unsafe {
            call::array(
                self.frontends,
                self.frontend_count,
                self.frontend_stride,
                "service.frontends",
            )
        }?;
        // SAFETY: as promised.
        let endpoints = unsafe {
            call::array(
                self.endpoints,
                self.endpoint_count,
                self.endpoint_stride,
                "service.endpoints",
            )
        }?;
        let protocol = value::protocol(self.protocol, "service.protocol")?;
        let mut spec = ServiceSpec {
            protocol,
            frontends: Vec::with_capacity(frontends.len()),
            endpoints: Vec::with_capacity(endpoints.len()),
            affinity_seconds: (self.affinity_seconds != 0).then_some(self.affinity_seconds),
            schedule: schedule(
                self.scheduler,
                self.slow_start_seconds,
                self.hash_seed,
                "service.scheduler",
            )?,
        };
        for (index, frontend) in frontends.iter().enumerate() {
            // SAFETY: as promised.
            spec.frontends.push(unsafe { frontend.to_frontend(index) }?);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            spec.endpoints.push(endpoint.to_endpoint(index)?);
        }
        spec.frontends.sort();
        spec.endpoints.sort();
        Ok(spec)
    }
}

impl portolan_frontend {
    /// # Safety
    /// `source_ranges` is NULL or valid for reading `source_range_count` prefixes.
    unsafe fn to_frontend(self, index: usize) -> Result<Frontend, Failure> {
        let place = format!("service.frontends[{index}]");
        let field = |name: &str| format!("{place}.{name}");
        // SAFETY: as promised.
        let source_ranges = unsafe {
            value::prefixes(
                self.source_ranges,
                self.source_range_count,
                &field("source_ranges"),
            )
        }?;
        let kind = match self.kind {
            PORTOLAN_FRONTEND_CLUSTER_IP => FrontendKind::ClusterIp,
            PORTOLAN_FRONTEND_NODE_PORT => FrontendKind::NodePort,
            PORTOLAN_FRONTEND_EXTERNAL_IP => FrontendKind::ExternalIp,
            PORTOLAN_FRONTEND_LOAD_BALANCER => FrontendKind::LoadBalancer,
            other => {
                return Err(Failure::invalid(
                    &field("kind"),
                    format!("{other} is no kind"),
                ));
            }
        };
        let mut rules = [SourceRule {
            set: EndpointSet::Cluster,
            masquerade: false,
        }; 3];
        for (rule, (set, masquerade)) in rules
            .iter_mut()
            .zip(self.sets.into_iter().zip(self.masquerade))
        {
            *rule = SourceRule {
                set: match set {
                    PORTOLAN_SET_CLUSTER => EndpointSet::Cluster,
                    PORTOLAN_SET_LOCAL => EndpointSet::Local,
                    other => {
                        return Err(Failure::invalid(
                            &field("sets"),
                            format!("{other} is no set"),
                        ));
                    }
                },
                masquerade: masquerade != 0,
            };
        }
        Ok(Frontend {
            address: concrete(self.address, &field("address"))?,
            port: value::port(self.port, &field("port"))?,
            kind,
            rules,
            source_ranges,
        })
    }
}

impl portolan_endpoint {
    fn to_endpoint(self, index: usize) -> Result<EndpointSpec, Failure> {
        let field = |name: &str| format!("service.endpoints[{index}].{name}");
        Ok(EndpointSpec {
            address: concrete(self.address, &field("address"))?,
            port: value::port(self.port, &field("port"))?,
            local: self.flags & PORTOLAN_ENDPOINT_HERE != 0,
            in_cluster_set: self.flags & PORTOLAN_ENDPOINT_CLUSTER != 0,
            in_local_set: self.flags & PORTOLAN_ENDPOINT_LOCAL != 0,
            weight: self.weight.max(1),
            tag: self.tag,
        })
    }
}

impl portolan_node_spec {
    /// The node in the dataplane's terms.
    ///
    /// # Safety
    /// Its pointers are NULL or valid for reading as many elements as the counts beside them say; the name is
    /// NUL-terminated.
    pub(crate) unsafe fn to_spec(self) -> Result<NodeSpec, Failure> {
        // SAFETY: as promised.
        let addresses =
            unsafe { value::addresses(self.addresses, self.address_count, "node.addresses") }?;
        // SAFETY: as promised.
        let pod_prefixes = unsafe {
            value::prefixes(
                self.pod_prefixes,
                self.pod_prefix_count,
                "node.pod_prefixes",
            )
        }?;
        // SAFETY: as promised.
        let service_prefixes = unsafe {
            value::prefixes(
                self.service_prefixes,
                self.service_prefix_count,
                "node.service_prefixes",
            )
        }?;
        // SAFETY: as promised.
        let interface = unsafe { call::text_or_none(self.pod_interface, "node.pod_interface") }?;
        let pod_interface = interface.map(|name| match self.pod_interface_is_prefix {
            0 => PodInterface::Bridge(name.to_owned()),
            _ => PodInterface::NamePrefix(name.to_owned()),
        });
        let mut spec = NodeSpec {
            addresses,
            pod_prefixes,
            pod_interface,
            service_prefixes,
            ..NodeSpec::default()
        };
        if self.masquerade_ipv4 != portolan_address::NONE {
            match concrete(self.masquerade_ipv4, "node.masquerade_ipv4")? {
                IpAddr::V4(address) => spec.masquerade_ipv4 = Some(address),
                IpAddr::V6(_) => return Err(Failure::invalid("node.masquerade_ipv4", "is IPv6")),
            }
        }
        if self.masquerade_ipv6 != portolan_address::NONE {
            match concrete(self.masquerade_ipv6, "node.masquerade_ipv6")? {
                IpAddr::V6(address) => spec.masquerade_ipv6 = Some(address),
                IpAddr::V4(_) => return Err(Failure::invalid("node.masquerade_ipv6", "is IPv4")),
            }
        }
        Ok(spec)
    }
}
