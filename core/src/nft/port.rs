//! The elements of one ServicePort.

use super::diff::sort;
use super::slots::arrange;
use super::{Bytes, Choice, Element, Set, SizeClass, Ticket};
use crate::net::{Family, Prefix, Protocol, Scheduler};
use crate::plan::PortKey;
use crate::service::{
    EndpointSet, EndpointSpec, Frontend, FrontendKind, Schedule, ServiceSpec, SourceRule,
};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Both endpoint sets, in the order of their numbers.
const SETS: [EndpointSet; 2] = [EndpointSet::Cluster, EndpointSet::Local];

/// With weights, an endpoint set has at most about so many slots.
const WEIGHTED_SLOTS: u32 = 1 << 10;

/// What a family's table has of one ServicePort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// The number in its tickets.
    pub(super) number: u32,
    pub(super) spec: Arc<ServiceSpec>,
    comment: Arc<str>,
    /// The index of its affinity timeout.
    timeout: Option<u8>,
    /// Of each endpoint set that a frontend uses, the endpoint of each slot.
    slots: [Vec<SocketAddr>; 2],
    /// With session affinity, the number of each endpoint, which it keeps while it is served.
    names: BTreeMap<SocketAddr, u16>,
    last_name: u16,
}

/// What the kernel held of a ServicePort before: what can stay is not moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) slots: [Vec<SocketAddr>; 2],
    pub(super) names: BTreeMap<SocketAddr, u16>,
    pub(super) last_name: u16,
}

impl Port {
    /// Arranges a ServicePort under a number. The error says in words why it cannot be served.
    pub(super) fn new(
        number: u32,
        key: &PortKey,
        spec: &Arc<ServiceSpec>,
        timeout: Option<u8>,
        former: Former,
        detects_pods: bool,
    ) -> Result<Self, String> {
        for frontend in &spec.frontends {
            sets_of(frontend)?;
            masquerade_of(frontend, detects_pods)?;
        }
        let [cluster, local] = former.slots;
        let mut port = Self {
            number,
            spec: Arc::clone(spec),
            comment: comment(key),
            timeout,
            slots: [Vec::new(), Vec::new()],
            names: BTreeMap::new(),
            last_name: former.last_name,
        };
        for (set, before) in SETS.into_iter().zip([&cluster, &local]) {
            if !port.uses(set) {
                continue;
            }
            let slots = arrange(before, &shares(spec, set));
            if u32::try_from(slots.len())
                .ok()
                .and_then(SizeClass::of)
                .is_none()
                && !slots.is_empty()
            {
                return Err(format!("{} endpoints are too many", slots.len()));
            }
            if let Some(place) = port.slots.get_mut(set as usize) {
                *place = slots;
            }
        }
        if timeout.is_some() {
            port.name_endpoints(&former.names)?;
        }
        Ok(port)
    }

    /// What a successor may keep.
    pub(super) fn former(&self) -> Former {
        Former {
            slots: self.slots.clone(),
            names: self.names.clone(),
            last_name: self.last_name,
        }
    }

    /// Does any frontend use this endpoint set?
    fn uses(&self, set: EndpointSet) -> bool {
        let mut rules = self.spec.frontends.iter().flat_map(|one| one.rules);
        rules.any(|rule| rule.set == set)
    }

    fn is_usable(&self) -> bool {
        let mut endpoints = self.spec.endpoints.iter();
        endpoints.any(|one| SETS.into_iter().any(|set| one.takes(set)))
    }

    /// A number that was given up is given again as late as can be: clients may still be remembered by it.
    fn name_endpoints(&mut self, former: &BTreeMap<SocketAddr, u16>) -> Result<(), String> {
        let mut served: Vec<SocketAddr> = self.slots.iter().flatten().copied().collect();
        served.sort_unstable();
        served.dedup();
        if served.len() >= usize::from(Ticket::ENDPOINTS) {
            return Err(format!(
                "{} endpoints are too many for session affinity in nftables: at most {}",
                served.len(),
                Ticket::ENDPOINTS - 1
            ));
        }
        let kept = served
            .iter()
            .filter_map(|one| Some((*one, *former.get(one)?)));
        self.names = kept.collect();
        let mut taken: Vec<bool> = alloc::vec![false; usize::from(Ticket::ENDPOINTS)];
        for name in self.names.values() {
            if let Some(place) = taken.get_mut(usize::from(*name)) {
                *place = true;
            }
        }
        for endpoint in served {
            if self.names.contains_key(&endpoint) {
                continue;
            }
            loop {
                // 0 is no endpoint.
                self.last_name = self.last_name % (Ticket::ENDPOINTS - 1) + 1;
                if let Some(place) = taken.get_mut(usize::from(self.last_name))
                    && !*place
                {
                    *place = true;
                    break;
                }
            }
            self.names.insert(endpoint, self.last_name);
        }
        Ok(())
    }

