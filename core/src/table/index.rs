//! From a hash to record numbers: one cache line a bucket, shared by all threads, without locks.
//!
//! A bucket is a meta word and seven slots. A slot holds a 16-bit tag of the hash and a 48-bit [`Entry`]; it
//! is published and withdrawn by one compare-and-swap. An entry lives in its home bucket or, if that is full,
//! in one of [`PROBE_LIMIT`] that its hash alone chooses; entries never move, so a reader that looks once
//! misses nothing. The buckets tried lie far apart: neighbours would fill in runs longer than any limit
//! (at four fifths load, 56 buckets of a million entries' index), and refuse entries while there is room.
//! The home's meta word counts its entries that live elsewhere and keeps a small Bloom filter of their tags,
//! so that a miss reads one cache line, as a hit does (Cuckoo++, Le Scouarnec 2018, with probing for moves).
//!
//! Uniqueness. Inserting is: read the home's ticket, look for an equal key, place the slot, then raise the
//! ticket if it is unchanged. Two inserters of one key share the home, so the second to raise the ticket
//! looks again, and sees the first's slot.

use super::prefetch;
use super::tags::{WORDS, equal_tags, first};
use crate::sync::{Advice, Lines, Word};
use core::num::NonZeroU64;

/// How many buckets are tried for an entry, its home included. At three fifths load one in ten is full.
const PROBE_LIMIT: usize = 16;
/// Slots in use at most, of a hundred, when a table holds as many entries as it was made for: one entry in forty
/// lives outside its home then, and costs a line more. At 80 it would be one in thirteen.
const LOAD_PERCENT: u64 = 60;
const SLOTS: usize = WORDS - 1;
const ENTRY_BITS: u32 = 48;

#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket {
    /// First the meta word, from the low end: overflow count 8, Bloom filter 24, ticket 32. Then the slots.
    words: [Word; WORDS],
}

// The model checker's words are larger.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

/// What a slot points at: 48 bits of the owner's choosing, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry(NonZeroU64);

impl Entry {
    /// From 48 bits; `None` if they are zero or more.
    #[must_use]
    pub const fn new(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) if bits.get() >> ENTRY_BITS == 0 => Some(Self(bits)),
            Some(_) | None => None,
        }
    }

    /// The 48 bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.get()
    }
}

/// How an entry found compares with the key being inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// Another key, or an entry that means nothing any more.
    Different,
    /// The same key.
    Same,
}

/// Why an entry was not inserted. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertError {
    /// This entry has the same key.
    Duplicate(Entry),
    /// No free slot in any of the sixteen buckets that the hash chooses.
    Full,
}

/// What a hash's home bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// It holds this entry, which probably is the hash's.
    Entry(Entry),
    /// It holds none, but entries like it live elsewhere: [`Index::beyond`] tells.
    Beyond,
    /// There is none.
    Nothing,
}

/// The buckets.
#[derive(Debug)]
pub struct Index {
    buckets: Lines<Bucket>,
    homes: u64,
}

/// Where an entry was placed.
#[derive(Debug, Clone, Copy)]
struct Place {
    bucket: usize,
    slot: usize,
    distance: usize,
}

#[inline]
const fn tag(hash: u64) -> u64 {
    // Never zero, so that no slot in use is zero.
    (hash & 0xffff) | 1
}

#[inline]
const fn bloom_bit(hash: u64) -> u64 {
    1 << (8 + ((hash >> 16) & 0xff) * 24 / 256)
}

