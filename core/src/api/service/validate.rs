//! What is wrong with a Service, all of it at once.
//!
//! Source: Kubernetes' `ValidateService` (pkg/apis/core/validation).

use super::{CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT, SpecExt, addresses, ports, spec};
use crate::api::field::Errors;
use crate::api::syntax;
use alloc::format;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The annotation that was `loadBalancerSourceRanges` before there was a field.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// Two names of one switch, which must not contradict each other.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_AWARE_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// The most that annotations may take together, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;

const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

/// Everything that is wrong with a Service that has been defaulted.
pub(crate) fn validate(service: &Service, errors: &mut Errors) {
    metadata(&service.metadata, errors);
    let spec = spec(service);
    kind(spec, errors);
    ports::validate(spec, errors);
    if let Some(selector) = &spec.selector {
        syntax::labels(selector, "spec.selector", errors);
    }
    affinity(spec, errors);
    addresses::cluster_ips(spec, errors);
    addresses::external_ips(spec, errors);
    source_ranges(service, errors);
    load_balancer(spec, errors);
    external_traffic(spec, errors);
    if let Some(policy) = spec.internal_traffic_policy.as_deref()
        && !matches!(policy, "Cluster" | "Local")
    {
        errors.not_supported("spec.internalTrafficPolicy", policy, &["Cluster", "Local"]);
    }
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if let Some(distribution) = spec.traffic_distribution.as_deref()
        && !distributions.contains(&distribution)
    {
        errors.not_supported("spec.trafficDistribution", distribution, &distributions);
    }
}

fn metadata(metadata: &ObjectMeta, errors: &mut Errors) {
    match metadata.name.as_deref().unwrap_or_default() {
        "" => errors.required("metadata.name", "name or generateName is required"),
        name => errors.each_invalid("metadata.name", name, syntax::dns_1035_label(name)),
    }
    if let Some(namespace) = metadata.namespace.as_deref().filter(|it| !it.is_empty()) {
        let rules = syntax::dns_1123_label(namespace);
        errors.each_invalid("metadata.namespace", namespace, rules);
    }
    if let Some(labels) = &metadata.labels {
        syntax::labels(labels, "metadata.labels", errors);
    }
    let Some(annotations) = &metadata.annotations else {
        return;
    };
    const PATH: &str = "metadata.annotations";
    for key in annotations.keys() {
        // Letter case of a prefix is forgiven here, unlike in labels.
        let rules = syntax::qualified_name(&key.to_lowercase());
        errors.each_invalid(PATH, key, rules);
    }
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > MAX_ANNOTATIONS {
        let rule = format!("may not be more than {MAX_ANNOTATIONS} bytes");
        errors.invalid(PATH, "", rule);
    }
    if let (Some(mode), Some(hints)) = (
        annotations.get(TOPOLOGY_MODE),
        annotations.get(TOPOLOGY_AWARE_HINTS),
    ) && mode != hints
    {
        let rule =
            format!("must match annotations[{TOPOLOGY_AWARE_HINTS}] when both are specified");
        errors.invalid(format!("{PATH}[{TOPOLOGY_MODE}]"), mode, rule);
    }
}

fn kind(spec: &ServiceSpec, errors: &mut Errors) {
    match spec.kind() {
        CLUSTER_IP => {}
        kind @ (NODE_PORT | LOAD_BALANCER) => {
            if spec.is_headless() {
                let rule = format!("may not be set to 'None' for {kind} services");
                errors.invalid("spec.clusterIPs[0]", super::HEADLESS, rule);
            }
        }
        EXTERNAL_NAME => external_name(spec, errors),
        other => {
            let kinds = [CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT];
            errors.not_supported("spec.type", other, &kinds);
        }
    }
}

