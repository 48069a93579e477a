//! The connections of one family: found by either tuple, opened in both directions or not at all.
//!
//! Memory is allocated once: an array of records, a free list, and an index with two entries a connection.
//! An index entry carries a record number, a direction and fifteen bits of the record's version. All threads
//! share the table; nothing locks.

use super::binding::{Binding, Bound};
use super::record::{Record, Stored, join, split};
use super::state::{Memory, Progress, State, Step, Transport, step};
use super::tcp;
use super::timeouts::{TimeoutTicks, Timeouts};
use crate::net::{Direction, Family, Protocol, TICKS_PER_SECOND, Tuple};
use crate::sync::{Advice, FreeStack, Header, Life, Lines, Loads, Word, fence_release};
use crate::table::{Cache, Entry, HashKey, Home, Index, prefetch, prefetch_whole};
use alloc::sync::Arc;
use core::net::IpAddr;
use crossbeam::utils::CachePadded;

/// Deadlines are moved only when they move by at least this much: half a second.
pub(super) const REFRESH_TICKS: u32 = TICKS_PER_SECOND / 2;
/// Tries to take a packet's step before it is left out: each lost try means that another worker took one.
const MAX_STEPS: u32 = 8;
/// Records looked at to make room for one connection.
const EVICTION_SAMPLE: u64 = 64;

/// Records of so many bytes at most lie in the second cache, beside the index and the packets.
const NEAR_BYTES: usize = 256 << 10;

/// The connections of family `A`.
#[derive(Debug)]
pub struct Connections<A: Stored> {
    pub(super) key: HashKey,
    pub(super) index: Index,
    pub(super) records: Lines<Record<A>>,
    loads: Arc<Loads>,
    pub(super) timeouts: TimeoutTicks,
    /// Apart from what every packet reads.
    pub(super) written: CachePadded<Written>,
}

/// What opening and closing write, whoever does it: together, so that it travels between processors as one line.
#[derive(Debug)]
pub(super) struct Written {
    free: FreeStack,
    /// Records given back.
    given: Word,
    evicted: Word,
    sweep_hand: Word,
    evict_hand: Word,
    /// Endpoint number plus one and tick when its source ports were last found all in use.
    pub(super) exhausted: Word,
}

/// A connection found by one of its tuples.
#[derive(Debug, Clone, Copy)]
pub struct Hit<'table, A: Stored> {
    pub(super) record: &'table Record<A>,
    pub(super) number: u32,
    pub(super) header: Header,
    /// Which of its tuples was found.
    pub direction: Direction,
    /// What it ties together.
    pub binding: Binding<A>,
}

/// A connection as shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// From the client to the frontend.
    pub original: Tuple<IpAddr>,
    /// From the endpoint to the client or, if masqueraded, to the node.
    pub reply: Tuple<IpAddr>,
    /// State and flags.
    pub state: State,
    /// Whole seconds until it expires, rounded up.
    pub remaining_seconds: u32,
    /// Is its source translated to the node's address?
    pub masquerade: bool,
}

impl Connection {
    /// The transport protocol.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.original.protocol
    }
}

const DIRECTION_BIT: u64 = 1 << 32;

/// The index entry of a record's incarnation and direction.
pub(super) fn entry(number: u32, version: u64, direction: Direction) -> Entry {
    let direction = match direction {
        Direction::Original => 0,
        Direction::Reply => DIRECTION_BIT,
    };
    Entry::new(((version & 0x7fff) << 33) | direction | u64::from(number))
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low half is the record's number"
)]
pub(super) const fn decode(entry: Entry) -> (u32, u64, Direction) {
    let bits = entry.bits();
    let direction = if bits & DIRECTION_BIT == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    (bits as u32, bits >> 33, direction)
}

