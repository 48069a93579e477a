//! The objects a node was told of, by the Service they belong to.

use super::revisions::{Revision, Revisions, Touched};
use crate::model::{EndpointSlice, Endpoints, Kind, Node, Object, ObjectKey, ObjectRef, Service};
use crate::plan::{self, Objects, ServiceNumber};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// The objects of one Service, as a reader sees them.
#[derive(Debug, Clone, Default)]
pub struct ServiceObjects<'node> {
    /// The Service, if it is known.
    pub service: Option<&'node Service>,
    /// Its EndpointSlices by name; where there are none, the slices that its v1 Endpoints amount to.
    pub slices: Vec<&'node EndpointSlice>,
}

/// One Service's objects. Any of them may be missing.
#[derive(Debug, Default)]
struct Entry {
    key: ObjectKey,
    service: Option<Service>,
    /// Sorted by key.
    slices: Vec<EndpointSlice>,
    endpoints: Option<Endpoints>,
    changed: bool,
    /// When they changed last.
    revision: u64,
}

/// Objects by Service, and which Services' objects changed.
#[derive(Debug, Default)]
pub(super) struct Store {
    numbers: BTreeMap<ObjectKey, ServiceNumber>,
    /// By [`ServiceNumber`].
    entries: Vec<Entry>,
    free: Vec<ServiceNumber>,
    /// The Service that each slice belongs to, by the hash of the slice's name: its label may change. Numbers, because
    /// of fifty thousand names each comparison would read cache lines that nobody has read lately; names of one hash
    /// are told apart by a look at the slices themselves.
    slice_services: BTreeSet<(u64, ServiceNumber)>,
    /// By name. All of them, because a host may call its node by another name one day.
    nodes: BTreeMap<String, Node>,
    namespaces: BTreeSet<String>,
    changed: Vec<ServiceNumber>,
    revisions: Revisions,
}

impl Entry {
    const fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices.is_empty() && self.endpoints.is_none()
    }

    /// The slices that count, and what they were made of.
    fn slices(&self) -> (Vec<&EndpointSlice>, Kind) {
        // Where slices exist, Endpoints are their mirror image, or older than they are.
        match &self.endpoints {
            Some(endpoints) if self.slices.is_empty() => {
                (endpoints.slices.iter().collect(), Kind::Endpoints)
            }
            Some(_) | None => (self.slices.iter().collect(), Kind::EndpointSlice),
        }
    }
}

impl Store {
    /// Puts an object in the place of the one of its name.
    pub(super) fn put(&mut self, object: Object) {
        match object {
            Object::Service(service) => {
                let number = self.number(&service.key);
                self.edit(number, |entry| {
                    let differs = entry.service.as_ref() != Some(&service);
                    entry.service = Some(service);
                    differs
                });
            }
            Object::EndpointSlice(slice) => self.put_slice(slice),
            Object::Endpoints(endpoints) => {
                let number = self.number(&endpoints.key);
                self.edit(number, |entry| {
                    let differs = entry.endpoints.as_ref() != Some(&endpoints);
                    entry.endpoints = Some(endpoints);
                    differs
                });
            }
            Object::Node(node) => {
                self.nodes.insert(node.name.clone(), node);
            }
            Object::Namespace(name) => {
                if self.namespaces.insert(name) {
                    self.revisions.namespaces();
                }
            }
        }
    }

    fn put_slice(&mut self, slice: EndpointSlice) {
        let hash = hash(&slice.key);
        let before = self.service_of_slice(hash, &slice.key);
        let unmoved = before.filter(|number| {
            self.entries.get(number.0 as usize).is_some_and(|entry| {
                entry.key.name == slice.service_name && entry.key.namespace == slice.key.namespace
            })
        });
        let number = match unmoved {
            Some(number) => number,
            None => {
                if let Some(before) = before {
                    self.take_slice(before, &slice.key);
                    self.forget_place(hash, before);
                }
                let namespace = slice.key.namespace.as_str();
                let number = self.number(&ObjectKey::new(namespace, slice.service_name.as_str()));
                self.slice_services.insert((hash, number));
                number
            }
        };
        self.edit(number, |entry| {
            let place = entry.slices.binary_search_by(|one| one.key.cmp(&slice.key));
            match place {
                Ok(position) => match entry.slices.get_mut(position) {
                    Some(old) if *old != slice => {
                        *old = slice;
                        true
                    }
                    Some(_) | None => false,
                },
                Err(position) => {
                    entry.slices.insert(position, slice);
                    true
                }
            }
        });
    }

    /// Forgets an object; no effect if there is none.
    pub(super) fn delete(&mut self, reference: &ObjectRef) {
        let key = &reference.key;
        let number = self.numbers.get(key).copied();
        match (reference.kind, number) {
            (Kind::Service, Some(number)) => {
                self.edit(number, |entry| entry.service.take().is_some());
            }
            (Kind::Endpoints, Some(number)) => {
                self.edit(number, |entry| entry.endpoints.take().is_some());
            }
            (Kind::Service | Kind::Endpoints, None) => {}
            (Kind::EndpointSlice, _) => {
                let hash = hash(key);
                if let Some(number) = self.service_of_slice(hash, key) {
                    self.take_slice(number, key);
                    self.forget_place(hash, number);
                }
            }
            (Kind::Node, _) => {
                self.nodes.remove(&key.name);
            }
            (Kind::Namespace, _) => {
                if self.namespaces.remove(&key.name) {
                    self.revisions.namespaces();
                }
            }
        }
    }

