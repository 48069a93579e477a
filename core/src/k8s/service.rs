//! v1 Service to [`Service`].
//!
//! Only an address that the whole Service hangs on, its first ClusterIP, costs the whole Service.

use super::findings::{About, Quoted};
use super::parts::{self, Use};
use super::scheduling;
use crate::model::{Ingress, Object, ObjectKey, Service, ServicePort, TrafficPolicy};
use crate::net::{Family, Prefix};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use k8s_openapi::api::core::v1 as api;

/// The label that gives a Service to another proxy.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// `sessionAffinityConfig.clientIP.timeoutSeconds` if absent, and its greatest value.
const AFFINITY_SECONDS: u32 = 10_800;
const MAX_AFFINITY_SECONDS: i32 = 86_400;

/// The longest name of a host: 255 bytes with its lengths and its end (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;

/// What `clusterIP` says of a headless Service.
const HEADLESS: &str = "None";

/// A Service; `None` if it has been rejected whole.
pub(super) fn convert(
    key: ObjectKey,
    mut service: api::Service,
    about: &mut About<'_>,
) -> Option<Object> {
    let Some(spec) = service.spec else {
        about.reject("spec", "is missing");
        return None;
    };
    let kind = service_type(spec.type_.as_deref(), about);
    let external_name = match kind {
        Type::ExternalName => Some(external_name(&spec, about)?),
        Type::ClusterIp | Type::NodePort | Type::LoadBalancer => None,
    };
    let cluster_ips = if external_name.is_some() {
        Vec::new()
    } else {
        cluster_ips(&spec, about)?
    };
    let headless = external_name.is_none() && is_headless(&spec);
    let external_ips = spec.external_ips.as_deref().unwrap_or_default();
    let ranges = spec.load_balancer_source_ranges.as_deref();
    let status = service.status.and_then(|status| status.load_balancer);
    let ingress_points = status.and_then(|it| it.ingress).unwrap_or_default();
    let annotations = service.metadata.annotations.as_ref();
    let created = service.metadata.creation_timestamp;
    let proxy_name = |labels: &mut BTreeMap<_, _>| labels.remove(PROXY_NAME);
    Some(Object::Service(Service {
        key,
        created: created.map(|time| time.0.as_second()),
        external_name,
        cluster_ips,
        headless,
        external_ips: addresses(external_ips, "spec.externalIPs", about),
        ingress: ingress(&ingress_points, about),
        load_balancer: kind == Type::LoadBalancer,
        source_ranges: source_ranges(ranges.unwrap_or_default(), about),
        internal_traffic_policy: traffic_policy(
            spec.internal_traffic_policy.as_deref(),
            "spec.internalTrafficPolicy",
            about,
        ),
        external_traffic_policy: traffic_policy(
            spec.external_traffic_policy.as_deref(),
            "spec.externalTrafficPolicy",
            about,
        ),
        health_check_node_port: parts::optional_port(
            spec.health_check_node_port,
            "spec.healthCheckNodePort",
            about,
        ),
        affinity_seconds: affinity(&spec, about),
        publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
        scheduling: scheduling::scheduling(annotations, about),
        weights: scheduling::weights(annotations, about),
        proxy_name: service.metadata.labels.as_mut().and_then(proxy_name),
        ports: ports(spec.ports.unwrap_or_default(), about),
    }))
}

/// `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// The type decides little: an unknown one is served by what the Service has.
fn service_type(text: Option<&str>, about: &mut About<'_>) -> Type {
    match text.unwrap_or_default() {
        "" | "ClusterIP" => Type::ClusterIp,
        "NodePort" => Type::NodePort,
        "LoadBalancer" => Type::LoadBalancer,
        "ExternalName" => Type::ExternalName,
        other => {
            let rule = format_args!(
                "{} is not a type: must be ClusterIP, NodePort, LoadBalancer or ExternalName",
                Quoted(other)
            );
            about.reject("spec.type", rule);
            Type::ClusterIp
        }
    }
}

