//! Kubernetes' objects as structs, for hosts that have them in no text: what a node needs of them.

use crate::address::{portolan_address, portolan_prefix};
use crate::call::{self, array, text, text_or_none};
use crate::error::Failure;
use crate::scheduler::scheduler;
use crate::sized::SizedStruct;
use crate::value::{self, addresses, concrete, prefixes};
use core::ffi::c_char;
use core::net::IpAddr;
use portolan::model::{
    Conditions, EndpointPort, EndpointSlice, Ingress, ObjectKey, Scheduling, Service, ServicePort,
    SliceEndpoint, TrafficPolicy, Weights,
};
use portolan::net::Family;

/// Traffic policy Cluster: all endpoints. (A number of portolan_service_object.)
pub const PORTOLAN_POLICY_CLUSTER: u8 = 0;
/// Traffic policy Local: endpoints on the node that the traffic reached.
pub const PORTOLAN_POLICY_LOCAL: u8 = 1;

/// The type is LoadBalancer. (A bit of portolan_service_object.flags.)
pub const PORTOLAN_SERVICE_LOAD_BALANCER: u8 = 1;
/// publishNotReadyAddresses.
pub const PORTOLAN_SERVICE_PUBLISH_NOT_READY: u8 = 2;
/// The Service says itself how endpoints are chosen: scheduler.
pub const PORTOLAN_SERVICE_SCHEDULER: u8 = 4;

/// Not ready: the endpoint gets no new connections. (A bit of portolan_slice_endpoint.flags.)
pub const PORTOLAN_CONDITION_NOT_READY: u8 = 1;
/// Not serving: if it terminates too, connections to it end.
pub const PORTOLAN_CONDITION_NOT_SERVING: u8 = 2;
/// Terminating: gets new connections only if no endpoint is ready, and only while it serves.
pub const PORTOLAN_CONDITION_TERMINATING: u8 = 4;

/// One port of a Service.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_service_port {
    /// Its name; NULL or "" if the Service's only port has none.
    pub name: *const c_char,
    /// The port, in host order; not 0.
    pub port: u16,
    /// The NodePort; 0: none.
    pub node_port: u16,
    /// PORTOLAN_PROTOCOL_...
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// v1 Service, as far as one node's decisions need it. Fields that are left zero are absent. What it points to is
/// read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_service_object {
    /// sizeof(portolan_service_object).
    pub struct_size: u32,
    /// sessionAffinity ClientIP: for how many seconds a client keeps its endpoint; 0: none.
    pub affinity_seconds: u32,
    /// metadata.namespace.
    pub name_space: *const c_char,
    /// metadata.name.
    pub name: *const c_char,
    /// metadata.creationTimestamp, seconds since 1970; 0: not known. The older Service keeps a contested address.
    pub created: i64,
    /// spec.ports.
    pub ports: *const portolan_service_port,
    /// How many there are.
    pub port_count: usize,
    /// sizeof(portolan_service_port).
    pub port_stride: usize,
    /// spec.clusterIPs. None: the Service is headless, and not served by a node.
    pub cluster_ips: *const portolan_address,
    /// How many there are.
    pub cluster_ip_count: usize,
    /// spec.externalIPs.
    pub external_ips: *const portolan_address,
    /// How many there are.
    pub external_ip_count: usize,
    /// status.loadBalancer.ingress[].ip, those of ipMode VIP.
    pub ingress: *const portolan_address,
    /// How many there are.
    pub ingress_count: usize,
    /// spec.loadBalancerSourceRanges.
    pub source_ranges: *const portolan_prefix,
    /// How many there are.
    pub source_range_count: usize,
    /// Label service.kubernetes.io/service-proxy-name: another proxy serves it; NULL: none.
    pub proxy_name: *const c_char,
    /// spec.externalName, if the type is ExternalName: DNS alone serves it; NULL: another type.
    pub external_name: *const c_char,
    /// spec.healthCheckNodePort; 0: none.
    pub health_check_node_port: u16,
    /// spec.internalTrafficPolicy: PORTOLAN_POLICY_...
    pub internal_traffic_policy: u8,
    /// spec.externalTrafficPolicy: PORTOLAN_POLICY_...
    pub external_traffic_policy: u8,
    /// Bits of PORTOLAN_SERVICE_...
    pub flags: u8,
    /// With PORTOLAN_SERVICE_SCHEDULER: how endpoints are chosen, PORTOLAN_SCHEDULER_...; without: as the node says.
    pub scheduler: u8,
    /// For how many seconds a new endpoint gets fewer connections than its share; 0: as the node says.
    pub slow_start_seconds: u16,
}

