//! What is found of a burst's packets before the first of them is moved, in short loops over all of them: each asks for
//! the memory that the next one reads.

use super::decide::{Decision, destination};
use super::descriptor::Descriptor;
use super::path::Burst;
use super::shared::Tracked;
use crate::net::Arrival;
use crate::packet::{Offload, PlainHeaders, PlainPacket, plain_ipv4, plain_ipv6};
use crate::service::Lookup;
use crate::table::{Entry, Home};
use core::net::{Ipv4Addr, Ipv6Addr};

/// Packets of which is known at a time what was found. More would spill the first cache.
pub(super) const LANES: usize = 32;

/// What is found of so many packets.
pub(super) type Lanes = [Lane; LANES];

/// One packet. What a packet of an open IPv4 connection needs lies on the first of its cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(u8, align(64))]
pub(super) enum Lane {
    Ipv4(PlainLane<Ipv4Addr>),
    Ipv6(PlainLane<Ipv6Addr>),
    /// Of no connection that is known: not one choice of all, which would be a jump through a table for every packet.
    Aside(Aside),
}

/// A packet that belongs to no connection, or that takes its time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Aside {
    /// Plain, of no connection when it was looked up, and to nobody: its hash.
    Stranger(u64),
    /// Between addresses of which no connection has either.
    Nobodys,
    /// Not plain: parsed when its turn comes.
    Unusual,
}

/// A plain packet.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct PlainLane<A: Tracked> {
    pub(super) headers: PlainHeaders<A>,
    pub(super) hash: u64,
    /// What the index names.
    pub(super) candidate: Option<Entry>,
    /// What is to become of the packet, if the index names nothing.
    pub(super) decision: Option<Decision<A>>,
}

impl<A: Tracked> PlainLane<A> {
    const fn new(headers: PlainHeaders<A>, hash: u64) -> Self {
        Self {
            headers,
            hash,
            candidate: None,
            decision: None,
        }
    }
}

/// Where a descriptor's packet lies; `None` if that is not inside `frames`.
#[inline(always)]
pub(super) fn packet_of<'frames>(
    frames: &'frames [u8],
    descriptor: &Descriptor,
) -> Option<&'frames [u8]> {
    let room = frames.get(descriptor.offset as usize..)?;
    let room = room.get(..descriptor.capacity as usize)?;
    room.get(..descriptor.len as usize)
}

