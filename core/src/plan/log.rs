//! What changed in which generation, so that any reader can follow from where it stands.

use super::{Change, Changes, Plan, PortKey, PortPlan, ServiceNumber};
use crate::net::Generation;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Removals are remembered at least this many.
const REMOVALS_KEPT: usize = 4096;

/// When something changed: the generation, and its place among all changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    generation: u64,
    sequence: u64,
}

/// The newest change of each key: as large as the plan, plus a bounded number of removals. A reader asks from
/// any generation; only one that has missed removals no longer remembered is given the whole plan.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    generation: u64,
    sequence: u64,
    /// Of which Service the ServicePort is that was put then.
    put: BTreeMap<Stamp, ServiceNumber>,
    removed: BTreeMap<Stamp, Arc<PortKey>>,
    /// The same by key.
    removed_keys: BTreeMap<Arc<PortKey>, Stamp>,
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
        let now =
            |stamp: Option<&Stamp>| stamp.is_some_and(|stamp| stamp.generation == self.generation);
        self.node == self.generation
            || now(self.put.last_key_value().map(|(stamp, _)| stamp))
            || now(self.removed.last_key_value().map(|(stamp, _)| stamp))
    }

    pub(super) const fn node(&mut self) {
        self.node = self.generation;
    }

    const fn stamp(&mut self) -> Stamp {
        self.sequence = self.sequence.saturating_add(1);
        Stamp {
            generation: self.generation,
            sequence: self.sequence,
        }
    }

    /// A ServicePort is new or different; `before` is the stamp of its last change.
    pub(super) fn put(
        &mut self,
        key: &PortKey,
        service: ServiceNumber,
        before: Option<Stamp>,
    ) -> Stamp {
        match before {
            Some(before) => {
                self.put.remove(&before);
            }
            // It may have been here, and gone.
            None if !self.removed_keys.is_empty() => {
                if let Some(removal) = self.removed_keys.remove(key) {
                    self.removed.remove(&removal);
                }
            }
            None => {}
        }
        let stamp = self.stamp();
        self.put.insert(stamp, service);
        stamp
    }

    /// A ServicePort is gone; `before` is the stamp of its last change.
    pub(super) fn remove(&mut self, key: &Arc<PortKey>, before: Stamp) {
        self.put.remove(&before);
        let stamp = self.stamp();
        self.removed.insert(stamp, Arc::clone(key));
        self.removed_keys.insert(Arc::clone(key), stamp);
        while self.removed.len() > REMOVALS_KEPT.max(self.put.len()) {
            let Some((stamp, key)) = self.removed.pop_first() else {
                return;
            };
            self.removed_keys.remove(&key);
            self.forgotten = stamp.generation;
        }
    }

    pub(super) fn since(&self, since: Generation, plan: &Plan) -> Changes {
        let since = since.0;
        let full = since == 0 || since < self.forgotten || since > self.generation;
        let later = Stamp {
            generation: since.saturating_add(1),
            sequence: 0,
        };
        let mut changes = Vec::new();
        if !full {
            let removed = self.removed.range(later..);
            changes.extend(removed.map(|(_, key)| Change::Remove(Arc::clone(key))));
        }
        if full || self.node > since {
            changes.push(Change::Node(plan.node().clone()));
        }
        let put = |(key, port): (&Arc<PortKey>, &Arc<PortPlan>)| {
            Change::Put(Arc::clone(key), Arc::clone(port))
        };
        if full {
            changes.extend(plan.ports().map(put));
        } else {
            let ports = self.put.range(later..).filter_map(|(stamp, service)| {
                let mut ports = plan.of_service(*service).iter();
                ports.find(|port| port.stamp == *stamp)
            });
            changes.extend(ports.map(|port| put((&port.key, &port.plan))));
        }
        Changes {
            to: self.generation(),
            full,
            changes,
        }
    }
}
