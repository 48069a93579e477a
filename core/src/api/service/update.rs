//! What an update keeps of the Service before, and what it may not change.
//!
//! Users send back the manifest that they wrote, without what was allocated for them, and expect to keep it; and they
//! change the type and leave fields behind that only the old type had. Source: `patchAllocatedValues`,
//! `normalizeClusterIPs` and `dropTypeDependentFields` of Kubernetes' Service registry, and `ValidateServiceUpdate`.

use super::{LOAD_BALANCER, SINGLE_STACK, SpecExt, spec};
use crate::api::field::Errors;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

/// Takes over what was left out, and drops what only the old type had.
pub(crate) fn prepare(new: &mut Service, old: &Service) {
    if new.status.is_none() {
        new.status = old.status.clone();
    }
    let old = spec(old);
    let new_spec = new.spec.get_or_insert_default();
    normalize_cluster_ips(new_spec, old);
    keep_allocated(new_spec, old);
    drop_type_dependent(new_spec, old);
    if new_spec.kind() != LOAD_BALANCER
        && let Some(status) = &mut new.status
    {
        status.load_balancer = None;
    }
}

fn same_ips(new: &ServiceSpec, old: &ServiceSpec) -> bool {
    new.cluster_ip == old.cluster_ip && new.ips() == old.ips()
}

