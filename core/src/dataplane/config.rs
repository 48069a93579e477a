//! Capacities, timeouts and choices. Everything that has a size is here, and costs what [`Limits::memory`] says.

use super::Options;
use super::endpoint_counters::EndpointAccounts;
use crate::conntrack::{Connections, Endpoints, Fragments, Timeouts};
use crate::service::{Affinity, Balance, Table, TableLimits};
use crate::sync::{Advice, Loads};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;

/// Every capacity. Memory for all of it is allocated once, by [`super::Dataplane::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 connections: about 95 bytes each.
    pub connections_ipv4: u32,
    /// IPv6 connections: about 159 bytes each.
    pub connections_ipv6: u32,
    /// ServicePorts, frontends, endpoints and source ranges; kept twice.
    pub table: TableLimits,
    /// (ServicePort, client) pairs with session affinity, both families together.
    pub affinities: u32,
    /// Fragmented datagrams followed at a time, both families together.
    pub fragments: u32,
    /// Workers.
    pub workers: u32,
    /// Are packets, bytes and connections counted for each endpoint? 40 bytes for each endpoint and worker,
    /// and 48 bytes more for each endpoint.
    pub endpoint_counters: bool,
}

impl Default for Limits {
    /// A node: 256k connections of each family, 16k ServicePorts, 64k endpoints, 8 workers; about 130 MiB.
    fn default() -> Self {
        Self {
            connections_ipv4: 1 << 18,
            connections_ipv6: 1 << 18,
            table: TableLimits::default(),
            affinities: 1 << 16,
            fragments: 1 << 12,
            workers: 8,
            endpoint_counters: true,
        }
    }
}

/// What [`Limits`] cost, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Connections, index included.
    pub connections: u64,
    /// Both replicas of the Service table.
    pub table: u64,
    /// What connections and counters keep of Services and endpoints.
    pub endpoints: u64,
    /// What is counted for each endpoint.
    pub endpoint_counters: u64,
    /// Session affinity.
    pub affinities: u64,
    /// Fragments.
    pub fragments: u64,
}

impl Memory {
    /// The sum.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.connections
            .saturating_add(self.table)
            .saturating_add(self.endpoints)
            .saturating_add(self.endpoint_counters)
            .saturating_add(self.affinities)
            .saturating_add(self.fragments)
    }
}

impl Limits {
    /// How many endpoints have counts of their own.
    pub(super) const fn counted_endpoints(&self) -> u32 {
        if self.endpoint_counters {
            self.table.endpoints
        } else {
            0
        }
    }

    /// What these limits cost. Nothing is allocated.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            connections: Connections::<Ipv4Addr>::memory_bytes(self.connections_ipv4)
                .saturating_add(Connections::<Ipv6Addr>::memory_bytes(self.connections_ipv6)),
            table: Table::memory_bytes(&self.table).saturating_mul(2),
            endpoints: (Endpoints::memory_bytes(self.table.endpoints) as u64)
                .saturating_add(Loads::memory_bytes(self.table.endpoints))
                .saturating_add(Balance::memory_bytes(self.table.services))
                .saturating_add(super::stats::ServiceCounters::memory_bytes(
                    self.table.services,
                )),
            endpoint_counters: EndpointAccounts::memory_bytes(
                self.workers,
                self.counted_endpoints(),
                self.table.services,
            ),
            affinities: Affinity::memory_bytes(self.affinities),
            fragments: Fragments::memory_bytes(self.fragments),
        }
    }
}

/// How a dataplane is to be made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Capacities.
    pub limits: Limits,
    /// Idle timeouts.
    pub timeouts: Timeouts,
    /// Key of every hash and start of every choice. Take it from a good source and keep it secret: whoever
    /// knows it can choose addresses that collide. The same seed and packets give the same bytes.
    pub seed: u128,
    /// Source ports for masqueraded connections, and for others whose own port is taken. A port that is a
    /// frontend on the masquerade address is never given out; local listeners in the range are the host's
    /// to avoid.
    pub masquerade_ports: RangeInclusive<u16>,
    /// Where users differ.
    pub options: Options,
    /// Sees the memory of large tables before it is touched, so that the host may ask for huge pages: on Linux
    /// `driver::huge_pages`. `None`: pages as they come.
    pub memory_advice: Option<Advice>,
}

impl Default for Config {
    /// Netfilter's timeouts and port range, seed 0.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            seed: 0,
            masquerade_ports: 1024..=65_535,
            options: Options::default(),
            memory_advice: None,
        }
    }
}
