//! The objects a node was told of, by the Service they belong to.

use crate::model::{EndpointSlice, Endpoints, Kind, Node, Object, ObjectKey, ObjectRef, Service};
use crate::plan::{Objects, ServiceObjects};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// One Service's objects. Any of them may be missing.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    slices: BTreeMap<ObjectKey, EndpointSlice>,
    endpoints: Option<Endpoints>,
}

/// Objects by Service, and which Services' objects changed.
#[derive(Debug, Default)]
pub(super) struct Store {
    entries: BTreeMap<Arc<ObjectKey>, Entry>,
    /// The Service that each slice belongs to: its label may change.
    slice_services: BTreeMap<ObjectKey, Arc<ObjectKey>>,
    own_node: Option<Node>,
    changed: BTreeSet<Arc<ObjectKey>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices.is_empty() && self.endpoints.is_none()
    }
}

impl Store {
    /// Puts an object in the place of the one of its name. Of nodes only the one called `own` is kept.
    pub(super) fn put(&mut self, object: Object, own: &str) {
        match object {
            Object::Service(service) => {
                let key = self.key(&service.key);
                let place = &mut self.entry(&key).service;
                if place.as_ref() != Some(&service) {
                    *place = Some(service);
                    self.changed.insert(key);
                }
            }
            Object::EndpointSlice(slice) => self.put_slice(slice),
            Object::Endpoints(endpoints) => {
                let key = self.key(&endpoints.key);
                let place = &mut self.entry(&key).endpoints;
                if place.as_ref() != Some(&endpoints) {
                    *place = Some(endpoints);
                    self.changed.insert(key);
                }
            }
            Object::Node(node) => {
                if node.name == own {
                    self.own_node = Some(node);
                }
            }
        }
    }

    fn put_slice(&mut self, slice: EndpointSlice) {
        let service = ObjectKey::new(slice.key.namespace.as_str(), slice.service_name.as_str());
        let key = self.key(&service);
        let before = self
            .slice_services
            .insert(slice.key.clone(), Arc::clone(&key));
        if let Some(before) = before.filter(|before| *before != key) {
            self.take_slice(&before, &slice.key);
        }
        let slices = &mut self.entry(&key).slices;
        if slices.get(&slice.key) != Some(&slice) {
            slices.insert(slice.key.clone(), slice);
            self.changed.insert(key);
        }
    }

    /// Forgets an object; no effect if there is none.
    pub(super) fn delete(&mut self, reference: &ObjectRef) {
        let key = &reference.key;
        match reference.kind {
            Kind::Service => {
                self.forget(key, |entry| entry.service.take().is_some());
            }
            Kind::Endpoints => {
                self.forget(key, |entry| entry.endpoints.take().is_some());
            }
            Kind::EndpointSlice => {
                if let Some(service) = self.slice_services.remove(key) {
                    self.take_slice(&service, key);
                }
            }
            Kind::Node => {
                if self
                    .own_node
                    .as_ref()
                    .is_some_and(|node| node.name == key.name)
                {
                    self.own_node = None;
                }
            }
        }
    }

    fn take_slice(&mut self, service: &ObjectKey, slice: &ObjectKey) {
        self.forget(service, |entry| entry.slices.remove(slice).is_some());
    }

    fn forget(&mut self, service: &ObjectKey, take: impl FnOnce(&mut Entry) -> bool) {
        let key = self.key(service);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        if take(entry) {
            if entry.is_empty() {
                self.entries.remove(&key);
            }
            self.changed.insert(key);
        }
    }

    /// What names each object of a kind.
    pub(super) fn references(&self, kind: Kind) -> Vec<ObjectRef> {
        let of = |key: &ObjectKey| ObjectRef {
            kind,
            key: key.clone(),
        };
        let entries = self.entries.iter();
        match kind {
            Kind::Service => entries
                .filter(|(_, entry)| entry.service.is_some())
                .map(|(key, _)| of(key))
                .collect(),
            Kind::Endpoints => entries
                .filter(|(_, entry)| entry.endpoints.is_some())
                .map(|(key, _)| of(key))
                .collect(),
            Kind::EndpointSlice => self.slice_services.keys().map(of).collect(),
            Kind::Node => {
                let own = self.own_node.iter();
                own.map(|node| of(&ObjectKey::new("", node.name.as_str())))
                    .collect()
            }
        }
    }

    pub(super) const fn own_node(&self) -> Option<&Node> {
        self.own_node.as_ref()
    }

    /// The Services whose objects changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<Arc<ObjectKey>> {
        core::mem::take(&mut self.changed)
    }

    /// Every Service with any object.
    pub(super) fn all(&self) -> BTreeSet<Arc<ObjectKey>> {
        self.entries.keys().cloned().collect()
    }

    fn key(&self, key: &ObjectKey) -> Arc<ObjectKey> {
        match self.entries.get_key_value(key) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(key.clone()),
        }
    }

    fn entry(&mut self, key: &Arc<ObjectKey>) -> &mut Entry {
        self.entries.entry(Arc::clone(key)).or_default()
    }
}

impl Objects for Store {
    fn of_service(&self, key: &ObjectKey) -> ServiceObjects<'_> {
        let entry = self.entries.get(key);
        let mut slices: Vec<&EndpointSlice> =
            entry.map_or_else(Vec::new, |entry| entry.slices.values().collect());
        let mut slice_kind = Kind::EndpointSlice;
        // Where slices exist, Endpoints are their mirror image, or older than they are.
        if let (true, Some(endpoints)) = (
            slices.is_empty(),
            entry.and_then(|entry| entry.endpoints.as_ref()),
        ) {
            slices.extend(&endpoints.slices);
            slice_kind = Kind::Endpoints;
        }
        ServiceObjects {
            service: entry.and_then(|entry| entry.service.as_ref()),
            slices,
            slice_kind,
        }
    }
}
