//! v1 Node to [`Node`].

use super::findings::About;
use super::parts::{self, Use};
use crate::model::{Node, Object};
use crate::net::Prefix;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use k8s_openapi::api::core::v1 as api;

/// The label that names a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The taint of a node that the cluster autoscaler is about to delete.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

pub(super) fn convert(name: String, node: api::Node, about: &mut About<'_>) -> Object {
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let tainted = spec
        .taints
        .iter()
        .flatten()
        .any(|taint| taint.key == TO_BE_DELETED);
    let zone = node
        .metadata
        .labels
        .and_then(|mut labels| labels.remove(ZONE));
    Object::Node(Node {
        name,
        addresses: addresses(&status.addresses.unwrap_or_default(), about),
        zone: zone.filter(|zone| !zone.is_empty()),
        pod_cidrs: pod_cidrs(&spec.pod_cidrs.unwrap_or_default(), spec.pod_cidr, about),
        being_deleted: tainted || node.metadata.deletion_timestamp.is_some(),
    })
}

/// Internal addresses, then external ones, without repeats; host names are none of our business.
fn addresses(listed: &[api::NodeAddress], about: &mut About<'_>) -> Vec<core::net::IpAddr> {
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    for type_ in ["InternalIP", "ExternalIP"] {
        for (index, it) in listed
            .iter()
            .enumerate()
            .filter(|(_, it)| it.type_ == type_)
        {
            let field = format_args!("status.addresses[{index}].address");
            let address = parts::address(&it.address, Use::Frontend, field, about);
            addresses.extend(address.filter(|&address| seen.insert(address)));
        }
    }
    addresses
}

fn pod_cidrs(listed: &[String], single: Option<String>, about: &mut About<'_>) -> Vec<Prefix> {
    if listed.is_empty() {
        let single = single.filter(|text| !text.is_empty());
        return single
            .and_then(|text| parts::prefix(&text, "spec.podCIDR", about))
            .into_iter()
            .collect();
    }
    let mut cidrs = Vec::new();
    for (index, text) in listed.iter().enumerate() {
        cidrs.extend(parts::prefix(
            text,
            format_args!("spec.podCIDRs[{index}]"),
            about,
        ));
    }
    cidrs
}
