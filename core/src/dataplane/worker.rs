//! A burst: its packets are read, then looked up, then moved, in order.

use super::allowance::Allowance;
use super::decide::Decision;
use super::descriptor::Descriptor;
use super::descriptor_flags;
use super::endpoint_counters::EndpointCounters;
use super::lane::{Aside, LANES, Lane, Lanes, PlainLane, packet_of};
use super::opened::Opened;
use super::outcome::Outcome;
use super::path::{Burst, Subject};
use super::shared::{Shared, Tracked};
use super::stats::{BYTES, COUNTERS, RELATED, drop_index, verdict_index};
use crate::net::{DropReason, Instant, Verdict};
use crate::packet::{Headers, Kind, Parsed, parse_any};
use crate::service::Table;
use crate::sync::{CounterSlot, Reader};
use alloc::sync::Arc;

/// One thread's way of moving packets.
///
/// A worker is used by one thread at a time and may move between threads. Dropping it gives its place back.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    reader: Reader<Table>,
    counters: CounterSlot<COUNTERS>,
    endpoints: Arc<EndpointCounters>,
    slot: u32,
    random: u64,
    /// The latest moment seen: a clock that steps back expires nothing early and extends nothing late.
    latest: Instant,
    /// Did one in eight packets of the latest burst pass?
    sift: bool,
    /// For new connections.
    allowance: Allowance,
    /// Of the burst under way; kept, because clearing them would cost more than filling them.
    lanes: Lanes,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        reader: Reader<Table>,
        (counters, endpoints): (CounterSlot<COUNTERS>, Arc<EndpointCounters>),
        slot: u32,
        random: u64,
    ) -> Self {
        Self {
            shared,
            reader,
            counters,
            endpoints,
            slot,
            random,
            latest: Instant::ZERO,
            sift: true,
            allowance: Allowance::default(),
            lanes: [Lane::Aside(Aside::Unusual); LANES],
        }
    }

    /// Moves one burst of packets: each descriptor gets a verdict, each packet to be forwarded or answered is
    /// rewritten in place in `frames`.
    ///
    /// One generation of the Service table decides the whole burst. `now` is the host's monotonic clock. Never
    /// allocates, waits or panics, whatever the packets and descriptors hold; a descriptor that does not lie
    /// inside `frames` is dropped as [`DropReason::MalformedDescriptor`]. Packets are moved in order, but read ahead:
    /// descriptors whose frames overlap get a verdict each, and what becomes of the bytes that they share is not said.
    pub fn process_burst(
        &mut self,
        now: Instant,
        frames: &mut [u8],
        descriptors: &mut [Descriptor],
    ) {
        self.latest = self.latest.max(now);
        let Some(table) = self.reader.pin() else {
            return;
        };
        let now = self.latest.ticks();
        let mut burst = Burst {
            table: &table,
            shared: &self.shared,
            counters: &self.counters,
            endpoints: &self.endpoints,
            random: &mut self.random,
            now,
            // Families have the same timeouts.
            moment: self.shared.ipv4.moment(now),
            allowance: &mut self.allowance,
            decided: false,
            sift: self.sift,
            opened: Opened::default(),
            verdicts: [0; 4],
            bytes: 0,
        };
        for chunk in descriptors.chunks_mut(LANES) {
            burst.chunk(frames, chunk, &mut self.lanes);
        }
        let count = descriptors.len() as u64;
        let [passed, _, replied, dropped] = burst.verdicts;
        let others = passed.wrapping_add(replied).wrapping_add(dropped);
        let verdicts = [
            (Verdict::Pass, passed),
            (Verdict::Forward, count.wrapping_sub(others)),
            (Verdict::Reply, replied),
            (Verdict::Drop, dropped),
        ];
        for (verdict, count) in verdicts {
            burst.counters.add(verdict_index(verdict), count);
        }
        burst.counters.add(BYTES, burst.bytes);
        self.sift = passed.saturating_mul(8) >= count;
    }
}

