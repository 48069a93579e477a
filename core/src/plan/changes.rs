//! What became different since a generation.

use super::{PortKey, PortPlan};
use crate::net::Generation;
use crate::service::NodeSpec;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One difference between two generations of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The ServicePort is new or differs.
    Put(Arc<PortKey>, Arc<PortPlan>),
    /// The ServicePort is gone.
    Remove(Arc<PortKey>),
    /// What is known of the node differs.
    Node(NodeSpec),
}

/// The differences from a generation that a reader names to the present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The present: ask from here next time.
    pub to: Generation,
    /// The reader is too far behind (or new): `changes` is the whole plan, and whatever it does not name is
    /// gone.
    pub full: bool,
    /// Removals, then the node, then what is to be put. Each key stands once, with its newest plan.
    pub changes: Vec<Change>,
}
