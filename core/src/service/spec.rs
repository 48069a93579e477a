//! What a control plane says of one ServicePort and of the node. `plan` compiles to this; an appliance with
//! its own control plane writes it directly.

use super::{PodInterface, Schedule};
use crate::net::{Prefix, Protocol};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Who sent a packet, as far as traffic policy tells senders apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SourceClass {
    /// A pod, recognised by [`NodeSpec::pod_prefixes`] or [`NodeSpec::pod_interface`].
    Pod = 0,
    /// This node itself: the source is one of [`NodeSpec::addresses`].
    Node = 1,
    /// Everybody else.
    Outside = 2,
}

/// Which of a ServicePort's two endpoint sets (KEP-1669, `CategorizeEndpoints`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EndpointSet {
    /// The set of traffic policy Cluster.
    Cluster = 0,
    /// The set of traffic policy Local: endpoints on this node.
    Local = 1,
}

/// What a frontend does for one class of senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRule {
    /// Which endpoints may be chosen.
    pub set: EndpointSet,
    /// Is the source translated to the node's address too? (A hairpin always is.)
    pub masquerade: bool,
}

/// What kind of door into a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIp = 0,
    /// `spec.ports[].nodePort` on one of the node's addresses.
    NodePort = 1,
    /// `spec.externalIPs`.
    ExternalIp = 2,
    /// `status.loadBalancer.arrival[].ip`.
    LoadBalancer = 3,
}

/// One (address, port) at which a ServicePort is served; the protocol is the ServicePort's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address; never unspecified.
    pub address: IpAddr,
    /// The port; never 0.
    pub port: u16,
    /// What kind of door.
    pub kind: FrontendKind,
    /// The rule for each [`SourceClass`], indexed by its number.
    pub rules: [SourceRule; 3],
    /// If not empty, senders outside all of these are dropped.
    pub source_ranges: Vec<Prefix>,
}

/// One endpoint of a ServicePort that is serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointSpec {
    /// Its address, of the frontends' family.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Is it on this node?
    pub local: bool,
    /// Is it in the set of policy Cluster?
    pub in_cluster_set: bool,
    /// Is it in the set of policy Local?
    pub in_local_set: bool,
    /// How many connections it is to get beside others, where the scheduler goes by weight; 0: no new ones,
    /// whatever the scheduler ([`EndpointSpec::takes`]).
    pub weight: u16,
    /// Given back in [`crate::dataplane::Descriptor::endpoint_tag`].
    pub tag: u64,
}

impl EndpointSpec {
    /// May it be chosen for new connections out of this set?
    #[must_use]
    pub const fn takes(&self, set: EndpointSet) -> bool {
        let member = match set {
            EndpointSet::Cluster => self.in_cluster_set,
            EndpointSet::Local => self.in_local_set,
        };
        member && self.weight > 0
    }
}

/// One ServicePort in one address family, ready to be served.
///
/// A sender whose rule names a set without endpoints to choose is dropped (`NoLocalEndpoint`) if the other set has
/// any, and rejected with ICMP port unreachable otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The protocol of all frontends and endpoints.
    pub protocol: Protocol,
    /// Where it is served, sorted.
    pub frontends: Vec<Frontend>,
    /// Every serving endpoint, sorted, those in no set included: connections to them live on.
    pub endpoints: Vec<EndpointSpec>,
    /// `sessionAffinity: ClientIP`: for how many seconds a client keeps its endpoint. `None`: no affinity.
    pub affinity_seconds: Option<u32>,
    /// How an endpoint is chosen.
    pub schedule: Schedule,
}

/// What the table must know of the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSpec {
    /// The node's own addresses.
    pub addresses: Vec<IpAddr>,
    /// Sources in these are pods.
    pub pod_prefixes: Vec<Prefix>,
    /// Whatever enters by these interfaces comes from pods. The host says of each packet whether it did:
    /// [`crate::dataplane::descriptor_flags::FROM_POD`].
    pub pod_interface: Option<PodInterface>,
    /// The ServiceCIDRs: an address in them that no Service has is dropped.
    pub service_prefixes: Vec<Prefix>,
    /// Addresses in `service_prefixes` of Services that another proxy serves: left alone.
    pub foreign_addresses: Vec<IpAddr>,
    /// The source address of masqueraded IPv4 connections; `None`: a connection that needs one is dropped.
    pub masquerade_ipv4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub masquerade_ipv6: Option<Ipv6Addr>,
}

impl fmt::Display for SourceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Outside => "outside",
        })
    }
}

impl fmt::Display for EndpointSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        })
    }
}

impl fmt::Display for FrontendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::ExternalIp => "ExternalIP",
            Self::LoadBalancer => "LoadBalancer",
        })
    }
}

/// For example `ClusterIP 10.96.0.80:80: pod Cluster, node Cluster masqueraded, outside Cluster masqueraded`.
impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.kind,
            SocketAddr::new(self.address, self.port)
        )?;
        let classes = [SourceClass::Pod, SourceClass::Node, SourceClass::Outside];
        let mut separator = ": ";
        for (class, rule) in classes.iter().zip(&self.rules) {
            write!(f, "{separator}{class} {}", rule.set)?;
            if rule.masquerade {
                f.write_str(" masqueraded")?;
            }
            separator = ", ";
        }
        for (position, range) in self.source_ranges.iter().enumerate() {
            let word = if position == 0 { "; only from" } else { "," };
            write!(f, "{word} {range}")?;
        }
        Ok(())
    }
}