    /// How an endpoint of a set is chosen.
    fn choice(&self, set: EndpointSet) -> Choice {
        let slots = self.slots.get(set as usize).map_or(0, Vec::len);
        let size = u32::try_from(slots).ok().and_then(SizeClass::of);
        match (size, self.timeout) {
            (None, _) => Choice::Nowhere,
            (Some(size), None) => Choice::Plain(size),
            (Some(size), Some(timeout)) => Choice::Sticky(timeout, size),
        }
    }

    fn ticket(&self, set: EndpointSet) -> Ticket {
        Ticket::new(self.number, set).with(self.choice(set))
    }

    /// Can this former element go while packets are on their way to it?
    ///
    /// A slot or an endpoint can if its set has others: there is a way on from each lookup that fails. What is said
    /// of a frontend can while it is served: packets then get what is said now.
    pub(super) fn can_do_without(&self, element: &Element, family: Family) -> bool {
        let served = || {
            self.spec.frontends.iter().any(|one| {
                let place = place(one, self.spec.protocol);
                let guarded = element.set != Set::Allowed || !one.source_ranges.is_empty();
                guarded && element.key.as_slice().starts_with(place.as_slice())
            })
        };
        if matches!(
            element.set,
            Set::Masqueraded | Set::NodeMasqueraded | Set::Allowed
        ) {
            return served();
        }
        if element.set == Set::WithoutEndpoints {
            return !served();
        }
        let sticky = matches!(element.set, Set::StickySlots | Set::StickyEndpoints);
        if !sticky && element.set != Set::Slots {
            return false;
        }
        let ticket = Ticket::of_key(&element.key, family).map(Ticket::set);
        let mut sets = SETS.iter().zip(&self.slots);
        sticky == self.timeout.is_some()
            && sets.any(|(set, slots)| {
                !slots.is_empty() && ticket == Some(Ticket::new(self.number, *set))
            })
    }

    /// Its ClusterIPs.
    pub(super) fn cluster_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let own = self.spec.frontends.iter();
        own.filter(|one| one.kind == FrontendKind::ClusterIp)
            .map(|one| one.address)
    }

    /// All elements that are this ServicePort's alone, sorted by set and key.
    pub(super) fn elements(&self, family: Family, detects_pods: bool) -> Vec<Element> {
        let mut out = Vec::new();
        let usable = self.is_usable();
        let mut by_source = false;
        for frontend in &self.spec.frontends {
            let key = place(frontend, self.spec.protocol);
            if usable {
                let sets = sets_of(frontend).unwrap_or(Sets::One(EndpointSet::Cluster));
                let ticket = match sets {
                    Sets::One(set) => self.ticket(set),
                    Sets::BySource => {
                        by_source = true;
                        Ticket::new(self.number, EndpointSet::Cluster).with(Choice::BySource)
                    }
                };
                let data = ticket.append_to(Bytes::new(), family);
                let mut element = Element::mapping(Set::Services, key, data);
                element.comment = Some(Arc::clone(&self.comment));
                out.push(element);
                if let Ok(Some(set)) = masquerade_of(frontend, detects_pods) {
                    out.push(Element::new(set, key));
                }
            } else {
                let mut element = Element::new(Set::WithoutEndpoints, key);
                element.comment = Some(Arc::clone(&self.comment));
                out.push(element);
            }
            guard(frontend, key, &mut out);
        }
        if usable {
            for set in SETS {
                self.set_elements(set, by_source, family, &mut out);
            }
        }
        sort(&mut out);
        out
    }

    /// The slots of an endpoint set, and what there is to know of it.
    fn set_elements(
        &self,
        set: EndpointSet,
        by_source: bool,
        family: Family,
        out: &mut Vec<Element>,
    ) {
        let ticket = Ticket::new(self.number, set);
        let key = ticket.append_to(Bytes::new(), family);
        let slots = self.slots.get(set as usize);
        let slots = slots.map(Vec::as_slice).unwrap_or_default();
        if self.uses(set) && (by_source || self.timeout.is_some()) {
            let data = self.ticket(set).append_to(Bytes::new(), family);
            out.push(Element::mapping(Set::Tickets, key, data));
        }
        let name = |endpoint: &SocketAddr| {
            let name = self.names.get(endpoint)?;
            Some(ticket.endpoint(*name).append_to(Bytes::new(), family))
        };
        for (slot, endpoint) in (0..).zip(slots) {
            let key = key.slot(slot);
            if self.timeout.is_none() {
                let data = address_and_port(endpoint);
                out.push(Element::mapping(Set::Slots, key, data));
            } else if let Some(name) = name(endpoint) {
                out.push(Element::mapping(Set::StickySlots, key, name));
            }
        }
        if self.timeout.is_some() {
            let mut endpoints = slots.to_vec();
            endpoints.sort_unstable();
            endpoints.dedup();
            let named = endpoints.iter().filter_map(|one| Some((name(one)?, one)));
            out.extend(named.map(|(name, one)| {
                Element::mapping(Set::StickyEndpoints, name, address_and_port(one))
            }));
        }
    }
}

