//! What packets ask of the table. Nothing here allocates, waits or panics.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::frontend_map::{ADDRESS, MapKey, OUTER_ADDRESS};
use super::range_list;
use super::table::{EndpointEntry, FrontendEntry, IN_USE, Table, index};
use super::{Draw, EndpointSet, Schedule, SourceClass};
use crate::net::{Address, Arrival, EndpointId, Family, Protocol, ServiceId};
use crate::table::prefetch;
use core::net::{IpAddr, SocketAddr};

/// A frontend of one generation of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrontendRef(u32);

/// What a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Served here: choose an endpoint with [`Table::select`].
    Frontend(FrontendRef),
    /// A ClusterIP that does not serve this port and protocol: answer with ICMP port unreachable.
    Rejected,
    /// In a ServiceCIDR, but no Service's: drop.
    Unallocated,
    /// Not ours: pass.
    None,
}

/// What becomes of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// It goes to this endpoint.
    Endpoint {
        /// The endpoint.
        id: EndpointId,
        /// Does the frontend's rule ask for masquerading? A hairpin (the source is the endpoint itself) is
        /// masqueraded whatever this says; that is the caller's to see.
        masquerade: bool,
    },
    /// The source lies outside the frontend's source ranges: drop. Comes before everything else, so that a
    /// sender who is kept out does not learn whether there are endpoints.
    SourceRange,
    /// There is no usable endpoint anywhere: reject.
    NoneUsable,
    /// There are usable endpoints, but the traffic policy allows none of them: drop.
    NoneAllowed,
}

impl Table {
    /// The hash of a destination, for [`Table::prefetch`] and [`Table::lookup`].
    #[inline]
    #[must_use]
    pub fn hash<A: Address>(&self, destination: A, port: u16, protocol: Protocol) -> u64 {
        self.hash_words(A::FAMILY, destination.to_words(), port, protocol.number())
    }

    /// Is it certain that a packet between two addresses is not ours: neither is or ever was a frontend's or an
    /// endpoint's, so that no connection can have it, and the destination lies in no ServiceCIDR?
    #[inline(always)]
    #[must_use]
    pub fn is_between_strangers<A: Address>(&self, source: A, destination: A) -> bool {
        // One branch for both, not one for each, half of which would be guessed wrong.
        let known = self.marks.may_hold(source) | self.marks.may_hold(destination);
        !known && !self.node.service_span(A::FAMILY).holds(destination)
    }

    /// May a connection to a Service reach an endpoint at this address, even one that is gone? `false` is certain.
    #[inline]
    #[must_use]
    pub fn may_know<A: Address>(&self, address: A) -> bool {
        self.marks.may_hold(address)
    }

    /// Asks for the cache line that [`Table::lookup`] reads first.
    #[inline]
    pub fn prefetch<A: Address>(&self, hash: u64) {
        match A::FAMILY {
            Family::Ipv4 => self.ipv4.prefetch(hash),
            Family::Ipv6 => self.ipv6.prefetch(hash),
        }
    }

    /// What is at (address, port, protocol)? `hash` is [`Table::hash`] of the same.
    #[inline]
    #[must_use]
    pub fn lookup<A: Address>(
        &self,
        destination: A,
        port: u16,
        protocol: Protocol,
        hash: u64,
    ) -> Lookup {
        let known = match A::FAMILY {
            Family::Ipv4 => self.ipv4.may_hold(hash),
            Family::Ipv6 => self.ipv6.may_hold(hash),
        };
        // Most packets that are not ours end here, on a few words that stay in the first caches.
        if !known && !self.may_own(destination) {
            return Lookup::None;
        }
        self.search(destination, port, protocol, hash)
    }

    #[inline(never)]
    fn search<A: Address>(
        &self,
        destination: A,
        port: u16,
        protocol: Protocol,
        hash: u64,
    ) -> Lookup {
        let words = destination.to_words();
        match self.find(A::FAMILY, words, port, protocol.number(), hash) {
            Some(frontend) => Lookup::Frontend(FrontendRef(frontend)),
            None => self.lookup_address(destination),
        }
    }

    /// May the address be a ClusterIP, or of a ServiceCIDR? `false` is certain.
    #[inline]
    fn may_own<A: Address>(&self, address: A) -> bool {
        let [ipv4, ipv6] = &self.cluster_ips_outside;
        let outside = match A::FAMILY {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        };
        self.node.service_span(A::FAMILY).holds(address) || outside.span.holds(address)
    }