/// What stands for the hash in choosing the next bucket to try.
#[inline]
const fn next_probe(probe: u64) -> u64 {
    probe.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

#[inline]
const fn overflow(meta: u64) -> u64 {
    meta & 0xff
}

impl Index {
    /// An empty index for up to `entries` entries.
    #[must_use]
    pub fn new(entries: u64, advice: Option<Advice>) -> Self {
        let homes = Self::homes(entries);
        let len = usize::try_from(homes).unwrap_or(usize::MAX);
        let buckets = Lines::new(len, advice, || Bucket {
            words: core::array::from_fn(|_| Word::new(0)),
        });
        Self { buckets, homes }
    }

    /// Bytes that [`Index::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(entries: u64) -> u64 {
        Self::homes(entries).saturating_mul(64)
    }

    const fn homes(entries: u64) -> u64 {
        entries
            .saturating_mul(100)
            .div_ceil(LOAD_PERCENT * SLOTS as u64)
            .saturating_add(1)
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    const fn home(&self, hash: u64) -> usize {
        ((hash as u128 * self.homes as u128) >> 64) as usize
    }

    /// Asks for the cache line that [`Index::find`] will read.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(bucket) = self.buckets.get(self.home(hash)) {
            prefetch(bucket);
        }
    }

    /// The first entry of this hash that `wanted` accepts. Entries of other keys are offered too, seldom.
    #[inline]
    pub fn find(&self, hash: u64, mut wanted: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let home = self.home(hash);
        let bucket = self.buckets.get(home)?;
        // Acquire: pairs with the ticket's release, so that an entry's overflow is seen with the entry.
        let meta = bucket.meta().read_acquire();
        if let Some(found) = bucket.find(tag(hash), &mut wanted) {
            return Some(found);
        }
        if overflow(meta) == 0 || meta & bloom_bit(hash) == 0 {
            return None;
        }
        self.find_beyond(hash, &mut wanted)
    }

    /// Looks at the hash's home only, one cache line. Asks for the next bucket's if that must be read too.
    #[inline(always)]
    #[must_use]
    pub fn home_of(&self, hash: u64) -> Home {
        let Some(bucket) = self.buckets.get(self.home(hash)) else {
            return Home::Nothing;
        };
        let meta = bucket.meta().read_acquire();
        if let Some(found) = bucket.find(tag(hash), &mut |_| true) {
            return Home::Entry(found);
        }
        if overflow(meta) == 0 || meta & bloom_bit(hash) == 0 {
            return Home::Nothing;
        }
        self.prefetch_beyond(hash);
        Home::Beyond
    }

    #[cold]
    #[inline(never)]
    fn prefetch_beyond(&self, hash: u64) {
        self.prefetch(next_probe(hash));
    }

    /// After [`Home::Beyond`]: an entry that probably is the hash's.
    #[must_use]
    pub fn beyond(&self, hash: u64) -> Option<Entry> {
        self.find_beyond(hash, &mut |_| true)
    }

    #[cold]
    fn find_beyond(&self, hash: u64, wanted: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut beyond = self.window(hash).skip(1);
        beyond.find_map(|(_, bucket)| bucket.find(tag(hash), wanted))
    }

    /// Makes `entry` findable under `hash`, unless an entry is there that `same` calls the same key.
    ///
    /// # Errors
    /// [`InsertError`]; nothing has changed then.
    pub fn insert(
        &self,
        hash: u64,
        entry: Entry,
        mut same: impl FnMut(Entry) -> Sameness,
    ) -> Result<(), InsertError> {
        let home = self.home(hash);
        let Some(bucket) = self.buckets.get(home) else {
            return Err(InsertError::Full);
        };
        let value = (tag(hash) << ENTRY_BITS) | entry.bits();
        let mut placed: Option<Place> = None;
        loop {
            // Acquire: pairs with the ticket's swap below; slots placed before that swap are visible.
            let meta = bucket.meta().read_acquire();
            if let Some(duplicate) = self.duplicate(hash, entry, &mut same) {
                self.unplace(placed, value);
                return Err(InsertError::Duplicate(duplicate));
            }
            let place = match placed {
                Some(place) => place,
                None => self.place(hash, value).ok_or(InsertError::Full)?,
            };
            placed = Some(place);
            let mut next = meta.wrapping_add(1 << 32);
            if place.distance > 0 {
                next = next.wrapping_add(1) | bloom_bit(hash);
            }
            if bucket.meta().swap_if(meta, next).is_ok() {
                return Ok(());
            }
        }
    }

    /// Withdraws an entry that [`Index::insert`] placed; `false` if it was not there.
    pub fn remove(&self, hash: u64, entry: Entry) -> bool {
        let home = self.home(hash);
        let value = (tag(hash) << ENTRY_BITS) | entry.bits();
        for (distance, (_, bucket)) in self.window(hash).enumerate() {
            for slot in bucket.slots() {
                if slot.read() == value && slot.swap_if(value, 0).is_ok() {
                    if distance > 0 {
                        self.leave_overflow(home);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// The buckets in which an entry of this hash may live, its home first, and their numbers.
    fn window(&self, hash: u64) -> impl Iterator<Item = (usize, &Bucket)> {
        let mut probe = hash;
        (0..PROBE_LIMIT).map_while(move |_| {
            let number = self.home(probe);
            probe = next_probe(probe);
            Some((number, self.buckets.get(number)?))
        })
    }

    fn duplicate(
        &self,
        hash: u64,
        own: Entry,
        same: &mut impl FnMut(Entry) -> Sameness,
    ) -> Option<Entry> {
        let mut wanted = |found: Entry| found != own && same(found) == Sameness::Same;
        // Read after the ticket, so an entry counted by it is looked for beyond its home.
        let beyond = self
            .buckets
            .get(self.home(hash))
            .is_some_and(|bucket| bucket.says_beyond(hash));
        let reach = if beyond { PROBE_LIMIT } else { 1 };
        self.window(hash)
            .take(reach)
            .find_map(|(_, bucket)| bucket.find(tag(hash), &mut wanted))
    }

    fn place(&self, hash: u64, value: u64) -> Option<Place> {
        for (distance, (number, bucket)) in self.window(hash).enumerate() {
            for (slot, word) in bucket.slots().iter().enumerate() {
                if word.read() == 0 && word.swap_if(0, value).is_ok() {
                    return Some(Place {
                        bucket: number,
                        slot,
                        distance,
                    });
                }
            }
        }
        None
    }

    fn unplace(&self, placed: Option<Place>, value: u64) {
        if let Some(place) = placed
            && let Some(bucket) = self.buckets.get(place.bucket)
            && let Some(slot) = bucket.slots().get(place.slot)
        {
            // Only this thread withdraws an entry whose ticket it has not raised.
            let _ = slot.swap_if(value, 0);
        }
    }

    fn leave_overflow(&self, home: usize) {
        let Some(bucket) = self.buckets.get(home) else {
            return;
        };
        let mut meta = bucket.meta().read();
        loop {
            let left = overflow(meta).saturating_sub(1);
            // The filter forgets only when nothing is left elsewhere.
            let bloom = if left == 0 { 0 } else { meta & 0xffff_ff00 };
            let ticket = (meta >> 32).wrapping_add(1) << 32;
            match bucket.meta().swap_if(meta, ticket | bloom | left) {
                Ok(()) => return,
                Err(found) => meta = found,
            }
        }
    }
}

impl Bucket {
    #[inline(always)]
    const fn meta(&self) -> &Word {
        let [meta, ..] = &self.words;
        meta
    }

    #[inline(always)]
    const fn slots(&self) -> &[Word; SLOTS] {
        let [_, slots @ ..] = &self.words;
        slots
    }

    /// May an entry of this hash, whose home this is, live elsewhere?
    #[inline]
    fn says_beyond(&self, hash: u64) -> bool {
        let meta = self.meta().read();
        overflow(meta) != 0 && meta & bloom_bit(hash) != 0
    }

    #[inline(always)]
    fn find(&self, tag: u64, wanted: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut matches = equal_tags(&self.words, tag);
        while matches != 0 {
            // Acquire: pairs with the swap that placed the entry, so that what it points at is complete. Another
            // entry that took the slot meanwhile is offered as those of other keys are.
            let value = self.words.get(first(matches))?.read_acquire();
            if let Some(entry) = Entry::new(value & ((1 << ENTRY_BITS) - 1))
                && wanted(entry)
            {
                return Some(entry);
            }
            matches &= matches.wrapping_sub(1);
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::table::hash::next_seed;
    use alloc::vec::Vec;

    fn entry(bits: u64) -> Entry {
        Entry::new(bits).expect("48 bits, not zero")
    }

    #[test]
    fn a_full_index_finds_every_entry_and_forgets_what_is_removed() {
        let index = Index::new(200_000, None);
        let mut state = 3;
        let hashes: Vec<u64> = (0..200_000).map(|_| next_seed(&mut state)).collect();
        for (position, hash) in hashes.iter().enumerate() {
            index
                .insert(*hash, entry(position as u64 + 1), |_| Sameness::Different)
                .expect("an index takes as many entries as it was made for");
        }
        for (position, hash) in hashes.iter().enumerate() {
            let wanted = entry(position as u64 + 1);
            assert_eq!(index.find(*hash, |found| found == wanted), Some(wanted));
        }
        for (position, hash) in hashes.iter().enumerate() {
            assert!(index.remove(*hash, entry(position as u64 + 1)));
            assert!(!index.remove(*hash, entry(position as u64 + 1)));
        }
        assert!(
            index
                .buckets
                .iter()
                .all(|bucket| bucket.meta().read() & 0xffff_ffff == 0)
        );
        assert!(
            index
                .buckets
                .iter()
                .flat_map(|bucket| bucket.slots())
                .all(|slot| slot.read() == 0)
        );
    }

    #[test]
    fn a_second_entry_of_a_key_is_refused_even_beyond_its_home() {
        const HASH: u64 = 0x0123_4567_89ab_cdef;
        let index = Index::new(10_000, None);
        // One hash only: the home fills, and its entries overflow.
        for bits in 1..=20 {
            index
                .insert(HASH, entry(bits), |_| Sameness::Different)
                .expect("room in the buckets tried next");
        }
        for bits in 1..=20 {
            let same = |found| {
                if found == entry(bits) {
                    Sameness::Same
                } else {
                    Sameness::Different
                }
            };
            assert_eq!(
                index.insert(HASH, entry(99), same),
                Err(InsertError::Duplicate(entry(bits)))
            );
        }
        let mut numbers: Vec<usize> = index.window(HASH).map(|(number, _)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), PROBE_LIMIT, "different buckets");
        let room = PROBE_LIMIT as u64 * SLOTS as u64;
        let refused = (21..=room + 1).find(|bits| {
            index.insert(HASH, entry(*bits), |_| Sameness::Different) == Err(InsertError::Full)
        });
        assert_eq!(refused, Some(room + 1), "full exactly when the window is");
    }
}
