//! Everything countable about one node, at one time, by name.

use crate::dataplane::{Dataplane, EndpointStats, Limits, ServiceStats, Stats};
use crate::net::Generation;
use crate::node::{Feed, Node};
use crate::plan::{PortKey, PortPlan};
use crate::service::{EndpointSet, FrontendKind, SourceClass};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// A table: how much of it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// The table: the name of its limit in [`Limits`].
    pub table: &'static str,
    /// How much is in use.
    pub used: u64,
    /// How much there is room for.
    pub limit: u64,
    /// What it takes, in bytes; 0 if another row has it.
    pub bytes: u64,
}

/// What went to one endpoint, and came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its counts since it was published.
    pub stats: EndpointStats,
}

/// One ServicePort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCounts {
    /// Which.
    pub key: PortKey,
    /// Its counts since it was published.
    pub stats: ServiceStats,
    /// Its endpoints, those that only serve open connections included. Empty without
    /// [`Limits::endpoint_counters`].
    pub endpoints: Vec<EndpointCounts>,
}

/// Counts of one node. Not one moment's: workers go on counting while it is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Totals over all workers.
    pub totals: Stats,
    /// Every table that has a limit.
    pub capacities: Vec<Capacity>,
    /// Every ServicePort that the dataplane has, sorted.
    pub services: Vec<ServiceCounts>,
    /// ServicePorts with endpoints of which policy Local allows none on this node: by family (IPv4, IPv6), for
    /// `internalTrafficPolicy` and `externalTrafficPolicy`.
    pub no_local_endpoints: [[u64; 2]; 2],
    /// Objects, or parts of them, that cannot be served as written or have no room.
    pub rejections: u64,
    /// The dataplane's generation.
    pub generation: Generation,
}

impl Snapshot {
    /// Looks at everything; costs O(ServicePorts + endpoints × workers).
    #[must_use]
    pub fn take(node: &Node, feed: &Feed, dataplane: &Dataplane, limits: &Limits) -> Self {
        let totals = dataplane.stats();
        let mut services = Vec::new();
        let mut no_local_endpoints = [[0_u64; 2]; 2];
        for (key, plan) in node.plan().ports() {
            for (sum, lacks) in no_local_endpoints
                .get_mut(key.family as usize)
                .into_iter()
                .flatten()
                .zip(lacks_local_endpoints(plan))
            {
                *sum = sum.saturating_add(u64::from(lacks));
            }
            let Some(id) = feed.id(key) else {
                continue;
            };
            let endpoints = dataplane.endpoints_of(id);
            let counts = endpoints.filter_map(|(endpoint, address)| {
                let stats = dataplane.endpoint_stats(endpoint)?;
                Some(EndpointCounts { address, stats })
            });
            let mut endpoints: Vec<EndpointCounts> = counts.collect();
            endpoints.sort_unstable_by_key(|endpoint| endpoint.address);
            services.push(ServiceCounts {
                key: PortKey::clone(key),
                stats: dataplane.service_stats(id),
                endpoints,
            });
        }
        let rejected = node.rejections().count() as u64;
        Self {
            capacities: capacities(&totals, limits),
            totals,
            services,
            no_local_endpoints,
            rejections: rejected.saturating_add(feed.rejections().count() as u64),
            generation: dataplane.generation(),
        }
    }
}

/// Has it endpoints, but none that policy Local allows, for clients that are held to it: those of the ClusterIP,
/// those from outside (kube-proxy's `no_local_endpoints_total`)?
fn lacks_local_endpoints(plan: &PortPlan) -> [bool; 2] {
    let endpoints = &plan.spec.endpoints;
    let takes = |set| endpoints.iter().any(|endpoint| endpoint.takes(set));
    let lacks = takes(EndpointSet::Cluster) && !takes(EndpointSet::Local);
    let held = |internal: bool| {
        lacks
            && plan.spec.frontends.iter().any(|frontend| {
                let outside = frontend.rules.get(SourceClass::Outside as usize);
                (frontend.kind == FrontendKind::ClusterIp) == internal
                    && outside.is_some_and(|rule| rule.set == EndpointSet::Local)
            })
    };
    [held(true), held(false)]
}

fn capacities(totals: &Stats, limits: &Limits) -> Vec<Capacity> {
    let (usage, memory) = (&totals.usage, limits.memory());
    let connections = |limit| Limits {
        connections_ipv4: limit,
        connections_ipv6: 0,
        ..*limits
    };
    let ipv4_bytes = connections(limits.connections_ipv4).memory().connections;
    let row = |table, used: u64, limit: u32, bytes| Capacity {
        table,
        used,
        limit: u64::from(limit),
        bytes,
    };
    let (table, used) = (&limits.table, usage.table);
    let endpoint_bytes = memory.endpoints.saturating_add(memory.endpoint_counters);
    let (frontends, ranges) = (u64::from(used.frontends), u64::from(used.source_ranges));
    let buckets = u64::from(used.hash_buckets);
    Vec::from([
        row(
            "connections_ipv4",
            usage.connections_ipv4,
            limits.connections_ipv4,
            ipv4_bytes,
        ),
        row(
            "connections_ipv6",
            usage.connections_ipv6,
            limits.connections_ipv6,
            memory.connections.saturating_sub(ipv4_bytes),
        ),
        row(
            "services",
            u64::from(used.services),
            table.services,
            memory.table,
        ),
        row("frontends", frontends, table.frontends, 0),
        row(
            "endpoints",
            u64::from(used.endpoints),
            table.endpoints,
            endpoint_bytes,
        ),
        row("source_ranges", ranges, table.source_ranges, 0),
        row("hash_buckets", buckets, table.hash_buckets, 0),
        row(
            "affinities",
            usage.affinities,
            limits.affinities,
            memory.affinities,
        ),
        row(
            "fragments",
            usage.fragments,
            limits.fragments,
            memory.fragments,
        ),
    ])
}