impl Burst<'_> {
    /// Reads the headers, and asks for the index's line.
    #[inline(always)]
    pub(super) fn read<const SIFT: bool>(
        &self,
        frames: &[u8],
        descriptor: &Descriptor,
        lane: &mut Lane,
    ) {
        let Some(bytes) = packet_of(frames, descriptor) else {
            *lane = Lane::Aside(Aside::Unusual);
            return;
        };
        let offload = &descriptor.offload;
        // Each family by itself: an enum that went through memory would cost as much again.
        if let Some(packet) = plain_ipv4(bytes) {
            self.read_plain::<SIFT, _>(&packet, offload, lane, Lane::Ipv4);
        } else if let Some(packet) = plain_ipv6(bytes) {
            self.read_plain::<SIFT, _>(&packet, offload, lane, Lane::Ipv6);
        } else {
            *lane = Lane::Aside(Aside::Unusual);
        }
    }

    /// The commonest protocol by itself.
    #[inline(always)]
    fn read_plain<const SIFT: bool, A: Tracked>(
        &self,
        packet: &PlainPacket<'_, A>,
        offload: &Offload,
        lane: &mut Lane,
        of: impl Fn(PlainLane<A>) -> Lane,
    ) {
        if packet.is_tcp() {
            self.fill::<SIFT, A>(packet.tcp(offload), lane, of);
        } else {
            self.fill::<SIFT, A>(packet.any(offload), lane, of);
        }
    }

    #[inline(always)]
    fn fill<const SIFT: bool, A: Tracked>(
        &self,
        headers: Option<PlainHeaders<A>>,
        lane: &mut Lane,
        of: impl Fn(PlainLane<A>) -> Lane,
    ) {
        let Some(headers) = headers else {
            *lane = Lane::Aside(Aside::Unusual);
            return;
        };
        if SIFT && self.is_nobodys(&headers) {
            *lane = Lane::Aside(Aside::Nobodys);
            return;
        }
        *lane = of(PlainLane::new(headers, self.ask_for_index(&headers)));
    }

    /// Asks for the record that the index names; decides if it names none.
    #[inline(always)]
    pub(super) fn ask(&mut self, lane: &mut Lane) {
        let stranger = match lane {
            Lane::Ipv4(plain) => self.ask_for_record(plain),
            Lane::Ipv6(plain) => self.ask_for_record(plain),
            Lane::Aside(_) => None,
        };
        if let Some(hash) = stranger {
            *lane = Lane::Aside(Aside::Stranger(hash));
        }
    }

    /// Asks for what else a packet's connection will be written to, if it is to be opened.
    #[inline(always)]
    pub(super) fn ask_again(&self, lane: &Lane) {
        match lane {
            Lane::Ipv4(plain) => self.ask_for_places(plain),
            Lane::Ipv6(plain) => self.ask_for_places(plain),
            Lane::Aside(_) => {}
        }
    }

    #[inline(always)]
    fn ask_for_places<A: Tracked>(&self, lane: &PlainLane<A>) {
        if let Some(Decision::Open(choice)) = &lane.decision {
            A::connections(self.shared).ask_for_places(&choice.opening);
        }
    }

    /// Is it certain by its addresses that the packet is nobody's?
    #[inline(always)]
    fn is_nobodys<A: Tracked>(&self, headers: &PlainHeaders<A>) -> bool {
        let (source, destination) = A::unpair(headers.addresses);
        self.table.is_between_strangers(source, destination)
    }

    #[inline(always)]
    fn ask_for_index<A: Tracked>(&self, headers: &PlainHeaders<A>) -> u64 {
        let connections = A::connections(self.shared);
        let hash = connections.hash_plain(headers);
        connections.prefetch(hash);
        hash
    }

    /// Gives the packet's hash if it is a stranger.
    #[inline(always)]
    fn ask_for_record<A: Tracked>(&mut self, lane: &mut PlainLane<A>) -> Option<u64> {
        match A::connections(self.shared).candidate(lane.hash) {
            Home::Entry(entry) => {
                lane.candidate = Some(entry);
                None
            }
            Home::Nothing => self.decide_lane(lane),
            Home::Beyond => self.ask_beyond(lane),
        }
    }

    /// For entries that do not live in their home bucket: one in forty when the table is full.
    #[cold]
    fn ask_beyond<A: Tracked>(&mut self, lane: &mut PlainLane<A>) -> Option<u64> {
        lane.candidate = A::connections(self.shared).candidate_beyond(lane.hash);
        match lane.candidate {
            Some(_) => None,
            None => self.decide_lane(lane),
        }
    }

    #[inline(always)]
    fn decide_lane<A: Tracked>(&mut self, lane: &mut PlainLane<A>) -> Option<u64> {
        match destination(self.table, &lane.headers.headers().tuple) {
            Lookup::None if self.is_alone(&lane.headers) => return Some(lane.hash),
            Lookup::None => lane.decision = Some(Decision::Pass),
            // What a choice rests on may change by what is opened until the packet's turn comes, or lies in its
            // descriptor.
            Lookup::Frontend(frontend) if !self.table.chooses_blindly(frontend) => {}
            found @ (Lookup::Frontend(_) | Lookup::Rejected | Lookup::Unallocated) => {
                self.decide_ahead(lane, found);
            }
        }
        None
    }

    #[inline(never)]
    fn decide_ahead<A: Tracked>(&mut self, lane: &mut PlainLane<A>, found: Lookup) {
        self.decided = true;
        let headers = lane.headers.headers();
        lane.decision = Some(self.decide(&headers, lane.hash, Arrival::Elsewhere, found));
    }
}
