//! A burst in three short loops: read every header and ask for every index line; ask for every record; decide
//! and rewrite, in order.

use super::descriptor::Descriptor;
use super::endpoint_counters::EndpointCounters;
use super::path::{Burst, Outcome, Subject};
use super::shared::{Shared, Tracked};
use super::stats::{BYTES, COUNTERS, RELATED, drop_index, verdict_index};
use super::{Offload, descriptor_flags};
use crate::net::{DropReason, Instant, Verdict};
use crate::packet::{
    Headers, Kind, Parsed, Plain, PlainHeaders, parse_any, plain_ipv4, plain_ipv6,
};
use crate::service::Table;
use crate::sync::{CounterSlot, Reader};
use crate::table::{Entry, Home};
use alloc::sync::Arc;

/// Packets whose memory is asked for together. More would not hide more latency and spill the first cache.
const LANES: usize = 32;

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
    /// Of the burst under way; kept, because clearing them would cost more than filling them.
    lanes: [Lane; LANES],
}

/// What the first two loops found of a packet.
#[derive(Debug, Clone, Copy)]
struct Lane {
    plain: Plain,
    hash: u64,
    /// What the index names, if the packet is a plain one.
    candidate: Option<Entry>,
}

const _: () = assert!(LANES == 32, "a bit for each lane");

const EMPTY_LANE: Lane = Lane {
    plain: Plain::Not,
    hash: 0,
    candidate: None,
};

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
            lanes: [EMPTY_LANE; LANES],
        }
    }

    /// Moves one burst of packets: each descriptor gets a verdict, each packet to be forwarded or answered is
    /// rewritten in place in `frames`.
    ///
    /// One generation of the Service table decides the whole burst. `now` is the host's monotonic clock. Never
    /// allocates, waits or panics, whatever the packets and descriptors hold; a descriptor that does not lie
    /// inside `frames` is dropped as [`DropReason::MalformedDescriptor`]. Descriptors whose frames overlap are
    /// processed in order, each on what the one before left.
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
        let mut burst = Burst {
            table: &table,
            shared: &self.shared,
            counters: &self.counters,
            endpoints: &self.endpoints,
            random: &mut self.random,
            now: self.latest.ticks(),
            opened: false,
        };
        let lanes = &mut self.lanes;
        let mut verdicts = [0_u64; 4];
        let mut bytes = 0_u64;
        for chunk in descriptors.chunks_mut(LANES) {
            // A chunk's lookups see what the chunks before it opened.
            burst.opened = false;
            look_up(&burst, frames, chunk, lanes);
            for (descriptor, lane) in chunk.iter_mut().zip(lanes.iter()) {
                bytes = bytes.wrapping_add(u64::from(descriptor.len));
                let moved = match (&lane.plain, lane.candidate) {
                    (Plain::Ipv4(headers), Some(candidate)) => {
                        burst.quick(frames, descriptor, headers, candidate)
                    }
                    (Plain::Ipv6(headers), Some(candidate)) => {
                        burst.quick(frames, descriptor, headers, candidate)
                    }
                    (Plain::Not, _) | (_, None) => None,
                };
                if moved.is_none() {
                    finish(&mut burst, frames, descriptor, lane);
                }
                if let Some(count) = verdicts.get_mut(usize::from(descriptor.verdict)) {
                    *count = count.wrapping_add(1);
                }
            }
        }
        let kinds = [
            Verdict::Pass,
            Verdict::Forward,
            Verdict::Reply,
            Verdict::Drop,
        ];
        for (verdict, count) in kinds.into_iter().zip(verdicts) {
            burst.counters.add(verdict_index(verdict), count);
        }
        burst.counters.add(BYTES, bytes);
    }
}

/// The first two loops.
#[inline(always)]
fn look_up(burst: &Burst<'_>, frames: &[u8], chunk: &[Descriptor], lanes: &mut [Lane; LANES]) {
    for (descriptor, lane) in chunk.iter().zip(lanes.iter_mut()) {
        let packet = packet_of(frames, descriptor).unwrap_or_default();
        // Each family by itself: an enum that went through memory would cost as much again.
        if let Some(headers) = plain_ipv4(packet, &descriptor.offload) {
            lane.hash = ask_for_index(burst, &headers);
            lane.plain = Plain::Ipv4(headers);
        } else if let Some(headers) = plain_ipv6(packet, &descriptor.offload) {
            lane.hash = ask_for_index(burst, &headers);
            lane.plain = Plain::Ipv6(headers);
        } else {
            lane.plain = Plain::Not;
        }
    }
    let mut beyond = 0_u32;
    for (number, lane) in lanes.iter_mut().take(chunk.len()).enumerate() {
        let home = match &lane.plain {
            Plain::Ipv4(headers) => ask_for_record(burst, headers, lane.hash),
            Plain::Ipv6(headers) => ask_for_record(burst, headers, lane.hash),
            Plain::Not => Home::Nothing,
        };
        lane.candidate = match home {
            Home::Entry(entry) => Some(entry),
            Home::Beyond => {
                beyond |= 1 << number;
                None
            }
            Home::Nothing => None,
        };
    }
    while beyond != 0 {
        if let Some(lane) = lanes.get_mut(beyond.trailing_zeros() as usize) {
            lane.candidate = match &lane.plain {
                Plain::Ipv4(headers) => ask_beyond(burst, headers, lane.hash),
                Plain::Ipv6(headers) => ask_beyond(burst, headers, lane.hash),
                Plain::Not => None,
            };
        }
        beyond &= beyond.wrapping_sub(1);
    }
}

