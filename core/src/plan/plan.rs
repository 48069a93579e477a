//! The plan of one node.

use super::log::Stamp;
use super::{HealthCheck, PortKey, PortPlan, ServiceNumber};
use crate::model::ObjectKey;
use crate::service::{Frontend, NodeSpec};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// What one node does with every ServicePort, and what it is itself. Sorted, comparable, printable; the same
/// objects make the same plan, in whatever order they came.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Of which Service each ServicePort is. Its plan stands apart: of fifty thousand names each comparison would read
    /// cache lines that nobody has read lately, and a plan changes more often than its name.
    names: BTreeMap<Arc<PortKey>, ServiceNumber>,
    /// By [`ServiceNumber`].
    services: Vec<Vec<Planned>>,
    pub(super) node: NodeSpec,
}

/// A ServicePort that stands in a plan.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) key: Arc<PortKey>,
    pub(super) plan: Arc<PortPlan>,
    /// When it changed last.
    pub(super) stamp: Stamp,
}

/// One frontend, with whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontendPlan<'plan> {
    /// Where it is served, and the rules there.
    pub frontend: &'plan Frontend,
    /// Its ServicePort.
    pub key: &'plan PortKey,
    /// The plan of its ServicePort.
    pub port: &'plan PortPlan,
}

impl Plan {
    /// Every ServicePort, in order.
    pub fn ports(&self) -> impl Iterator<Item = (&Arc<PortKey>, &Arc<PortPlan>)> {
        let names = self.names.iter();
        names.filter_map(|(key, service)| {
            let mut ports = self.of_service(*service).iter();
            let port = ports.find(|port| Arc::ptr_eq(&port.key, key))?;
            Some((&port.key, &port.plan))
        })
    }

    /// How many ServicePorts there are.
    #[must_use]
    pub fn port_count(&self) -> usize {
        self.names.len()
    }

    /// The plan of one ServicePort.
    #[must_use]
    pub fn port(&self, key: &PortKey) -> Option<&Arc<PortPlan>> {
        let ports = self.of_service(*self.names.get(key)?);
        let port = ports.iter().find(|port| *port.key == *key)?;
        Some(&port.plan)
    }

    /// The ServicePorts of one Service.
    pub(super) fn of_service(&self, number: ServiceNumber) -> &[Planned] {
        let ports = self.services.get(number.0 as usize);
        ports.map(Vec::as_slice).unwrap_or_default()
    }

    /// The same, to be changed; what is new or gone is to be told to [`Plan::name`] or [`Plan::forget`].
    pub(super) fn of_service_mut(&mut self, number: ServiceNumber) -> &mut Vec<Planned> {
        let position = number.0 as usize;
        if self.services.len() <= position {
            let len = position.saturating_add(1);
            self.services.resize_with(len, Vec::new);
        }
        &mut self.services[position]
    }

    /// These ServicePorts are new.
    pub(super) fn name(&mut self, ports: Vec<(Arc<PortKey>, ServiceNumber)>) {
        if self.names.is_empty() {
            // Sorting all at once is several times as fast as inserting one by one.
            self.names = ports.into_iter().collect();
        } else {
            self.names.extend(ports);
        }
    }

    /// This ServicePort is gone.
    pub(super) fn forget(&mut self, key: &PortKey) {
        self.names.remove(key);
    }

    /// The node itself.
    #[must_use]
    pub const fn node(&self) -> &NodeSpec {
        &self.node
    }

    /// Every frontend, by ServicePort.
    pub fn frontends(&self) -> impl Iterator<Item = FrontendPlan<'_>> {
        self.ports().flat_map(|(key, port)| {
            port.spec.frontends.iter().map(|frontend| FrontendPlan {
                frontend,
                key,
                port,
            })
        })
    }

    /// Every Service that has a `healthCheckNodePort`, once, by namespace and name.
    pub fn health_checks(&self) -> impl Iterator<Item = (ObjectKey, HealthCheck)> {
        let mut last = None;
        self.ports().filter_map(move |(key, port)| {
            let check = port.health_check?;
            let service = key.service();
            if last.as_ref() == Some(&service) {
                return None;
            }
            last = Some(service.clone());
            Some((service, check))
        })
    }
}

/// The same ServicePorts with the same plans, whatever numbers their Services have.
impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node && self.ports().eq(other.ports())
    }
}

impl Eq for Plan {}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, port) in self.ports() {
            writeln!(f, "{key}")?;
            port.fmt(f)?;
        }
        Ok(())
    }
}