/// One endpoint of an EndpointSlice. All zeros but the address: ready, on no known node.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_slice_endpoint {
    /// addresses[0], of the slice's family.
    pub address: portolan_address,
    /// Bits of PORTOLAN_CONDITION_...; 0: ready and serving.
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// How many connections it is to get beside others, where the scheduler goes by weight; 0: 1.
    pub weight: u16,
    /// nodeName; NULL: not known.
    pub node_name: *const c_char,
    /// hostname, a name of the endpoint below its Service's in DNS; NULL: none.
    pub hostname: *const c_char,
    /// targetRef.name, if the target is a Pod; NULL: none.
    pub pod_name: *const c_char,
    /// hints.forZones[].name.
    pub zone_hints: *const *const c_char,
    /// How many there are.
    pub zone_hint_count: usize,
    /// hints.forNodes[].name.
    pub node_hints: *const *const c_char,
    /// How many there are.
    pub node_hint_count: usize,
}

/// One port of an EndpointSlice.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_slice_port {
    /// Its name, matched with the name of the Service's port; NULL is "".
    pub name: *const c_char,
    /// The port that endpoints listen on, in host order; not 0.
    pub port: u16,
    /// PORTOLAN_PROTOCOL_...
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

/// discovery.k8s.io/v1 EndpointSlice. What it points to is read during the call only.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct portolan_slice_object {
    /// sizeof(portolan_slice_object).
    pub struct_size: u32,
    /// addressType: PORTOLAN_FAMILY_IPV4 or PORTOLAN_FAMILY_IPV6.
    pub family: u32,
    /// metadata.namespace.
    pub name_space: *const c_char,
    /// metadata.name of the slice itself.
    pub name: *const c_char,
    /// Label kubernetes.io/service-name: the Service's name.
    pub service_name: *const c_char,
    /// endpoints.
    pub endpoints: *const portolan_slice_endpoint,
    /// How many there are.
    pub endpoint_count: usize,
    /// sizeof(portolan_slice_endpoint).
    pub endpoint_stride: usize,
    /// ports.
    pub ports: *const portolan_slice_port,
    /// How many there are.
    pub port_count: usize,
    /// sizeof(portolan_slice_port).
    pub port_stride: usize,
}

// SAFETY: repr(C), integers and pointers without padding (ffi/tests/c/layout.c holds it).
unsafe impl SizedStruct for portolan_service_object {
    const FIRST_SIZE: usize = size_of::<Self>();
}

// SAFETY: likewise.
unsafe impl SizedStruct for portolan_slice_object {
    const FIRST_SIZE: usize = size_of::<Self>();
}

