//! The endpoint controller: Pods, Services and Nodes in, EndpointSlices out.
//!
//! Source: Kubernetes' endpointslice controller. A change of one Pod costs what the Services that select it cost, and
//! of those only the slices that hold it.

mod packing;
mod pod;
mod slice;
mod target;
mod view;

use crate::model::ObjectKey;
use crate::net::Family;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use k8s_openapi::api::{core::v1 as core_v1, discovery::v1 as discovery};

use packing::{Additions, Packing};
use pod::{Node, Pod};
use target::Target;

/// The most endpoints in a slice, unless one says otherwise.
pub const ENDPOINTS_PER_SLICE: usize = 100;

/// The greatest number that may be said instead, as of kube-controller-manager's `--max-endpoints-per-slice`.
pub const MOST_ENDPOINTS_PER_SLICE: usize = 1_000;

/// What has become of one slice.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "deletions are few beside slices")]
pub enum SliceChange {
    /// It is new or different.
    Apply(discovery::EndpointSlice),
    /// It is gone.
    Delete(ObjectKey),
}

/// Namespace, key and value of a label.
type Label = (String, String, String);

/// Everything that endpoints are made of, and the endpoints.
///
/// Objects are set one by one; nothing is computed until [`Self::reconcile`] is called, which treats all changes
/// since the last time as one.
#[derive(Debug)]
pub struct EndpointController {
    limit: usize,
    pods: BTreeMap<ObjectKey, Pod>,
    pods_by_label: BTreeMap<Label, BTreeSet<ObjectKey>>,
    pods_by_node: BTreeMap<String, BTreeSet<ObjectKey>>,
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<ObjectKey, Served>,
    /// Services by one label of their selector, the one that the fewest share.
    services_by_label: BTreeMap<Label, BTreeSet<ObjectKey>>,
    /// Names of slices that somebody else made.
    foreign: BTreeSet<ObjectKey>,
    stale_services: BTreeSet<ObjectKey>,
    stale_pods: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    deleted: BTreeSet<ObjectKey>,
}

/// A Service that has endpoints made for it.
#[derive(Debug)]
struct Served {
    target: Target,
    anchor: Label,
    packing: Packing,
}

