//! What the host says of its own node.

use crate::net::Prefix;
use crate::service::Schedule;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// How pods are told from everybody else (kube-proxy's `--detect-local-mode`).
///
/// Where a packet is judged by its source address, there is no detector in a family for which no prefix is known:
/// nothing sent to a ClusterIP is masqueraded, and no sender counts as a pod. Where it is judged by the interface that
/// it entered by, both families are told apart, and the host marks what entered by one
/// ([`crate::service::PodInterface::matches`]).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LocalDetector {
    /// Sources inside [`NodeConfig::cluster_cidrs`]: every pod of the cluster counts. kube-proxy's default.
    #[default]
    ClusterCidr,
    /// Sources inside [`NodeConfig::pod_cidrs`]: this node's pods count.
    NodeCidr,
    /// Packets that enter by this bridge.
    BridgeInterface(String),
    /// Packets that enter by interfaces whose names begin so.
    InterfaceNamePrefix(String),
    /// There is no way to tell.
    None,
}

/// On which of the node's addresses NodePorts are served (kube-proxy's `--nodeport-addresses`). Never on
/// loopback addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NodePortAddresses {
    /// On the first address of each family: the default of kube-proxy's nftables mode.
    #[default]
    Primary,
    /// On every address.
    All,
    /// On addresses in one of these; on every address of a family that no prefix is of.
    Within(Vec<Prefix>),
    /// On the first address of each family, and on addresses in one of these.
    PrimaryAndWithin(Vec<Prefix>),
}

/// What becomes of packets to ClusterIPs, inside [`NodeConfig::service_cidrs`], of Services that another proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OtherProxies {
    /// They are dropped as unallocated. So does kube-proxy's nftables mode, whose set of ClusterIPs has only its own;
    /// but it looks after every proxy's DNAT, and sees only what no other proxy has translated.
    #[default]
    Drop,
    /// They are left alone: for hosts where the other proxy's turn comes after this one's.
    Pass,
}

/// What the host says of its own node: all that decides, beside the objects.
///
/// `addresses`, `zone` and `pod_cidrs` that are left empty are taken from the v1 Node of this name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeConfig {
    /// The node's name: endpoints with this `nodeName` are local.
    pub name: String,
    /// The node's addresses; the first of each family is primary.
    pub addresses: Vec<IpAddr>,
    /// The zone, label `topology.kubernetes.io/zone`; `None`: endpoints are not chosen by zone.
    pub zone: Option<String>,
    /// The prefixes that this node's pods get their addresses from.
    pub pod_cidrs: Vec<Prefix>,
    /// The prefixes that all pods of the cluster get their addresses from.
    pub cluster_cidrs: Vec<Prefix>,
    /// How pods are told from everybody else.
    pub detect_local: LocalDetector,
    /// Masquerade everything that is sent to a ClusterIP (kube-proxy's `--masquerade-all`).
    pub masquerade_all: bool,
    /// The ServiceCIDRs: packets to an address in them that no Service has are dropped.
    pub service_cidrs: Vec<Prefix>,
    /// Where NodePorts are served.
    pub node_port_addresses: NodePortAddresses,
    /// How endpoints of Services are chosen that do not say so themselves.
    pub schedule: Schedule,
    /// Serve only Services with this value of label `service.kubernetes.io/service-proxy-name`; `None`:
    /// only those without the label.
    pub proxy_name: Option<String>,
    /// What becomes of packets to the other Services' ClusterIPs.
    pub other_proxies: OtherProxies,
}