/// `externalName` without a dot at its end; `None` if it is no name.
fn external_name(spec: &api::ServiceSpec, about: &mut About<'_>) -> Option<String> {
    let text = spec.external_name.as_deref().unwrap_or_default();
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() <= MAX_NAME && name.split('.').all(parts::is_label) {
        return Some(name.into());
    }
    let rule = format_args!(
        "{} is not a name: must be {}",
        Quoted(text),
        parts::SUBDOMAIN
    );
    about.reject("spec.externalName", rule);
    None
}

/// Does the Service say that it has no ClusterIP?
fn is_headless(spec: &api::ServiceSpec) -> bool {
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let first = listed.first().or(spec.cluster_ip.as_ref());
    first.is_some_and(|text| text == HEADLESS)
}

/// `clusterIPs`, or `clusterIP` alone, one of each family at most; `None` if the first is malformed.
fn cluster_ips(spec: &api::ServiceSpec, about: &mut About<'_>) -> Option<Vec<IpAddr>> {
    let single = spec.cluster_ip.as_deref().unwrap_or_default();
    let listed = spec.cluster_ips.as_deref().unwrap_or_default();
    let Some(first) = listed.first() else {
        return match single {
            "" | HEADLESS => Some(Vec::new()),
            text => {
                let address = parts::address(text, Use::Frontend, "spec.clusterIP", about)?;
                Some(alloc::vec![address])
            }
        };
    };
    if !single.is_empty() && single != first {
        let rule = format_args!(
            "{} differs from spec.clusterIP, {}: must be equal",
            Quoted(first),
            Quoted(single)
        );
        about.reject("spec.clusterIPs[0]", rule);
        return None;
    }
    let headless = first == HEADLESS;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for (index, text) in listed.iter().enumerate() {
        let field = format_args!("spec.clusterIPs[{index}]");
        if headless || text == HEADLESS {
            if index > 0 {
                about.reject(field, "None must stand alone");
            }
            continue;
        }
        match parts::address(text, Use::Frontend, field, about) {
            None if index == 0 => return None,
            None => {}
            Some(address) => {
                let family = Family::of(address);
                if addresses.iter().any(|&other| Family::of(other) == family) {
                    let rule = "is the second of its family: must be at most one of each";
                    about.reject(field, format_args!("{address} {rule}"));
                } else {
                    addresses.push(address);
                }
            }
        }
    }
    Some(addresses)
}

/// Addresses without repeats.
fn addresses(texts: &[String], path: &str, about: &mut About<'_>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let field = format_args!("{path}[{index}]");
        let address = parts::address(text, Use::Routed, field, about);
        addresses.extend(address.filter(|&address| seen.insert(address)));
    }
    addresses
}

/// Load balancer addresses; host names are DNS's business.
fn ingress(points: &[api::LoadBalancerIngress], about: &mut About<'_>) -> Vec<Ingress> {
    let mut seen = BTreeSet::new();
    let mut sound = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let text = point.ip.as_deref().unwrap_or_default();
        if text.is_empty() {
            continue;
        }
        let path = alloc::format!("status.loadBalancer.ingress[{index}]");
        let proxy = match point.ip_mode.as_deref().unwrap_or_default() {
            "" | "VIP" => false,
            "Proxy" => true,
            other => {
                let rule = format_args!("{} is not a mode: must be VIP or Proxy", Quoted(other));
                about.reject(format_args!("{path}.ipMode"), rule);
                continue;
            }
        };
        let field = format_args!("{path}.ip");
        let ip = parts::address(text, Use::Frontend, field, about);
        let ip = ip.filter(|&ip| seen.insert(ip));
        sound.extend(ip.map(|ip| Ingress { ip, proxy }));
    }
    sound
}

