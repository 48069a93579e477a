//! What is wrong with a Service's ports.

use super::{CLUSTER_IP, LOAD_BALANCER, SpecExt};
use crate::api::field::{Errors, Shown};
use crate::api::syntax;
use crate::net::Protocol;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The kubelet's own port, which no load balancer may take from the node.
const KUBELET: i32 = 10_250;

pub(super) fn validate(spec: &ServiceSpec, errors: &mut Errors) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !spec.is_headless() && spec.needs_cluster_ip() {
        errors.required("spec.ports", "");
    }
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        name(port, ports.len() > 1, &mut names, &path, errors);
        one(port, &path, errors);
        if spec.kind() == LOAD_BALANCER && port.port == KUBELET {
            let rule =
                format!("may not expose port {KUBELET} externally since it is used by kubelet");
            errors.invalid(&path, &port.port, rule);
        }
        if spec.kind() == CLUSTER_IP && port.node_port.is_some() {
            let rule = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(format!("{path}.nodePort"), rule);
        }
    }
    let mut numbers = BTreeSet::new();
    let mut node_numbers = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if let Some(number) = port.node_port
            && !node_numbers.insert((protocol, number))
        {
            errors.duplicate(format!("spec.ports[{index}].nodePort"), &number);
        }
        if !numbers.insert((protocol, port.port)) {
            errors.duplicate(format!("spec.ports[{index}]"), &Door(protocol, port.port));
        }
    }
}

/// Protocol and number, which a Service may have once.
struct Door<'a>(&'a str, i32);

impl Shown for Door<'_> {
    fn shown(&self) -> String {
        let Self(protocol, port) = self;
        format!("{{\"port\":{port},\"protocol\":{}}}", protocol.shown())
    }
}

fn name<'a>(
    port: &'a ServicePort,
    required: bool,
    names: &mut BTreeSet<&'a str>,
    path: &str,
    errors: &mut Errors,
) {
    let field = format!("{path}.name");
    match port.name.as_deref() {
        None if required => errors.required(field, ""),
        None => {}
        Some(name) => {
            errors.each_invalid(&field, name, syntax::dns_1123_label(name));
            if !names.insert(name) {
                errors.duplicate(field, name);
            }
        }
    }
}

fn one(port: &ServicePort, path: &str, errors: &mut Errors) {
    if let Some(rule) = syntax::port_number(port.port) {
        errors.invalid(format!("{path}.port"), &port.port, rule);
    }
    let protocol = port.protocol.as_deref().unwrap_or_default();
    if !Protocol::ALL.iter().any(|known| known.as_str() == protocol) {
        let field = format!("{path}.protocol");
        errors.not_supported(field, protocol, &["SCTP", "TCP", "UDP"]);
    }
    let field = format!("{path}.targetPort");
    match &port.target_port {
        None => {}
        Some(IntOrString::Int(number)) => {
            if let Some(rule) = syntax::port_number(*number) {
                errors.invalid(field, number, rule);
            }
        }
        Some(IntOrString::String(name)) => {
            errors.each_invalid(field, name, syntax::port_name(name));
        }
    }
    if let Some(name) = port.app_protocol.as_deref() {
        let field = format!("{path}.appProtocol");
        errors.each_invalid(field, name, syntax::qualified_name(name));
    }
}
