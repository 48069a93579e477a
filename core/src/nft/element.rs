//! What is done to sets and maps, as values: rendered as text or encoded for netlink.

use super::{Bytes, Set};
use crate::net::Family;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Where it stands.
    pub set: Set,
    /// What it is found by.
    pub key: Bytes,
    /// Of a range, its last key; equal in all fields but those that range. Only in sets that
    /// [`Set::has_ranges`].
    pub end: Option<Bytes>,
    /// What it is mapped to; `None` in sets.
    pub data: Option<Bytes>,
    /// How long it lives; `None` for ever.
    pub timeout: Option<Duration>,
    /// For people who read `nft list ruleset`; at most [`Element::COMMENT_MAX`] bytes.
    pub comment: Option<Arc<str>>,
}

impl Element {
    /// The longest comment that `nft` takes, in bytes.
    pub const COMMENT_MAX: usize = 128;

    /// An element of a set.
    #[must_use]
    pub const fn new(set: Set, key: Bytes) -> Self {
        Self {
            set,
            key,
            end: None,
            data: None,
            timeout: None,
            comment: None,
        }
    }

    /// An element of a map.
    #[must_use]
    pub const fn mapping(set: Set, key: Bytes, data: Bytes) -> Self {
        Self {
            set,
            key,
            end: None,
            data: Some(data),
            timeout: None,
            comment: None,
        }
    }
}

/// One thing done to a set or map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// The element is new. To give another one's key other data, delete that one in the same transaction.
    Add(Element),
    /// The element is gone; set, key and end name it.
    Delete(Element),
}

impl Operation {
    /// The element.
    #[must_use]
    pub const fn element(&self) -> &Element {
        match self {
            Self::Add(element) | Self::Delete(element) => element,
        }
    }
}

/// Operations on one family's table that the kernel does all or none of. Packets in flight may see some of
/// their lookups before it and some after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Whose table.
    pub family: Family,
    /// In this order; at most [`Transaction::LIMIT`].
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// So many operations hold up the packets of their processor for a few milliseconds: the kernel does not
    /// yield inside a transaction.
    pub const LIMIT: usize = 500;
}
