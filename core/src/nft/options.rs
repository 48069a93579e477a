//! What a host may want otherwise.

use alloc::string::String;
use core::ops::RangeInclusive;

/// Names and places of the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of both families' tables. Neighbours that look for kube-proxy look for `kube-proxy`.
    pub table: String,
    /// The priority of the nat chains in prerouting and output. Source ranges are checked ten before.
    pub dnat_priority: i32,
    /// The priority of the chains that reject and drop in input, forward and output.
    pub filter_priority: i32,
    /// The priority of the nat chain in postrouting.
    pub snat_priority: i32,
    /// How many clients' endpoints are remembered in each family, for session affinity. A client that finds no
    /// room is served without.
    pub affinity_clients: u32,
    /// Source ports that masqueraded connections get; `None`: any from 1024 on, as with kube-proxy; an empty range
    /// becomes its first port. Where the userspace dataplane masquerades to the same addresses, because one backend
    /// takes over from the other, each needs ports of its own: an answer tells by its port alone whose it is.
    pub masquerade_ports: Option<RangeInclusive<u16>>,
}

impl Default for Options {
    /// kube-proxy's priorities.
    fn default() -> Self {
        Self {
            table: "portolan".into(),
            dnat_priority: -100,
            filter_priority: 0,
            snat_priority: 100,
            affinity_clients: 1 << 20,
            masquerade_ports: None,
        }
    }
}
