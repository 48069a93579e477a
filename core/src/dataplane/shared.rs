//! What all workers share, allocated once.

use super::Options;
use super::config::Config;
use super::stats::{COUNTERS, ServiceCounters};
use crate::conntrack::{Connections, Endpoints, Fragments, SourcePorts, Stored};
use crate::net::Protocol;
use crate::service::{Affinity, Balance};
use crate::sync::{Counters, FreeList, Loads};
use alloc::sync::Arc;
use core::net::{Ipv4Addr, Ipv6Addr};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ipv4: Connections<Ipv4Addr>,
    pub(super) ipv6: Connections<Ipv6Addr>,
    pub(super) affinity: Affinity,
    pub(super) fragments: Fragments,
    pub(super) endpoints: Endpoints,
    pub(super) balance: Balance,
    pub(super) services: ServiceCounters,
    pub(super) counters: Arc<Counters<COUNTERS>>,
    pub(super) masquerade_ports: SourcePorts,
    pub(super) options: Options,
    pub(super) workers: u32,
    /// Numbers of workers that do not exist.
    pub(super) worker_slots: FreeList,
}

impl Shared {
    pub(super) fn new(config: &Config) -> Self {
        let Config {
            limits,
            timeouts,
            seed,
            masquerade_ports,
            options,
            memory_advice: advice,
            ..
        } = config;
        let loads = Arc::new(Loads::new(limits.table.endpoints));
        let counted = || Arc::clone(&loads);
        Self {
            ipv4: Connections::new(limits.connections_ipv4, *seed, timeouts, *advice, counted()),
            ipv6: Connections::new(limits.connections_ipv6, *seed, timeouts, *advice, counted()),
            balance: Balance::new(limits.table.services, counted()),
            affinity: Affinity::new(limits.affinities, *seed),
            fragments: Fragments::new(limits.fragments, *seed),
            endpoints: Endpoints::new(limits.table.endpoints, counted()),
            services: ServiceCounters::new(limits.table.services),
            counters: Counters::new(limits.workers as usize),
            masquerade_ports: SourcePorts::new(masquerade_ports),
            options: *options,
            workers: limits.workers,
            worker_slots: FreeList::full(limits.workers),
        }
    }
}

/// The tables of one family.
pub(super) trait Tracked: Stored {
    fn connections(shared: &Shared) -> &Connections<Self>;
}

impl Tracked for Ipv4Addr {
    #[inline]
    fn connections(shared: &Shared) -> &Connections<Self> {
        &shared.ipv4
    }
}

impl Tracked for Ipv6Addr {
    #[inline]
    fn connections(shared: &Shared) -> &Connections<Self> {
        &shared.ipv6
    }
}

/// Is a connection of this protocol cut when its endpoint ends? UDP's sender would never notice
/// (kube-proxy's `conntrack/cleanup.go`); TCP and SCTP are left to their peers, as kube-proxy does.
#[inline]
pub(super) const fn cut_with_endpoint(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Udp)
}
