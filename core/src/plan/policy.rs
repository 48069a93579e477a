//! What is decided about the node once, for all Services.

use super::{LocalDetector, NodeConfig, NodePortAddresses, OtherProxies};
use crate::model;
use crate::net::{Address, Family, Prefix};
use crate::service::{EndpointSet, FrontendKind, NodeSpec, PodInterface, Schedule, SourceRule};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// A node's configuration, completed from its v1 Node and brought into the form that decisions need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Policy {
    pub(super) node_name: String,
    pub(super) zone: Option<String>,
    pub(super) proxy_name: Option<String>,
    other_proxies: OtherProxies,
    masquerade_all: bool,
    schedule: Schedule,
    /// The addresses that NodePorts are served on.
    node_port_addresses: Vec<IpAddr>,
    pub(super) spec: NodeSpec,
}

impl Policy {
    pub(crate) fn new(config: &NodeConfig, own: Option<&model::Node>) -> Self {
        let own = own.filter(|node| node.name == config.name);
        let addresses = or_own(&config.addresses, own.map(|node| &node.addresses));
        let pod_cidrs = or_own(&config.pod_cidrs, own.map(|node| &node.pod_cidrs));
        let zone = config
            .zone
            .clone()
            .or_else(|| own.and_then(|node| node.zone.clone()));
        let (pod_prefixes, pod_interface) = match &config.detect_local {
            LocalDetector::ClusterCidr => (config.cluster_cidrs.clone(), None),
            LocalDetector::NodeCidr => (pod_cidrs, None),
            LocalDetector::BridgeInterface(name) => {
                (Vec::new(), Some(PodInterface::Bridge(name.clone())))
            }
            LocalDetector::InterfaceNamePrefix(prefix) => {
                (Vec::new(), Some(PodInterface::NamePrefix(prefix.clone())))
            }
            LocalDetector::None => (Vec::new(), None),
        };
        let primary = |family| {
            addresses
                .iter()
                .copied()
                .find(|ip| Family::of(*ip) == family)
        };
        Self {
            node_name: config.name.clone(),
            zone: zone.filter(|zone| !zone.is_empty()),
            proxy_name: config.proxy_name.clone(),
            other_proxies: config.other_proxies,
            masquerade_all: config.masquerade_all,
            schedule: config.schedule,
            node_port_addresses: node_port_addresses(&config.node_port_addresses, &addresses),
            spec: NodeSpec {
                masquerade_ipv4: primary(Family::Ipv4).and_then(Address::from_ip),
                masquerade_ipv6: primary(Family::Ipv6).and_then(Address::from_ip),
                pod_prefixes,
                pod_interface,
                service_prefixes: config.service_cidrs.clone(),
                // Other Services' addresses are the planner's to know.
                foreign_addresses: Vec::new(),
                addresses,
            },
        }
    }

    /// Does this node serve the Service at all?
    pub(super) fn serves(&self, service: &model::Service) -> bool {
        service.external_name.is_none()
            && !service.cluster_ips.is_empty()
            && service.proxy_name == self.proxy_name
    }

    /// The ClusterIPs of a Service that another proxy serves, where they would be taken for unallocated.
    pub(super) fn foreign_addresses(&self, service: &model::Service) -> Vec<IpAddr> {
        let another = service.external_name.is_none() && service.proxy_name != self.proxy_name;
        if !another || self.other_proxies == OtherProxies::Drop {
            return Vec::new();
        }
        let prefixes = &self.spec.service_prefixes;
        let inside = |ip: &IpAddr| prefixes.iter().any(|prefix| prefix.contains(*ip));
        let addresses = service.cluster_ips.iter().copied();
        addresses.filter(inside).collect()
    }

    /// How a Service's endpoints are chosen: as it says, else as the node does.
    pub(super) fn schedule(&self, service: &model::Service) -> Schedule {
        let model::Scheduling {
            scheduler,
            slow_start_seconds,
        } = service.scheduling;
        Schedule {
            scheduler: scheduler.unwrap_or(self.schedule.scheduler),
            slow_start_seconds: slow_start_seconds.unwrap_or(self.schedule.slow_start_seconds),
            seed: self.schedule.seed,
        }
    }