/// Which endpoint sets the senders of a frontend get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sets {
    /// All of them this one.
    One(EndpointSet),
    /// Outside senders the Local set, others the Cluster set.
    BySource,
}

fn sets_of(frontend: &Frontend) -> Result<Sets, String> {
    use EndpointSet::{Cluster, Local};
    match frontend.rules.map(|rule| rule.set) {
        [Cluster, Cluster, Cluster] => Ok(Sets::One(Cluster)),
        [Local, Local, Local] => Ok(Sets::One(Local)),
        [Cluster, Cluster, Local] => Ok(Sets::BySource),
        [_, _, _] => Err(unknown(frontend)),
    }
}

/// The set that says who is masqueraded at a frontend; `None` if its address says so, or nobody is.
fn masquerade_of(frontend: &Frontend, detects_pods: bool) -> Result<Option<Set>, String> {
    let cluster_ip = frontend.kind == FrontendKind::ClusterIp;
    match frontend
        .rules
        .map(|SourceRule { masquerade, .. }| masquerade)
    {
        [true, true, true] => Ok(Some(Set::Masqueraded)),
        [false, true, false] => Ok(Some(Set::NodeMasqueraded)),
        [false, true, true] if cluster_ip && detects_pods => Ok(None),
        [false, false, false] if !(cluster_ip && detects_pods) => Ok(None),
        [_, _, _] => Err(unknown(frontend)),
    }
}

fn unknown(frontend: &Frontend) -> String {
    format!("the nftables chains have no rules like those of {frontend}")
}

/// Source ranges. The kernel refuses ranges of one key that overlap, and prefixes overlap only by holding
/// each other.
fn guard(frontend: &Frontend, key: Bytes, out: &mut Vec<Element>) {
    if frontend.source_ranges.is_empty() {
        return;
    }
    out.push(Element::new(Set::Guarded, key));
    for range in merged(&frontend.source_ranges) {
        let (first, last) = ends(range);
        out.push(Element {
            end: Some(key.address(last)),
            ..Element::new(Set::Allowed, key.address(first))
        });
    }
}

/// The prefixes that no other one holds, sorted.
pub(super) fn merged(prefixes: &[Prefix]) -> Vec<Prefix> {
    let mut sorted = prefixes.to_vec();
    sorted.sort_unstable_by_key(|prefix| (prefix.address(), prefix.len()));
    let mut merged: Vec<Prefix> = Vec::new();
    for prefix in sorted {
        let held = merged
            .last()
            .is_some_and(|wide| wide.contains(prefix.address()));
        if !held {
            merged.push(prefix);
        }
    }
    merged
}

/// The first and the last address of a prefix.
pub(super) fn ends(prefix: Prefix) -> (IpAddr, IpAddr) {
    let first = prefix.address();
    let len = u32::from(prefix.len());
    let last = match first {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(len).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | host))
        }
        IpAddr::V6(v6) => {
            let host = u128::MAX.checked_shr(len).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | host))
        }
    };
    (first, last)
}

/// The endpoints of a set that take new connections; with a scheduler that goes by weight, each as often as its
/// weight says.
fn shares(spec: &ServiceSpec, set: EndpointSet) -> Vec<SocketAddr> {
    let takers = || spec.endpoints.iter().filter(|one| one.takes(set));
    if !goes_by_weight(spec.schedule.scheduler) {
        return takers().map(socket).collect();
    }
    let divisor = takers()
        .fold(0, |divisor, one| gcd(divisor, one.weight))
        .max(1);
    let total: u32 = takers().map(|one| u32::from(one.weight / divisor)).sum();
    // Halved until they fit; who has little keeps one.
    let mut shift = 0_u32;
    while total >> shift > WEIGHTED_SLOTS {
        shift += 1;
    }
    let slots = |one: &EndpointSpec| (usize::from(one.weight / divisor) >> shift).max(1);
    takers()
        .flat_map(|one| core::iter::repeat_n(socket(one), slots(one)))
        .collect()
}