    /// The Service that a slice belongs to.
    fn service_of_slice(&self, hash: u64, key: &ObjectKey) -> Option<ServiceNumber> {
        let all = (hash, ServiceNumber(0))..=(hash, ServiceNumber(u32::MAX));
        let mut numbers = self.slice_services.range(all).map(|(_, number)| *number);
        numbers.find(|number| {
            let slices = self.entry(*number).map(|entry| &entry.slices);
            slices.is_some_and(|all| all.binary_search_by(|one| one.key.cmp(key)).is_ok())
        })
    }

    /// A slice of this hash is not this Service's any more; another of the same hash may be.
    fn forget_place(&mut self, hash_of_slice: u64, number: ServiceNumber) {
        let slices = self
            .entry(number)
            .into_iter()
            .flat_map(|entry| &entry.slices);
        if slices
            .map(|slice| hash(&slice.key))
            .all(|other| other != hash_of_slice)
        {
            self.slice_services.remove(&(hash_of_slice, number));
        }
    }

    fn take_slice(&mut self, number: ServiceNumber, slice: &ObjectKey) {
        self.edit(number, |entry| {
            let before = entry.slices.len();
            entry.slices.retain(|one| one.key != *slice);
            entry.slices.len() != before
        });
    }

    /// Edits an entry; `edit` says whether anything is different now.
    fn edit(&mut self, number: ServiceNumber, edit: impl FnOnce(&mut Entry) -> bool) {
        if let Some(entry) = self.entries.get_mut(number.0 as usize)
            && edit(entry)
        {
            entry.revision = self.revisions.touch(number, entry.revision);
            if !entry.changed {
                entry.changed = true;
                self.changed.push(number);
            }
        }
    }

    /// What names each object of a kind.
    pub(super) fn references(&self, kind: Kind) -> Vec<ObjectRef> {
        let reference = |key: &ObjectKey| ObjectRef {
            kind,
            key: key.clone(),
        };
        let entries = self.entries.iter();
        match kind {
            Kind::Service => entries
                .filter(|entry| entry.service.is_some())
                .map(|entry| reference(&entry.key))
                .collect(),
            Kind::Endpoints => entries
                .filter(|entry| entry.endpoints.is_some())
                .map(|entry| reference(&entry.key))
                .collect(),
            Kind::EndpointSlice => entries
                .flat_map(|entry| &entry.slices)
                .map(|slice| reference(&slice.key))
                .collect(),
            Kind::Node => {
                let names = self.nodes.keys();
                names
                    .map(|name| reference(&ObjectKey::new("", name.as_str())))
                    .collect()
            }
            Kind::Namespace => {
                let names = self.namespaces.iter();
                names
                    .map(|name| reference(&ObjectKey::new("", name.as_str())))
                    .collect()
            }
        }
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(String::as_str)
    }

    /// See [`super::Node::touched`].
    pub(super) fn touched(&self, since: Revision) -> Touched {
        let key = |number: ServiceNumber| Some(self.entry(number)?.key.clone());
        self.revisions.since(since, key)
    }

    /// See [`super::Node::objects_of`].
    pub(super) fn objects_of(&self, service: &ObjectKey) -> ServiceObjects<'_> {
        let entry = self.numbers.get(service);
        let Some(entry) = entry.and_then(|number| self.entry(*number)) else {
            return ServiceObjects::default();
        };
        let (slices, _) = entry.slices();
        ServiceObjects {
            service: entry.service.as_ref(),
            slices,
        }
    }

    fn entry(&self, number: ServiceNumber) -> Option<&Entry> {
        self.entries.get(number.0 as usize)
    }

    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The Services whose objects changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<ServiceNumber> {
        let changed = core::mem::take(&mut self.changed);
        for number in &changed {
            if let Some(entry) = self.entries.get_mut(number.0 as usize) {
                entry.changed = false;
            }
        }
        changed
    }

    /// Every Service with a number.
    pub(super) fn all(&self) -> Vec<ServiceNumber> {
        self.numbers.values().copied().collect()
    }

    /// Takes their numbers from those of these Services that no object is left of: the planner knows.
    pub(super) fn release(&mut self, numbers: &[ServiceNumber]) {
        for number in numbers {
            if let Some(entry) = self.entries.get_mut(number.0 as usize)
                && entry.is_empty()
                && self.numbers.remove(&entry.key).is_some()
            {
                let key = core::mem::take(&mut entry.key);
                self.revisions.gone(key, entry.revision);
                self.free.push(*number);
            }
        }
    }

    fn number(&mut self, key: &ObjectKey) -> ServiceNumber {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let entry = Entry {
            key: key.clone(),
            ..Entry::default()
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(place) = self.entries.get_mut(number.0 as usize) {
                    *place = entry;
                }
                number
            }
            None => {
                let number = ServiceNumber(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
                self.entries.push(entry);
                number
            }
        };
        self.numbers.insert(key.clone(), number);
        number
    }
}

/// FNV-1a of an object's name.
fn hash(key: &ObjectKey) -> u64 {
    let bytes = key.namespace.bytes().chain([b'/']).chain(key.name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Objects for Store {
    fn of_service(&self, number: ServiceNumber) -> plan::ServiceObjects<'_> {
        let entry = self.entry(number);
        let (slices, slice_kind) =
            entry.map_or((Vec::new(), Kind::EndpointSlice), |entry| entry.slices());
        plan::ServiceObjects {
            service: entry.and_then(|entry| entry.service.as_ref()),
            slices,
            slice_kind,
        }
    }
}