/// Whoever knows one of `clusterIP` and `clusterIPs` only sends the other one as it was, or not at all.
fn normalize_cluster_ips(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !old.ips().is_empty() && new.ips().is_empty() && new.cluster_ip == old.cluster_ip {
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    if new.cluster_ip != old.cluster_ip && new.ips() == old.ips() {
        new.cluster_ips = new.cluster_ip.clone().map(|ip| alloc::vec![ip]);
    }
}

fn keep_allocated(new: &mut ServiceSpec, old: &ServiceSpec) {
    if old.needs_cluster_ip() && new.needs_cluster_ip() {
        if new.cluster_ip.is_none() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if new.ips().is_empty() {
            if new.cluster_ip == old.cluster_ip {
                new.cluster_ips.clone_from(&old.cluster_ips);
            } else {
                new.cluster_ips = new.cluster_ip.clone().map(|ip| alloc::vec![ip]);
            }
        }
    }
    if old.needs_node_port() && new.needs_node_port() {
        keep_node_ports(new, old);
    }
    if old.needs_health_check() && new.needs_health_check() {
        new.health_check_node_port = new.health_check_node_port.or(old.health_check_node_port);
    }
}

fn node_ports(spec: &ServiceSpec) -> BTreeSet<i32> {
    spec.ports
        .iter()
        .flatten()
        .filter_map(|port| port.node_port)
        .collect()
}

/// Ports are the same by their names, whatever else of them has changed.
fn keep_node_ports(new: &mut ServiceSpec, old: &ServiceSpec) {
    let (in_old, in_new) = (node_ports(old), node_ports(new));
    let moved: BTreeSet<_> = in_old.intersection(&in_new).copied().collect();
    let by_name: BTreeMap<_, _> = old
        .ports
        .iter()
        .flatten()
        .map(|port| (&port.name, port.node_port))
        .collect();
    for port in new
        .ports
        .iter_mut()
        .flatten()
        .filter(|port| port.node_port.is_none())
    {
        let kept = by_name.get(&port.name).copied().flatten();
        port.node_port = kept.filter(|number| !moved.contains(number));
    }
}

/// What the user did not touch goes with the type that it belonged to; what he did touch is his to answer for.
fn drop_type_dependent(new: &mut ServiceSpec, old: &ServiceSpec) {
    if old.needs_cluster_ip() && !new.needs_cluster_ip() {
        if same_ips(new, old) {
            new.cluster_ip = None;
            new.cluster_ips = None;
        }
        if new.families() == old.families() {
            new.ip_families = None;
        }
        if new.ip_family_policy == old.ip_family_policy {
            new.ip_family_policy = None;
        }
    }
    if old.needs_node_port()
        && !new.needs_node_port()
        && node_ports(old).is_superset(&node_ports(new))
    {
        for port in new.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if old.needs_health_check()
        && !new.needs_health_check()
        && new.health_check_node_port == old.health_check_node_port
    {
        new.health_check_node_port = None;
    }
    let was_balanced = old.kind() == LOAD_BALANCER && new.kind() != LOAD_BALANCER;
    if was_balanced
        && new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports
    {
        new.allocate_load_balancer_node_ports = None;
    }
    if was_balanced && new.load_balancer_class == old.load_balancer_class {
        new.load_balancer_class = None;
    }
    if old.is_externally_accessible()
        && !new.is_externally_accessible()
        && new.external_traffic_policy == old.external_traffic_policy
    {
        new.external_traffic_policy = None;
    }
}

/// What must not change. The rules for the new object by itself are [`super::validate`]'s.
pub(crate) fn validate(new: &Service, old: &Service, errors: &mut Errors) {
    const IMMUTABLE: &str = "field is immutable";
    if new.metadata.name != old.metadata.name {
        errors.invalid("metadata.name", &new.metadata.name, IMMUTABLE);
    }
    let namespace = |service: &Service| {
        let namespace = service.metadata.namespace.clone();
        namespace
            .filter(|it| !it.is_empty())
            .unwrap_or_else(|| "default".into())
    };
    if namespace(new) != namespace(old) {
        errors.invalid("metadata.namespace", &new.metadata.namespace, IMMUTABLE);
    }
    let (new, old) = (spec(new), spec(old));
    if new.needs_cluster_ip() && old.needs_cluster_ip() {
        cluster_ips(new, old, errors);
        families(new, old, errors);
    }
    if old.kind() == LOAD_BALANCER
        && new.kind() == LOAD_BALANCER
        && new.load_balancer_class != old.load_balancer_class
    {
        let field = "spec.loadBalancerClass";
        errors.invalid(field, &new.load_balancer_class, "may not change once set");
    }
    if old.needs_health_check()
        && new.needs_health_check()
        && new.health_check_node_port != old.health_check_node_port
    {
        errors.forbidden("spec.healthCheckNodePort", IMMUTABLE);
    }
}

const ONCE_SET: &str = "may not change once set";

fn cluster_ips(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if old.is_headless() && new.is_headless() {
        return;
    }
    let (ips, before) = (new.ips(), old.ips());
    if before.len() == ips.len() {
        for (index, (ip, before)) in ips.iter().zip(before).enumerate() {
            if ip != before {
                errors.invalid(format!("spec.clusterIPs[{index}]"), ips, ONCE_SET);
            }
        }
        return;
    }
    match (ips.first(), before.first()) {
        (None, Some(_)) => {
            errors.invalid(
                "spec.clusterIPs[0]",
                ips,
                "primary clusterIP can not be unset",
            );
        }
        (Some(first), Some(before)) if first != before => {
            errors.invalid("spec.clusterIPs[0]", ips, ONCE_SET);
        }
        _ => {}
    }
    if before.len() > ips.len() && ips.len() == 1 {
        must_be_single(new, "clusterIP", errors);
    }
}

fn families(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if old.is_headless() || new.is_headless() {
        return;
    }
    let (families, before) = (new.families(), old.families());
    match (families.first(), before.first()) {
        (None, Some(_)) => {
            errors.invalid(
                "spec.ipFamilies[0]",
                families,
                "primary ipFamily can not be unset",
            );
        }
        (Some(first), Some(before)) if first != before => {
            errors.invalid("spec.ipFamilies[0]", families, ONCE_SET);
        }
        _ => {}
    }
    if let ([_, second], [_, before]) = (families, before)
        && second != before
    {
        errors.invalid("spec.ipFamilies[1]", families, ONCE_SET);
    }
    if before.len() > families.len() && families.len() == 1 {
        must_be_single(new, "ipFamily", errors);
    }
}

fn must_be_single(new: &ServiceSpec, what: &str, errors: &mut Errors) {
    if new.ip_family_policy.as_deref() != Some(SINGLE_STACK) && !errors.touch("spec.ipFamilyPolicy")
    {
        let rule = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.invalid("spec.ipFamilyPolicy", &new.ip_family_policy, rule);
    }
}