/// In the kernel these are all the same: at random, in proportion to weight.
const fn goes_by_weight(scheduler: Scheduler) -> bool {
    matches!(
        scheduler,
        Scheduler::WeightedRoundRobin
            | Scheduler::WeightedLeastConnection
            | Scheduler::SourceHashing
            | Scheduler::ShortestExpectedDelay
            | Scheduler::NeverQueue
            | Scheduler::Maglev
    )
}

const fn gcd(mut one: u16, mut other: u16) -> u16 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// What nftables does otherwise than a ServicePort asks, in words; `None` if nothing.
pub(super) fn concession(spec: &ServiceSpec) -> Option<String> {
    let Schedule {
        scheduler,
        slow_start_seconds,
        ..
    } = spec.schedule;
    let how = if goes_by_weight(scheduler) {
        "at random, in proportion to weight"
    } else {
        "at random"
    };
    if scheduler != Scheduler::Random {
        Some(format!("scheduler {scheduler}: nftables chooses {how}"))
    } else if slow_start_seconds > 0 {
        Some("slow start: nftables gives a new endpoint its whole share at once".into())
    } else {
        None
    }
}

const fn socket(endpoint: &EndpointSpec) -> SocketAddr {
    SocketAddr::new(endpoint.address, endpoint.port)
}

/// A frontend as a key.
pub(super) fn place(frontend: &Frontend, protocol: Protocol) -> Bytes {
    Bytes::new()
        .address(frontend.address)
        .protocol(protocol.number())
        .port(frontend.port)
}

fn address_and_port(endpoint: &SocketAddr) -> Bytes {
    Bytes::new().address(endpoint.ip()).port(endpoint.port())
}

/// The ServicePort's name, as long as fits.
fn comment(key: &PortKey) -> Arc<str> {
    let mut text = format!("{}/{}", key.namespace, key.name);
    if !key.port_name.is_empty() {
        text.push(':');
        text.push_str(&key.port_name);
    }
    text.truncate(text.floor_char_boundary(Element::COMMENT_MAX));
    text.into()
}

/// What is left of a range without some of its addresses, which are in order.
pub(super) fn without(
    (mut first, last): (IpAddr, IpAddr),
    holes: &[IpAddr],
) -> Vec<(IpAddr, IpAddr)> {
    let mut left = Vec::new();
    let range = first..=last;
    for hole in holes.iter().copied().filter(|hole| range.contains(hole)) {
        if first < hole {
            left.push((first, moved(hole, -1)));
        }
        if hole == last {
            return left;
        }
        first = moved(hole, 1);
    }
    left.push((first, last));
    left
}

/// An address so many further on.
fn moved(address: IpAddr, by: i8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(by.into())).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(by.into())).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_range_is_left_without_its_holes() {
        for (range, holes, left) in [
            ("10.0.0.0-10.0.0.255", "", "10.0.0.0-10.0.0.255"),
            (
                "10.0.0.0-10.0.0.9",
                "10.0.0.4",
                "10.0.0.0-10.0.0.3 10.0.0.5-10.0.0.9",
            ),
            (
                "10.0.0.0-10.0.0.9",
                "10.0.0.0 10.0.0.1 10.0.0.9",
                "10.0.0.2-10.0.0.8",
            ),
            ("10.0.0.7-10.0.0.7", "10.0.0.7", ""),
            (
                "10.0.0.7-10.0.0.8",
                "10.0.0.6 10.0.0.9 fd00::1",
                "10.0.0.7-10.0.0.8",
            ),
            (
                "0.0.0.0-255.255.255.255",
                "0.0.0.0 255.255.255.255",
                "0.0.0.1-255.255.255.254",
            ),
            (
                "fd00::-fd00::ffff",
                "fd00::1:0 fd00::ff",
                "fd00::-fd00::fe fd00::100-fd00::ffff",
            ),
        ] {
            let (first, last) = range.split_once('-').unwrap();
            let holes = holes.split_whitespace();
            let holes: Vec<IpAddr> = holes.map(|hole| hole.parse().unwrap()).collect();
            let found = without((first.parse().unwrap(), last.parse().unwrap()), &holes);
            let found: Vec<_> = found
                .iter()
                .map(|(first, last)| format!("{first}-{last}"))
                .collect();
            assert_eq!(found.join(" "), left, "{range}");
        }
    }
}