impl EndpointController {
    /// Nothing is known yet. A `limit` outside 1 to [`MOST_ENDPOINTS_PER_SLICE`] is taken for the nearest of these.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.clamp(1, MOST_ENDPOINTS_PER_SLICE),
            pods: BTreeMap::new(),
            pods_by_label: BTreeMap::new(),
            pods_by_node: BTreeMap::new(),
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            services_by_label: BTreeMap::new(),
            foreign: BTreeSet::new(),
            stale_services: BTreeSet::new(),
            stale_pods: BTreeMap::new(),
            deleted: BTreeSet::new(),
        }
    }

    /// A Pod is there, is different, or (`None`) is gone.
    pub fn set_pod(&mut self, key: &ObjectKey, pod: Option<&core_v1::Pod>) {
        let pod = pod.map(Pod::new);
        let before = match &pod {
            Some(pod) => self.pods.insert(key.clone(), pod.clone()),
            None => self.pods.remove(key),
        };
        if before == pod {
            return;
        }
        for pod in [&before, &pod].into_iter().flatten() {
            self.mark(key, pod);
        }
        let labels = |pod: &Option<Pod>| pod.as_ref().map(|pod| pod.labels.clone());
        if labels(&before) != labels(&pod) {
            let old = labels(&before).unwrap_or_default();
            let new = labels(&pod).unwrap_or_default();
            unindex(&mut self.pods_by_label, labels_of(key, &old), key);
            index(&mut self.pods_by_label, labels_of(key, &new), key);
        }
        let node = |pod: Option<Pod>| pod.and_then(|pod| pod.node);
        let (old, new) = (node(before), node(pod));
        if old != new {
            unindex(&mut self.pods_by_node, old, key);
            index(&mut self.pods_by_node, new, key);
        }
    }

    /// A Node is there, is different, or (`None`) is gone.
    pub fn set_node(&mut self, name: &str, node: Option<&core_v1::Node>) {
        let node = node.map(Node::new);
        let before = match &node {
            Some(node) => self.nodes.insert(name.into(), node.clone()),
            None => self.nodes.remove(name),
        };
        if before == node {
            return;
        }
        let pods = self.pods_by_node.get(name).cloned().unwrap_or_default();
        for key in pods {
            if let Some(pod) = self.pods.get(&key).cloned() {
                self.mark(&key, &pod);
            }
        }
    }

    /// A Service is there, is different, or (`None`) is gone.
    pub fn set_service(&mut self, key: &ObjectKey, service: Option<&core_v1::Service>) {
        let target = service.and_then(Target::new);
        match (target, self.services.get_mut(key)) {
            (None, None) => {}
            (None, Some(served)) => {
                let numbers = served.packing.slices().keys();
                self.deleted
                    .extend(numbers.map(|number| slice::key(key, *number)));
                let anchor = served.anchor.clone();
                self.services.remove(key);
                unindex(&mut self.services_by_label, Some(anchor), key);
            }
            (Some(target), Some(served)) => {
                if served.target == target {
                    return;
                }
                if served.target.pairs != target.pairs {
                    let old = served.anchor.clone();
                    let new = anchor(&self.services_by_label, key, &target);
                    served.anchor = new.clone();
                    unindex(&mut self.services_by_label, Some(old), key);
                    index(&mut self.services_by_label, Some(new), key);
                }
                let labels = served.target.labels != target.labels;
                if labels || served.target.headless != target.headless {
                    served.packing.touch_all();
                }
                served.target = target;
                self.stale_services.insert(key.clone());
            }
            (Some(target), None) => {
                let anchor = anchor(&self.services_by_label, key, &target);
                index(&mut self.services_by_label, Some(anchor.clone()), key);
                let packing = Packing::default();
                let served = Served {
                    target,
                    anchor,
                    packing,
                };
                self.services.insert(key.clone(), served);
                self.stale_services.insert(key.clone());
            }
        }
    }

    /// Somebody else made (or deleted) a slice of this name: no slice is given the same.
    pub fn set_foreign(&mut self, slice: &ObjectKey, exists: bool) {
        if exists {
            self.foreign.insert(slice.clone());
        } else {
            self.foreign.remove(slice);
        }
    }

    /// Has this controller made a slice of this name?
    #[must_use]
    pub fn made(&self, key: &ObjectKey) -> bool {
        let Some((name, number)) = key.name.rsplit_once('-') else {
            return false;
        };
        let service = ObjectKey::new(key.namespace.as_str(), name);
        let served = self.services.get(&service);
        let number = number.parse::<u32>().ok();
        served.zip(number).is_some_and(|(served, number)| {
            let slices = served.packing.slices();
            slices.contains_key(&number) && slice::key(&service, number) == *key
        })
    }

    /// Brings all slices up to date and says which have changed.
    pub fn reconcile(&mut self) -> Vec<SliceChange> {
        let stale_services = core::mem::take(&mut self.stale_services);
        let mut stale_pods = core::mem::take(&mut self.stale_pods);
        for key in &stale_services {
            let pods = self.selected(key);
            stale_pods.insert(key.clone(), pods);
        }
        let mut changes: Vec<SliceChange> = Vec::new();
        for (key, pods) in &stale_pods {
            self.reconcile_service(key, pods, &mut changes);
        }
        for key in core::mem::take(&mut self.deleted) {
            if !self.made(&key) {
                changes.push(SliceChange::Delete(key));
            }
        }
        changes
    }

    /// Every slice as it is now, in order.
    pub fn slices(&self) -> impl Iterator<Item = discovery::EndpointSlice> + '_ {
        self.services.iter().flat_map(|(key, served)| {
            let slices = served.packing.slices().iter();
            slices.map(move |(number, it)| slice::render(key, *number, &served.target, it))
        })
    }

    /// The v1 Endpoints of a Service, as the older controller would make them; `None` if it has no endpoints made.
    #[must_use]
    pub fn endpoints(&self, service: &ObjectKey) -> Option<core_v1::Endpoints> {
        let served = self.services.get(service)?;
        Some(view::endpoints(service, &served.target, &served.packing))
    }

    /// Notes that the Services that select a Pod must look at it again.
    fn mark(&mut self, key: &ObjectKey, pod: &Pod) {
        for label in labels_of(key, &pod.labels) {
            for service in self.services_by_label.get(&label).into_iter().flatten() {
                let served = self.services.get(service);
                if served.is_some_and(|served| served.target.selector.matches(&pod.labels)) {
                    self.stale_pods
                        .entry(service.clone())
                        .or_default()
                        .insert(key.clone());
                }
            }
        }
    }

    /// The Pods that a Service selects, and those that it has selected.
    fn selected(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let Some(served) = self.services.get(key) else {
            return BTreeSet::new();
        };
        let mut pods = served.packing.pods();
        // Of the labels that a Pod must have, the one that the fewest have.
        let candidates = labels_of(key, &served.target.pairs)
            .map(|label| self.pods_by_label.get(&label))
            .min_by_key(|pods| pods.map_or(0, BTreeSet::len));
        pods.extend(candidates.flatten().into_iter().flatten().cloned());
        pods
    }

    fn reconcile_service(
        &mut self,
        key: &ObjectKey,
        pods: &BTreeSet<ObjectKey>,
        changes: &mut Vec<SliceChange>,
    ) {
        let Some(Served {
            target, packing, ..
        }) = self.services.get_mut(key)
        else {
            return;
        };
        let mut additions = Additions::new();
        for pod_key in pods {
            let pod = self.pods.get(pod_key);
            let pod = pod.filter(|pod| target.selector.matches(&pod.labels));
            let node = pod.and_then(|pod| self.nodes.get(pod.node.as_ref()?));
            for family in [Family::Ipv4, Family::Ipv6] {
                let wanted = pod
                    .filter(|_| target.families.contains(&family))
                    .and_then(|pod| target.endpoint(key, pod, node, family));
                packing.set(pod_key, family, wanted, &mut additions);
            }
        }
        let is_free = |number| !self.foreign.contains(&slice::key(key, number));
        packing.settle(additions, &target.families, self.limit, is_free);
        for number in packing.take_changed() {
            changes.push(match packing.slices().get(&number) {
                Some(it) => SliceChange::Apply(slice::render(key, number, target, it)),
                None => SliceChange::Delete(slice::key(key, number)),
            });
        }
    }
}