impl<A: Stored> Connections<A> {
    /// A table for exactly `capacity` connections, whose memory `advice` sees before it is touched. `loads` counts
    /// those that are to be counted.
    #[must_use]
    pub fn new(
        capacity: u32,
        seed: u128,
        timeouts: &Timeouts,
        advice: Option<Advice>,
        loads: Arc<Loads>,
    ) -> Self {
        let records = Lines::new(capacity as usize, advice, Record::empty);
        let link = |number: u32| records.get(number as usize).map(Record::link);
        let free = FreeStack::full(capacity, link);
        let purpose = match A::FAMILY {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        Self {
            key: HashKey::new(seed, purpose),
            index: Index::new(u64::from(capacity).saturating_mul(2), advice),
            records,
            loads,
            timeouts: TimeoutTicks::new(timeouts),
            written: CachePadded::new(Written {
                free,
                given: Word::new(0),
                evicted: Word::new(0),
                sweep_hand: Word::new(0),
                evict_hand: Word::new(0),
                exhausted: Word::new(0),
            }),
        }
    }

    /// Bytes that [`Connections::new`] allocates.
    #[must_use]
    pub fn memory_bytes(capacity: u32) -> u64 {
        let records = u64::from(capacity).saturating_mul(size_of::<Record<A>>() as u64);
        records.saturating_add(Index::memory_bytes(u64::from(capacity).saturating_mul(2)))
    }

    /// A free record, and the next one's cache line asked for.
    #[inline(always)]
    pub(super) fn take_free(&self) -> Option<u32> {
        let (number, next) = self.written.free.take(|number| self.link(number))?;
        prefetch(&self.records, next as usize);
        Some(number)
    }

    /// Gives back a record that is free.
    pub(super) fn give(&self, number: u32) {
        self.written.free.give(number, |number| self.link(number));
        // Pairs with the acquire in `used`: whoever counts the record given back counts it taken before.
        fence_release();
        self.written.given.add(1);
    }

    fn link(&self, number: u32) -> Option<&Word> {
        self.records.get(number as usize).map(Record::link)
    }

    /// How many connections there is room for.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }

    /// How many records are in use, expired ones not yet reused and those just being opened included.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "both counts go round")]
    pub fn used(&self) -> u64 {
        let given = self.written.given.read_acquire() as u32;
        u64::from(self.written.free.taken().wrapping_sub(given))
    }

    /// Connections evicted for new ones since the start.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.written.evicted.read()
    }

    /// The hash under which a tuple is found.
    #[inline]
    #[must_use]
    pub fn hash(&self, tuple: &Tuple<A>) -> u64 {
        hash(&self.key, tuple)
    }

    /// The hash under which a connection is found in `direction`.
    #[inline(always)]
    pub(super) fn hash_of(&self, binding: &Binding<A>, direction: Direction) -> u64 {
        let (addresses, ports) = binding.words(direction);
        A::hash_words(&self.key, addresses, ports, binding.protocol())
    }

    /// Asks for the cache line that [`Connections::candidate`] reads.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// What the index's home line says of the hash; the record's cache lines are asked for.
    #[inline]
    #[must_use]
    pub fn candidate(&self, hash: u64) -> Home {
        let home = self.index.home_of(hash);
        if let Home::Entry(found) = home {
            self.prefetch_record(found);
        }
        home
    }

    /// After [`Home::Beyond`]: a record that probably is the hash's, its cache lines asked for.
    #[cold]
    #[must_use]
    pub fn candidate_beyond(&self, hash: u64) -> Option<Entry> {
        let found = self.index.beyond(hash)?;
        self.prefetch_record(found);
        Some(found)
    }

    #[inline]
    fn prefetch_record(&self, found: Entry) {
        let cache = if self.records.len() <= NEAR_BYTES / size_of::<Record<A>>() {
            Cache::First
        } else {
            Cache::Second
        };
        prefetch_whole(&self.records, decode(found).0 as usize, cache);
    }