    pub(super) fn primary(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4 => self.spec.masquerade_ipv4.map(IpAddr::V4),
            Family::Ipv6 => self.spec.masquerade_ipv6.map(IpAddr::V6),
        }
    }

    /// The addresses that NodePorts are served on, both families.
    pub(crate) fn all_node_port_addresses(&self) -> &[IpAddr] {
        &self.node_port_addresses
    }

    pub(super) fn node_port_addresses(&self, family: Family) -> impl Iterator<Item = IpAddr> + '_ {
        let addresses = self.node_port_addresses.iter().copied();
        addresses.filter(move |address| Family::of(*address) == family)
    }

    /// Can pods be told from others in this family?
    fn detects_pods(&self, family: Family) -> bool {
        let mut prefixes = self.spec.pod_prefixes.iter();
        self.spec.pod_interface.is_some()
            || prefixes.any(|prefix| Family::of(prefix.address()) == family)
    }

    /// Endpoint set and masquerading for each class of senders, pods first (kube-proxy's chains
    /// `service-`, `external-` and their `masquerade` rules).
    pub(super) fn rules(
        &self,
        service: &model::Service,
        kind: FrontendKind,
        family: Family,
    ) -> [SourceRule; 3] {
        let rule = |set, masquerade| SourceRule { set, masquerade };
        let (cluster, local) = (EndpointSet::Cluster, EndpointSet::Local);
        match (
            kind,
            service.internal_traffic_policy,
            service.external_traffic_policy,
        ) {
            (FrontendKind::ClusterIp, internal, _) => {
                let set = match internal {
                    model::TrafficPolicy::Cluster => cluster,
                    model::TrafficPolicy::Local => local,
                };
                // Whoever is no pod is masqueraded, the node's own processes too, so that replies come back
                // through here. Without a detector nobody can be told to be no pod.
                let others = self.masquerade_all || self.detects_pods(family);
                [
                    rule(set, self.masquerade_all),
                    rule(set, others),
                    rule(set, others),
                ]
            }
            (_, _, model::TrafficPolicy::Cluster) => [rule(cluster, true); 3],
            // Senders inside the cluster are not held to this node (the "short-circuit"): they get what
            // they would get at the ClusterIP.
            (_, _, model::TrafficPolicy::Local) => [
                rule(cluster, false),
                rule(cluster, true),
                rule(local, false),
            ],
        }
    }
}

fn or_own<T: Clone>(configured: &[T], own: Option<&Vec<T>>) -> Vec<T> {
    match own {
        Some(own) if configured.is_empty() => own.clone(),
        Some(_) | None => configured.to_vec(),
    }
}

fn node_port_addresses(selection: &NodePortAddresses, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let usable = addresses
        .iter()
        .copied()
        .filter(|address| !address.is_loopback() && !address.is_unspecified());
    let within = |prefixes: &[Prefix], address: IpAddr| {
        let family = Family::of(address);
        let mut own = prefixes
            .iter()
            .filter(|prefix| Family::of(prefix.address()) == family)
            .peekable();
        own.peek().is_none() || own.any(|prefix| prefix.contains(address))
    };
    let first = |family| {
        usable
            .clone()
            .find(|address| Family::of(*address) == family)
    };
    let firsts = [first(Family::Ipv4), first(Family::Ipv6)];
    match selection {
        NodePortAddresses::All => usable.collect(),
        NodePortAddresses::Within(prefixes) => usable
            .filter(|address| within(prefixes, *address))
            .collect(),
        NodePortAddresses::PrimaryAndWithin(prefixes) => usable
            .filter(|address| {
                let named = prefixes.iter().any(|prefix| prefix.contains(*address));
                named || firsts.contains(&Some(*address))
            })
            .collect(),
        NodePortAddresses::Primary => firsts.into_iter().flatten().collect(),
    }
}
