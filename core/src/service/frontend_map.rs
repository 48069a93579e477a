//! From (address, port, protocol) to a number: cache-line buckets for one reader-free writer.
//!
//! The map is edited only while nobody reads it, so slots are plain values. Keys lie in the bucket, hence a
//! lookup reads one cache line. A bucket counts the entries that passed it because it was full: a lookup
//! goes on only past such buckets, and removing leaves nothing behind that slows later lookups. Beside the buckets
//! lies a mark of each, a sixteenth of their size: most keys that the map does not hold need nothing else.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use crate::table::prefetch;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// In place of a protocol number: the slot is free.
const FREE: u8 = 0;

/// What a slot is found by, beside the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapKey<K> {
    pub(super) address: K,
    pub(super) port: u16,
    /// A protocol number, or [`ADDRESS`]; never 0.
    pub(super) protocol: u8,
}

/// In place of a protocol number: the entry is of a ClusterIP, whatever the port.
pub(super) const ADDRESS: u8 = 255;
/// In place of a protocol number: the entry is of an external IP or load balancer address, whatever the port.
pub(super) const OUTER_ADDRESS: u8 = 254;

#[derive(Debug, Clone, Copy)]
struct Slot<K> {
    address: K,
    value: u32,
    port: u16,
    protocol: u8,
    /// The entry's bit of a mark.
    bit: u8,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket<K, const SLOTS: usize> {
    slots: [Slot<K>; SLOTS],
    /// Entries that would live here or before, and live behind. Stays at its greatest value once reached.
    passed: u16,
}

const _: () = assert!(size_of::<Bucket<u32, 5>>() == 64);
const _: () = assert!(size_of::<Bucket<[u64; 2], 2>>() == 64);

/// The map of one family, with as many slots a bucket as fit a cache line.
#[derive(Debug)]
pub(super) struct FrontendMap<K, const SLOTS: usize> {
    buckets: Box<[Bucket<K, SLOTS>]>,
    /// Of each bucket: the bits of the entries in it and of those that passed it; those of former ones may be left
    /// while any passes.
    marks: Box<[u32]>,
}

/// The bit that stands for a hash in a bucket's mark. The bucket was chosen by the hash's other end.
#[inline]
const fn bit(hash: u64) -> u8 {
    (hash & 31) as u8
}

impl<K: Copy + Eq + Default, const SLOTS: usize> FrontendMap<K, SLOTS> {
    /// Two slots of three in use when it is full.
    const fn bucket_count(entries: u64) -> u64 {
        entries
            .saturating_mul(3)
            .div_ceil((SLOTS as u64).saturating_mul(2))
            .saturating_add(1)
    }

    pub(super) const fn memory_bytes(entries: u64) -> u64 {
        let each = size_of::<Bucket<K, SLOTS>>().saturating_add(size_of::<u32>());
        Self::bucket_count(entries).saturating_mul(each as u64)
    }

    /// `None` if the memory cannot be had.
    pub(super) fn new(entries: u64) -> Option<Self> {
        let free = Slot {
            address: K::default(),
            value: 0,
            port: 0,
            protocol: FREE,
            bit: 0,
        };
        let bucket = Bucket {
            slots: [free; SLOTS],
            passed: 0,
        };
        let count = usize::try_from(Self::bucket_count(entries)).ok()?;
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(count).ok()?;
        buckets.resize(count, bucket);
        let mut marks = Vec::new();
        marks.try_reserve_exact(count).ok()?;
        marks.resize(count, 0);
        Some(Self {
            buckets: buckets.into_boxed_slice(),
            marks: marks.into_boxed_slice(),
        })
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn home(&self, hash: u64) -> usize {
        (u128::from(hash).wrapping_mul(self.buckets.len() as u128) >> 64) as usize
    }

    #[inline]
    fn next(&self, bucket: usize) -> usize {
        let next = bucket.wrapping_add(1);
        if next < self.buckets.len() { next } else { 0 }
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.buckets, self.home(hash));
    }

