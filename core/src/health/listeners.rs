//! Which sockets health checks are to be listened for on: what a host opens and closes as Services change.

use super::ServiceHealth;
use crate::model::ObjectKey;
use crate::node::Node;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

/// A socket to listen on, and for which Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// One of the NodePort addresses, with the Service's `healthCheckNodePort`; TCP.
    pub address: SocketAddr,
    /// The Service.
    pub service: ObjectKey,
}

/// What to do so that the right sockets are open: first close, then open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenerChanges {
    /// To be closed.
    pub close: Vec<SocketAddr>,
    /// To be opened.
    pub open: Vec<Listener>,
}

/// Two Services want one `healthCheckNodePort`. The API server hands each number out once, so one of the two
/// was written by hand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contested {
    /// The port.
    pub port: u16,
    /// Who is answered for: the first by namespace and name.
    pub owner: ObjectKey,
    /// Who is not.
    pub refused: ObjectKey,
}

/// The sockets that a node's plan wants, and what each answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listeners {
    wanted: BTreeMap<SocketAddr, ServiceHealth>,
    contested: Vec<Contested>,
}

impl Listeners {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            wanted: BTreeMap::new(),
            contested: Vec::new(),
        }
    }

    /// Follows a node: afterwards every socket answers for what is planned now. Returns which to close and
    /// which to open; one that only counts other endpoints, or answers for another Service, stays open.
    pub fn follow(&mut self, node: &Node) -> ListenerChanges {
        let mut next: BTreeMap<SocketAddr, ServiceHealth> = BTreeMap::new();
        let mut owners: BTreeMap<u16, ObjectKey> = BTreeMap::new();
        self.contested.clear();
        for (service, check) in node.plan().health_checks() {
            let owner = owners.entry(check.port).or_insert_with(|| service.clone());
            if *owner != service {
                self.contested.push(Contested {
                    port: check.port,
                    owner: owner.clone(),
                    refused: service,
                });
                continue;
            }
            for address in node.node_port_addresses() {
                let health = ServiceHealth {
                    service: service.clone(),
                    local_endpoints: check.local_endpoints,
                };
                next.insert(SocketAddr::new(*address, check.port), health);
            }
        }
        let gone = self.wanted.keys().filter(|at| !next.contains_key(*at));
        let new = next.iter().filter(|(at, _)| !self.wanted.contains_key(*at));
        let changes = ListenerChanges {
            close: gone.copied().collect(),
            open: new
                .map(|(address, health)| Listener {
                    address: *address,
                    service: health.service.clone(),
                })
                .collect(),
        };
        self.wanted = next;
        changes
    }

    /// What is to be answered at an address; `None` if nobody should listen there.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<&ServiceHealth> {
        self.wanted.get(&address)
    }

    /// Every socket that should be open, by address.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &ServiceHealth)> {
        self.wanted.iter().map(|(at, health)| (*at, health))
    }

    /// Services that are not answered for, because another one has their port.
    #[must_use]
    pub fn contested(&self) -> &[Contested] {
        &self.contested
    }
}

impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Service {}: spec.healthCheckNodePort: {} is answered for Service {}",
            self.refused, self.port, self.owner
        )
    }
}
