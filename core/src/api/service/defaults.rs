//! What a Service leaves out and the API server fills in.
//!
//! Source: Kubernetes' `SetDefaults_Service`, and `defaultOnRead` of the Service registry for stored objects.

use super::{
    CLUSTER_IP, HEADLESS, LOAD_BALANCER, REQUIRE_DUAL_STACK, SINGLE_STACK, SpecExt, family_name,
    family_of,
};
use crate::net::Family;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use k8s_openapi::api::core::v1::{
    ClientIPConfig, Service, ServicePort, ServiceSpec, SessionAffinityConfig,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// `sessionAffinityConfig.clientIP.timeoutSeconds` if absent: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// Empty strings, empty lists and zeros become absent where the API cannot tell them apart.
pub(crate) fn normalize(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    let texts = [
        &mut spec.cluster_ip,
        &mut spec.external_name,
        &mut spec.external_traffic_policy,
        &mut spec.load_balancer_ip,
        &mut spec.session_affinity,
        &mut spec.type_,
    ];
    for text in texts {
        drop_empty(text);
    }
    let lists = [
        &mut spec.cluster_ips,
        &mut spec.external_ips,
        &mut spec.ip_families,
        &mut spec.load_balancer_source_ranges,
    ];
    for list in lists {
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
    drop_zero(&mut spec.health_check_node_port);
    for port in spec.ports.iter_mut().flatten() {
        drop_empty(&mut port.name);
        drop_empty(&mut port.protocol);
        drop_zero(&mut port.node_port);
    }
}

fn drop_empty(text: &mut Option<String>) {
    if text.as_ref().is_some_and(String::is_empty) {
        *text = None;
    }
}

fn drop_zero(number: &mut Option<i32>) {
    if *number == Some(0) {
        *number = None;
    }
}

/// Fills in what does not depend on anything else than the Service itself.
pub(crate) fn fill(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    default_text(&mut spec.type_, CLUSTER_IP);
    default_text(&mut spec.session_affinity, "None");
    affinity(spec);
    for port in spec.ports.iter_mut().flatten() {
        fill_port(port);
    }
    if spec.is_externally_accessible() {
        default_text(&mut spec.external_traffic_policy, "Cluster");
    }
    if spec.kind() == LOAD_BALANCER {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    if spec.needs_node_port() || spec.kind() == CLUSTER_IP {
        default_text(&mut spec.internal_traffic_policy, "Cluster");
    }
    let status = service.status.as_mut();
    let balancer = status.and_then(|status| status.load_balancer.as_mut());
    for point in balancer
        .and_then(|it| it.ingress.as_mut())
        .into_iter()
        .flatten()
    {
        if point.ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
            default_text(&mut point.ip_mode, "VIP");
        }
    }
}

/// A timeout for ClientIP; without affinity its configuration means nothing.
fn affinity(spec: &mut ServiceSpec) {
    match spec.session_affinity.as_deref() {
        Some("None") => spec.session_affinity_config = None,
        Some("ClientIP") => {
            let config: &mut SessionAffinityConfig =
                spec.session_affinity_config.get_or_insert_default();
            let client_ip: &mut ClientIPConfig = config.client_ip.get_or_insert_default();
            client_ip.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
        }
        _ => {}
    }
}

fn fill_port(port: &mut ServicePort) {
    default_text(&mut port.protocol, "TCP");
    let absent = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if absent {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

fn default_text(text: &mut Option<String>, default: &str) {
    text.get_or_insert_with(|| default.to_string());
}

/// Who gives a new Service `clusterIP` alone means `clusterIPs` too; who gives the list must give both.
pub(crate) fn list_cluster_ip(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    if spec.ips().is_empty() {
        spec.cluster_ips = spec.cluster_ip.clone().map(|ip| alloc::vec![ip]);
    }
}

/// Makes a stored Service whole: objects written by hand or long ago may lack what is derived from the rest.
pub(crate) fn fill_stored(service: &mut Service, default_family: Option<Family>) {
    normalize(service);
    fill(service);
    let spec = service.spec.get_or_insert_default();
    if !spec.needs_cluster_ip() {
        return;
    }
    list_cluster_ip(service);
    let spec = service.spec.get_or_insert_default();
    if spec.single_ip().is_empty() {
        spec.cluster_ip = spec.ips().first().cloned();
    }
    let unselected_headless = spec.is_headless() && spec.is_selectorless();
    if spec.families().is_empty() {
        let mut families: Vec<Family> = spec.ips().iter().filter_map(|ip| family_of(ip)).collect();
        if families.is_empty() && spec.single_ip() == HEADLESS {
            families.extend(default_family);
            if unselected_headless {
                let other = |family| match family {
                    Family::Ipv4 => Family::Ipv6,
                    Family::Ipv6 => Family::Ipv4,
                };
                families.extend(default_family.map(other));
            }
        }
        let names = families.into_iter().map(|it| family_name(it).to_string());
        spec.ip_families = Some(names.collect()).filter(|names: &Vec<_>| !names.is_empty());
    }
    if spec.ip_family_policy.is_none() && !spec.families().is_empty() {
        let dual = spec.families().len() > 1 || spec.ips().len() > 1;
        let policy = if dual {
            REQUIRE_DUAL_STACK
        } else {
            SINGLE_STACK
        };
        spec.ip_family_policy = Some(policy.to_string());
    }
}