    /// May a key of this hash be there? `false` is certain.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let mark = self.marks.get(self.home(hash));
        mark.is_some_and(|mark| mark >> bit(hash) & 1 != 0)
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &MapKey<K>) -> Option<u32> {
        let mut position = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(position)?;
            for slot in &bucket.slots {
                if slot.is(key) {
                    return Some(slot.value);
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            position = self.next(position);
        }
        None
    }

    /// Sets the value of a key; there is room, because the table counts.
    pub(super) fn put(&mut self, hash: u64, key: MapKey<K>, value: u32) {
        if let Some(slot) = self.slot_mut(hash, &key) {
            slot.value = value;
            return;
        }
        let mut position = self.home(hash);
        for _ in 0..self.buckets.len() {
            let next = self.next(position);
            let Some(bucket) = self.buckets.get_mut(position) else {
                return;
            };
            if let Some(slot) = bucket.slots.iter_mut().find(|slot| slot.protocol == FREE) {
                *slot = Slot {
                    address: key.address,
                    value,
                    port: key.port,
                    protocol: key.protocol,
                    bit: bit(hash),
                };
                self.mark(position, hash);
                return;
            }
            bucket.passed = bucket.passed.saturating_add(1);
            self.mark(position, hash);
            position = next;
        }
        debug_assert!(false, "the map has more slots than the table has frontends");
    }

    /// Forgets a key, if it is there.
    pub(super) fn remove(&mut self, hash: u64, key: &MapKey<K>) {
        if self.find(hash, key).is_none() {
            return;
        }
        let mut position = self.home(hash);
        for _ in 0..self.buckets.len() {
            let next = self.next(position);
            let Some(bucket) = self.buckets.get_mut(position) else {
                return;
            };
            if let Some(slot) = bucket.slots.iter_mut().find(|slot| slot.is(key)) {
                slot.protocol = FREE;
                self.mark_anew(position);
                return;
            }
            if bucket.passed < u16::MAX {
                bucket.passed = bucket.passed.saturating_sub(1);
            }
            self.mark_anew(position);
            position = next;
        }
    }

    /// An entry of this hash is in the bucket now, or behind it.
    fn mark(&mut self, position: usize, hash: u64) {
        if let Some(mark) = self.marks.get_mut(position) {
            *mark |= 1 << bit(hash);
        }
    }

    /// An entry has left.
    fn mark_anew(&mut self, position: usize) {
        if let (Some(mark), Some(bucket)) =
            (self.marks.get_mut(position), self.buckets.get(position))
            && bucket.passed == 0
        {
            let used = bucket.slots.iter().filter(|slot| slot.protocol != FREE);
            *mark = used.fold(0, |mark, slot| mark | 1 << slot.bit);
        }
    }

    /// Every address that has an entry of its own. Reads the whole map.
    pub(super) fn addresses(&self) -> impl Iterator<Item = K> + '_ {
        let slots = self.buckets.iter().flat_map(|bucket| &bucket.slots);
        slots
            .filter(|slot| slot.protocol == ADDRESS)
            .map(|slot| slot.address)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        let marks = size_of_val(&*self.marks);
        size_of_val(&*self.buckets).saturating_add(marks) as u64
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let free = |bucket: &Bucket<K, SLOTS>| {
            bucket.passed == 0 && bucket.slots.iter().all(|slot| slot.protocol == FREE)
        };
        self.buckets.iter().all(free) && self.marks.iter().all(|mark| *mark == 0)
    }

    /// Buckets read to find these keys: together, and at most for one.
    #[cfg(test)]
    pub(super) fn probes(&self, keys: impl Iterator<Item = (u64, MapKey<K>)>) -> (usize, usize) {
        let distances = keys.map(|(hash, key)| {
            let mut position = self.home(hash);
            let mut distance = 1_usize;
            while let Some(bucket) = self.buckets.get(position)
                && !bucket.slots.iter().any(|slot| slot.is(&key))
            {
                position = self.next(position);
                distance = distance.saturating_add(1);
            }
            distance
        });
        distances.fold((0, 0), |(sum, worst): (usize, usize), one| {
            (sum.saturating_add(one), worst.max(one))
        })
    }

    fn slot_mut(&mut self, hash: u64, key: &MapKey<K>) -> Option<&mut Slot<K>> {
        let mut position = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = self.buckets.get(position)?;
            if let Some(index) = bucket.slots.iter().position(|slot| slot.is(key)) {
                return self.buckets.get_mut(position)?.slots.get_mut(index);
            }
            if bucket.passed == 0 {
                return None;
            }
            position = self.next(position);
        }
        None
    }
}

impl<K: Eq> Slot<K> {
    #[inline]
    fn is(&self, key: &MapKey<K>) -> bool {
        self.address == key.address && self.port == key.port && self.protocol == key.protocol
    }
}
