//! The differences of one batch of changes, before they are put in order.

use super::condemned::Condemned;
use super::diff::{Difference, order};
use super::{Element, Operation, Set};
use crate::plan::PortKey;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One difference, whose it is, and whether what goes can go while packets are on their way to it.
#[derive(Debug)]
struct Edit {
    difference: Difference,
    owner: Option<Arc<PortKey>>,
    at_once: bool,
}

/// One operation and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) operation: Operation,
    /// The ServicePort; `None` for what several share, and for the node's own.
    pub(super) owner: Option<Arc<PortKey>>,
}

/// The differences of one batch.
#[derive(Debug, Default)]
pub(super) struct Edits {
    added: Vec<Edit>,
    gone: Vec<Edit>,
}

impl Edits {
    /// Notes differences of one owner.
    pub(super) fn extend(
        &mut self,
        differences: Vec<Difference>,
        owner: Option<&Arc<PortKey>>,
        at_once: impl Fn(&Element) -> bool,
    ) {
        for difference in differences {
            let owner = owner.cloned();
            if let Difference::Gone(element) = &difference {
                let at_once = at_once(element);
                self.gone.push(Edit {
                    difference,
                    owner,
                    at_once,
                });
            } else {
                self.added.push(Edit {
                    difference,
                    owner,
                    at_once: false,
                });
            }
        }
    }

    /// What goes from a set goes at once.
    pub(super) fn hasten(&mut self, set: Set) {
        for edit in &mut self.gone {
            edit.at_once |= edit.difference.element().set == set;
        }
    }

    /// Puts them in order: each beginning of it leaves a table that serves. First what others lead to, then what
    /// leads there, then what nobody can miss; the rest is condemned. Ranges that go make room for those that come.
    /// An element whose data changes is deleted and added by two operations beside each other, which belong into
    /// one transaction.
    pub(super) fn into_operations(self, condemned: &mut Condemned) -> Vec<Owned> {
        let [mut room, mut prepared, mut leading, mut gone] = [const { Vec::new() }; 4];
        for Edit {
            difference,
            owner,
            at_once,
        } in self.merged()
        {
            let owned = |operation| Owned {
                operation,
                owner: owner.clone(),
            };
            match difference {
                Difference::Added(element) => {
                    let before = condemned.pardon(&element);
                    if before
                        .as_ref()
                        .is_some_and(|before| before.data == element.data)
                    {
                        continue;
                    }
                    if element.set == Set::Allowed {
                        let beside = condemned.take_beside(&element).into_iter();
                        room.extend(beside.map(Operation::Delete).map(owned));
                    }
                    let list = if leads(element.set) {
                        &mut leading
                    } else {
                        &mut prepared
                    };
                    list.extend(before.map(Operation::Delete).map(owned));
                    list.push(owned(Operation::Add(element)));
                }
                Difference::Changed(before, after) => {
                    leading.extend([Operation::Delete(before), Operation::Add(after)].map(owned));
                }
                Difference::Gone(element) => {
                    let node = is_the_nodes(element.set);
                    if node || at_once && element.set == Set::Allowed {
                        room.push(owned(Operation::Delete(element)));
                    } else if at_once || matches!(element.set, Set::Services | Set::Guarded) {
                        gone.push(owned(Operation::Delete(element)));
                    } else {
                        condemned.add(element);
                    }
                }
            }
        }
        // Neighbours of one set share a message to the kernel. Nothing leads to any of these yet.
        prepared.sort_by_key(|owned| owned.operation.element().set);
        [room, prepared, leading, gone]
            .into_iter()
            .flatten()
            .collect()
    }

    /// All differences, each name once: what one ServicePort gives up and another one takes has changed, or has
    /// not.
    fn merged(self) -> Vec<Edit> {
        let Self {
            mut added,
            mut gone,
        } = self;
        if gone.is_empty() || added.is_empty() {
            added.append(&mut gone);
            return added;
        }
        gone.sort_unstable_by(|one, other| {
            order(one.difference.element(), other.difference.element())
        });
        let mut taken = alloc::vec![false; gone.len()];
        let mut merged = Vec::with_capacity(added.len());
        for mut edit in added {
            let place = gone.binary_search_by(|gone| {
                order(gone.difference.element(), edit.difference.element())
            });
            if let (Ok(place), Difference::Added(after)) = (place, &edit.difference)
                && let Some(Edit {
                    difference: Difference::Gone(before),
                    ..
                }) = gone.get(place)
            {
                if let Some(taken) = taken.get_mut(place) {
                    *taken = true;
                }
                if before.data == after.data {
                    continue;
                }
                edit.difference = Difference::Changed(before.clone(), after.clone());
            }
            merged.push(edit);
        }
        let rest = gone.into_iter().zip(taken).filter(|(_, taken)| !taken);
        merged.extend(rest.map(|(edit, _)| edit));
        merged
    }
}

/// Does it say what the node is like?
const fn is_the_nodes(set: Set) -> bool {
    matches!(
        set,
        Set::Pods | Set::PodInterfaces | Set::Direct | Set::ServiceRanges
    )
}

/// Does it lead packets to what other sets hold?
const fn leads(set: Set) -> bool {
    matches!(set, Set::Services | Set::WithoutEndpoints | Set::Guarded)
}
