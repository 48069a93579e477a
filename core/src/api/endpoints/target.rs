//! What the endpoint controller needs of a Service, and what it makes of one Pod for it.

use super::pod::{Node, Pod, addresses_of};
use crate::api::selector::Selector;
use crate::api::service::{EXTERNAL_NAME, HEADLESS, SpecExt, family_of, family_of_name, spec};
use crate::model::ObjectKey;
use crate::net::Family;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The annotation by which hints follow the processors of zones, which only a cluster's own controller knows: it
/// takes precedence over `trafficDistribution`, and no hints are given then.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// Whose endpoints are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    /// Nobody's.
    None,
    /// Those of the client's zone.
    Zone,
    /// Those of the client's node.
    Node,
}

/// One Service with a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pairs: BTreeMap<String, String>,
    pub(super) selector: Selector,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) families: Vec<Family>,
    pub(super) headless: bool,
    publish_not_ready: bool,
    distribution: Distribution,
    ports: Vec<TargetPort>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TargetPort {
    name: String,
    protocol: String,
    app_protocol: Option<String>,
    target: TargetNumber,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TargetNumber {
    Number(u16),
    Name(String),
}

/// One port of a slice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResolvedPort {
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) number: u16,
    pub(super) app_protocol: Option<String>,
}

/// One endpoint of a slice, but for the Pod's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
    pub(super) node: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) zone_hint: bool,
    pub(super) node_hint: bool,
}

impl Target {
    /// `None` for a Service that selects nothing or has no endpoints of its own.
    pub(super) fn new(service: &api::Service) -> Option<Self> {
        let spec = spec(service);
        let pairs = spec.selector.clone().filter(|pairs| !pairs.is_empty())?;
        if spec.kind() == EXTERNAL_NAME {
            return None;
        }
        let annotations = service.metadata.annotations.as_ref();
        let automatic = annotations
            .and_then(|it| it.get(TOPOLOGY_MODE))
            .is_some_and(|mode| mode.eq_ignore_ascii_case("auto"));
        Some(Self {
            selector: Selector::of_labels(&pairs),
            pairs,
            labels: service.metadata.labels.clone().unwrap_or_default(),
            families: families(spec),
            headless: spec.is_headless(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            distribution: match spec.traffic_distribution.as_deref() {
                _ if automatic => Distribution::None,
                Some("PreferClose" | "PreferSameZone") => Distribution::Zone,
                Some("PreferSameNode") => Distribution::Node,
                _ => Distribution::None,
            },
            ports: spec
                .ports
                .iter()
                .flatten()
                .filter_map(target_port)
                .collect(),
        })
    }

    /// The endpoint that a Pod is in a family, with the ports that it has; `None` if it is none.
    pub(super) fn endpoint(
        &self,
        service: &ObjectKey,
        pod: &Pod,
        node: Option<&Node>,
        family: Family,
    ) -> Option<(Vec<ResolvedPort>, Endpoint)> {
        if pod.is_over || (node.is_none() && !self.publish_not_ready) {
            return None;
        }
        let addresses = addresses_of(pod, node, family);
        if addresses.is_empty() {
            return None;
        }
        let ready = self.publish_not_ready || (pod.serving && !pod.terminating);
        let zone = node.and_then(|node| node.zone.clone());
        let named = pod.subdomain.as_ref() == Some(&service.name);
        let endpoint = Endpoint {
            addresses,
            ready,
            serving: pod.serving,
            terminating: pod.terminating,
            zone_hint: ready && zone.is_some() && self.distribution != Distribution::None,
            node_hint: ready && pod.node.is_some() && self.distribution == Distribution::Node,
            node: pod.node.clone(),
            zone,
            hostname: pod.hostname.clone().filter(|_| named),
            uid: pod.uid.clone(),
        };
        let ports = self.ports.iter().filter_map(|port| port.resolve(pod));
        Some((ports.collect(), endpoint))
    }

    /// Has it ports, so that an endpoint without any is of no use to anybody?
    pub(super) const fn has_ports(&self) -> bool {
        !self.ports.is_empty()
    }
}

impl TargetPort {
    fn resolve(&self, pod: &Pod) -> Option<ResolvedPort> {
        let number = match &self.target {
            TargetNumber::Number(number) => *number,
            TargetNumber::Name(name) => pod.port(name, &self.protocol)?,
        };
        Some(ResolvedPort {
            name: self.name.clone(),
            protocol: self.protocol.clone(),
            number,
            app_protocol: self.app_protocol.clone(),
        })
    }
}

fn target_port(port: &api::ServicePort) -> Option<TargetPort> {
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number > 0);
    let own = || number(port.port).map(TargetNumber::Number);
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => own(),
        Some(IntOrString::Int(target)) => number(*target).map(TargetNumber::Number),
        Some(IntOrString::String(name)) if name.is_empty() => own(),
        Some(IntOrString::String(name)) => Some(TargetNumber::Name(name.clone())),
    };
    let protocol = port.protocol.clone().filter(|it| !it.is_empty());
    Some(TargetPort {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol.unwrap_or_else(|| "TCP".into()),
        app_protocol: port.app_protocol.clone(),
        target: target?,
    })
}

/// `ipFamilies`, else the family of the ClusterIP, else both.
fn families(spec: &api::ServiceSpec) -> Vec<Family> {
    let named = spec
        .families()
        .iter()
        .filter_map(|name| family_of_name(name));
    let families: Vec<_> = named.collect();
    if !families.is_empty() {
        return families;
    }
    let ips = spec
        .ips()
        .iter()
        .map(String::as_str)
        .chain([spec.single_ip()]);
    match ips.filter(|ip| *ip != HEADLESS).find_map(family_of) {
        Some(family) => alloc::vec![family],
        None => alloc::vec![Family::Ipv4, Family::Ipv6],
    }
}
