//! Schedulers: which endpoint of a set a new connection gets.
//!
//! Nothing here allocates, waits or panics. Random, turns and hashes cost the same however many endpoints there are;
//! least-connection schedulers look at each endpoint of the set.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::balance::Draw;
use super::bucket_tables::BucketTable;
use super::hashing::{HASH_BUCKETS, below, mix};
use super::id_list::IdList;
use super::table::{ServiceRecord, SetWeights};
use super::{EndpointSet, FrontendEntry, Table};
use crate::net::{Address, EndpointId, Family, Scheduler, ServiceId, TICKS_PER_SECOND, Tuple};
use crate::sync::Load;
use crate::table::hash::next_seed;

/// Choices made before an endpoint is taken although it is still to get less than its share.
const SLOW_START_TRIES: u32 = 4;
/// A full share, in parts.
const FULL_SHARE: u32 = 256;
/// Tries to take a turn while other workers take theirs, before one is taken without saying so.
const TURN_TRIES: u32 = 8;

/// The endpoints that may be chosen, and what is known of them all.
#[derive(Debug, Clone, Copy)]
struct Candidates<'table> {
    service: ServiceId,
    record: &'table ServiceRecord,
    set: EndpointSet,
    list: &'table IdList,
    start: u32,
    /// Not 0.
    len: u32,
}

/// What a least-connection scheduler compares.
#[derive(Debug, Clone, Copy)]
struct Rule {
    weighted: bool,
    /// An idle endpoint is taken at once.
    idle_first: bool,
    /// The new connection counts among those that an endpoint has ([`delay`]), and not [`overhead`].
    expectant: bool,
}

/// `ip_vs_dest_conn_overhead`: an active connection weighs as much as 256 that are closing.
fn overhead(load: Load) -> u64 {
    (u64::from(load.active) << 8).wrapping_add(u64::from(load.inactive))
}

/// `ip_vs_sed_dest_overhead`: the new connection counts too.
fn delay(load: Load) -> u64 {
    u64::from(load.active).wrapping_add(1)
}

impl Table {
    /// The one place where an endpoint is chosen.
    #[inline]
    pub(super) fn choose<A: Address>(
        &self,
        frontend: &FrontendEntry,
        set: EndpointSet,
        draw: &Draw<'_, A>,
    ) -> Option<EndpointId> {
        let (start, len) = frontend.run(set);
        if len == 0 {
            return None;
        }
        if frontend.is_scheduled() {
            return self.schedule(frontend, set, draw);
        }
        // Multiply and shift (Lemire 2019): each endpoint's share is off by less than 2^-32 of it.
        let offset = below(draw.random, len);
        self.pages
            .id(&frontend.runs.list, start.wrapping_add(offset))
    }

    #[inline(never)]
    fn schedule<A: Address>(
        &self,
        frontend: &FrontendEntry,
        set: EndpointSet,
        draw: &Draw<'_, A>,
    ) -> Option<EndpointId> {
        let (start, len) = frontend.run(set);
        let candidates = &Candidates {
            service: frontend.service(),
            record: self.services.get(frontend.service as usize)?,
            set,
            list: &frontend.runs.list,
            start,
            len,
        };
        match candidates.record.schedule.scheduler {
            Scheduler::Random => {
                self.unhurried(candidates, draw, |random| Some(below(random, len)))
            }
            Scheduler::RoundRobin => self.unhurried(candidates, draw, |_| turn(candidates, draw)),
            Scheduler::WeightedRoundRobin => {
                self.unhurried(candidates, draw, |_| self.weighted_turn(candidates, draw))
            }
            Scheduler::LeastConnection => self.least(candidates, draw, Rule::LEAST),
            Scheduler::WeightedLeastConnection => {
                self.least(candidates, draw, Rule::WEIGHTED_LEAST)
            }
            Scheduler::ShortestExpectedDelay => self.least(candidates, draw, Rule::SHORTEST_DELAY),
            Scheduler::NeverQueue => self.least(candidates, draw, Rule::NEVER_QUEUE),
            Scheduler::SourceHashing => self.hashed(candidates, draw.tuple.source),
            Scheduler::DestinationHashing => self.hashed(candidates, draw.tuple.destination),
            Scheduler::Maglev => self.maglev(candidates, draw.tuple),
        }
    }