impl portolan_service_object {
    /// The Service in the model's terms.
    ///
    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; strings are NUL-terminated.
    pub(crate) unsafe fn to_model(self) -> Result<Service, Failure> {
        // SAFETY: as promised, here and below.
        let key = unsafe { key(self.name_space, self.name, "service") }?;
        // SAFETY: likewise.
        let ports = unsafe {
            array(
                self.ports,
                self.port_count,
                self.port_stride,
                "service.ports",
            )
        }?;
        // SAFETY: likewise.
        let cluster_ips = unsafe {
            addresses(
                self.cluster_ips,
                self.cluster_ip_count,
                "service.cluster_ips",
            )
        }?;
        // SAFETY: likewise.
        let external_ips = unsafe {
            addresses(
                self.external_ips,
                self.external_ip_count,
                "service.external_ips",
            )
        }?;
        // SAFETY: likewise.
        let ingress = unsafe { addresses(self.ingress, self.ingress_count, "service.ingress") }?;
        // SAFETY: likewise.
        let source_ranges = unsafe {
            prefixes(
                self.source_ranges,
                self.source_range_count,
                "service.source_ranges",
            )
        }?;
        // SAFETY: likewise.
        let proxy_name = unsafe { text_or_none(self.proxy_name, "service.proxy_name") }?;
        // SAFETY: likewise.
        let external_name = unsafe { text_or_none(self.external_name, "service.external_name") }?;
        let mut service = Service {
            key,
            created: (self.created != 0).then_some(self.created),
            external_name: external_name.map(str::to_owned),
            headless: cluster_ips.is_empty() && external_name.is_none(),
            cluster_ips,
            external_ips,
            ingress: ingress.into_iter().map(reached_directly).collect(),
            load_balancer: self.flags & PORTOLAN_SERVICE_LOAD_BALANCER != 0,
            source_ranges,
            internal_traffic_policy: policy(self.internal_traffic_policy, "internal")?,
            external_traffic_policy: policy(self.external_traffic_policy, "external")?,
            health_check_node_port: non_zero(self.health_check_node_port),
            affinity_seconds: (self.affinity_seconds != 0).then_some(self.affinity_seconds),
            publish_not_ready_addresses: self.flags & PORTOLAN_SERVICE_PUBLISH_NOT_READY != 0,
            proxy_name: proxy_name.map(str::to_owned),
            scheduling: self.scheduling()?,
            weights: Weights::default(),
            ports: Vec::with_capacity(ports.len()),
        };
        for (index, port) in ports.iter().enumerate() {
            // SAFETY: likewise.
            service.ports.push(unsafe { port.to_model(index) }?);
        }
        Ok(service)
    }
}

impl portolan_service_object {
    fn scheduling(&self) -> Result<Scheduling, Failure> {
        let own = self.flags & PORTOLAN_SERVICE_SCHEDULER != 0;
        let scheduler = own.then(|| scheduler(self.scheduler, "service.scheduler"));
        Ok(Scheduling {
            scheduler: scheduler.transpose()?,
            slow_start_seconds: non_zero(self.slow_start_seconds),
        })
    }
}

impl portolan_service_port {
    /// # Safety
    /// As of the Service that it belongs to.
    unsafe fn to_model(self, index: usize) -> Result<ServicePort, Failure> {
        let field = |name: &str| format!("service.ports[{index}].{name}");
        // SAFETY: as promised.
        let name = unsafe { text_or_none(self.name, &field("name")) }?;
        Ok(ServicePort {
            name: name.unwrap_or_default().to_owned(),
            protocol: value::protocol(self.protocol, &field("protocol"))?,
            port: value::port(self.port, &field("port"))?,
            node_port: non_zero(self.node_port),
        })
    }
}

impl portolan_slice_object {
    /// The slice in the model's terms.
    ///
    /// # Safety
    /// Its pointers are NULL or valid for reading what the counts beside them say; strings are NUL-terminated.
    pub(crate) unsafe fn to_model(self) -> Result<EndpointSlice, Failure> {
        let family = value::family(self.family, "slice.family")?;
        // SAFETY: as promised, here and below.
        let key = unsafe { key(self.name_space, self.name, "slice") }?;
        // SAFETY: likewise.
        let service_name = unsafe { text(self.service_name, "slice.service_name") }?;
        // SAFETY: likewise.
        let endpoints = unsafe {
            array(
                self.endpoints,
                self.endpoint_count,
                self.endpoint_stride,
                "slice.endpoints",
            )
        }?;
        // SAFETY: likewise.
        let ports = unsafe { array(self.ports, self.port_count, self.port_stride, "slice.ports") }?;
        let mut slice = EndpointSlice {
            key,
            service_name: service_name.to_owned(),
            headless: false,
            family,
            endpoints: Vec::with_capacity(endpoints.len()),
            weights: Weights::default(),
            ports: Vec::with_capacity(ports.len()),
        };
        for (index, endpoint) in endpoints.iter().enumerate() {
            // SAFETY: likewise.
            let model = unsafe { endpoint.to_model(family, index) }?;
            if endpoint.weight != 0 {
                let by_address = &mut slice.weights.by_address;
                by_address.insert(model.address, endpoint.weight);
            }
            slice.endpoints.push(model);
        }
        for (index, port) in ports.iter().enumerate() {
            let field = |name: &str| format!("slice.ports[{index}].{name}");
            // SAFETY: likewise.
            let name = unsafe { text_or_none(port.name, &field("name")) }?;
            slice.ports.push(EndpointPort {
                name: name.unwrap_or_default().to_owned(),
                protocol: value::protocol(port.protocol, &field("protocol"))?,
                port: value::port(port.port, &field("port"))?,
            });
        }
        Ok(slice)
    }
}

