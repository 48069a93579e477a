//! What names an object, and what is said of one that cannot be served.

use super::{EndpointSlice, Endpoints, Node, Service};
use alloc::string::String;
use core::fmt;

/// The kinds of objects that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// v1 Service.
    Service,
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice,
    /// v1 Endpoints, the older form; converted to slices.
    Endpoints,
    /// v1 Node.
    Node,
    /// v1 Namespace: DNS tells an empty one from one that does not exist.
    Namespace,
}

impl Kind {
    /// The kind as manifests write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Endpoints => "Endpoints",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Namespace and name. The namespace is empty for cluster-scoped kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectKey {
    /// A key of these two names.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Names one object among all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// One object of any kind served.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// v1 Service.
    Service(Service),
    /// discovery.k8s.io/v1 EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// v1 Endpoints, as slices.
    Endpoints(Endpoints),
    /// v1 Node.
    Node(Node),
    /// v1 Namespace, of which only the name counts.
    Namespace(String),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Endpoints(_) => Kind::Endpoints,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
        }
    }

    /// What names it among all.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let key = match self {
            Self::Service(service) => service.key.clone(),
            Self::EndpointSlice(slice) => slice.key.clone(),
            Self::Endpoints(endpoints) => endpoints.key.clone(),
            Self::Node(node) => ObjectKey::new("", node.name.as_str()),
            Self::Namespace(name) => ObjectKey::new("", name.as_str()),
        };
        ObjectRef {
            kind: self.kind(),
            key,
        }
    }
}

/// One thing that cannot be served as written. Data, not an error: everything else is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// Which object, in words: `Service default/web`, or where in the input it stood if it has no name.
    pub object: String,
    /// Path of the field, as Kubernetes writes it: `spec.ports[0].nodePort`. Empty if the whole object is meant.
    pub field: String,
    /// The rule broken, with the value: `70000 is not a port: must be between 1 and 65535`.
    pub rule: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{}: {}", self.object, self.rule)
        } else {
            write!(f, "{}: {}: {}", self.object, self.field, self.rule)
        }
    }
}