    /// Picks by `pick`, which is given random numbers; a new endpoint that is still to get less than its share is
    /// given up for another in so many cases.
    fn unhurried<A: Address>(
        &self,
        candidates: &Candidates<'_>,
        draw: &Draw<'_, A>,
        pick: impl Fn(u64) -> Option<u32>,
    ) -> Option<EndpointId> {
        let mut random = draw.random;
        let mut tries = SLOW_START_TRIES;
        loop {
            let id = self.candidate(candidates, pick(random)?)?;
            let share = self.share(candidates, id, draw);
            tries = tries.saturating_sub(1);
            if share == FULL_SHARE
                || tries == 0
                || below(next_seed(&mut random), FULL_SHARE) < share
            {
                return Some(id);
            }
            random = next_seed(&mut random);
        }
    }

    /// How much of its share an endpoint is to get now, in parts of [`FULL_SHARE`].
    fn share<A>(&self, candidates: &Candidates<'_>, id: EndpointId, draw: &Draw<'_, A>) -> u32 {
        let seconds = u32::from(candidates.record.schedule.slow_start_seconds);
        let whole = seconds.saturating_mul(TICKS_PER_SECOND);
        if whole == 0 || draw.peek {
            return FULL_SHARE;
        }
        let age = draw.balance.loads().age(id, draw.now).min(whole);
        let parts = u64::from(age).wrapping_mul(u64::from(FULL_SHARE));
        let share = parts.checked_div(u64::from(whole)).unwrap_or(0);
        u32::try_from(share).unwrap_or(FULL_SHARE).max(1)
    }

    fn candidate(&self, candidates: &Candidates<'_>, position: u32) -> Option<EndpointId> {
        let position = candidates.start.wrapping_add(position);
        self.pages.id(candidates.list, position)
    }