impl portolan_slice_endpoint {
    /// # Safety
    /// As of the slice that it belongs to.
    unsafe fn to_model(self, family: Family, index: usize) -> Result<SliceEndpoint, Failure> {
        let field = |name: &str| format!("slice.endpoints[{index}].{name}");
        let address = concrete(self.address, &field("address"))?;
        if Family::of(address) != family {
            return Err(Failure::invalid(
                &field("address"),
                format!("{address} is not of the slice's family"),
            ));
        }
        let is = |bit: u8| self.flags & bit != 0;
        // SAFETY: as promised, here and below.
        let node_name = unsafe { text_or_none(self.node_name, &field("node_name")) }?;
        // SAFETY: likewise.
        let hostname = unsafe { text_or_none(self.hostname, &field("hostname")) }?;
        // SAFETY: likewise.
        let pod_name = unsafe { text_or_none(self.pod_name, &field("pod_name")) }?;
        // SAFETY: likewise.
        let zone_hints =
            unsafe { names(self.zone_hints, self.zone_hint_count, &field("zone_hints")) }?;
        // SAFETY: likewise.
        let node_hints =
            unsafe { names(self.node_hints, self.node_hint_count, &field("node_hints")) }?;
        Ok(SliceEndpoint {
            address,
            conditions: Conditions {
                ready: !is(PORTOLAN_CONDITION_NOT_READY),
                serving: !is(PORTOLAN_CONDITION_NOT_SERVING),
                terminating: is(PORTOLAN_CONDITION_TERMINATING),
            },
            node_name: node_name.map(str::to_owned),
            zone_hints,
            node_hints,
            hostname: hostname.map(str::to_owned),
            pod_name: pod_name.map(str::to_owned),
        })
    }
}

/// # Safety
/// Both are NULL or NUL-terminated.
unsafe fn key(
    name_space: *const c_char,
    name: *const c_char,
    object: &str,
) -> Result<ObjectKey, Failure> {
    // SAFETY: as promised.
    let name_space = unsafe { text(name_space, &format!("{object}.name_space")) }?;
    // SAFETY: as promised.
    let name = unsafe { text(name, &format!("{object}.name")) }?;
    for (text, field) in [(name_space, "name_space"), (name, "name")] {
        if text.is_empty() {
            return Err(Failure::invalid(&format!("{object}.{field}"), "is empty"));
        }
    }
    Ok(ObjectKey::new(name_space, name))
}

/// # Safety
/// `pointer` is NULL or valid for reading `count` strings, each NULL or NUL-terminated.
unsafe fn names(
    pointer: *const *const c_char,
    count: usize,
    field: &str,
) -> Result<Vec<String>, Failure> {
    // SAFETY: as promised.
    let list = unsafe { call::slice(pointer, count, field) }?;
    let numbered = list.iter().enumerate();
    numbered
        .map(|(index, name)| {
            // SAFETY: as promised.
            unsafe { text(*name, &format!("{field}[{index}]")) }.map(str::to_owned)
        })
        .collect()
}

fn policy(number: u8, which: &str) -> Result<TrafficPolicy, Failure> {
    match number {
        PORTOLAN_POLICY_CLUSTER => Ok(TrafficPolicy::Cluster),
        PORTOLAN_POLICY_LOCAL => Ok(TrafficPolicy::Local),
        other => Err(Failure::invalid(
            &format!("service.{which}_traffic_policy"),
            format!("{other} is no policy: must be 0 or 1"),
        )),
    }
}

/// An address of a load balancer that leaves packets as they are (ipMode VIP).
const fn reached_directly(ip: IpAddr) -> Ingress {
    Ingress { ip, proxy: false }
}

const fn non_zero(number: u16) -> Option<u16> {
    if number == 0 { None } else { Some(number) }
}
