//! Which keys changed in which generation, so that any reader can follow from where it stands.

use super::{Change, Changes, Plan, PortKey};
use crate::net::Generation;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Removals are remembered at least this many.
const REMOVALS_KEPT: usize = 4096;

/// The newest change of each key: as large as the plan, plus a bounded number of removals. A reader asks from
/// any generation; only one that has missed removals no longer remembered is given the whole plan.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    generation: u64,
    put: BTreeMap<Arc<PortKey>, u64>,
    removed: BTreeMap<Arc<PortKey>, u64>,
    by_generation: BTreeSet<(u64, Arc<PortKey>)>,
    removed_by_generation: BTreeSet<(u64, Arc<PortKey>)>,
    node: u64,
    /// Removals up to this generation are forgotten.
    forgotten: u64,
}

impl ChangeLog {
    pub(super) const fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// Everything recorded from here on is one generation later.
    pub(super) const fn advance(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// Nothing was recorded since `before`: that is still the generation.
    pub(super) const fn retreat(&mut self, before: Generation) {
        self.generation = before.0;
    }

    /// Has anything been recorded in this generation?
    pub(super) fn changed_now(&self) -> bool {
        let now = |set: &BTreeSet<(u64, Arc<PortKey>)>| {
            set.last()
                .is_some_and(|(generation, _)| *generation == self.generation)
        };
        self.node == self.generation || now(&self.by_generation) || now(&self.removed_by_generation)
    }

    pub(super) const fn node(&mut self) {
        self.node = self.generation;
    }

    pub(super) fn put(&mut self, key: &Arc<PortKey>) {
        self.forget(key);
        self.put.insert(Arc::clone(key), self.generation);
        self.by_generation
            .insert((self.generation, Arc::clone(key)));
    }

    pub(super) fn remove(&mut self, key: &Arc<PortKey>) {
        self.forget(key);
        self.removed.insert(Arc::clone(key), self.generation);
        self.removed_by_generation
            .insert((self.generation, Arc::clone(key)));
        while self.removed.len() > REMOVALS_KEPT.max(self.put.len()) {
            let Some((generation, key)) = self.removed_by_generation.pop_first() else {
                return;
            };
            self.removed.remove(&key);
            self.forgotten = generation;
        }
    }

    fn forget(&mut self, key: &Arc<PortKey>) {
        if let Some(generation) = self.put.remove(key) {
            self.by_generation.remove(&(generation, Arc::clone(key)));
        }
        if let Some(generation) = self.removed.remove(key) {
            self.removed_by_generation
                .remove(&(generation, Arc::clone(key)));
        }
    }

    pub(super) fn since(&self, since: Generation, plan: &Plan) -> Changes {
        let since = since.0;
        let full = since == 0 || since < self.forgotten || since > self.generation;
        let mut changes = Vec::new();
        if !full {
            let after = after(since);
            let removed = self.removed_by_generation.range(after..);
            changes.extend(removed.map(|(_, key)| Change::Remove(Arc::clone(key))));
        }
        if full || self.node > since {
            changes.push(Change::Node(plan.node().clone()));
        }
        let put = |key: &Arc<PortKey>| {
            let port = plan.ports().get(key)?;
            Some(Change::Put(Arc::clone(key), Arc::clone(port)))
        };
        if full {
            changes.extend(plan.ports().keys().filter_map(put));
        } else {
            let keys = self.by_generation.range(after(since)..);
            changes.extend(keys.filter_map(|(_, key)| put(key)));
        }
        Changes {
            to: self.generation(),
            full,
            changes,
        }
    }
}

/// The least entry of a later generation.
fn after(generation: u64) -> (u64, Arc<PortKey>) {
    (generation.saturating_add(1), Arc::new(PortKey::LEAST))
}