    /// The live connection that one of whose tuples this is. An expired one is cleared away.
    #[inline(never)]
    #[must_use]
    pub fn find(&self, tuple: &Tuple<A>, hash: u64, now: u32) -> Option<Hit<'_, A>> {
        let mut hit = None;
        self.index.find(hash, |found| {
            let Some(candidate) = self.verify(found, tuple) else {
                return false;
            };
            if candidate.header.deadline() > now {
                hit = Some(candidate);
                return true;
            }
            self.close(candidate);
            false
        });
        hit
    }

    /// Is the entry's record live, of the entry's incarnation, and this tuple's?
    fn verify(&self, found: Entry, tuple: &Tuple<A>) -> Option<Hit<'_, A>> {
        let hit = self.resolve(found)?;
        let live = matches!(hit.header.life(), Life::Live(_));
        if live && hit.binding.tuple(hit.direction) == *tuple {
            Some(hit)
        } else {
            None
        }
    }

    /// What an entry points at, if the record still is of its incarnation.
    pub(super) fn resolve(&self, found: Entry) -> Option<Hit<'_, A>> {
        let (number, version, direction) = decode(found);
        let record = self.records.get(number as usize)?;
        let header = record.header();
        if header.version() & 0x7fff != version || header.life() == Life::Free {
            return None;
        }
        let binding = record.read();
        if !header.confirm(&record.header) {
            return None;
        }
        Some(Hit {
            record,
            number,
            header,
            direction,
            binding,
        })
    }

    /// Moves a connection by one packet. `Some(step)` says what the packet did; `None` that the connection
    /// ended meanwhile and the packet must be looked up again.
    pub fn advance(&self, hit: &Hit<'_, A>, transport: &Transport, now: u32) -> Option<Step> {
        self.advance_record(hit.record, hit.header, hit.direction, transport, now)
    }

    fn advance_record(
        &self,
        record: &Record<A>,
        mut header: Header,
        direction: Direction,
        transport: &Transport,
        now: u32,
    ) -> Option<Step> {
        for _ in 0..MAX_STEPS {
            let Life::Live(bits) = header.life() else {
                return None;
            };
            let (checks, memory) = record.memory();
            let state = State::from_bits(bits);
            let outcome = step(state, direction, transport, memory, now, &self.timeouts);
            let Step::Advance(progress) = outcome else {
                return Some(outcome);
            };
            match self.store(record, header, checks, memory, &progress, now) {
                Ok(()) => return Some(outcome),
                // Another worker moved it first: this packet's step is taken from where that one led, so
                // that no FIN is lost.
                Err(found) if found.version() == header.version() => header = found,
                Err(_) => return None,
            }
        }
        Some(Step::Ignore)
    }

    /// Writes what a step changed, and only that: an unchanged cache line stays clean.
    #[inline(always)]
    fn store(
        &self,
        record: &Record<A>,
        header: Header,
        checks: u64,
        memory: Memory,
        progress: &Progress,
        now: u32,
    ) -> Result<(), Header> {
        let deadline = now.saturating_add(progress.timeout);
        let life = Life::Live(progress.state.bits());
        if header.life() != life {
            self.move_on(record, header, progress.state, deadline)?;
        } else if deadline.abs_diff(header.deadline()) >= REFRESH_TICKS {
            header.advance(&record.header, life, deadline)?;
        }
        if let Some(seen) = progress.seen {
            for ((word, new), old) in record.seen.iter().zip(seen).zip(memory.seen) {
                if new != old {
                    word.write(new);
                }
            }
        }
        if let Some(windows) = progress.windows
            && windows != memory.windows
        {
            // Lost to a concurrent change: the next packet announces its window again.
            let _ = record
                .checks
                .swap_if(checks, join(split(checks).0, windows));
        }
        Ok(())
    }

    /// May what an ICMP error quotes be under way? Of TCP by its sequence number, given that `hit` was found by the
    /// tuple of an answer to the quoted packet; of others always.
    #[must_use]
    pub fn quotes_sent(&self, hit: &Hit<'_, A>, sequence: u32) -> bool {
        let (Protocol::Tcp, Life::Live(bits)) = (hit.binding.protocol(), hit.header.life()) else {
            return true;
        };
        let (_, Memory { seen, .. }) = hit.record.memory();
        let direction = hit.direction.reverse();
        tcp::is_under_way(sequence, State::from_bits(bits), direction, seen)
    }

    /// Changes a connection's state, and what its endpoint's load makes of it.
    #[cold]
    #[inline(never)]
    fn move_on(
        &self,
        record: &Record<A>,
        header: Header,
        state: State,
        deadline: u32,
    ) -> Result<(), Header> {
        // Read before the swap, which succeeds only if the record is the same incarnation's still.
        let bound = record.bound();
        header.advance(&record.header, Life::Live(state.bits()), deadline)?;
        if let Life::Live(before) = header.life() {
            self.count(bound, Some(State::from_bits(before)), Some(state));
        }
        Ok(())
    }

    /// Counts a connection whose state changes; `None`: not live.
    #[inline(always)]
    pub(super) fn count(&self, bound: Bound, before: Option<State>, after: Option<State>) {
        if bound.counted() {
            self.recount(bound, before, after);
        }
    }

    #[cold]
    #[inline(never)]
    fn recount(&self, bound: Bound, before: Option<State>, after: Option<State>) {
        let load = |state: Option<State>| match state {
            Some(state) if state.is_active(bound.protocol()) => (1, 0),
            Some(_) => (0, 1),
            None => (0, 0),
        };
        let ((active, inactive), (now_active, now_inactive)) = (load(before), load(after));
        let change = (now_active - active, now_inactive - inactive);
        if change != (0, 0) {
            let (endpoint, generation) = (bound.endpoint(), bound.endpoint_generation());
            self.loads.change(endpoint, generation, change.0, change.1);
        }
    }

    /// Ends a connection; `false` if another thread did, or moved it, first.
    pub fn close(&self, hit: Hit<'_, A>) -> bool {
        if hit
            .header
            .advance(&hit.record.header, Life::Free, 0)
            .is_err()
        {
            return false;
        }
        if let Life::Live(bits) = hit.header.life() {
            self.count(hit.binding.bound, Some(State::from_bits(bits)), None);
        }
        self.withdraw(hit.number, hit.header, &hit.binding);
        true
    }

    /// Takes a freed record out of the index and gives its number back. Only for whoever freed it.
    pub(super) fn withdraw(&self, number: u32, header: Header, binding: &Binding<A>) {
        for direction in [Direction::Original, Direction::Reply] {
            let entry = entry(number, header.version(), direction);
            self.index.remove(self.hash_of(binding, direction), entry);
        }
        self.give(number);
    }

    fn at(&self, number: u32) -> Option<Hit<'_, A>> {
        let record = self.records.get(number as usize)?;
        let header = record.header();
        if !matches!(header.life(), Life::Live(_)) {
            return None;
        }
        let binding = record.read();
        let direction = Direction::Original;
        header.confirm(&record.header).then_some(Hit {
            record,
            number,
            header,
            direction,
            binding,
        })
    }

    /// Clears away what has expired among the next `count` records; how many were.
    pub fn sweep(&self, now: u32, count: u32) -> u32 {
        let mut cleared = 0_u32;
        for number in self.next_records(&self.written.sweep_hand, u64::from(count)) {
            let expired = self.records.get(number as usize).is_some_and(|record| {
                let header = record.header();
                matches!(header.life(), Life::Live(_)) && header.deadline() <= now
            });
            if expired
                && let Some(hit) = self.at(number)
                && hit.header.deadline() <= now
                && self.close(hit)
            {
                cleared = cleared.wrapping_add(1);
            }
        }
        cleared
    }

    /// Makes room for one connection: an expired one, else the half-open one that expires first, else the
    /// one-way UDP one that does, among the next [`EVICTION_SAMPLE`] records. Assured and answered
    /// connections are not touched. `true` also if other threads made room among them meanwhile.
    pub(super) fn make_room(&self, now: u32) -> bool {
        for _ in 0..4 {
            let mut best: Option<(u8, u32, Hit<'_, A>)> = None;
            let mut vacant = false;
            for number in self.next_records(&self.written.evict_hand, EVICTION_SAMPLE) {
                let Some(hit) = self.at(number) else {
                    vacant = true;
                    continue;
                };
                let Some(class) = eviction_class(&hit, now) else {
                    continue;
                };
                if class == 0 {
                    if self.close(hit) {
                        return true;
                    }
                    vacant = true;
                    continue;
                }
                let rank = (class, hit.header.deadline());
                if best
                    .as_ref()
                    .is_none_or(|(class, deadline, _)| rank < (*class, *deadline))
                {
                    best = Some((rank.0, rank.1, hit));
                }
            }
            match best {
                Some((_, _, hit)) => {
                    if self.close(hit) {
                        self.written.evicted.add(1);
                        return true;
                    }
                }
                None => return vacant,
            }
        }
        false
    }

    /// The next `count` record numbers of a hand that goes round, at most all of them.
    #[expect(clippy::cast_possible_truncation, reason = "below a 32-bit capacity")]
    fn next_records(&self, hand: &Word, count: u64) -> impl Iterator<Item = u32> + use<A> {
        let capacity = self.records.len() as u64;
        let count = count.min(capacity);
        let start = hand.read();
        hand.write(start.wrapping_add(count));
        (0..count).map(move |step| (start.wrapping_add(step) % capacity.max(1)) as u32)
    }

    /// Every connection that has not expired, in no order. Not one moment's: packets go on.
    pub fn iter(&self, now: u32) -> impl Iterator<Item = Connection> + '_ {
        (0..self.capacity()).filter_map(move |number| {
            let hit = self.at(number)?;
            let Life::Live(bits) = hit.header.life() else {
                return None;
            };
            let remaining = hit
                .header
                .deadline()
                .checked_sub(now)
                .filter(|ticks| *ticks > 0)?;
            Some(Connection {
                original: hit.binding.tuple(Direction::Original).to_ip(),
                reply: hit.binding.tuple(Direction::Reply).to_ip(),
                state: State::from_bits(bits),
                remaining_seconds: remaining.div_ceil(TICKS_PER_SECOND),
                masquerade: hit.binding.masquerade(),
            })
        })
    }
}

/// 0 expired, 1 half-open, 2 one-way UDP; `None`: not to be evicted.
fn eviction_class<A: Stored>(hit: &Hit<'_, A>, now: u32) -> Option<u8> {
    if hit.header.deadline() <= now {
        return Some(0);
    }
    let Life::Live(bits) = hit.header.life() else {
        return None;
    };
    let state = State::from_bits(bits);
    match hit.binding.protocol() {
        Protocol::Tcp | Protocol::Sctp => (!state.assured()).then_some(1),
        Protocol::Udp => (!state.seen_reply()).then_some(2),
    }
}

/// The hash of a tuple of either family.
#[inline]
pub(super) fn hash<A: Stored>(key: &HashKey, tuple: &Tuple<A>) -> u64 {
    let addresses = A::pair(tuple.source, tuple.destination);
    A::hash_words(key, addresses, tuple.ports(), tuple.protocol)
}
