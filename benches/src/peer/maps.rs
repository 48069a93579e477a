//! What others take for looking a connection up and nothing else: maps of crates that threads can share, filled with as
//! many keys of a packet's addresses, ports and protocol, asked for random ones of them.

use crate::clock::CpuTime;
use crate::floor::nanos_each;
use crate::row::median;
use crate::scene::Family;
use core::hash::Hash;
use core::hint::black_box;
use foldhash::fast::RandomState;
use portolan::table::hash::next_seed;
use std::sync::RwLock;

/// Keys that are prepared, then looked up in one go.
const BATCH: usize = 512;

/// A map that threads share. All of them with the same hash, which is the fastest of those that are keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// `hashbrown` under the standard library's `RwLock`, locked for each lookup.
    Hashbrown,
    /// `dashmap`: shards of `hashbrown`, each under a lock.
    Dashmap,
    /// `papaya`: lock-free, pinned for each lookup.
    Papaya,
    /// `scc`.
    Scc,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hashbrown, Self::Dashmap, Self::Papaya, Self::Scc];

    /// The crate's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hashbrown => "hashbrown",
            Self::Dashmap => "dashmap",
            Self::Papaya => "papaya",
            Self::Scc => "scc",
        }
    }

    /// Nanoseconds of CPU time a lookup among `count` keys: the median of `rounds` rounds of about `lookups`.
    #[must_use]
    pub fn lookup_nanos(self, family: Family, count: u32, rounds: usize, lookups: u32) -> f64 {
        match family {
            Family::Ipv4 => self.measure(count, rounds, lookups, key_ipv4),
            Family::Ipv6 => self.measure(count, rounds, lookups, key_ipv6),
        }
    }

    fn measure<K: Hash + Eq + Copy>(
        self,
        count: u32,
        rounds: usize,
        lookups: u32,
        key: fn(u32) -> K,
    ) -> f64 {
        let entries = (0..count).map(|number| (key(number), number));
        let state = RandomState::default();
        let capacity = count as usize;
        match self {
            Self::Hashbrown => {
                let mut map = hashbrown::HashMap::with_capacity_and_hasher(capacity, state);
                map.extend(entries);
                let map = RwLock::new(map);
                time(count, rounds, lookups, key, |key| {
                    map.read().ok()?.get(key).copied()
                })
            }
            Self::Dashmap => {
                let map = dashmap::DashMap::with_capacity_and_hasher(capacity, state);
                entries.for_each(|(key, number)| _ = map.insert(key, number));
                time(count, rounds, lookups, key, |key| {
                    map.get(key).map(|found| *found)
                })
            }
            Self::Papaya => {
                let map = papaya::HashMap::with_capacity_and_hasher(capacity, state);
                entries.for_each(|(key, number)| _ = map.pin().insert(key, number));
                time(count, rounds, lookups, key, |key| {
                    map.pin().get(key).copied()
                })
            }
            Self::Scc => {
                let map = scc::HashMap::with_capacity_and_hasher(capacity, state);
                entries.for_each(|(key, number)| _ = map.insert_sync(key, number));
                time(count, rounds, lookups, key, |key| {
                    map.read_sync(key, |_, found| *found)
                })
            }
        }
    }
}

fn time<K>(
    count: u32,
    rounds: usize,
    lookups: u32,
    key: fn(u32) -> K,
    lookup: impl Fn(&K) -> Option<u32>,
) -> f64 {
    let clock = CpuTime::new();
    let mut random = 7;
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let (mut time, mut done) = (core::time::Duration::ZERO, 0);
            while done < u64::from(lookups) {
                let numbers: Vec<u32> = (0..BATCH)
                    .map(|_| {
                        ((u128::from(next_seed(&mut random)) * u128::from(count)) >> 64) as u32
                    })
                    .collect();
                let keys: Vec<K> = numbers.iter().copied().map(key).collect();
                time += clock.time(|| {
                    for (key, number) in keys.iter().zip(&numbers) {
                        assert_eq!(lookup(black_box(key)), Some(*number));
                    }
                });
                done += BATCH as u64;
            }
            nanos_each(time, done)
        })
        .collect();
    median(&mut times)
}

/// Sixteen bytes, as IPv4's addresses, ports and protocol take.
pub(super) fn key_ipv4(number: u32) -> [u32; 4] {
    [
        0x6440_0000 | number,
        0x0a60_0001 + number % 100,
        (10_000 << 16) | 80,
        6,
    ]
}

/// Forty bytes.
pub(super) fn key_ipv6(number: u32) -> [u64; 5] {
    let [a, b, ports, protocol] = key_ipv4(number).map(u64::from);
    [0xfd64 << 48, a, 0xfd96 << 48, b, (ports << 16) | protocol]
}
