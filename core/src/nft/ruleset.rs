//! What one family's table is to hold, and the operations that bring it there.

use super::condemned::{Condemned, Sequence};
use super::diff::{Difference, differences, order, sort};
use super::edits::{Edits, Owned};
use super::former::Formers;
use super::numbers::Numbers;
use super::port::{Port, concession, ends, merged, without};
use super::{Bytes, Element, Operation, Set, Ticket};
use crate::model::Rejection;
use crate::net::{Family, Prefix};
use crate::plan::{Change, Changes, PortKey};
use crate::service::{NodeSpec, PodInterface, ServiceSpec};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one family's table is to hold.
#[derive(Debug)]
pub(super) struct Ruleset {
    family: Family,
    ports: BTreeMap<Arc<PortKey>, Port>,
    numbers: Numbers,
    /// How many ServicePorts have the address for a ClusterIP.
    cluster_ips: BTreeMap<IpAddr, u32>,
    /// Of each affinity timeout that has chains, its index.
    timeouts: BTreeMap<u32, u8>,
    node: Vec<Element>,
    detects_pods: bool,
    condemned: Condemned,
    /// Numbers whose elements are about to be condemned.
    given_up: Vec<u32>,
    /// What the table held of ServicePorts before this process.
    formers: Formers,
    /// Left out, and why.
    unservable: BTreeMap<Arc<PortKey>, String>,
}

impl Ruleset {
    pub(super) fn new(family: Family) -> Self {
        Self {
            family,
            ports: BTreeMap::new(),
            numbers: Numbers::default(),
            cluster_ips: BTreeMap::new(),
            timeouts: BTreeMap::new(),
            // The first changes that a reader is given name the node.
            node: Vec::new(),
            detects_pods: false,
            condemned: Condemned::default(),
            given_up: Vec::new(),
            formers: Formers::default(),
            unservable: BTreeMap::new(),
        }
    }

    pub(super) const fn family(&self) -> Family {
        self.family
    }

    /// Follows changes of the plan; returns what is to be done now. Costs O(the ServicePorts that change).
    pub(super) fn apply(&mut self, changes: &Changes) -> Vec<Owned> {
        let mut out = Edits::default();
        if changes.full {
            let named = changes.changes.iter().filter_map(|change| match change {
                Change::Put(key, _) => Some(key),
                Change::Remove(_) | Change::Node(_) => None,
            });
            let named: BTreeSet<&Arc<PortKey>> = named.collect();
            let gone = self.ports.keys().chain(self.unservable.keys());
            let gone: Vec<Arc<PortKey>> =
                gone.filter(|key| !named.contains(key)).cloned().collect();
            for key in gone {
                self.remove(&key, &mut out);
            }
        }
        for change in &changes.changes {
            match change {
                Change::Remove(key) if key.family == self.family => self.remove(key, &mut out),
                Change::Put(key, plan) if key.family == self.family => {
                    self.put(key, &plan.spec, &mut out);
                }
                Change::Node(node) => self.set_node(node, &mut out),
                Change::Remove(_) | Change::Put(_, _) => {}
            }
        }
        if changes.full && self.ports.is_empty() {
            // Nothing is served any more: what would still be a ClusterIP would be one that rejects everything.
            out.hasten(Set::ClusterIps);
        }
        if !self.formers.is_empty() {
            // What is still unclaimed is nobody's.
            self.formers = Formers::default();
            let mut taken: Vec<u32> = self.ports.values().map(|port| port.number).collect();
            taken.sort_unstable();
            self.numbers.restore(&taken);
        }
        self.emit(out)
    }

    /// Leaves a ServicePort out from now on, because the kernel refuses it.
    pub(super) fn leave_out(&mut self, key: &Arc<PortKey>, reason: String) {
        self.remove(key, &mut Edits::default());
        self.unservable.insert(Arc::clone(key), reason);
    }

