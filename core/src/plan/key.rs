//! What names a ServicePort in a plan.

use crate::model::ObjectKey;
use crate::net::{Family, Protocol};
use alloc::string::String;
use core::fmt;

/// One ServicePort in one address family: the unit that endpoints are chosen for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// `metadata.namespace` of the Service.
    pub namespace: String,
    /// `metadata.name` of the Service.
    pub name: String,
    /// `spec.ports[].name`; empty if the Service's only port has none.
    pub port_name: String,
    /// `spec.ports[].protocol`.
    pub protocol: Protocol,
    /// The family of its frontends and endpoints.
    pub family: Family,
}

impl PortKey {
    /// The Service's key.
    #[must_use]
    pub fn service(&self) -> ObjectKey {
        ObjectKey::new(self.namespace.as_str(), self.name.as_str())
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        write!(f, "{}/{}", self.namespace, self.name)?;
        if !self.port_name.is_empty() {
            write!(f, ":{}", self.port_name)?;
        }
        write!(f, " {} {family}", self.protocol)
    }
}