    fn weight(&self, id: EndpointId) -> u16 {
        self.weights.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// The endpoint whose connections are fewest for what it is worth. IPVS takes the first of equals in its list,
    /// on every node the same; here the search begins anywhere.
    fn least<A>(
        &self,
        candidates: &Candidates<'_>,
        draw: &Draw<'_, A>,
        rule: Rule,
    ) -> Option<EndpointId> {
        let first = below(draw.random, candidates.len);
        let mut best: Option<(EndpointId, u64, u64)> = None;
        for step in 0..candidates.len {
            let position = first.wrapping_add(step);
            let position = position.checked_sub(candidates.len).unwrap_or(position);
            let id = self.candidate(candidates, position)?;
            let load = draw.balance.loads().read(id);
            if rule.idle_first && load.active == 0 {
                return Some(id);
            }
            let weight = if rule.weighted { self.weight(id) } else { 1 };
            let share = u64::from(self.share(candidates, id, draw));
            let worth = u64::from(weight).wrapping_mul(share);
            let cost = if rule.expectant {
                delay(load)
            } else {
                overhead(load)
            };
            // cost / worth < best cost / best worth, without dividing; below 2^57.
            let better =
                best.is_none_or(|(_, least, of)| cost.wrapping_mul(of) < least.wrapping_mul(worth));
            if better {
                best = Some((id, cost, worth));
            }
        }
        best.map(|(id, ..)| id)
    }

    /// `ip_vs_wrr_schedule`: all endpoints of the greatest weight in turn, then all of at least the next lower one,
    /// and so on by steps of the greatest common divisor. The word holds one more than the last place, and the
    /// weight now asked for.
    fn weighted_turn<A>(&self, candidates: &Candidates<'_>, draw: &Draw<'_, A>) -> Option<u32> {
        let Some(word) = draw.balance.turn(candidates.service, candidates.set) else {
            return Some(below(draw.random, candidates.len));
        };
        let weights = candidates.record.weights_of(candidates.set);
        let mut state = word.read();
        for _ in 0..TURN_TRIES {
            let (place, next) = self.turn_after(candidates, weights, state)?;
            if draw.peek {
                return Some(place);
            }
            match word.swap_if(state, next) {
                Ok(()) => return Some(place),
                Err(found) => state = found,
            }
        }
        self.turn_after(candidates, weights, state)
            .map(|(place, _)| place)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the word's halves")]
    fn turn_after(
        &self,
        candidates: &Candidates<'_>,
        weights: SetWeights,
        state: u64,
    ) -> Option<(u32, u64)> {
        let step = u32::from(weights.divisor);
        let greatest = u32::from(weights.greatest).saturating_sub(step.saturating_sub(1));
        let (mut place, asked) = ((state >> 32) as u32, state as u32);
        let mut asked = if asked == 0 {
            greatest
        } else {
            asked.min(greatest)
        };
        // Whatever is left of this pass, and one whole pass, which the greatest weight is part of.
        let most = candidates.len.saturating_mul(2).saturating_add(1);
        for _ in 0..most {
            if place >= candidates.len {
                place = 0;
                asked = match asked.saturating_sub(step) {
                    0 => greatest,
                    less => less,
                };
            }
            let id = self.candidate(candidates, place)?;
            let next = place.wrapping_add(1);
            if u32::from(self.weight(id)) >= asked {
                return Some((place, u64::from(next) << 32 | u64::from(asked)));
            }
            place = next;
        }
        None
    }

    /// `ip_vs_sh_get_fallback`: the bucket of an address, or the next whose endpoint takes connections.
    fn hashed<A: Address>(&self, candidates: &Candidates<'_>, address: A) -> Option<EndpointId> {
        let table = candidates.table();
        let hash = bucket_of(address);
        let again = (0..HASH_BUCKETS).map(|offset| hash.wrapping_mul(2).wrapping_add(offset));
        core::iter::once(hash)
            .chain(again)
            .filter_map(|bucket| self.buckets.bucket(table, bucket % HASH_BUCKETS))
            .find(|id| {
                self.endpoint(*id)
                    .is_some_and(|endpoint| endpoint.is_in(candidates.set))
            })
            // Of more endpoints than buckets, those that take connections may have none.
            .or_else(|| self.candidate(candidates, below(u64::from(hash) << 56, candidates.len)))
    }

    /// By addresses and ports (the protocol is the ServicePort's), so that a client's connections spread; by the
    /// client alone where it is to keep its endpoint.
    fn maglev<A: Address>(
        &self,
        candidates: &Candidates<'_>,
        tuple: &Tuple<A>,
    ) -> Option<EndpointId> {
        let table = candidates.table();
        let seed = candidates.record.schedule.seed;
        let [source_high, source_low] = tuple.source.to_words();
        let hash = if candidates.record.affinity_seconds == 0 {
            let [high, low] = tuple.destination.to_words();
            let ports = (u64::from(tuple.source_port) << 16) | u64::from(tuple.destination_port);
            mix(seed, [source_high, source_low, high, low, ports])
        } else {
            mix(seed, [source_high, source_low])
        };
        self.buckets.bucket(table, below(hash, table.len()))
    }
}

impl Candidates<'_> {
    const fn table(&self) -> &BucketTable {
        self.record.bucket_table(self.set)
    }
}

impl Rule {
    const LEAST: Self = Self {
        weighted: false,
        idle_first: false,
        expectant: false,
    };
    const WEIGHTED_LEAST: Self = Self {
        weighted: true,
        ..Self::LEAST
    };
    const SHORTEST_DELAY: Self = Self {
        expectant: true,
        ..Self::WEIGHTED_LEAST
    };
    const NEVER_QUEUE: Self = Self {
        idle_first: true,
        ..Self::SHORTEST_DELAY
    };
}

/// `ip_vs_rr_schedule`: one after another. Each turn is one worker's, whoever else takes one at that moment.
fn turn<A>(candidates: &Candidates<'_>, draw: &Draw<'_, A>) -> Option<u32> {
    let Some(word) = draw.balance.turn(candidates.service, candidates.set) else {
        return Some(below(draw.random, candidates.len));
    };
    let turn = if draw.peek { word.read() } else { word.add(1) };
    let place = turn.checked_rem(u64::from(candidates.len))?;
    u32::try_from(place).ok()
}

/// `ip_vs_sh_hashkey`: the address' words folded, and the high bits of their product with 2^32 over the golden
/// ratio (`hash_32`).
#[expect(
    clippy::cast_possible_truncation,
    reason = "words are folded by their halves"
)]
pub(super) fn bucket_of<A: Address>(address: A) -> u32 {
    const GOLDEN_RATIO_32: u32 = 0x61c8_8647;
    let [high, low] = address.to_words();
    let folded = match A::FAMILY {
        Family::Ipv4 => low as u32,
        Family::Ipv6 => (high >> 32) as u32 ^ high as u32 ^ (low >> 32) as u32 ^ low as u32,
    };
    folded.wrapping_mul(GOLDEN_RATIO_32) >> 24
}
