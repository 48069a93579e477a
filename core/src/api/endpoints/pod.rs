//! What the endpoint controller needs of a Pod and of a Node, and nothing else.

use crate::net::Family;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use k8s_openapi::api::core::v1 as api;

/// The label that names a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// One Pod, as a possible endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) uid: Option<String>,
    pub(super) node: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) subdomain: Option<String>,
    pub(super) addresses: Vec<IpAddr>,
    /// It has the addresses of its node, which may be all that is known of them.
    pub(super) on_host_network: bool,
    ports: Vec<NamedPort>,
    /// Phase Succeeded or Failed: it will never serve again.
    pub(super) is_over: bool,
    /// Condition Ready is True.
    pub(super) serving: bool,
    /// `deletionTimestamp` is set.
    pub(super) terminating: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NamedPort {
    name: String,
    protocol: String,
    number: u16,
}

impl Pod {
    pub(super) fn new(pod: &api::Pod) -> Self {
        let (metadata, spec, status) = (&pod.metadata, pod.spec.as_ref(), pod.status.as_ref());
        let some = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
        let conditions = status
            .and_then(|it| it.conditions.as_deref())
            .unwrap_or_default();
        let phase = status
            .and_then(|it| it.phase.as_deref())
            .unwrap_or_default();
        Self {
            labels: metadata.labels.clone().unwrap_or_default(),
            uid: some(metadata.uid.as_ref()),
            node: some(spec.and_then(|it| it.node_name.as_ref())),
            hostname: some(spec.and_then(|it| it.hostname.as_ref())),
            subdomain: some(spec.and_then(|it| it.subdomain.as_ref())),
            addresses: status.map(addresses).unwrap_or_default(),
            on_host_network: spec.and_then(|it| it.host_network).unwrap_or(false),
            ports: spec.map(ports).unwrap_or_default(),
            is_over: matches!(phase, "Succeeded" | "Failed"),
            serving: conditions
                .iter()
                .any(|it| it.type_ == "Ready" && it.status == "True"),
            terminating: metadata.deletion_timestamp.is_some(),
        }
    }

    /// The number of a port that is called so.
    pub(super) fn port(&self, name: &str, protocol: &str) -> Option<u16> {
        let mut ports = self.ports.iter();
        let port = ports.find(|port| port.name == name && port.protocol == protocol)?;
        Some(port.number)
    }
}

/// `podIPs`, or `podIP` alone, as the API server keeps the two in step.
fn addresses(status: &api::PodStatus) -> Vec<IpAddr> {
    let listed = status.pod_ips.as_deref().unwrap_or_default();
    if listed.is_empty() {
        let single = status.pod_ip.as_deref().unwrap_or_default();
        return single.parse().into_iter().collect();
    }
    listed.iter().filter_map(|it| it.ip.parse().ok()).collect()
}

/// Ports of containers, then of init containers that keep running (sidecars, KEP-753).
fn ports(spec: &api::PodSpec) -> Vec<NamedPort> {
    let init = spec.init_containers.iter().flatten();
    let sidecars = init.filter(|it| it.restart_policy.as_deref() == Some("Always"));
    let ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|it| it.ports.iter().flatten());
    let named = ports.filter_map(|port| {
        Some(NamedPort {
            name: port.name.clone().filter(|name| !name.is_empty())?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            number: u16::try_from(port.container_port)
                .ok()
                .filter(|number| *number > 0)?,
        })
    });
    named.collect()
}

/// One Node, as the place of endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) zone: Option<String>,
    pub(super) addresses: Vec<IpAddr>,
}

impl Node {
    pub(super) fn new(node: &api::Node) -> Self {
        let labels = node.metadata.labels.as_ref();
        let zone = labels.and_then(|labels| labels.get(ZONE));
        let status = node.status.as_ref();
        let addresses = status
            .and_then(|it| it.addresses.as_deref())
            .unwrap_or_default();
        let internal = addresses.iter().filter(|it| it.type_ == "InternalIP");
        Self {
            zone: zone.filter(|zone| !zone.is_empty()).cloned(),
            addresses: internal.filter_map(|it| it.address.parse().ok()).collect(),
        }
    }
}

/// The addresses of a Pod in a family: its own, or its node's if it shares that one's network and says nothing.
pub(super) fn addresses_of(pod: &Pod, node: Option<&Node>, family: Family) -> Vec<IpAddr> {
    let of_node = node
        .map(|node| node.addresses.as_slice())
        .unwrap_or_default();
    let addresses = if pod.addresses.is_empty() && pod.on_host_network {
        of_node
    } else {
        &pod.addresses
    };
    let same = addresses
        .iter()
        .copied()
        .filter(|it| Family::of(*it) == family);
    same.collect()
}
