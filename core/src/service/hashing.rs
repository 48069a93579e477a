//! Which buckets of a hashing scheduler's table lead to which endpoints. Same endpoints, weights and seed: same
//! table, on every node.

use super::bucket_tables::CHUNK;
use crate::table::hash::next_seed;
use alloc::vec;
use alloc::vec::Vec;

/// Buckets of `sh` and `dh` (`IP_VS_SH_TAB_SIZE`, `IP_VS_DH_TAB_SIZE`).
pub(super) const HASH_BUCKETS: u32 = CHUNK;

/// The primes that a Maglev table's length is one of (`ip_vs_mh.c`, as far as a table may be long here).
const PRIMES: [u32; 9] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521];
/// Least buckets for each endpoint: fewer than one in a hundred of them moves when another endpoint goes.
const BUCKETS_EACH: u32 = 200;
/// The greatest weight that is told apart, beside the least (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;

/// One endpoint of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) address: [u64; 2],
    pub(super) port: u16,
    pub(super) weight: u16,
}

/// The length of a Maglev table for so many endpoints.
pub(super) fn maglev_len(endpoints: u32) -> u32 {
    let wanted = endpoints.saturating_mul(BUCKETS_EACH);
    let [.., greatest] = PRIMES;
    PRIMES
        .into_iter()
        .find(|prime| *prime >= wanted)
        .unwrap_or(greatest)
}

/// Endpoints in turn, each as many buckets in a row as its weight says: a weight of 0 counts as 1, so that its
/// clients' buckets are still known (`ip_vs_sh_reassign`, `ip_vs_dh_reassign`).
pub(super) fn in_turn(places: &[Place], weighted: bool) -> Vec<u32> {
    let run = |(number, place): (u32, &Place)| {
        let weight = if weighted { place.weight.max(1) } else { 1 };
        core::iter::repeat_n(number, usize::from(weight))
    };
    let numbered = || (0..).zip(places).flat_map(run);
    core::iter::repeat_with(numbered)
        .take(if places.is_empty() {
            0
        } else {
            HASH_BUCKETS as usize
        })
        .flatten()
        .take(HASH_BUCKETS as usize)
        .collect()
}

/// An endpoint's walk through a Maglev table: a permutation of all its buckets.
#[derive(Debug, Clone, Copy)]
struct Walk {
    next: u32,
    skip: u32,
    /// Buckets taken in each round.
    turns: u32,
}

/// Fills a Maglev table of `len` buckets, a prime (Eisenbud et al., NSDI 2016, 3.4; weights as `ip_vs_mh.c`). Gives
/// each bucket's endpoint by its place in `places`, of which those of weight 0 get none.
pub(super) fn maglev(places: &[Place], len: u32, seed: u64) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let mut walks = walks(places, len, seed);
    if walks.iter().all(|walk| walk.turns == 0) {
        return Vec::new();
    }
    let mut buckets = vec![FREE; len as usize];
    let mut left = len;
    loop {
        for (number, walk) in (0..).zip(&mut walks) {
            for _ in 0..walk.turns {
                let free = core::iter::repeat_with(|| walk.step(len))
                    .take(len as usize)
                    .find(|bucket| buckets.get(*bucket as usize) == Some(&FREE));
                if let Some(bucket) = free.and_then(|free| buckets.get_mut(free as usize)) {
                    *bucket = number;
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return buckets;
                }
            }
        }
    }
}

fn walks(places: &[Place], len: u32, seed: u64) -> Vec<Walk> {
    let weights = || places.iter().map(|place| u32::from(place.weight));
    let divisor = weights().fold(0, gcd).max(1);
    let greatest = weights()
        .max()
        .unwrap_or(0)
        .checked_div(divisor)
        .unwrap_or(0);
    let bits = u32::BITS.saturating_sub(greatest.leading_zeros());
    let shift = bits.saturating_sub(TURN_BITS);
    let walk = |place: &Place| {
        let [high, low] = place.address;
        let mut state = mix(seed, [high, low, u64::from(place.port)]);
        let (offset, skip) = (next_seed(&mut state), next_seed(&mut state));
        let turns = u32::from(place.weight).checked_div(divisor).unwrap_or(0) >> shift;
        Walk {
            next: below(offset, len),
            skip: below(skip, len.saturating_sub(1)).saturating_add(1),
            turns: turns.max(u32::from(place.weight > 0)),
        }
    };
    places.iter().map(walk).collect()
}

impl Walk {
    /// The next bucket of the permutation.
    const fn step(&mut self, len: u32) -> u32 {
        let bucket = self.next;
        let next = self.next.wrapping_add(self.skip);
        self.next = if next >= len {
            next.wrapping_sub(len)
        } else {
            next
        };
        bucket
    }
}

/// Depends on every bit of the seed and the words, and on no secret: the same on every node.
#[inline]
pub(super) fn mix<const WORDS: usize>(seed: u64, words: [u64; WORDS]) -> u64 {
    let mut state = seed;
    for word in words {
        state ^= word;
        state = next_seed(&mut state);
    }
    state
}

/// A number below `limit`, in equal shares of all 64-bit numbers.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product's high word is below the limit"
)]
pub(super) const fn below(random: u64, limit: u32) -> u32 {
    ((random as u128).wrapping_mul(limit as u128) >> 64) as u32
}

/// The greatest common divisor, of which 0 has any.
pub(super) const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
