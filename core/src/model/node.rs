//! v1 Node, as far as its own dataplane is concerned.

use crate::net::Prefix;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// `metadata.name`.
    pub name: String,
    /// `status.addresses` of type InternalIP, then ExternalIP, in order; the first of a family is primary.
    pub addresses: Vec<IpAddr>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
    /// `spec.podCIDRs` (or `podCIDR`).
    pub pod_cidrs: Vec<Prefix>,
    /// `metadata.deletionTimestamp` is set, or taint `ToBeDeletedByClusterAutoscaler` is present.
    pub being_deleted: bool,
}