/// The labels of an object in its namespace.
fn labels_of<'a>(
    key: &'a ObjectKey,
    labels: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = Label> + 'a {
    labels
        .iter()
        .map(|(name, value)| (key.namespace.clone(), name.clone(), value.clone()))
}

/// The label of a selector that the fewest other Services are found by.
fn anchor(
    services: &BTreeMap<Label, BTreeSet<ObjectKey>>,
    key: &ObjectKey,
    target: &Target,
) -> Label {
    labels_of(key, &target.pairs)
        .min_by_key(|label| services.get(label).map_or(0, BTreeSet::len))
        .unwrap_or_default()
}

fn index<K: Ord>(
    map: &mut BTreeMap<K, BTreeSet<ObjectKey>>,
    at: impl IntoIterator<Item = K>,
    key: &ObjectKey,
) {
    for at in at {
        map.entry(at).or_default().insert(key.clone());
    }
}

fn unindex<K: Ord>(
    map: &mut BTreeMap<K, BTreeSet<ObjectKey>>,
    at: impl IntoIterator<Item = K>,
    key: &ObjectKey,
) {
    for at in at {
        if let Some(keys) = map.get_mut(&at) {
            keys.remove(key);
            if keys.is_empty() {
                map.remove(&at);
            }
        }
    }
}
