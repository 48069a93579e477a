//! What is wrong with objects of the other kinds.
//!
//! Far less is refused of them than a cluster would: names and labels, because they become keys, and what the
//! dataplane could not serve, because half of an edit must never come into force. The rest is nobody's business here.

use super::allocate::ServiceRange;
use super::field::{Errors, FieldError};
use super::syntax;
use crate::k8s::Resource;
use crate::model::Rejection;
use crate::net::Family;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use k8s_openapi::api::{core::v1 as core_v1, networking::v1 as net_v1};

/// What is wrong with an object that is no Service.
pub(super) fn validate(new: &Resource, old: Option<&Resource>) -> Vec<Rejection> {
    let name = format!("{}", new.reference());
    let mut errors = Errors::default();
    let metadata = new.metadata();
    let own_name = metadata.name.as_deref().unwrap_or_default();
    errors.each_invalid(
        "metadata.name",
        own_name,
        syntax::dns_1123_subdomain(own_name),
    );
    if let Some(namespace) = metadata.namespace.as_deref() {
        let rules = syntax::dns_1123_label(namespace);
        errors.each_invalid("metadata.namespace", namespace, rules);
    }
    if let Some(labels) = &metadata.labels {
        syntax::labels(labels, "metadata.labels", &mut errors);
    }
    match new {
        Resource::Pod(new) => pod(new, &mut errors),
        Resource::ServiceCidr(new) => {
            let old = match old {
                Some(Resource::ServiceCidr(old)) => Some(&**old),
                _ => None,
            };
            service_cidr(new, old, &mut errors);
        }
        Resource::Namespace(_)
        | Resource::Node(_)
        | Resource::Service(_)
        | Resource::Endpoints(_)
        | Resource::EndpointSlice(_) => {}
    }
    let own = errors.0.iter().map(|error: &FieldError| error.of(&name));
    own.chain(new.to_model().1).collect()
}

fn pod(pod: &core_v1::Pod, errors: &mut Errors) {
    let status = pod.status.iter();
    let single = status.clone().filter_map(|it| it.pod_ip.as_deref());
    for ip in single.filter(|ip| !ip.is_empty() && syntax::ip(ip).is_none()) {
        errors.invalid("status.podIP", ip, syntax::NOT_AN_IP);
    }
    for (index, it) in status
        .flat_map(|it| it.pod_ips.iter().flatten())
        .enumerate()
    {
        if syntax::ip(&it.ip).is_none() {
            let field = format!("status.podIPs[{index}].ip");
            errors.invalid(field, &it.ip, syntax::NOT_AN_IP);
        }
    }
    for (index, container) in pod.spec.iter().flat_map(|it| &it.containers).enumerate() {
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let path = format!("spec.containers[{index}].ports[{number}]");
            if let Some(rule) = syntax::port_number(port.container_port) {
                errors.invalid(format!("{path}.containerPort"), &port.container_port, rule);
            }
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                errors.each_invalid(format!("{path}.name"), name, syntax::port_name(name));
            }
        }
    }
    let spec = pod.spec.as_ref();
    for (field, label) in [
        ("spec.hostname", spec.and_then(|it| it.hostname.as_deref())),
        (
            "spec.subdomain",
            spec.and_then(|it| it.subdomain.as_deref()),
        ),
    ] {
        if let Some(label) = label.filter(|label| !label.is_empty()) {
            errors.each_invalid(field, label, syntax::dns_1123_label(label));
        }
    }
}

fn service_cidr(new: &net_v1::ServiceCIDR, old: Option<&net_v1::ServiceCIDR>, errors: &mut Errors) {
    const PATH: &str = "spec.cidrs";
    let cidrs = |it: &net_v1::ServiceCIDR| {
        let spec = it.spec.as_ref();
        spec.and_then(|spec| spec.cidrs.clone()).unwrap_or_default()
    };
    let listed = cidrs(new);
    if listed.is_empty() {
        errors.required(PATH, "at least one CIDR required");
    }
    if listed.len() > 2 {
        errors.invalid(PATH, listed.as_slice(), "may only hold up to 2 values");
    }
    let mut families = BTreeSet::new();
    for (index, text) in listed.iter().enumerate() {
        let field = format!("{PATH}[{index}]");
        match syntax::cidr(text) {
            None => {
                let rule = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.invalid(field, text, rule);
            }
            Some(prefix) if ServiceRange::new(prefix).is_none() => {
                errors.invalid(field, text, "has no addresses that Services can have");
            }
            Some(prefix) => {
                if !families.insert(Family::of(prefix.address())) {
                    let rule = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                    errors.invalid(PATH, listed.as_slice(), rule);
                }
            }
        }
    }
    if old.is_some_and(|old| cidrs(old) != listed) {
        errors.invalid(PATH, listed.as_slice(), "field is immutable");
    }
}
