//! Which Services' objects changed when, so that any reader can follow them from where it stands.

use crate::model::ObjectKey;
use crate::plan::ServiceNumber;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Services that are gone are remembered at least this many.
const GONE_KEPT: usize = 4096;

/// Counts changes of objects; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// What became different from a revision that a reader names to the present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The present: ask from here next time.
    pub to: Revision,
    /// The reader is too far behind (or new): `services` are all there are, and whatever it does not name is gone.
    pub full: bool,
    /// Services any of whose objects is new, different or gone.
    pub services: Vec<ObjectKey>,
    /// Namespaces came or went.
    pub namespaces: bool,
}

/// The newest change of each Service: as large as there are Services, and a bounded number of those gone.
#[derive(Debug, Default)]
pub(super) struct Revisions {
    now: u64,
    touched: BTreeMap<u64, ServiceNumber>,
    gone: BTreeMap<u64, ObjectKey>,
    namespaces: u64,
    /// Services that went up to this revision are forgotten.
    forgotten: u64,
}

impl Revisions {
    const fn next(&mut self) -> u64 {
        self.now = self.now.saturating_add(1);
        self.now
    }

    /// A Service's objects are different; `before` is what this returned last for it, or 0.
    pub(super) fn touch(&mut self, number: ServiceNumber, before: u64) -> u64 {
        self.touched.remove(&before);
        let now = self.next();
        self.touched.insert(now, number);
        now
    }

    /// Nothing is left of a Service.
    pub(super) fn gone(&mut self, key: ObjectKey, before: u64) {
        self.touched.remove(&before);
        // When it was touched last, it went: a reader that knows of that knows that it is gone.
        self.gone.insert(before, key);
        while self.gone.len() > GONE_KEPT.max(self.touched.len()) {
            if let Some((revision, _)) = self.gone.pop_first() {
                self.forgotten = self.forgotten.max(revision);
            }
        }
    }

    pub(super) const fn namespaces(&mut self) {
        self.namespaces = self.next();
    }

    /// See [`super::Node::touched`]; `key` names the Services there are.
    pub(super) fn since(
        &self,
        since: Revision,
        key: impl Fn(ServiceNumber) -> Option<ObjectKey>,
    ) -> Touched {
        let Revision(since) = since;
        let full = since == 0 || since < self.forgotten || since > self.now;
        let after = if full { 0 } else { since.saturating_add(1) };
        let mut services: Vec<_> = self
            .touched
            .range(after..)
            .filter_map(|(_, number)| key(*number))
            .collect();
        if !full {
            services.extend(self.gone.range(after..).map(|(_, key)| key.clone()));
            services.sort_unstable();
            services.dedup();
        }
        Touched {
            to: Revision(self.now),
            full,
            services,
            namespaces: full || self.namespaces > since,
        }
    }
}
