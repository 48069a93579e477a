//! v1 Service, as far as one node's dataplane is concerned.

use super::{ObjectKey, Scheduling, Weights};
use crate::net::{Prefix, Protocol};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// `internalTrafficPolicy` and `externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TrafficPolicy {
    /// All endpoints.
    #[default]
    Cluster,
    /// Endpoints on the node that the traffic reached.
    Local,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty if the Service's only port has none.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, never 0.
    pub port: u16,
    /// `nodePort`; `None` if 0 or absent.
    pub node_port: Option<u16>,
}

/// One load balancer address, `status.loadBalancer.ingress[]` with an `ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ingress {
    /// `ip`.
    pub ip: IpAddr,
    /// `ipMode` is `Proxy`: traffic comes from a proxy to the NodePort, so this address is not served (KEP-1860).
    pub proxy: bool,
}

/// A Service that a node may have to serve: of any type but ExternalName, headless ones included. By default it has
/// neither name nor address nor port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.creationTimestamp` in seconds since 1970; the older of two Services wins a contested address.
    pub created: Option<i64>,
    /// `externalName`, without a dot at its end, if the type is `ExternalName`: served by DNS only.
    pub external_name: Option<String>,
    /// `clusterIPs` (or `clusterIP`); empty for a headless Service, and while none is allocated.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: DNS answers with the endpoints themselves.
    pub headless: bool,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[]` that have an `ip`.
    pub ingress: Vec<Ingress>,
    /// `type: LoadBalancer`.
    pub load_balancer: bool,
    /// `loadBalancerSourceRanges`.
    pub source_ranges: Vec<Prefix>,
    /// `internalTrafficPolicy`.
    pub internal_traffic_policy: TrafficPolicy,
    /// `externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// `healthCheckNodePort`; `None` if 0 or absent.
    pub health_check_node_port: Option<u16>,
    /// `sessionAffinity: ClientIP` with its timeout in seconds.
    pub affinity_seconds: Option<u32>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
    /// Label `service.kubernetes.io/service-proxy-name`: another proxy serves it.
    pub proxy_name: Option<String>,
    /// How endpoints are chosen, by annotation.
    pub scheduling: Scheduling,
    /// The weights of its endpoints, by annotation.
    pub weights: Weights,
    /// `ports`.
    pub ports: Vec<ServicePort>,
}
