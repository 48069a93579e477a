//! Which families a Service gets addresses of.
//!
//! Source: `initIPFamilyFields` of Kubernetes' Service registry.

use super::{
    HEADLESS, PREFER_DUAL_STACK, REQUIRE_DUAL_STACK, SINGLE_STACK, SpecExt, family_name, family_of,
    spec,
};
use crate::api::field::Errors;
use crate::net::Family;
use alloc::format;
use alloc::string::{String, ToString};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};

const POLICY: &str = "spec.ipFamilyPolicy";

/// Fills in policy and families; `configured` are the families that addresses can be had of, the default first.
pub(crate) fn fill(
    service: &mut Service,
    old: Option<&Service>,
    configured: &[Family],
    errors: &mut Errors,
) {
    let old = old.map(spec);
    let new = service.spec.get_or_insert_default();
    if !new.needs_cluster_ip() || old.is_some_and(|old| is_same_preference(new, old)) {
        return;
    }
    let unselected_headless = new.single_ip() == HEADLESS && new.is_selectorless();
    if new.ip_family_policy.is_none() {
        let kept = old.and_then(|old| old.ip_family_policy.clone());
        let default = if unselected_headless {
            REQUIRE_DUAL_STACK
        } else {
            SINGLE_STACK
        };
        new.ip_family_policy = Some(kept.unwrap_or_else(|| default.to_string()));
    }
    let found = errors.0.len();
    let single = policy(new) == SINGLE_STACK;
    if let Some(old) = old {
        reduce(new, old, single, errors);
    }
    if single {
        many(new, errors);
    }
    from_addresses(new, configured, errors);
    if errors.0.len() > found {
        return;
    }
    if unselected_headless {
        // Such a Service is nothing but names for whatever somebody else fills in: any family goes.
        let families = new.ip_families.get_or_insert_default();
        if families.is_empty() {
            families.extend(configured.first().map(|it| family_name(*it).to_string()));
        }
        add_other(families, !single);
        return;
    }
    if policy(new) == REQUIRE_DUAL_STACK && configured.len() < 2 {
        let rule = "this cluster is not configured for dual-stack services";
        errors.invalid(POLICY, &new.ip_family_policy, rule);
    }
    for (index, family) in new.families().iter().enumerate() {
        if !configured.iter().any(|it| family_name(*it) == family) {
            let field = format!("spec.ipFamilies[{index}]");
            errors.invalid(field, family, "not configured on this cluster");
        }
    }
    // In a cluster there always is one.
    if configured.is_empty() && !new.is_headless() {
        let rule =
            "no address can be allocated: no range of addresses (serviceCIDRs) is configured";
        errors.invalid("spec.clusterIPs", new.ips(), rule);
    }
    if errors.0.len() > found {
        return;
    }
    let families = new.ip_families.get_or_insert_default();
    if families.is_empty() {
        families.extend(configured.first().map(|it| family_name(*it).to_string()));
    }
    add_other(families, !single && configured.len() == 2);
}

fn policy(spec: &ServiceSpec) -> &str {
    spec.ip_family_policy.as_deref().unwrap_or_default()
}

/// Two stacks are never taken up or given up because the cluster's configuration changed.
fn is_same_preference(new: &ServiceSpec, old: &ServiceSpec) -> bool {
    policy(new) == PREFER_DUAL_STACK
        && matches!(policy(old), "" | PREFER_DUAL_STACK)
        && new.kind() == old.kind()
        && new.cluster_ip == old.cluster_ip
        && new.ips() == old.ips()
        && new.families() == old.families()
}

/// An update that gives up the second family must say so by its policy; one that says so need say nothing else.
fn reduce(new: &mut ServiceSpec, old: &ServiceSpec, single: bool, errors: &mut Errors) {
    if single {
        if new.cluster_ip == old.cluster_ip && new.ips() == old.ips() {
            new.cluster_ips.iter_mut().for_each(|ips| ips.truncate(1));
        }
        if new.families() == old.families() {
            new.ip_families
                .iter_mut()
                .for_each(|families| families.truncate(1));
        }
        return;
    }
    let fewer = |new: &[String], old: &[String]| !new.is_empty() && new.len() < old.len();
    if fewer(new.ips(), old.ips()) {
        let rule = "must be 'SingleStack' to release the secondary cluster IP";
        errors.invalid(POLICY, &new.ip_family_policy, rule);
    }
    if fewer(new.families(), old.families()) {
        let rule = "must be 'SingleStack' to release the secondary IP family";
        errors.invalid(POLICY, &new.ip_family_policy, rule);
    }
}

/// One stack, and more than one of something.
fn many(spec: &ServiceSpec, errors: &mut Errors) {
    for (count, what) in [
        (spec.ips().len(), "cluster IPs"),
        (spec.families().len(), "IP families"),
    ] {
        if count == 2 {
            let rule = format!(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            );
            errors.invalid(POLICY, &spec.ip_family_policy, rule);
        }
    }
}

/// The families of addresses that were given.
fn from_addresses(spec: &mut ServiceSpec, configured: &[Family], errors: &mut Errors) {
    let given = spec.ips().iter().skip(spec.families().len());
    let mut derived = spec.families().to_vec();
    for (index, ip) in (spec.families().len()..).zip(given) {
        let Some(family) = family_of(ip) else { break };
        let name = family_name(family);
        if derived.iter().any(|it| it == name) {
            // The addresses' own rules say that there is one of each family.
        } else if configured.contains(&family) {
            derived.push(name.to_string());
        } else {
            let rule = format!("{name} is not configured on this cluster");
            errors.invalid(format!("spec.clusterIPs[{index}]"), ip, rule);
        }
    }
    spec.ip_families = Some(derived).filter(|families| !families.is_empty());
}

fn add_other(families: &mut alloc::vec::Vec<String>, wanted: bool) {
    let other = match families.as_slice() {
        [only] if only == "IPv4" => "IPv6",
        [only] if only == "IPv6" => "IPv4",
        _ => return,
    };
    if wanted {
        families.push(other.to_string());
    }
}