/// Source ranges. A malformed one admits nobody, but still closes its family to everybody else: a misspelt range must
/// not open what it was to protect.
fn source_ranges(texts: &[String], about: &mut About<'_>) -> Vec<Prefix> {
    let mut seen = BTreeSet::new();
    let mut ranges = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let text = text.trim();
        let field = format_args!("spec.loadBalancerSourceRanges[{index}]");
        let range = parts::prefix(text, field, about).unwrap_or_else(|| {
            Prefix::host(if text.contains(':') {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                Ipv4Addr::UNSPECIFIED.into()
            })
        });
        if seen.insert(range) {
            ranges.push(range);
        }
    }
    ranges
}

fn traffic_policy(text: Option<&str>, field: &str, about: &mut About<'_>) -> TrafficPolicy {
    match text.unwrap_or_default() {
        "" | "Cluster" => TrafficPolicy::Cluster,
        "Local" => TrafficPolicy::Local,
        other => {
            let rule = format_args!(
                "{} is not a policy: must be Cluster or Local",
                Quoted(other)
            );
            about.reject(field, rule);
            TrafficPolicy::Cluster
        }
    }
}

/// Seconds of ClientIP affinity; `None` without affinity.
fn affinity(spec: &api::ServiceSpec, about: &mut About<'_>) -> Option<u32> {
    match spec.session_affinity.as_deref().unwrap_or_default() {
        "ClientIP" => {}
        "" | "None" => return None,
        other => {
            let rule = format_args!(
                "{} is not an affinity: must be None or ClientIP",
                Quoted(other)
            );
            about.reject("spec.sessionAffinity", rule);
            return None;
        }
    }
    let config = spec.session_affinity_config.as_ref();
    let timeout = config
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds);
    let Some(timeout) = timeout else {
        return Some(AFFINITY_SECONDS);
    };
    match u32::try_from(timeout) {
        Ok(seconds) if (1..=MAX_AFFINITY_SECONDS).contains(&timeout) => Some(seconds),
        Ok(_) | Err(_) => {
            about.reject(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                format_args!(
                    "{timeout} is not a timeout: must be between 1 and {MAX_AFFINITY_SECONDS}"
                ),
            );
            Some(AFFINITY_SECONDS)
        }
    }
}

/// Ports, unique by name and by protocol and number.
fn ports(ports: Vec<api::ServicePort>, about: &mut About<'_>) -> Vec<ServicePort> {
    const TAKEN: &str = "is taken: must be unique in the Service";
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut node_numbers = BTreeSet::new();
    let mut sound = Vec::new();
    for (index, it) in ports.iter().enumerate() {
        let path = alloc::format!("spec.ports[{index}]");
        let protocol = it.protocol.as_deref();
        let protocol = parts::protocol(protocol, format_args!("{path}.protocol"), about);
        let name = parts::port_name(it.name.as_deref(), format_args!("{path}.name"), about);
        let port = parts::port(it.port, format_args!("{path}.port"), about);
        let node_port = parts::optional_port(it.node_port, format_args!("{path}.nodePort"), about);
        let (Some(protocol), Some(name), Some(port)) = (protocol, name, port) else {
            continue;
        };
        if names.contains(name) {
            about.reject(
                format_args!("{path}.name"),
                format_args!("{} {TAKEN}", Quoted(name)),
            );
            continue;
        }
        if !numbers.insert((protocol, port)) {
            about.reject(
                format_args!("{path}.port"),
                format_args!("{port}/{protocol} {TAKEN}"),
            );
            continue;
        }
        names.insert(name);
        let node_port = node_port.filter(|&number| {
            let free = node_numbers.insert((protocol, number));
            if !free {
                let field = format_args!("{path}.nodePort");
                about.reject(field, format_args!("{number}/{protocol} {TAKEN}"));
            }
            free
        });
        sound.push(ServicePort {
            name: name.into(),
            protocol,
            port,
            node_port,
        });
    }
    sound
}
