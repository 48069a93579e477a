//! v1 Endpoints to slices, as Kubernetes' own mirroring controller makes them.

use super::endpoint_slice::is_headless;
use super::findings::About;
use super::parts::{self, Use};
use super::scheduling;
use crate::model::{
    Conditions, EndpointPort, EndpointSlice, Endpoints, Object, ObjectKey, SliceEndpoint,
};
use crate::net::Family;
use alloc::format;
use alloc::vec::Vec;
use k8s_openapi::api::core::v1 as api;

/// One slice per subset and family that has endpoints.
pub(super) fn convert(key: ObjectKey, endpoints: api::Endpoints, about: &mut About<'_>) -> Object {
    let headless = endpoints.metadata.labels.as_ref().is_some_and(is_headless);
    let weights = scheduling::weights(endpoints.metadata.annotations.as_ref(), about);
    let mut slices = Vec::new();
    for (index, subset) in endpoints
        .subsets
        .unwrap_or_default()
        .into_iter()
        .enumerate()
    {
        let ports = ports(index, subset.ports.unwrap_or_default(), about);
        let mut both = Vec::new();
        let ready = subset.addresses.unwrap_or_default();
        let field = "addresses";
        addresses(index, field, ready, Conditions::READY, &mut both, about);
        let not_ready = subset.not_ready_addresses.unwrap_or_default();
        let field = "notReadyAddresses";
        addresses(
            index,
            field,
            not_ready,
            Conditions::NOT_READY,
            &mut both,
            about,
        );
        let (ipv4, ipv6): (Vec<_>, Vec<_>) = both
            .into_iter()
            .partition(|endpoint| Family::of(endpoint.address) == Family::Ipv4);
        for (family, suffix, endpoints) in
            [(Family::Ipv4, "ipv4", ipv4), (Family::Ipv6, "ipv6", ipv6)]
        {
            if !endpoints.is_empty() {
                let name = format!("{}#{index}-{suffix}", key.name);
                slices.push(EndpointSlice {
                    key: ObjectKey::new(key.namespace.as_str(), name),
                    service_name: key.name.clone(),
                    headless,
                    family,
                    endpoints,
                    weights: weights.clone(),
                    ports: ports.clone(),
                });
            }
        }
    }
    Object::Endpoints(Endpoints { key, slices })
}

fn addresses(
    subset: usize,
    name: &str,
    addresses: Vec<api::EndpointAddress>,
    conditions: Conditions,
    endpoints: &mut Vec<SliceEndpoint>,
    about: &mut About<'_>,
) {
    for (index, it) in addresses.into_iter().enumerate() {
        let field = format_args!("subsets[{subset}].{name}[{index}].ip");
        if let Some(address) = parts::address(&it.ip, Use::Routed, field, about) {
            let field = format_args!("subsets[{subset}].{name}[{index}].hostname");
            let hostname = parts::hostname(it.hostname, field, about);
            endpoints.push(SliceEndpoint {
                address,
                conditions,
                node_name: it.node_name,
                zone_hints: Vec::new(),
                node_hints: Vec::new(),
                hostname,
                pod_name: it.target_ref.and_then(parts::pod_name),
            });
        }
    }
}

fn ports(subset: usize, ports: Vec<api::EndpointPort>, about: &mut About<'_>) -> Vec<EndpointPort> {
    let mut sound = Vec::new();
    for (index, it) in ports.into_iter().enumerate() {
        let path = format!("subsets[{subset}].ports[{index}]");
        let protocol = it.protocol.as_deref();
        let protocol = parts::protocol(protocol, format_args!("{path}.protocol"), about);
        let name = parts::port_name(it.name.as_deref(), format_args!("{path}.name"), about);
        let port = parts::port(it.port, format_args!("{path}.port"), about);
        if let (Some(protocol), Some(name), Some(port)) = (protocol, name, port) {
            sound.push(EndpointPort {
                name: name.into(),
                protocol,
                port,
            });
        }
    }
    sound
}