impl Burst<'_> {
    /// Moves at most [`LANES`] packets: each loop asks for the memory that the next one reads.
    #[inline(always)]
    fn chunk(&mut self, frames: &mut [u8], descriptors: &mut [Descriptor], lanes: &mut Lanes) {
        // A chunk's lookups see what the chunks before it opened.
        self.opened = Opened::default();
        self.decided = false;
        let lanes = lanes.get_mut(..descriptors.len()).unwrap_or_default();
        // Two loops: what the one has more would take registers from the other.
        if self.sift {
            for (descriptor, lane) in descriptors.iter().zip(lanes.iter_mut()) {
                self.read::<true>(frames, descriptor, lane);
            }
        } else {
            for (descriptor, lane) in descriptors.iter().zip(lanes.iter_mut()) {
                self.read::<false>(frames, descriptor, lane);
            }
        }
        for lane in lanes.iter_mut() {
            self.ask(lane);
        }
        if self.decided {
            for lane in lanes.iter() {
                self.ask_again(lane);
            }
        }
        for (descriptor, lane) in descriptors.iter_mut().zip(lanes.iter()) {
            self.carry(frames, descriptor, lane);
        }
    }

    /// Moves a packet whose record was asked for.
    #[inline(always)]
    fn carry(&mut self, frames: &mut [u8], descriptor: &mut Descriptor, lane: &Lane) {
        self.bytes = self.bytes.wrapping_add(u64::from(descriptor.len));
        let verdict = match self.carry_quickly(frames, descriptor, lane) {
            // The commonest is what the others leave.
            Some(Verdict::Forward) => return,
            Some(verdict) => verdict,
            None => finish(self, frames, descriptor, lane),
        };
        if let Some(count) = self.verdicts.get_mut(verdict as usize) {
            *count = count.wrapping_add(1);
        }
    }

    #[inline(always)]
    fn carry_quickly(
        &self,
        frames: &mut [u8],
        descriptor: &mut Descriptor,
        lane: &Lane,
    ) -> Option<Verdict> {
        match lane {
            Lane::Ipv4(lane) => self.quick(frames, descriptor, lane),
            Lane::Ipv6(lane) => self.quick(frames, descriptor, lane),
            // It may be somebody's by now.
            Lane::Aside(Aside::Stranger(hash)) if self.opened.may_hold(*hash) => None,
            Lane::Aside(Aside::Stranger(_) | Aside::Nobodys) => {
                descriptor.settle(&Outcome::PASS);
                Some(Verdict::Pass)
            }
            Lane::Aside(Aside::Unusual) => None,
        }
    }

    /// Writes and counts what became of a packet.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&self, descriptor: &mut Descriptor, outcome: &Outcome) -> Verdict {
        descriptor.settle(outcome);
        if let Some(reason) = outcome.reason {
            self.counters.add(drop_index(reason), 1);
        }
        if outcome.flags & descriptor_flags::RELATED != 0 {
            self.counters.add(RELATED, 1);
        }
        outcome.verdict
    }
}

/// What is not moved quickly.
#[inline(never)]
fn finish(
    burst: &mut Burst<'_>,
    frames: &mut [u8],
    descriptor: &mut Descriptor,
    lane: &Lane,
) -> Verdict {
    let opened = match lane {
        Lane::Ipv4(lane) => burst.quick_first(frames, descriptor, lane),
        Lane::Ipv6(lane) => burst.quick_first(frames, descriptor, lane),
        Lane::Aside(_) => None,
    };
    match opened {
        Some(verdict) => verdict,
        None => finish_lane(burst, frames, descriptor, lane),
    }
}

/// The long way, of a packet whose connection is not opened quickly either.
#[inline(never)]
fn finish_lane(
    burst: &mut Burst<'_>,
    frames: &mut [u8],
    descriptor: &mut Descriptor,
    lane: &Lane,
) -> Verdict {
    let outcome = match lane {
        Lane::Ipv4(lane) => finish_plain(burst, frames, descriptor, lane),
        Lane::Ipv6(lane) => finish_plain(burst, frames, descriptor, lane),
        Lane::Aside(_) => finish_unusual(burst, frames, descriptor),
    };
    burst.settle(descriptor, &outcome)
}

#[inline]
fn finish_plain<A: Tracked>(
    burst: &mut Burst<'_>,
    frames: &mut [u8],
    descriptor: &Descriptor,
    lane: &PlainLane<A>,
) -> Outcome {
    let headers = &lane.headers.headers();
    let (hash, decision) = (lane.hash, lane.decision.as_ref());
    follow(burst, frames, descriptor, headers, (hash, decision))
}

/// Packets with options or extension headers, fragments, ICMP, other protocols, and what is malformed; and what was
/// nobody's when it was looked up.
#[cold]
fn finish_unusual(burst: &mut Burst<'_>, frames: &mut [u8], descriptor: &Descriptor) -> Outcome {
    let Some(packet) = packet_of(frames, descriptor) else {
        return Outcome::dropped(DropReason::MalformedDescriptor);
    };
    match parse_any(packet, &descriptor.offload) {
        Parsed::Ipv4(headers) => {
            let hash = hash(burst, &headers);
            follow(burst, frames, descriptor, &headers, (hash, None))
        }
        Parsed::Ipv6(headers) => {
            let hash = hash(burst, &headers);
            follow(burst, frames, descriptor, &headers, (hash, None))
        }
        Parsed::NotOurs => Outcome::PASS,
        Parsed::Malformed(reason) => Outcome::dropped(reason),
    }
}

/// Of the tuple under which a packet's connection is found.
fn hash<A: Tracked>(burst: &Burst<'_>, headers: &Headers<A>) -> u64 {
    let connections = A::connections(burst.shared);
    match headers.kind {
        Kind::Whole | Kind::FirstFragment { .. } => connections.hash(&headers.tuple),
        Kind::IcmpError { .. } => connections.hash(&headers.tuple.reverse()),
        Kind::LaterFragment { .. } | Kind::Other => 0,
    }
}

#[inline]
fn follow<A: Tracked>(
    burst: &mut Burst<'_>,
    frames: &mut [u8],
    descriptor: &Descriptor,
    headers: &Headers<A>,
    (hash, decision): (u64, Option<&Decision<A>>),
) -> Outcome {
    let start = descriptor.offset as usize;
    let room = start.saturating_add(descriptor.capacity as usize);
    burst.packet(&mut Subject {
        frame: frames.get_mut(start..room).unwrap_or_default(),
        len: descriptor.len as usize,
        headers,
        offload: &descriptor.offload,
        arrival: descriptor.arrival(),
        hash,
        decision,
    })
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.worker_slots.give(self.slot);
    }
}
