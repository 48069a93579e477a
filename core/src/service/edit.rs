//! How a control plane changes a table.

use super::{LimitExceeded, NodeSpec, ServiceSpec};
use crate::net::{EndpointId, Protocol, ServiceId};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// One change to a [`super::Table`].
///
/// The same edits in the same order make equal tables, ids included. Two ServicePorts should not claim one
/// (address, port, protocol); if they do, the one put last has it, and when that one goes the frontend is
/// gone until the other is put again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The ServicePort is new or different. Ids are small numbers that the control plane hands out.
    Put(ServiceId, Arc<ServiceSpec>),
    /// The ServicePort is gone; no effect if there is none.
    Remove(ServiceId),
    /// What is known of the node is different.
    Node(NodeSpec),
}

/// An endpoint that connections may no longer go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ended {
    /// The endpoint; the id may be assigned again later, as late as can be.
    pub endpoint: EndpointId,
    /// UDP flows to it are cut at once (their senders would never notice); others live on.
    pub protocol: Protocol,
}

/// An endpoint that is new, or whose tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assigned {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its tag.
    pub tag: u64,
}

/// What edits did to endpoints, for whoever keeps state of theirs elsewhere. In the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Endpoints that ended.
    pub ended: Vec<Ended>,
    /// Endpoints that began, or got another tag. An id that ended in the same edits may stand here again:
    /// attend to `ended` first.
    pub assigned: Vec<Assigned>,
}

/// Why an edit was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplyError {
    /// It needs more than the table was made for.
    LimitExceeded(LimitExceeded),
    /// A ServicePort's frontends and endpoints must all be of one address family.
    MixedFamilies,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitExceeded(limit) => limit.fmt(f),
            Self::MixedFamilies => {
                f.write_str("frontends and endpoints must all be of one address family")
            }
        }
    }
}

impl core::error::Error for ApplyError {}
