//! v1 Endpoints, the older form of a Service's endpoints: made for who still reads it.
//!
//! Source: Kubernetes' endpoints controller. It knows one family only, the Service's first, and tells of terminating
//! Pods only if the Service wants all of its Pods told.

use super::packing::{Packing, Slice};
use super::slice::{HEADLESS, target_ref};
use super::target::{Endpoint, ResolvedPort, Target};
use crate::model::ObjectKey;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use k8s_openapi::api::core::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub(super) fn endpoints(service: &ObjectKey, target: &Target, packing: &Packing) -> api::Endpoints {
    let family = target.families.first();
    let mut by_ports: BTreeMap<&[ResolvedPort], Vec<(&ObjectKey, &Endpoint)>> = BTreeMap::new();
    let slices = packing.slices().values();
    for Slice { group, endpoints } in slices.filter(|it| Some(&it.group.family) == family) {
        // A Pod that has none of the ports is reached by nobody.
        if !group.ports.is_empty() || !target.has_ports() {
            by_ports.entry(&group.ports).or_default().extend(endpoints);
        }
    }
    let subsets = by_ports
        .into_iter()
        .map(|(ports, endpoints)| subset(ports, &endpoints));
    let mut labels = target.labels.clone();
    labels.remove(HEADLESS);
    if target.headless {
        labels.insert(HEADLESS.to_string(), String::new());
    }
    api::Endpoints {
        metadata: ObjectMeta {
            namespace: Some(service.namespace.clone()),
            name: Some(service.name.clone()),
            labels: Some(labels).filter(|labels| !labels.is_empty()),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets.flatten().collect()).filter(|list: &Vec<_>| !list.is_empty()),
    }
}

fn subset(
    ports: &[ResolvedPort],
    endpoints: &[(&ObjectKey, &Endpoint)],
) -> Option<api::EndpointSubset> {
    let addresses = |wanted: bool| {
        let told = endpoints
            .iter()
            .filter(|(_, it)| it.ready || !it.terminating);
        let some = told.filter(|(_, it)| it.ready == wanted);
        let list: Vec<_> = some.filter_map(|(pod, it)| address(pod, it)).collect();
        Some(list).filter(|list| !list.is_empty())
    };
    let (ready, not_ready) = (addresses(true), addresses(false));
    if ready.is_none() && not_ready.is_none() {
        return None;
    }
    let ports = ports.iter().map(|port| api::EndpointPort {
        name: Some(port.name.clone()).filter(|name| !name.is_empty()),
        port: port.number.into(),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    });
    Some(api::EndpointSubset {
        addresses: ready,
        not_ready_addresses: not_ready,
        ports: Some(ports.collect()).filter(|ports: &Vec<_>| !ports.is_empty()),
    })
}

fn address(pod: &ObjectKey, it: &Endpoint) -> Option<api::EndpointAddress> {
    Some(api::EndpointAddress {
        hostname: it.hostname.clone(),
        ip: it.addresses.first()?.to_string(),
        node_name: it.node.clone(),
        target_ref: Some(target_ref(pod, it)),
    })
}
