//! What annotations say of how endpoints are chosen.

use crate::net::Scheduler;
use alloc::collections::BTreeMap;
use core::net::IpAddr;

/// How a Service's endpoints are chosen, as far as the Service says; the node says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// Annotation `portolan/scheduler`.
    pub scheduler: Option<Scheduler>,
    /// Annotation `portolan/slow-start`: for how many seconds a new endpoint gets fewer connections than its share.
    pub slow_start_seconds: Option<u16>,
}

/// Annotation `portolan/weight`: weights of endpoints, of all alike or by address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weights {
    /// Of every endpoint that has none of its own.
    pub all: Option<u16>,
    /// By address.
    pub by_address: BTreeMap<IpAddr, u16>,
}

impl Weights {
    /// What is said of an endpoint.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> Option<u16> {
        // Most objects say nothing.
        if self.by_address.is_empty() {
            return self.all;
        }
        self.by_address.get(&address).copied().or(self.all)
    }
}
