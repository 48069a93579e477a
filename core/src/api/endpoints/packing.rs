//! The slices of one Service: which endpoint lies in which slice.
//!
//! Slices hold endpoints with the same ports, at most so many each. Endpoints are put where a slice has to be written
//! anyway, then where they fit best, and only then into new slices; nothing is moved to fill gaps, because each slice
//! that is written goes to every node. Source: Kubernetes' endpointslice reconciler (`reconcileByPortMapping`).

use super::target::{Endpoint, ResolvedPort};
use crate::model::ObjectKey;
use crate::net::Family;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What all endpoints of a slice have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) family: Family,
    pub(super) ports: Vec<ResolvedPort>,
}

/// One slice.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub(super) group: Group,
    pub(super) endpoints: BTreeMap<ObjectKey, Endpoint>,
}

/// All slices of one Service, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Packing {
    slices: BTreeMap<u32, Slice>,
    of_group: BTreeMap<Group, BTreeSet<u32>>,
    placed: BTreeMap<(ObjectKey, Family), u32>,
    /// Slices that must be written, or deleted if they are gone, since this was last asked for.
    changed: BTreeSet<u32>,
}

/// Endpoints that are to be placed, by what they have in common.
pub(super) type Additions = BTreeMap<Group, Vec<(ObjectKey, Endpoint)>>;

impl Packing {
    /// The slices, by number.
    pub(super) const fn slices(&self) -> &BTreeMap<u32, Slice> {
        &self.slices
    }

    /// The Pods that have been placed.
    pub(super) fn pods(&self) -> BTreeSet<ObjectKey> {
        self.placed.keys().map(|(pod, _)| pod.clone()).collect()
    }

    /// Everything must be written again.
    pub(super) fn touch_all(&mut self) {
        self.changed.extend(self.slices.keys());
    }

    /// What must be written or deleted.
    pub(super) fn take_changed(&mut self) -> BTreeSet<u32> {
        core::mem::take(&mut self.changed)
    }

    /// Says what a Pod is in a family from now on. What has no place yet goes to `additions`.
    pub(super) fn set(
        &mut self,
        pod: &ObjectKey,
        family: Family,
        wanted: Option<(Vec<ResolvedPort>, Endpoint)>,
        additions: &mut Additions,
    ) {
        let at = (pod.clone(), family);
        let number = self.placed.get(&at).copied();
        let slice = number.and_then(|number| self.slices.get_mut(&number));
        let wanted = wanted.map(|(ports, endpoint)| (Group { family, ports }, endpoint));
        if let (Some(number), Some(slice)) = (number, slice) {
            if let Some((group, endpoint)) = &wanted
                && slice.group == *group
            {
                if slice.endpoints.get(pod) != Some(endpoint) {
                    slice.endpoints.insert(pod.clone(), endpoint.clone());
                    self.changed.insert(number);
                }
                return;
            }
            slice.endpoints.remove(pod);
            self.changed.insert(number);
            self.placed.remove(&at);
        }
        if let Some((group, endpoint)) = wanted {
            additions
                .entry(group)
                .or_default()
                .push((pod.clone(), endpoint));
        }
    }

    /// Places what has no place, removes slices that have become empty, and sees to it that each family has a slice,
    /// be it one that only says that there is nothing.
    pub(super) fn settle(
        &mut self,
        additions: Additions,
        families: &[Family],
        limit: usize,
        is_free: impl Fn(u32) -> bool,
    ) {
        for (group, endpoints) in additions {
            self.place(&group, endpoints, limit, &is_free);
        }
        let empty: Vec<u32> = self
            .changed
            .iter()
            .copied()
            .filter(|number| {
                self.slices
                    .get(number)
                    .is_some_and(|it| it.endpoints.is_empty())
            })
            .collect();
        for number in empty {
            self.remove(number);
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            self.placeholder(family, families.contains(&family), &is_free);
        }
    }

