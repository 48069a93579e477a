//! What the table knows of the node: who counts as whom.

use super::address_span::AddressSpan;
use super::prefix_words::{PrefixWords, words};
use super::{MAX_FOREIGN_ADDRESSES, MAX_NODE_ADDRESSES, MAX_NODE_PREFIXES, NodeSpec, SourceClass};
use crate::net::{Address, Arrival, Family, Prefix};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The prefixes and addresses of one family.
#[derive(Debug)]
struct FamilyTable {
    pods: Vec<PrefixWords>,
    services: Vec<PrefixWords>,
    /// Of `services`.
    service_span: AddressSpan,
    /// Sorted.
    addresses: Vec<[u64; 2]>,
    /// Of Services that another proxy serves, sorted.
    foreign: Vec<[u64; 2]>,
}

/// Both families.
#[derive(Debug)]
pub(super) struct NodeTable {
    ipv4: FamilyTable,
    ipv6: FamilyTable,
    masquerade_ipv4: Option<Ipv4Addr>,
    masquerade_ipv6: Option<Ipv6Addr>,
    /// Pods are told by the interface that their packets enter by.
    by_interface: bool,
}

impl FamilyTable {
    const BYTES: u64 = 2 * MAX_NODE_PREFIXES as u64 * size_of::<PrefixWords>() as u64
        + (MAX_NODE_ADDRESSES as u64 + MAX_FOREIGN_ADDRESSES as u64) * size_of::<[u64; 2]>() as u64;

    fn new() -> Self {
        Self {
            pods: Vec::with_capacity(MAX_NODE_PREFIXES as usize),
            services: Vec::with_capacity(MAX_NODE_PREFIXES as usize),
            service_span: AddressSpan::NONE,
            addresses: Vec::with_capacity(MAX_NODE_ADDRESSES as usize),
            foreign: Vec::with_capacity(MAX_FOREIGN_ADDRESSES as usize),
        }
    }

    fn set(&mut self, family: Family, spec: &NodeSpec) {
        fill(&mut self.pods, family, &spec.pod_prefixes);
        fill(&mut self.services, family, &spec.service_prefixes);
        self.service_span = AddressSpan::NONE;
        for [first, last] in self.services.iter().map(PrefixWords::ends) {
            self.service_span.add(first, last);
        }
        fill_sorted(&mut self.addresses, family, &spec.addresses);
        fill_sorted(&mut self.foreign, family, &spec.foreign_addresses);
    }
}

fn fill_sorted(list: &mut Vec<[u64; 2]>, family: Family, addresses: &[IpAddr]) {
    list.clear();
    let own = addresses.iter().filter(|ip| Family::of(**ip) == family);
    list.extend(own.map(|ip| words(*ip)));
    list.sort_unstable();
}

fn fill(list: &mut Vec<PrefixWords>, family: Family, prefixes: &[Prefix]) {
    list.clear();
    let own = prefixes
        .iter()
        .filter(|prefix| Family::of(prefix.address()) == family);
    list.extend(own.map(|prefix| PrefixWords::new(*prefix)));
}

impl NodeTable {
    pub(super) const MEMORY_BYTES: u64 = 2 * FamilyTable::BYTES;

    pub(super) fn new() -> Self {
        Self {
            ipv4: FamilyTable::new(),
            ipv6: FamilyTable::new(),
            masquerade_ipv4: None,
            masquerade_ipv6: None,
            by_interface: false,
        }
    }

    /// Replaces everything; within the capacities, because the table has checked.
    pub(super) fn set(&mut self, spec: &NodeSpec) {
        self.ipv4.set(Family::Ipv4, spec);
        self.ipv6.set(Family::Ipv6, spec);
        self.masquerade_ipv4 = spec.masquerade_ipv4;
        self.masquerade_ipv6 = spec.masquerade_ipv6;
        self.by_interface = spec.pod_interface.is_some();
    }

    #[inline]
    const fn family(&self, family: Family) -> &FamilyTable {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    #[inline]
    pub(super) const fn tells_pods_by_interface(&self) -> bool {
        self.by_interface
    }

    /// A node's own address inside a pod prefix, or behind a pod's interface, counts as a pod, as in kube-proxy's
    /// chains.
    #[inline]
    pub(super) fn classify<A: Address>(&self, source: A, arrival: Arrival) -> SourceClass {
        let table = self.family(A::FAMILY);
        let source = source.to_words();
        let entered_as_pod = self.by_interface && arrival == Arrival::PodInterface;
        if entered_as_pod || table.pods.iter().any(|prefix| prefix.contains(source)) {
            SourceClass::Pod
        } else if table.addresses.binary_search(&source).is_ok() {
            SourceClass::Node
        } else {
            SourceClass::Outside
        }
    }

    /// Between which addresses the service prefixes lie.
    #[inline]
    pub(super) const fn service_span(&self, family: Family) -> &AddressSpan {
        &self.family(family).service_span
    }

    #[inline]
    pub(super) fn in_service_prefix(&self, family: Family, address: [u64; 2]) -> bool {
        self.family(family)
            .services
            .iter()
            .any(|prefix| prefix.contains(address))
    }

    /// Does another proxy serve this ClusterIP? Kept out of the way of packets to nobody.
    #[cold]
    #[inline(never)]
    pub(super) fn is_foreign(&self, family: Family, address: [u64; 2]) -> bool {
        self.family(family).foreign.binary_search(&address).is_ok()
    }

    #[inline]
    pub(super) fn masquerade<A: Address>(&self) -> Option<A> {
        let address = match A::FAMILY {
            Family::Ipv4 => self.masquerade_ipv4.map(IpAddr::V4),
            Family::Ipv6 => self.masquerade_ipv6.map(IpAddr::V6),
        };
        address.and_then(A::from_ip)
    }
}