    /// What is an address at which no frontend serves the port, or that was sent a protocol without ports?
    /// Never [`Lookup::Frontend`].
    #[inline]
    #[must_use]
    pub fn lookup_address<A: Address>(&self, destination: A) -> Lookup {
        if !self.may_own(destination) {
            return Lookup::None;
        }
        let words = destination.to_words();
        let inside = self.node.in_service_prefix(A::FAMILY, words);
        let hash = self.hash_words(A::FAMILY, words, 0, ADDRESS);
        match self.find(A::FAMILY, words, 0, ADDRESS, hash) {
            Some(_) => Lookup::Rejected,
            None if inside && !self.node.is_foreign(A::FAMILY, words) => Lookup::Unallocated,
            None => Lookup::None,
        }
    }

    /// Is the address a Service's own: a ClusterIP, an external IP or a load balancer address?
    #[must_use]
    pub fn is_service_address<A: Address>(&self, address: A) -> bool {
        let words = address.to_words();
        let known = |marker| self.find_in_map(A::FAMILY, words, 0, marker).is_some();
        known(ADDRESS) || known(OUTER_ADDRESS)
    }

    /// Who sent it, as far as traffic policy tells senders apart.
    #[inline]
    #[must_use]
    pub fn classify<A: Address>(&self, source: A, arrival: Arrival) -> SourceClass {
        self.node.classify(source, arrival)
    }

    /// The source address of masqueraded connections of this family.
    #[inline]
    #[must_use]
    pub fn masquerade_address<A: Address>(&self) -> Option<A> {
        self.node.masquerade()
    }

    /// The frontend that a lookup of this generation found.
    #[inline]
    #[must_use]
    pub fn frontend(&self, frontend: FrontendRef) -> Option<&FrontendEntry> {
        self.frontends.get(frontend.0 as usize)
    }

    /// Is an endpoint chosen at random, whatever was chosen before and whatever delivered the packet: without
    /// affinity and scheduler, on a node that tells pods by their addresses?
    #[inline]
    #[must_use]
    pub fn chooses_blindly(&self, frontend: FrontendRef) -> bool {
        let entry = self.frontend(frontend);
        entry.is_some_and(|entry| entry.affinity_seconds == 0 && !entry.is_scheduled())
            && !self.node.tells_pods_by_interface()
    }

    /// Asks for the cache line that [`Table::select`] reads first.
    #[inline]
    pub fn prefetch_frontend(&self, frontend: FrontendRef) {
        prefetch(&self.frontends, frontend.0 as usize);
    }

    /// Asks for the cache line that [`Table::endpoint`] reads.
    #[inline]
    pub fn prefetch_endpoint(&self, id: EndpointId) {
        prefetch(&self.endpoints, index(id));
    }

    /// An endpoint; `None` if the id names none now.
    #[inline]
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&EndpointEntry> {
        self.endpoints
            .get(index(id))
            .filter(|endpoint| endpoint.flags & IN_USE != 0)
    }