    fn remove(&mut self, number: u32) {
        self.changed.insert(number);
        if let Some(slice) = self.slices.remove(&number)
            && let Some(numbers) = self.of_group.get_mut(&slice.group)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_group.remove(&slice.group);
            }
        }
    }

    /// An empty slice without ports stands for a family without endpoints, and for nothing else.
    fn placeholder(&mut self, family: Family, wanted: bool, is_free: &impl Fn(u32) -> bool) {
        let bare = Group {
            family,
            ports: Vec::new(),
        };
        let is_empty = |number: &&u32| {
            self.slices
                .get(number)
                .is_some_and(|slice| slice.endpoints.is_empty())
        };
        // Slices that have become empty are gone already: an empty one can only be the placeholder.
        let bare_slices = self.of_group.get(&bare);
        let placeholder = bare_slices.and_then(|numbers| numbers.iter().find(is_empty).copied());
        let of_family = self
            .of_group
            .iter()
            .filter(|(group, _)| group.family == family);
        let filled = of_family
            .flat_map(|(_, numbers)| numbers)
            .any(|number| !is_empty(&number));
        match placeholder {
            None if wanted && !filled => {
                let number = self.add(bare, is_free);
                self.changed.insert(number);
            }
            Some(number) if !wanted || filled => self.remove(number),
            _ => {}
        }
    }

    /// A new, empty slice.
    fn add(&mut self, group: Group, is_free: &impl Fn(u32) -> bool) -> u32 {
        // Numbers in use are few and small: the gap is found early, and there is always one.
        let number = (1..=u32::MAX)
            .find(|number| !self.slices.contains_key(number) && is_free(*number))
            .unwrap_or(u32::MAX);
        self.of_group
            .entry(group.clone())
            .or_default()
            .insert(number);
        let endpoints = BTreeMap::new();
        self.slices.insert(number, Slice { group, endpoints });
        number
    }

    fn place(
        &mut self,
        group: &Group,
        endpoints: Vec<(ObjectKey, Endpoint)>,
        limit: usize,
        is_free: &impl Fn(u32) -> bool,
    ) {
        let mut endpoints = endpoints.into_iter();
        let numbers = self.of_group.get(group).cloned().unwrap_or_default();
        let len = |slices: &BTreeMap<u32, Slice>, number: &u32| {
            slices.get(number).map_or(0, |slice| slice.endpoints.len())
        };
        // Slices that are written anyway, the fullest first.
        let mut written: Vec<u32> = numbers.intersection(&self.changed).copied().collect();
        written.sort_by_key(|number| core::cmp::Reverse(len(&self.slices, number)));
        for number in &written {
            self.fill(*number, &mut endpoints, limit);
        }
        let mut rest: BTreeSet<u32> = numbers.difference(&self.changed).copied().collect();
        while endpoints.len() > 0 {
            // What is left and fits into one slice as it is goes there: the one that it fills best.
            let room = limit.saturating_sub(endpoints.len());
            let best = rest
                .iter()
                .copied()
                .filter(|number| endpoints.len() < limit && len(&self.slices, number) <= room)
                .max_by_key(|number| len(&self.slices, number));
            let number = best.unwrap_or_else(|| self.add(group.clone(), is_free));
            rest.remove(&number);
            self.fill(number, &mut endpoints, limit);
        }
    }

    /// Puts endpoints into a slice until it is full or there are none.
    fn fill(
        &mut self,
        number: u32,
        endpoints: &mut impl Iterator<Item = (ObjectKey, Endpoint)>,
        limit: usize,
    ) {
        let Some(slice) = self.slices.get_mut(&number) else {
            return;
        };
        let family = slice.group.family;
        while slice.endpoints.len() < limit {
            let Some((pod, endpoint)) = endpoints.next() else {
                return;
            };
            self.placed.insert((pod.clone(), family), number);
            slice.endpoints.insert(pod, endpoint);
            self.changed.insert(number);
        }
    }
}
