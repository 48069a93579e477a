//! A slice as the API has it.

use super::packing::Slice;
use super::target::{Endpoint, Target};
use crate::api::service::family_name;
use crate::model::ObjectKey;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use k8s_openapi::api::{core::v1 as core_v1, discovery::v1 as discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Labels of slices that say whose they are; a Service's own labels of these names are not copied.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Who makes these slices in a cluster; what looks for them there finds them here.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// The name of a Service's slice of this number.
pub(super) fn key(service: &ObjectKey, number: u32) -> ObjectKey {
    ObjectKey::new(
        service.namespace.as_str(),
        alloc::format!("{}-{number}", service.name),
    )
}

pub(super) fn render(
    service: &ObjectKey,
    number: u32,
    target: &Target,
    slice: &Slice,
) -> discovery::EndpointSlice {
    let ObjectKey { namespace, name } = key(service, number);
    let ports = slice
        .group
        .ports
        .iter()
        .map(|port| discovery::EndpointPort {
            name: Some(port.name.clone()),
            port: Some(port.number.into()),
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        });
    let endpoints = slice.endpoints.iter().map(|(pod, it)| endpoint(pod, it));
    discovery::EndpointSlice {
        address_type: family_name(slice.group.family).to_string(),
        endpoints: Some(endpoints.collect()),
        metadata: ObjectMeta {
            namespace: Some(namespace),
            name: Some(name),
            labels: Some(labels(service, target)),
            ..ObjectMeta::default()
        },
        ports: Some(ports.collect()).filter(|ports: &Vec<_>| !ports.is_empty()),
    }
}

fn labels(service: &ObjectKey, target: &Target) -> BTreeMap<String, String> {
    let mut labels = target.labels.clone();
    labels.insert(SERVICE_NAME.to_string(), service.name.clone());
    labels.insert(MANAGED_BY.to_string(), CONTROLLER.to_string());
    labels.remove(HEADLESS);
    if target.headless {
        labels.insert(HEADLESS.to_string(), String::new());
    }
    labels
}

fn endpoint(pod: &ObjectKey, it: &Endpoint) -> discovery::Endpoint {
    let zone = it.zone.clone().filter(|_| it.zone_hint);
    let node = it.node.clone().filter(|_| it.node_hint);
    let hints = (zone.is_some() || node.is_some()).then(|| discovery::EndpointHints {
        for_nodes: node.map(|name| alloc::vec![discovery::ForNode { name }]),
        for_zones: zone.map(|name| alloc::vec![discovery::ForZone { name }]),
    });
    discovery::Endpoint {
        addresses: it.addresses.iter().map(ToString::to_string).collect(),
        conditions: Some(discovery::EndpointConditions {
            ready: Some(it.ready),
            serving: Some(it.serving),
            terminating: Some(it.terminating),
        }),
        hints,
        hostname: it.hostname.clone(),
        node_name: it.node.clone(),
        target_ref: Some(target_ref(pod, it)),
        zone: it.zone.clone(),
        ..discovery::Endpoint::default()
    }
}

/// The Pod that an endpoint is.
pub(super) fn target_ref(pod: &ObjectKey, it: &Endpoint) -> core_v1::ObjectReference {
    core_v1::ObjectReference {
        kind: Some("Pod".to_string()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: it.uid.clone(),
        ..core_v1::ObjectReference::default()
    }
}
