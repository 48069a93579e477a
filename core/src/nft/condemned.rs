//! Elements that nobody wants, kept until no packet can be on its way to them.
//!
//! A packet that is in the chains while a transaction is committed makes some of its lookups before and some
//! after. So whatever a lookup may still lead to is deleted only some time after nothing leads to it any more.

use super::{Bytes, Element, Set};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Counts what is condemned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Sequence(u64);

type Name = (Set, Bytes, Bytes);

/// Elements to be deleted later, by name and by when they were condemned.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    elements: BTreeMap<Name, (Sequence, Element)>,
    order: BTreeMap<Sequence, Name>,
    last: Sequence,
}

fn name(element: &Element) -> Name {
    let end = element.end.unwrap_or(element.key);
    (element.set, element.key, end)
}

impl Condemned {
    /// To be deleted later.
    pub(super) fn add(&mut self, element: Element) {
        self.last = Sequence(self.last.0.saturating_add(1));
        let name = name(&element);
        if let Some((sequence, _)) = self.elements.insert(name, (self.last, element)) {
            self.order.remove(&sequence);
        }
        self.order.insert(self.last, name);
    }

    /// Somebody wants the element of this name again: what is in the kernel by that name.
    pub(super) fn pardon(&mut self, element: &Element) -> Option<Element> {
        let (sequence, found) = self.elements.remove(&name(element))?;
        self.order.remove(&sequence);
        Some(found)
    }

    /// Takes the ranges that differ from this one in nothing but the range: a new range must not overlap them.
    pub(super) fn take_beside(&mut self, element: &Element) -> Vec<Element> {
        let key = element.key.as_slice();
        // Four fields, of which the first and the last are addresses.
        let address = key.len().saturating_sub(8) / 2;
        let prefix = key
            .get(..key.len().saturating_sub(address))
            .unwrap_or_default();
        let start = Bytes::from_slice(prefix).unwrap_or_default();
        let from = (element.set, start, Bytes::new());
        let names = self.elements.range(from..).map(|(name, _)| *name);
        let same = names
            .take_while(|(set, key, _)| *set == element.set && key.as_slice().starts_with(prefix));
        let same: Vec<Name> = same.collect();
        let taken = same.iter().filter_map(|name| self.elements.remove(name));
        let taken = taken.map(|(sequence, element)| {
            self.order.remove(&sequence);
            element
        });
        taken.collect()
    }

    /// Takes the elements of a set whose keys lie between these two, both included.
    pub(super) fn take_between(&mut self, set: Set, first: Bytes, last: Bytes) -> Vec<Element> {
        let from = (set, first, Bytes::new());
        let names = self.elements.range(from..).map(|(name, _)| *name);
        let names = names.take_while(|(of, key, _)| *of == set && *key <= last);
        let names: Vec<Name> = names.collect();
        let taken = names.iter().filter_map(|name| self.elements.remove(name));
        let taken = taken.map(|(sequence, element)| {
            self.order.remove(&sequence);
            element
        });
        taken.collect()
    }

    /// The last that was condemned.
    pub(super) const fn last(&self) -> Sequence {
        self.last
    }

    pub(super) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    pub(super) fn holds(&self, element: &Element) -> bool {
        self.elements.contains_key(&name(element))
    }

    /// Takes what was condemned up to a sequence.
    pub(super) fn take(&mut self, until: Sequence) -> Vec<Element> {
        let later = self.order.split_off(&Sequence(until.0.saturating_add(1)));
        let due = core::mem::replace(&mut self.order, later);
        let names = due.into_values();
        names
            .filter_map(|name| self.elements.remove(&name))
            .map(|(_, element)| element)
            .collect()
    }

    /// Forgets what the kernel does not have.
    pub(super) fn retain(&mut self, mut there: impl FnMut(&Element) -> bool) {
        let order = &mut self.order;
        self.elements.retain(|_, (sequence, element)| {
            let there = there(element);
            if !there {
                order.remove(sequence);
            }
            there
        });
    }
}