#[inline]
fn packet_of<'frames>(frames: &'frames [u8], descriptor: &Descriptor) -> Option<&'frames [u8]> {
    let start = descriptor.offset as usize;
    let end = start.checked_add(descriptor.len as usize)?;
    let room = start.checked_add(descriptor.capacity as usize)?;
    if end > room || room > frames.len() {
        return None;
    }
    frames.get(start..end)
}

#[inline(always)]
fn ask_for_index<A: Tracked>(burst: &Burst<'_>, headers: &PlainHeaders<A>) -> u64 {
    let connections = A::connections(burst.shared);
    let hash = connections.hash_plain(headers);
    connections.prefetch(hash);
    hash
}

#[inline(always)]
fn ask_for_record<A: Tracked>(burst: &Burst<'_>, headers: &PlainHeaders<A>, hash: u64) -> Home {
    let home = A::connections(burst.shared).candidate(hash);
    if home == Home::Nothing {
        ask_for_frontend(burst, headers);
    }
    home
}

/// For entries that do not live in their home bucket: one in forty when the table is full.
#[cold]
fn ask_beyond<A: Tracked>(
    burst: &Burst<'_>,
    headers: &PlainHeaders<A>,
    hash: u64,
) -> Option<Entry> {
    let candidate = A::connections(burst.shared).candidate_beyond(hash);
    if candidate.is_none() {
        ask_for_frontend(burst, headers);
    }
    candidate
}

#[inline]
fn ask_for_frontend<A: Tracked>(burst: &Burst<'_>, headers: &PlainHeaders<A>) {
    let tuple = headers.headers().tuple;
    let hash = burst
        .table
        .hash(tuple.destination, tuple.destination_port, tuple.protocol);
    burst.table.prefetch::<A>(hash);
}

/// The third loop's body, for packets that are not moved quickly.
#[inline(never)]
fn finish(burst: &mut Burst<'_>, frames: &mut [u8], descriptor: &mut Descriptor, lane: &Lane) {
    let missed = lane.candidate.is_none();
    let outcome = match &lane.plain {
        Plain::Ipv4(headers) => {
            let headers = &headers.headers();
            follow(burst, frames, descriptor, headers, lane.hash, missed)
        }
        Plain::Ipv6(headers) => {
            let headers = &headers.headers();
            follow(burst, frames, descriptor, headers, lane.hash, missed)
        }
        Plain::Not => unusual(burst, frames, descriptor),
    };
    descriptor.settle(&outcome);
    if let Some(reason) = outcome.reason {
        burst.counters.add(drop_index(reason), 1);
    }
    if outcome.flags & descriptor_flags::RELATED != 0 {
        burst.counters.add(RELATED, 1);
    }
}

/// Packets with options or extension headers, fragments, ICMP, other protocols, and what is malformed.
#[cold]
fn unusual(burst: &mut Burst<'_>, frames: &mut [u8], descriptor: &Descriptor) -> Outcome {
    let Some(packet) = packet_of(frames, descriptor) else {
        return Outcome::dropped(DropReason::MalformedDescriptor);
    };
    match parse_any(packet, &descriptor.offload) {
        Parsed::Ipv4(headers) => {
            let hash = hash(burst, &headers);
            follow(burst, frames, descriptor, &headers, hash, false)
        }
        Parsed::Ipv6(headers) => {
            let hash = hash(burst, &headers);
            follow(burst, frames, descriptor, &headers, hash, false)
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
    hash: u64,
    missed: bool,
) -> Outcome {
    let start = descriptor.offset as usize;
    let room = start.saturating_add(descriptor.capacity as usize);
    burst.packet(&mut Subject {
        frame: frames.get_mut(start..room).unwrap_or_default(),
        len: descriptor.len as usize,
        headers,
        offload: &descriptor.offload,
        hash,
        missed,
    })
}

impl Descriptor {
    /// Writes what became of the packet.
    #[inline]
    fn settle(&mut self, outcome: &Outcome) {
        self.verdict = outcome.verdict as u8;
        self.reason = outcome.reason.map_or(0, |reason| reason as u8);
        self.flags = outcome.flags;
        self.endpoint_tag = outcome.tag;
        if let Some(len) = outcome.replied {
            self.len = len;
            // The answer is complete as it stands.
            self.offload = Offload::default();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.worker_slots.give(self.slot);
    }
}