    /// What cannot be served, as things stand.
    pub(super) fn rejections(&self) -> impl Iterator<Item = Rejection> {
        self.unservable
            .iter()
            .map(|(key, reason)| about(key, reason.clone()))
    }

    /// What is done otherwise than a ServicePort asks, as things stand.
    pub(super) fn concessions(&self) -> impl Iterator<Item = Rejection> {
        self.ports
            .iter()
            .filter_map(|(key, port)| Some(about(key, concession(&port.spec)?)))
    }

    fn put(&mut self, key: &Arc<PortKey>, spec: &Arc<ServiceSpec>, out: &mut Edits) {
        let unchanged = self.ports.get(key).is_some_and(|port| port.spec == *spec);
        if unchanged {
            return;
        }
        let old = self.ports.remove(key);
        self.unservable.remove(key);
        let new = self.arrange(key, spec, old.as_ref());
        let elements = |port: &Port| port.elements(self.family, self.detects_pods);
        let mut before = old.as_ref().map(elements).unwrap_or_default();
        let after = new.as_ref().map(elements).unwrap_or_default();
        if let Ok(port) = &new
            && spec.affinity_seconds.is_some()
        {
            // Clients may still be remembered by endpoints that it had before it was without affinity for a moment.
            let [first, last] = [0, !Ticket::NUMBER].map(|rest| {
                let bits = port.number << Ticket::NUMBER.trailing_zeros() | rest;
                Bytes::new().address(Ticket::address(bits, self.family))
            });
            let endpoints = Set::StickyEndpoints;
            before.extend(self.condemned.take_between(endpoints, first, last));
            sort(&mut before);
        }
        let differences = differences(before, after);
        self.count(old.as_ref(), new.as_ref().ok(), out);
        let family = self.family;
        let at_once = |element: &Element| {
            let port = new.as_ref();
            port.is_ok_and(|port| port.can_do_without(element, family))
        };
        out.extend(differences, Some(key), at_once);
        match new {
            Ok(port) => {
                self.ports.insert(Arc::clone(key), port);
            }
            Err(reason) => {
                if let Some(old) = old {
                    self.given_up.push(old.number);
                }
                self.unservable.insert(Arc::clone(key), reason);
            }
        }
    }

    fn arrange(
        &mut self,
        key: &PortKey,
        spec: &Arc<ServiceSpec>,
        old: Option<&Port>,
    ) -> Result<Port, String> {
        let timeout = match spec.affinity_seconds.filter(|seconds| *seconds > 0) {
            Some(seconds) => Some(self.timeout(seconds)?),
            None => None,
        };
        let (number, former) = match old {
            Some(old) => (old.number, old.former()),
            None => match self.formers.claim(spec, self.family) {
                Some(found) => found,
                None => {
                    let number = self.numbers.take();
                    let number =
                        number.ok_or("more ServicePorts than nftables' tickets can number")?;
                    (number, Default::default())
                }
            },
        };
        let port = Port::new(number, key, spec, timeout, former, self.detects_pods);
        if port.is_err() && old.is_none() {
            self.given_up.push(number);
        }
        port
    }

    fn remove(&mut self, key: &Arc<PortKey>, out: &mut Edits) {
        self.unservable.remove(key);
        let Some(old) = self.ports.remove(key) else {
            return;
        };
        let elements = old.elements(self.family, self.detects_pods);
        let gone = elements.into_iter().map(Difference::Gone).collect();
        self.count(Some(&old), None, out);
        let at_once = |element: &Element| element.set == Set::WithoutEndpoints;
        out.extend(gone, Some(key), at_once);
        self.given_up.push(old.number);
    }

    fn timeout(&mut self, seconds: u32) -> Result<u8, String> {
        if let Some(index) = self.timeouts.get(&seconds) {
            return Ok(*index);
        }
        let index =
            (0..Ticket::TIMEOUTS).find(|index| !self.timeouts.values().any(|taken| taken == index));
        let index = index.ok_or_else(|| {
            format!(
                "sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is one more than the {} different ones \
                 that nftables serves",
                Ticket::TIMEOUTS
            )
        })?;
        self.timeouts.insert(seconds, index);
        Ok(index)
    }

