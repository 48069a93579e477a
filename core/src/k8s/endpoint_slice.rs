//! discovery.k8s.io/v1 EndpointSlice to [`EndpointSlice`].

use super::findings::{About, Quoted};
use super::parts::{self, Use};
use super::scheduling;
use crate::model::{Conditions, EndpointPort, EndpointSlice, Object, ObjectKey, SliceEndpoint};
use crate::net::Family;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use k8s_openapi::api::discovery::v1 as api;

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label that tells proxies to leave a slice alone.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A slice; `None` if it is of no use to a dataplane, which has been reported or ignored then.
pub(super) fn convert(
    key: ObjectKey,
    slice: api::EndpointSlice,
    about: &mut About<'_>,
) -> Option<Object> {
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::Ipv4,
        "IPv6" => Family::Ipv6,
        "FQDN" => {
            about.findings.ignore(about.object);
            return None;
        }
        other => {
            let rule = format_args!(
                "{} is not an address type: must be IPv4, IPv6 or FQDN",
                Quoted(other)
            );
            about.reject("addressType", rule);
            return None;
        }
    };
    let labels = slice.metadata.labels.unwrap_or_default();
    let Some(service_name) = labels.get(SERVICE_NAME).filter(|name| !name.is_empty()) else {
        about.reject(
            format_args!("metadata.labels[{SERVICE_NAME}]"),
            "is missing: must name the slice's Service",
        );
        return None;
    };
    let endpoints = slice.endpoints.unwrap_or_default();
    Some(Object::EndpointSlice(EndpointSlice {
        key,
        service_name: service_name.clone(),
        headless: is_headless(&labels),
        weights: scheduling::weights(slice.metadata.annotations.as_ref(), about),
        family,
        endpoints: endpoints
            .into_iter()
            .enumerate()
            .filter_map(|(index, it)| endpoint(index, it, family, about))
            .collect(),
        ports: ports(slice.ports.unwrap_or_default(), about),
    }))
}

/// Does the label keep proxies away?
pub(super) fn is_headless(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(HEADLESS)
}

fn endpoint(
    index: usize,
    endpoint: api::Endpoint,
    family: Family,
    about: &mut About<'_>,
) -> Option<SliceEndpoint> {
    let Some(text) = endpoint.addresses.first() else {
        about.reject(
            format_args!("endpoints[{index}].addresses"),
            "is empty: must hold the endpoint's address",
        );
        return None;
    };
    let field = format_args!("endpoints[{index}].addresses[0]");
    let address = parts::address(text, Use::Routed, field, about)?;
    if Family::of(address) != family {
        let rule = match family {
            Family::Ipv4 => "is not IPv4: must be, since addressType is IPv4",
            Family::Ipv6 => "is not IPv6: must be, since addressType is IPv6",
        };
        about.reject(field, format_args!("{address} {rule}"));
        return None;
    }
    let hints = endpoint.hints.unwrap_or_default();
    let field = format_args!("endpoints[{index}].hostname");
    let hostname = parts::hostname(endpoint.hostname, field, about);
    Some(SliceEndpoint {
        address,
        conditions: endpoint
            .conditions
            .map_or(Conditions::READY, |it| Conditions {
                ready: it.ready.unwrap_or(true),
                serving: it.serving.unwrap_or(true),
                terminating: it.terminating.unwrap_or(false),
            }),
        node_name: endpoint.node_name,
        zone_hints: hints
            .for_zones
            .unwrap_or_default()
            .into_iter()
            .map(|hint| hint.name)
            .collect(),
        node_hints: hints
            .for_nodes
            .unwrap_or_default()
            .into_iter()
            .map(|hint| hint.name)
            .collect(),
        hostname,
        pod_name: endpoint.target_ref.and_then(parts::pod_name),
    })
}

fn ports(ports: Vec<api::EndpointPort>, about: &mut About<'_>) -> Vec<EndpointPort> {
    let mut sound = Vec::new();
    for (index, it) in ports.into_iter().enumerate() {
        let protocol = it.protocol.as_deref();
        let field = format_args!("ports[{index}].protocol");
        let protocol = parts::protocol(protocol, field, about);
        let name = it.name.as_deref();
        let name = parts::port_name(name, format_args!("ports[{index}].name"), about);
        let port = parts::optional_port(it.port, format_args!("ports[{index}].port"), about);
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
