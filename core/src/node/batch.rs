//! Several changes that become one generation: whoever reads sees all of them or none.

use crate::model::{Kind, Object, ObjectRef};
use alloc::collections::{BTreeMap, BTreeSet};

/// Objects to be put and to be forgotten together, by [`super::Node::commit`]. Of several changes to one object
/// the last counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// `None`: to be forgotten.
    objects: BTreeMap<ObjectRef, Option<Object>>,
    replaced: BTreeSet<Kind>,
}

impl Batch {
    /// A batch that changes nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            replaced: BTreeSet::new(),
        }
    }

    /// The object is new or different.
    pub fn put(&mut self, object: Object) {
        self.objects.insert(object.reference(), Some(object));
    }

    /// The object is gone; no effect if it is not known.
    pub fn delete(&mut self, reference: ObjectRef) {
        self.objects.insert(reference, None);
    }

    /// What this batch puts of a kind is all there is of it, as after listing anew: others are forgotten, and the
    /// kind is synced ([`super::Node::synced`]).
    pub fn replace(&mut self, kind: Kind) {
        self.replaced.insert(kind);
    }

    /// Does it change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.replaced.is_empty()
    }

    /// Does it put this object?
    pub(super) fn puts(&self, reference: &ObjectRef) -> bool {
        self.objects.get(reference).is_some_and(Option::is_some)
    }

    pub(super) fn replaced(&self) -> impl Iterator<Item = Kind> + '_ {
        self.replaced.iter().copied()
    }

    pub(super) fn into_objects(self) -> impl Iterator<Item = (ObjectRef, Option<Object>)> {
        self.objects.into_iter()
    }
}
