//! All that is known, ready to be looked up: Services by name, addresses, namespaces.

use super::config::Settings;
use super::records::ServiceRecords;
use crate::sync::Replica;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::net::IpAddr;
use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// A Service's place, for as long as it is known.
type Slot = u32;

/// One change.
#[derive(Debug)]
pub(super) enum Edit {
    /// A Service by its labels, and what it is now.
    Service(Box<[u8]>, Option<Arc<ServiceRecords>>),
    /// Namespaces by their labels, all that were declared.
    Namespaces(Arc<BTreeSet<Box<[u8]>>>),
    /// A pod of a verified name: its address, its namespace's label, and whether there is one.
    Pod(IpAddr, Box<[u8]>, bool),
    /// Is everything known, so that an unknown name does not exist?
    Synced(bool),
    /// The serial of the SOA records.
    Serial(u32),
}

/// One of the two replicas that answers are looked up in.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) settings: Arc<Settings>,
    hasher: FixedState,
    /// Slots by the hash of the Service's labels.
    services: HashTable<(Slot, Arc<ServiceRecords>)>,
    slots: Vec<Option<Arc<ServiceRecords>>>,
    free: Vec<Slot>,
    /// ClusterIPs and ready endpoints, with the Services that have them.
    addresses: BTreeSet<(IpAddr, Slot)>,
    /// Namespaces that Services are in, and how many.
    inhabited: BTreeMap<Box<[u8]>, u32>,
    declared: Arc<BTreeSet<Box<[u8]>>>,
    pods: BTreeSet<(IpAddr, Box<[u8]>)>,
    pub(super) synced: bool,
    pub(super) serial: u32,
}

impl Tables {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            hasher: FixedState::with_seed(settings.config.seed),
            settings,
            services: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            addresses: BTreeSet::new(),
            inhabited: BTreeMap::new(),
            declared: Arc::default(),
            pods: BTreeSet::new(),
            synced: false,
            serial: 0,
        }
    }

    /// The Service of these labels.
    pub(super) fn service(&self, key: &[u8]) -> Option<&ServiceRecords> {
        let hash = self.hasher.hash_one(key);
        let found = self.services.find(hash, |(_, known)| *known.key == *key);
        found.map(|(_, records)| &**records)
    }

    /// The labels of every Service.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().flatten().map(|records| &*records.key)
    }

    /// How many Services there are.
    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    /// Does a namespace exist? One that a Service is in does, whether or not it was declared.
    pub(super) fn namespace_exists(&self, label: &[u8]) -> bool {
        self.inhabited.contains_key(label) || self.declared.contains(label)
    }

    /// Was a pod with this address given, in this namespace?
    pub(super) fn pod_exists(&self, address: IpAddr, namespace: &[u8]) -> bool {
        let first = (address, Box::default());
        let here = self
            .pods
            .range(first..)
            .take_while(|(at, _)| *at == address);
        here.into_iter().any(|(_, label)| **label == *namespace)
    }

    /// The Services that have an address, as ClusterIP or as ready endpoint.
    pub(super) fn owners(&self, address: IpAddr) -> impl Iterator<Item = &ServiceRecords> + Clone {
        let here = self.addresses.range((address, 0)..=(address, Slot::MAX));
        here.filter_map(|(_, slot)| self.slot(*slot))
    }

    /// Is any address in this range known?
    pub(super) fn any_between(&self, first: IpAddr, last: IpAddr) -> bool {
        let mut range = self.addresses.range((first, 0)..=(last, Slot::MAX));
        range.next().is_some()
    }

    fn slot(&self, slot: Slot) -> Option<&ServiceRecords> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    fn put(&mut self, records: &Arc<ServiceRecords>) {
        let hash = self.hasher.hash_one(&*records.key);
        let hasher = &self.hasher;
        let found = self
            .services
            .find_mut(hash, |(_, known)| known.key == records.key);
        let (slot, before) = match found {
            Some((slot, known)) => {
                let before = core::mem::replace(known, Arc::clone(records));
                (*slot, Some(before))
            }
            None => {
                let next = || Slot::try_from(self.slots.len()).unwrap_or(Slot::MAX);
                let slot = self.free.pop().unwrap_or_else(next);
                self.services
                    .insert_unique(hash, (slot, Arc::clone(records)), |(_, known)| {
                        hasher.hash_one(&*known.key)
                    });
                let namespace = records.namespace();
                match self.inhabited.get_mut(namespace) {
                    Some(count) => *count = count.saturating_add(1),
                    None => {
                        self.inhabited.insert(namespace.into(), 1);
                    }
                }
                (slot, None)
            }
        };
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        match self.slots.get_mut(place) {
            Some(place) => *place = Some(Arc::clone(records)),
            None => self.slots.push(Some(Arc::clone(records))),
        }
        self.move_addresses(slot, before.as_deref(), Some(records));
    }

    fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let found = self
            .services
            .find_entry(hash, |(_, known)| *known.key == *key);
        let Ok(found) = found else {
            return;
        };
        let ((slot, records), _) = found.remove();
        let place = usize::try_from(slot).unwrap_or(usize::MAX);
        if let Some(place) = self.slots.get_mut(place) {
            *place = None;
        }
        self.free.push(slot);
        let namespace = records.namespace();
        if let Some(count) = self.inhabited.get_mut(namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.inhabited.remove(namespace);
            }
        }
        self.move_addresses(slot, Some(&records), None);
    }

    /// A Service had these addresses, and has those: only what differs is touched.
    fn move_addresses(
        &mut self,
        slot: Slot,
        before: Option<&ServiceRecords>,
        after: Option<&ServiceRecords>,
    ) {
        let has = |records: Option<&ServiceRecords>, address| {
            records.is_some_and(|records| {
                !records.hosts_at(address).is_empty()
                    || records.cluster_ips().any(|own| own == address)
            })
        };
        for address in before.into_iter().flat_map(addresses) {
            if !has(after, address) {
                self.addresses.remove(&(address, slot));
            }
        }
        for address in after.into_iter().flat_map(addresses) {
            if !has(before, address) {
                self.addresses.insert((address, slot));
            }
        }
    }
}

fn addresses(records: &ServiceRecords) -> impl Iterator<Item = IpAddr> {
    let hosts = records.hosts.iter().map(|host| host.address);
    records.cluster_ips().chain(hosts)
}

impl Replica for Tables {
    type Edit = Edit;
    type Effects = ();
    type Refusal = core::convert::Infallible;

    fn apply(&mut self, edit: &Edit, (): &mut ()) -> Result<(), Self::Refusal> {
        match edit {
            Edit::Service(_, Some(records)) => self.put(records),
            Edit::Service(key, None) => self.remove(key),
            Edit::Namespaces(all) => self.declared = Arc::clone(all),
            Edit::Pod(address, namespace, true) => {
                self.pods.insert((*address, namespace.clone()));
            }
            Edit::Pod(address, namespace, false) => {
                self.pods.remove(&(*address, namespace.clone()));
            }
            Edit::Synced(synced) => self.synced = *synced,
            Edit::Serial(serial) => self.serial = *serial,
        }
        Ok(())
    }
}
