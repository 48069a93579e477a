//! Kubernetes objects from bytes: JSON or YAML in, [`crate::model`] out.
//!
//! One bad object costs nobody else anything, and one bad part of an object costs the rest of it nothing that
//! kube-proxy would still serve: what is wrong becomes a [`Rejection`] that names object, field and rule. Input is
//! hostile until proven otherwise: its size, its depth, what its aliases expand to and what is said about it are
//! all bounded.

mod duration;
mod endpoint_slice;
mod endpoints;
mod findings;
mod item;
mod json;
mod kube_proxy_config;
mod kube_proxy_fields;
mod node;
mod node_config;
mod parts;
mod resource;
mod scheduling;
mod service;
mod source;
mod text;
mod yaml;

use crate::model::{Object, Rejection};
use alloc::string::String;
use alloc::vec::Vec;
use findings::Findings;

pub use kube_proxy_config::{
    KubeProxyConfig, KubeProxyTimeouts, ProxyMode, decode_kube_proxy_config,
};
pub use node_config::{NodeDescription, decode_node_config};
pub use resource::{
    Resource, ResourceKind, ResourceRef, Resources, decode_resource_value, decode_resources,
    is_object_name,
};

/// The greatest input that [`decode`] reads, in bytes.
pub const MAX_BYTES: usize = 256 << 20;

/// The most rejections that one call reports; how many more there were is said in one last rejection.
pub const MAX_REJECTIONS: usize = 100_000;

/// What some bytes held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// Objects that can be served, in the order of the input.
    pub objects: Vec<Object>,
    /// What cannot be served as written, in the order of the input.
    pub rejections: Vec<Rejection>,
    /// Objects that are none of a Service dataplane's business (`Pod default/web-1`), in the order of the input:
    /// workloads and other kinds of Kubernetes' own groups, and slices of host names (`addressType: FQDN`).
    pub ignored: Vec<String>,
}

/// Reads every object in `bytes`: one, several in a `List` (`v1` `List`, `ServiceList`…) or in an array, YAML
/// documents, JSON values one after another, or all of these mixed.
///
/// Kinds: v1 Service, Node, Namespace, Endpoints and discovery.k8s.io/v1 EndpointSlice. `source` names the input in what is
/// said of objects that have no name, as in `web.yaml:12`.
///
/// ```
/// let decoded = portolan::k8s::decode(
///     br#"
/// apiVersion: v1
/// kind: Service
/// metadata: {name: web}
/// spec:
///   clusterIP: 10.96.0.80
///   ports: [{port: 80}, {name: alt, port: 70000}]
/// "#,
///     "web.yaml",
/// );
/// assert_eq!(decoded.objects.len(), 1);
/// assert_eq!(
///     decoded.rejections[0].to_string(),
///     "Service default/web: spec.ports[1].port: 70000 is not a port: must be between 1 and 65535"
/// );
/// ```
#[must_use]
pub fn decode(bytes: &[u8], source: &str) -> Decoded {
    let mut findings = Findings::new(source);
    source::read(bytes, &mut findings);
    findings.finish()
}

/// As [`decode`], of one value that has been parsed already.
#[must_use]
pub fn decode_value(value: serde_json::Value, source: &str) -> Decoded {
    let mut findings = Findings::new(source);
    item::decode(value, source::Place::of_value(source), &mut findings);
    findings.finish()
}
