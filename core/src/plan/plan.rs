//! The plan of one node.

use super::{HealthCheck, PortKey, PortPlan};
use crate::model::ObjectKey;
use crate::service::{Frontend, NodeSpec};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;

/// What one node does with every ServicePort, and what it is itself. Sorted, comparable, printable; the same
/// objects make the same plan, in whatever order they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub(super) ports: BTreeMap<Arc<PortKey>, Arc<PortPlan>>,
    pub(super) node: NodeSpec,
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
    /// Every ServicePort.
    #[must_use]
    pub const fn ports(&self) -> &BTreeMap<Arc<PortKey>, Arc<PortPlan>> {
        &self.ports
    }

    /// The node itself.
    #[must_use]
    pub const fn node(&self) -> &NodeSpec {
        &self.node
    }

    /// Every frontend, by ServicePort.
    pub fn frontends(&self) -> impl Iterator<Item = FrontendPlan<'_>> {
        self.ports.iter().flat_map(|(key, port)| {
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
        self.ports.iter().filter_map(move |(key, port)| {
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

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, port) in &self.ports {
            writeln!(f, "{key}")?;
            port.fmt(f)?;
        }
        Ok(())
    }
}
