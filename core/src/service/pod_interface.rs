//! By what interfaces pods send.

use alloc::string::String;
use core::fmt;

/// The interfaces that pods' packets enter by, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PodInterface {
    /// The bridge of this name (kube-proxy's `BridgeInterface`).
    Bridge(String),
    /// Every interface whose name begins so (kube-proxy's `InterfaceNamePrefix`).
    NamePrefix(String),
}

impl PodInterface {
    /// Is an interface of this name one of them? A host asks once for each interface, and marks what enters by it with
    /// [`crate::dataplane::descriptor_flags::FROM_POD`].
    #[must_use]
    pub fn matches(&self, interface: &str) -> bool {
        match self {
            Self::Bridge(name) => interface == name,
            Self::NamePrefix(prefix) => interface.starts_with(prefix.as_str()),
        }
    }
}

/// For example `cni0`, or `veth*`.
impl fmt::Display for PodInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name) => f.write_str(name),
            Self::NamePrefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}