fn external_name(spec: &ServiceSpec, errors: &mut Errors) {
    const RULE: &str = "may not be set for ExternalName services";
    if !spec.ips().is_empty() || !spec.single_ip().is_empty() {
        errors.forbidden("spec.clusterIPs", RULE);
    }
    if !spec.families().is_empty() {
        errors.forbidden("spec.ipFamilies", RULE);
    }
    if spec.ip_family_policy.is_some() {
        errors.forbidden("spec.ipFamilyPolicy", RULE);
    }
    let name = spec.external_name.as_deref().unwrap_or_default();
    let relative = name.strip_suffix('.').unwrap_or(name);
    if relative.is_empty() {
        errors.required("spec.externalName", "");
    } else {
        let rules = syntax::dns_1123_subdomain(relative);
        errors.each_invalid("spec.externalName", relative, rules);
    }
}

fn affinity(spec: &ServiceSpec, errors: &mut Errors) {
    let affinity = spec.session_affinity.as_deref().unwrap_or_default();
    if !matches!(affinity, "None" | "ClientIP") {
        errors.not_supported("spec.sessionAffinity", affinity, &["ClientIP", "None"]);
    }
    let config = spec.session_affinity_config.as_ref();
    let seconds = config
        .and_then(|it| it.client_ip.as_ref())
        .and_then(|it| it.timeout_seconds);
    if let Some(seconds) = seconds.filter(|seconds| !(1..=86_400).contains(seconds))
        && affinity == "ClientIP"
    {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        errors.invalid(
            field,
            &seconds,
            "must be greater than 0 and less than 86400",
        );
    }
}

/// The field, or the annotation that stands for it.
fn source_ranges(service: &Service, errors: &mut Errors) {
    const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let spec = spec(service);
    let listed = spec
        .load_balancer_source_ranges
        .as_deref()
        .unwrap_or_default();
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|it| it.get(SOURCE_RANGES));
    let balanced = spec.kind() == LOAD_BALANCER;
    if !listed.is_empty() {
        // The capital letter is Kubernetes' own.
        let path = "spec.LoadBalancerSourceRanges";
        if !balanced {
            errors.forbidden(path, ONLY_LOAD_BALANCER);
        }
        for (index, range) in listed.iter().enumerate() {
            let range = range.trim();
            if syntax::cidr(range).is_none() {
                errors.invalid(format!("{path}[{index}]"), range, NOT_A_CIDR);
            }
        }
    } else if let Some(ranges) = annotation {
        let path = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balanced {
            errors.forbidden(&path, ONLY_LOAD_BALANCER);
        }
        let ranges = ranges.trim();
        let ranges = ranges
            .split(',')
            .map(str::trim)
            .filter(|_| !ranges.is_empty());
        for range in ranges.filter(|range| syntax::cidr(range).is_none()) {
            errors.invalid(&path, range, NOT_A_CIDR);
        }
    }
}

fn load_balancer(spec: &ServiceSpec, errors: &mut Errors) {
    let balanced = spec.kind() == LOAD_BALANCER;
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        errors.forbidden("spec.allocateLoadBalancerNodePorts", ONLY_LOAD_BALANCER);
    }
    match spec.load_balancer_class.as_deref() {
        None => {}
        Some(class) if balanced => {
            errors.each_invalid(
                "spec.loadBalancerClass",
                class,
                syntax::qualified_name(class),
            );
        }
        Some(_) => errors.forbidden("spec.loadBalancerClass", ONLY_LOAD_BALANCER),
    }
}

fn external_traffic(spec: &ServiceSpec, errors: &mut Errors) {
    const POLICY: &str = "spec.externalTrafficPolicy";
    match spec.external_traffic_policy.as_deref() {
        None => {}
        Some(policy) if !spec.is_externally_accessible() => {
            let rule = "may only be set for externally-accessible services";
            errors.invalid(POLICY, policy, rule);
        }
        Some("Cluster" | "Local") => {}
        Some(policy) => errors.not_supported(POLICY, policy, &["Cluster", "Local"]),
    }
    const HEALTH: &str = "spec.healthCheckNodePort";
    match spec.health_check_node_port {
        None => {}
        Some(port) if !spec.needs_health_check() => {
            let rule = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(HEALTH, &port, rule);
        }
        Some(port) => {
            if let Some(rule) = syntax::port_number(port) {
                errors.invalid(HEALTH, &port, rule);
            }
        }
    }
}
