//! One Service as the API server takes it: what is filled in, what is refused, what an update may change.
//!
//! Everything here reads and writes the API's own type, because a rule that says "must not be set" needs to see
//! whether something was. The order of the parts is the API server's: [`defaults`], then (for an update)
//! [`update`], then [`families`], then [`validate`]; addresses and ports are given out between the last two by
//! [`super::allocate`].

pub(super) mod addresses;
pub(super) mod defaults;
pub(super) mod families;
pub(super) mod ports;
pub(super) mod update;
pub(super) mod validate;

use crate::net::Family;
use alloc::string::String;
use core::net::IpAddr;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

pub(super) const CLUSTER_IP: &str = "ClusterIP";
pub(super) const NODE_PORT: &str = "NodePort";
pub(super) const LOAD_BALANCER: &str = "LoadBalancer";
pub(super) const EXTERNAL_NAME: &str = "ExternalName";

/// What `clusterIP` says of a headless Service.
pub(super) const HEADLESS: &str = "None";

pub(super) const SINGLE_STACK: &str = "SingleStack";
pub(super) const PREFER_DUAL_STACK: &str = "PreferDualStack";
pub(super) const REQUIRE_DUAL_STACK: &str = "RequireDualStack";

/// The spec, which [`defaults::fill`] has made sure of.
pub(super) fn spec(service: &Service) -> &ServiceSpec {
    static EMPTY: ServiceSpec = ServiceSpec {
        allocate_load_balancer_node_ports: None,
        cluster_ip: None,
        cluster_ips: None,
        external_ips: None,
        external_name: None,
        external_traffic_policy: None,
        health_check_node_port: None,
        internal_traffic_policy: None,
        ip_families: None,
        ip_family_policy: None,
        load_balancer_class: None,
        load_balancer_ip: None,
        load_balancer_source_ranges: None,
        ports: None,
        publish_not_ready_addresses: None,
        selector: None,
        session_affinity: None,
        session_affinity_config: None,
        traffic_distribution: None,
        type_: None,
    };
    service.spec.as_ref().unwrap_or(&EMPTY)
}

/// Questions about a spec that several rules ask.
pub(super) trait SpecExt {
    /// `type`; empty if absent.
    fn kind(&self) -> &str;
    /// `clusterIP`; empty if absent.
    fn single_ip(&self) -> &str;
    /// `clusterIPs`.
    fn ips(&self) -> &[String];
    /// `ipFamilies`.
    fn families(&self) -> &[String];
    /// `selector` has no entries.
    fn is_selectorless(&self) -> bool;
    /// Has `clusterIPs: [None]`, or `clusterIP: None` before the list has been made.
    fn is_headless(&self) -> bool {
        match self.ips() {
            [] => self.single_ip() == HEADLESS,
            [only] => only == HEADLESS,
            _ => false,
        }
    }
    /// Gets ClusterIPs (or `None`).
    fn needs_cluster_ip(&self) -> bool {
        self.kind() != EXTERNAL_NAME
    }
    /// May have node ports.
    fn needs_node_port(&self) -> bool {
        matches!(self.kind(), NODE_PORT | LOAD_BALANCER)
    }
    /// Has an `externalTrafficPolicy`.
    fn is_externally_accessible(&self) -> bool;
    /// Has a `healthCheckNodePort`.
    fn needs_health_check(&self) -> bool;
}

impl SpecExt for ServiceSpec {
    fn kind(&self) -> &str {
        self.type_.as_deref().unwrap_or_default()
    }

    fn single_ip(&self) -> &str {
        self.cluster_ip.as_deref().unwrap_or_default()
    }

    fn ips(&self) -> &[String] {
        self.cluster_ips.as_deref().unwrap_or_default()
    }

    fn families(&self) -> &[String] {
        self.ip_families.as_deref().unwrap_or_default()
    }

    fn is_selectorless(&self) -> bool {
        self.selector
            .as_ref()
            .is_none_or(|labels| labels.is_empty())
    }

    fn is_externally_accessible(&self) -> bool {
        let external_ips = self.external_ips.as_ref();
        self.needs_node_port()
            || (self.kind() == CLUSTER_IP && external_ips.is_some_and(|ips| !ips.is_empty()))
    }

    fn needs_health_check(&self) -> bool {
        self.kind() == LOAD_BALANCER && self.external_traffic_policy.as_deref() == Some("Local")
    }
}

/// The family's name in the API.
pub(super) const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// The family of a name.
pub(super) fn family_of_name(name: &str) -> Option<Family> {
    [Family::Ipv4, Family::Ipv6]
        .into_iter()
        .find(|family| family_name(*family) == name)
}

/// The family of an address as it is written; `None` if it is no address.
pub(super) fn family_of(text: &str) -> Option<Family> {
    text.parse::<IpAddr>().ok().map(Family::of)
}