    /// The endpoints that a ServicePort has, those in no set included.
    pub fn endpoints_of(&self, service: ServiceId) -> impl Iterator<Item = EndpointId> + '_ {
        let record = self.services.get(service.0 as usize);
        let record = record.filter(|record| record.in_use);
        let len = record.map_or(0, |record| record.runs.list.len());
        (0..len).filter_map(move |position| self.pages.id(&record?.runs.list, position))
    }

    /// Where an endpoint listens; `None` if the id names none now.
    #[must_use]
    pub fn endpoint_socket(&self, id: EndpointId) -> Option<SocketAddr> {
        let entry = self.endpoint(id)?;
        let service = self.services.get(entry.service as usize)?;
        let address = match service.family {
            Family::Ipv4 => IpAddr::V4(entry.address()),
            Family::Ipv6 => IpAddr::V6(entry.address()),
        };
        Some(SocketAddr::new(address, entry.port))
    }

    /// For how many seconds clients of a ServicePort keep their endpoint; `None` without affinity.
    #[inline]
    #[must_use]
    pub fn affinity(&self, service: ServiceId) -> Option<u32> {
        let record = self.services.get(service.0 as usize)?;
        Some(record.affinity_seconds).filter(|seconds| *seconds != 0)
    }

    /// How a ServicePort's endpoints are chosen.
    #[must_use]
    pub fn schedule_of(&self, service: ServiceId) -> Option<Schedule> {
        let record = self.services.get(service.0 as usize)?;
        record.in_use.then_some(record.schedule)
    }

    /// Chooses an endpoint for a new connection.
    ///
    /// `kept` is the endpoint that session affinity remembers: it is chosen if it is still in the set that
    /// the rule names. Otherwise the ServicePort's [`super::Schedule`] chooses. Same table, same arguments, same
    /// balance: same answer.
    #[inline(always)]
    #[must_use]
    pub fn select<A: Address>(
        &self,
        frontend: FrontendRef,
        class: SourceClass,
        kept: Option<EndpointId>,
        draw: &Draw<'_, A>,
    ) -> Selection {
        let Some(frontend) = self.frontend(frontend) else {
            return Selection::NoneUsable;
        };
        if !self.is_admitted(frontend, draw.tuple.source) {
            return Selection::SourceRange;
        }
        let rule = frontend.rule(class);
        let kept = kept.filter(|id| self.is_choice(frontend, rule.set, *id));
        match kept.or_else(|| self.choose(frontend, rule.set, draw)) {
            Some(id) => Selection::Endpoint {
                id,
                masquerade: rule.masquerade,
            },
            None if frontend.runs.cluster_len == 0 && frontend.runs.local_len == 0 => {
                Selection::NoneUsable
            }
            None => Selection::NoneAllowed,
        }
    }

    /// Does the source pass the frontend's source ranges?
    #[inline]
    #[must_use]
    pub fn admits<A: Address>(&self, frontend: FrontendRef, source: A) -> bool {
        self.frontend(frontend)
            .is_some_and(|frontend| self.is_admitted(frontend, source))
    }

    #[inline]
    fn is_admitted<A: Address>(&self, frontend: &FrontendEntry, source: A) -> bool {
        frontend.ranges == range_list::EMPTY
            || self.ranges.holds(frontend.ranges, source.to_words())
    }

    /// Every endpoint that [`Table::select`] may choose for this class of senders.
    pub fn choices(
        &self,
        frontend: FrontendRef,
        class: SourceClass,
    ) -> impl Iterator<Item = EndpointId> + '_ {
        let frontend = self.frontend(frontend);
        let (start, len) = frontend.map_or((0, 0), |found| found.run(found.rule(class).set));
        let list = frontend.map(|found| found.runs.list);
        (start..start.saturating_add(len))
            .filter_map(move |position| self.pages.id(list.as_ref()?, position))
    }

    #[inline]
    fn is_choice(&self, frontend: &FrontendEntry, set: EndpointSet, id: EndpointId) -> bool {
        self.endpoint(id)
            .is_some_and(|endpoint| endpoint.service == frontend.service && endpoint.is_in(set))
    }

    #[inline]
    pub(super) fn hash_words(
        &self,
        family: Family,
        words: [u64; 2],
        port: u16,
        protocol: u8,
    ) -> u64 {
        let [high, low] = words;
        let transport = u64::from(port) << 8 | u64::from(protocol);
        match family {
            Family::Ipv4 => self.key.hash2(low, transport),
            Family::Ipv6 => self.key.hash6([high, low, transport, 0, 0, 0]),
        }
    }

    #[inline]
    fn find(
        &self,
        family: Family,
        words: [u64; 2],
        port: u16,
        protocol: u8,
        hash: u64,
    ) -> Option<u32> {
        match family {
            Family::Ipv4 => self.ipv4.find(hash, &key_ipv4(words, port, protocol)),
            Family::Ipv6 => self.ipv6.find(hash, &key_ipv6(words, port, protocol)),
        }
    }

    #[inline]
    pub(super) fn find_in_map(
        &self,
        family: Family,
        words: [u64; 2],
        port: u16,
        protocol: u8,
    ) -> Option<u32> {
        let hash = self.hash_words(family, words, port, protocol);
        self.find(family, words, port, protocol, hash)
    }
}

impl FrontendEntry {
    /// Where a set begins in the list, and how long it is.
    #[inline]
    pub(super) const fn run(&self, set: EndpointSet) -> (u32, u32) {
        match set {
            EndpointSet::Cluster => (self.runs.cluster_start, self.runs.cluster_len),
            EndpointSet::Local => (0, self.runs.local_len),
        }
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "an IPv4 address is the low half of the low word"
)]
pub(super) const fn key_ipv4(words: [u64; 2], port: u16, protocol: u8) -> MapKey<u32> {
    let [_, low] = words;
    MapKey {
        address: low as u32,
        port,
        protocol,
    }
}

#[inline]
pub(super) const fn key_ipv6(words: [u64; 2], port: u16, protocol: u8) -> MapKey<[u64; 2]> {
    MapKey {
        address: words,
        port,
        protocol,
    }
}
