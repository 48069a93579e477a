//! discovery.k8s.io/v1 EndpointSlice.

use super::{ObjectKey, Weights};
use crate::net::{Family, Protocol};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// `conditions` of an endpoint, with the API's defaults for what is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conditions {
    /// `ready`; absent means true.
    pub ready: bool,
    /// `serving`; absent means true, as kube-proxy reads it.
    pub serving: bool,
    /// `terminating`; absent means false.
    pub terminating: bool,
}

impl Conditions {
    /// What is said of an endpoint of which nothing is said: ready, serving and not terminating.
    pub const READY: Self = Self {
        ready: true,
        serving: true,
        terminating: false,
    };

    /// Neither ready nor serving, but not terminating: an endpoint that may become ready.
    pub const NOT_READY: Self = Self {
        ready: false,
        serving: false,
        terminating: false,
    };
}

/// One endpoint of a slice. Only `addresses[0]` counts, as in kube-proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// `addresses[0]`, of the slice's family.
    pub address: IpAddr,
    /// `conditions`.
    pub conditions: Conditions,
    /// `nodeName`.
    pub node_name: Option<String>,
    /// `hints.forZones[].name`; empty if there are none.
    pub zone_hints: Vec<String>,
    /// `hints.forNodes[].name`; empty if there are none.
    pub node_hints: Vec<String>,
    /// `hostname`: the endpoint's own name below that of its Service.
    pub hostname: Option<String>,
    /// `targetRef.name`, if the target is a Pod.
    pub pod_name: Option<String>,
}

impl SliceEndpoint {
    /// An endpoint of which nothing is said but where it is.
    #[must_use]
    pub const fn at(address: IpAddr) -> Self {
        Self {
            address,
            conditions: Conditions::READY,
            node_name: None,
            zone_hints: Vec::new(),
            node_hints: Vec::new(),
            hostname: None,
            pod_name: None,
        }
    }
}

/// One port of a slice; ports that are nil or 0 have been left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// `name`; matched with the ServicePort's name. Absent means empty: the API server stores it so.
    pub name: String,
    /// `protocol`; matched with the ServicePort's protocol.
    pub protocol: Protocol,
    /// `port`, never 0: the resolved target port.
    pub port: u16,
}

/// Endpoints of one Service in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name of the slice itself.
    pub key: ObjectKey,
    /// Label `kubernetes.io/service-name`: the Service, in the slice's namespace.
    pub service_name: String,
    /// Label `service.kubernetes.io/headless` is present: kube-proxy does not see the slice.
    pub headless: bool,
    /// `addressType`; FQDN slices are not represented.
    pub family: Family,
    /// `endpoints`.
    pub endpoints: Vec<SliceEndpoint>,
    /// The weights of its endpoints, by annotation; they count before the Service's.
    pub weights: Weights,
    /// `ports`.
    pub ports: Vec<EndpointPort>,
}

/// v1 Endpoints, the older form of a Service's endpoints, as the slices it amounts to.
///
/// Replaced and deleted as one object, however many slices it makes: one per subset and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Namespace and name, which are the Service's too.
    pub key: ObjectKey,
    /// The slices. Their names hold a `#`, which the name of no object of the API can.
    pub slices: Vec<EndpointSlice>,
}