    /// Gives the affinity timeouts of changes their indexes. For which there is none is said when it is rendered.
    pub(super) fn reserve_timeouts(&mut self, changes: &Changes) {
        for change in &changes.changes {
            if let Change::Put(key, plan) = change
                && key.family == self.family
                && let Some(seconds) = plan.spec.affinity_seconds.filter(|seconds| *seconds > 0)
            {
                let _ = self.timeout(seconds);
            }
        }
    }

    /// The affinity timeouts that need chains, with their indexes.
    pub(super) const fn timeouts(&self) -> &BTreeMap<u32, u8> {
        &self.timeouts
    }

    /// Counts who shares a ClusterIP; the first one adds the element, the last one condemns it.
    fn count(&mut self, old: Option<&Port>, new: Option<&Port>, out: &mut Edits) {
        let mut differences = Vec::new();
        for address in new.into_iter().flat_map(Port::cluster_ips) {
            let count = self.cluster_ips.entry(address).or_default();
            *count = count.saturating_add(1);
            if *count == 1 {
                differences.push(Difference::Added(cluster_ip(address)));
            }
        }
        for address in old.into_iter().flat_map(Port::cluster_ips) {
            let Some(count) = self.cluster_ips.get_mut(&address) else {
                continue;
            };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.cluster_ips.remove(&address);
                differences.push(Difference::Gone(cluster_ip(address)));
            }
        }
        out.extend(differences, None, |_| false);
    }

    fn set_node(&mut self, node: &NodeSpec, out: &mut Edits) {
        let elements = self.node_elements(node);
        let before = core::mem::replace(&mut self.node, elements.clone());
        out.extend(differences(before, elements), None, |_| false);
    }

    /// Where there is no pod detection, nobody is known to be no pod.
    fn node_elements(&mut self, node: &NodeSpec) -> Vec<Element> {
        let own = |prefixes: &[Prefix]| -> Vec<Prefix> {
            let own = prefixes.iter().copied();
            let own: Vec<Prefix> = own
                .filter(|prefix| Family::of(prefix.address()) == self.family)
                .collect();
            merged(&own)
        };
        let pods = own(&node.pod_prefixes);
        let interface = node.pod_interface.as_ref();
        self.detects_pods = !pods.is_empty() || interface.is_some();
        let everybody = match self.family {
            Family::Ipv4 => Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            Family::Ipv6 => Prefix::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        };
        let direct = if self.detects_pods {
            pods.clone()
        } else {
            everybody.into_iter().collect()
        };
        let mut elements: Vec<Element> = interface.and_then(pod_interface).into_iter().collect();
        for (set, prefixes) in [
            (Set::Pods, pods),
            (Set::Direct, direct),
            (Set::ServiceRanges, own(&node.service_prefixes)),
        ] {
            // Other proxies' addresses are not ours to drop.
            let holes = if set == Set::ServiceRanges {
                node.foreign_addresses.as_slice()
            } else {
                &[]
            };
            let ranges = prefixes.into_iter().map(ends);
            let ranges = ranges.flat_map(|range| without(range, holes));
            elements.extend(ranges.map(|(first, last)| Element {
                end: Some(Bytes::new().address(last)),
                ..Element::new(set, Bytes::new().address(first))
            }));
        }
        sort(&mut elements);
        elements
    }

    /// Turns a batch into operations.
    fn emit(&mut self, edits: Edits) -> Vec<Owned> {
        let operations = edits.into_operations(&mut self.condemned);
        let sequence = self.condemned.last();
        for number in self.given_up.drain(..) {
            self.numbers.rest(sequence, number);
        }
        operations
    }

    /// What is condemned now: [`Ruleset::retire`] takes it some time after all operations so far are committed.
    pub(super) const fn condemned(&self) -> Sequence {
        self.condemned.last()
    }

    /// Is nothing to be deleted later?
    pub(super) fn is_settled(&self) -> bool {
        self.condemned.is_empty()
    }

    /// Deletes what has been condemned long enough.
    pub(super) fn retire(&mut self, until: Sequence) -> Vec<Owned> {
        self.numbers.release(until);
        let due = self.condemned.take(until).into_iter();
        due.map(|element| Owned {
            operation: Operation::Delete(element),
            owner: None,
        })
        .collect()
    }

    /// Everything that is wanted, sorted by set and key, with its owners.
    pub(super) fn elements(&self) -> Vec<(Element, Option<Arc<PortKey>>)> {
        let mut all = Vec::new();
        for (key, port) in &self.ports {
            let own = port.elements(self.family, self.detects_pods);
            all.extend(
                own.into_iter()
                    .map(|element| (element, Some(Arc::clone(key)))),
            );
        }
        let cluster_ips = self.cluster_ips.keys().map(|ip| cluster_ip(*ip));
        let shared = cluster_ips.chain(self.node.iter().cloned());
        all.extend(shared.map(|element| (element, None)));
        all.sort_unstable_by(|(one, _), (other, _)| order(one, other));
        all
    }

    /// Takes over a table with these elements, sorted: ServicePorts that it serves already keep their places.
    pub(super) fn adopt(&mut self, elements: &[Element], timeouts: BTreeMap<u32, u8>) {
        self.timeouts = timeouts;
        self.formers = Formers::read(elements, self.family);
        self.numbers.restore(&self.formers.numbers());
    }

    /// What is to be done so that a table with these elements, sorted, becomes this one.
    pub(super) fn repair(&mut self, elements: Vec<Element>) -> Vec<Owned> {
        self.condemned.retain(|condemned| {
            elements
                .binary_search_by(|element| order(element, condemned))
                .is_ok()
        });
        let wanted = self.elements();
        let owned = wanted.iter().filter_map(|(element, owner)| {
            Some(((element.set, element.key), Arc::clone(owner.as_ref()?)))
        });
        let owners: BTreeMap<(Set, Bytes), Arc<PortKey>> = owned.collect();
        let wanted = wanted.into_iter().map(|(element, _)| element).collect();
        let mut differences = differences(elements, wanted);
        differences.retain(
            |one| !matches!(one, Difference::Gone(element) if self.condemned.holds(element)),
        );
        let mut edits = Edits::default();
        for difference in differences {
            let element = difference.element();
            let owner = owners.get(&(element.set, element.key));
            edits.extend(Vec::from([difference]), owner, |gone| {
                gone.set == Set::Allowed
            });
        }
        self.emit(edits)
    }
}

/// What is to be said of a ServicePort.
fn about(key: &PortKey, rule: String) -> Rejection {
    Rejection {
        object: format!("Service {}", key.service()),
        field: format!(
            "spec.ports[name={},protocol={}]",
            key.port_name, key.protocol
        ),
        rule,
    }
}

/// An element that several ServicePorts may need.
fn cluster_ip(address: IpAddr) -> Element {
    Element::new(Set::ClusterIps, Bytes::new().address(address))
}

/// The names that pods' interfaces have, as a range. No interface has a longer name, and `nft` cannot write quotes.
fn pod_interface(interface: &PodInterface) -> Option<Element> {
    let (name, last) = match interface {
        PodInterface::Bridge(name) => (name, Bytes::new().interface(name)),
        PodInterface::NamePrefix(prefix) => (prefix, Bytes::new().last_interface(prefix)),
    };
    let lengths = 1..Bytes::INTERFACE;
    let usable = lengths.contains(&name.len()) && !name.contains(['"', '\0']);
    usable.then(|| Element {
        end: Some(last),
        ..Element::new(Set::PodInterfaces, Bytes::new().interface(name))
    })
}
