//! From a hash to record numbers: one cache line a bucket, shared by all threads, without locks.
//!
//! A bucket is a meta word and seven slots. A slot holds a 16-bit tag of the hash and a 48-bit [`Entry`]; it
//! is published and withdrawn by one compare-and-swap. An entry lives in its home bucket or, if that is full,
//! in one of [`PROBE_LIMIT`] that its hash alone chooses; entries never move, so a reader that looks once
//! misses nothing. The buckets tried lie far apart: neighbours would fill in runs longer than any limit
//! (at four fifths load, 56 buckets of a million entries' index), and refuse entries while there is room.
//! The home's meta word counts its entries that live elsewhere and keeps how far, and a small Bloom filter of their tags,
//! so that a miss reads one cache line, as a hit does (Cuckoo++, Le Scouarnec 2018, with probing for moves).
//!
//! Uniqueness. Whoever inserts places its slot first and looks for an equal key then. Of two who insert one key at once
//! each has placed before it looks, so at least one sees the other (Dekker 1965, by way of Dijkstra).

use super::prefetch;
use super::tags::{WORDS, equal_tags, first};
use crate::sync::{Advice, Lines, Word, fence_swapped};
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
    /// First the meta word, from the low end: overflow count 8, greatest distance 8, Bloom filter 48. Then the slots.
    words: [Word; WORDS],
}

// The model checker's words are larger.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

/// What a slot points at: 48 bits of the owner's choosing.
#[derive(Debug, Clone, Copy)]
pub struct Entry(
    /// The upper sixteen are not zero, and mean nothing: the tag, if it was found.
    NonZeroU64,
);

impl Entry {
    /// From the lower 48 bits.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        let in_use = bits | 1 << ENTRY_BITS;
        match NonZeroU64::new(in_use) {
            Some(bits) => Self(bits),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// The 48 bits.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.get() & ((1 << ENTRY_BITS) - 1)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Entry {}

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

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a part of the hash")]
const fn tag(hash: u64) -> u16 {
    // Never zero, so that no slot in use is zero.
    hash as u16 | 1
}

#[inline]
const fn bloom_bit(hash: u64) -> u64 {
    1 << (16 + ((hash >> 16) & 0xff) * 48 / 256)
}

/// What a slot holds.
#[inline]
const fn slot_value(hash: u64, entry: Entry) -> u64 {
    ((tag(hash) as u64) << ENTRY_BITS) | entry.bits()
}

/// What stands for the hash in choosing the next bucket to try.
#[inline]
const fn next_probe(probe: u64) -> u64 {
    probe.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// How many of a home's entries live elsewhere.
#[inline]
const fn overflow(meta: u64) -> u64 {
    meta & 0xff
}

/// How many buckets after the home were tried at most for one of them.
#[inline]
const fn distance(meta: u64) -> usize {
    (meta >> 8 & 0xff) as usize
}

/// With an entry of this hash that lives so far from its home.
#[inline]
const fn with_overflow(meta: u64, hash: u64, entry_distance: usize) -> u64 {
    let counted = meta.wrapping_add(1) | bloom_bit(hash);
    if entry_distance > distance(meta) {
        counted & !0xff00 | (entry_distance as u64) << 8
    } else {
        counted
    }
}

/// Without one; nothing is forgotten of others as long as there are any.
#[inline]
const fn without_overflow(meta: u64) -> u64 {
    if overflow(meta) <= 1 {
        0
    } else {
        meta.wrapping_sub(1)
    }
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
        prefetch(&self.buckets, self.home(hash));
    }

    /// The first entry of this hash that `wanted` accepts. Entries of other keys are offered too, seldom.
    #[inline]
    pub fn find(&self, hash: u64, mut wanted: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let home = self.home(hash);
        let bucket = self.buckets.get(home)?;
        // Acquire: pairs with the swap that counted an entry elsewhere, which was placed there before.
        let meta = bucket.meta().read_acquire();
        if let Some(found) = bucket.find(tag(hash), &mut wanted) {
            return Some(found);
        }
        if meta & bloom_bit(hash) == 0 {
            return None;
        }
        self.find_beyond(hash, meta, &mut wanted)
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
        if meta & bloom_bit(hash) == 0 {
            return Home::Nothing;
        }
        self.prefetch_beyond(hash);
        Home::Beyond
    }

    /// Asks for the cache line where an entry of this hash will be placed if its home, which was asked for before, is
    /// full. The last slot is filled last, so one in use says that it probably is.
    #[inline]
    pub fn prefetch_place(&self, hash: u64) {
        if let Some(Bucket { words: [.., last] }) = self.buckets.get(self.home(hash))
            && last.read() != 0
        {
            self.prefetch(next_probe(hash));
        }
    }

    #[cold]
    #[inline(never)]
    fn prefetch_beyond(&self, hash: u64) {
        self.prefetch(next_probe(hash));
    }

    /// After [`Home::Beyond`]: an entry that probably is the hash's.
    #[must_use]
    pub fn beyond(&self, hash: u64) -> Option<Entry> {
        let meta = self.buckets.get(self.home(hash))?.meta().read_acquire();
        self.find_beyond(hash, meta, &mut |_| true)
    }

    #[cold]
    fn find_beyond(
        &self,
        hash: u64,
        meta: u64,
        wanted: &mut impl FnMut(Entry) -> bool,
    ) -> Option<Entry> {
        let mut beyond = self.window(hash).skip(1).take(distance(meta));
        beyond.find_map(|bucket| bucket.find(tag(hash), wanted))
    }

    /// Makes `entry` findable under `hash`, unless an entry is there that `same` calls the same key.
    ///
    /// Of several threads that insert one key at once, one inserts it at most, provided that each is called the same by
    /// those who find it; perhaps none does.
    ///
    /// # Errors
    /// [`InsertError`]; nothing has changed then.
    #[inline(always)]
    pub fn insert(
        &self,
        hash: u64,
        entry: Entry,
        same: impl FnMut(Entry) -> Sameness,
    ) -> Result<(), InsertError> {
        let value = slot_value(hash, entry);
        let Some(home) = self.buckets.get(self.home(hash)) else {
            return Err(InsertError::Full);
        };
        let placed = home.place(value);
        if placed.is_some() {
            fence_swapped();
            let meta = home.meta().read_acquire();
            let alone = equal_tags(&home.words, tag(hash)).is_power_of_two();
            if alone && meta & bloom_bit(hash) == 0 {
                return Ok(());
            }
        }
        self.insert_beside(hash, entry, placed, same)
    }

    /// The same where the home is full or holds other entries like it.
    #[cold]
    #[inline(never)]
    fn insert_beside(
        &self,
        hash: u64,
        entry: Entry,
        placed: Option<&Word>,
        mut same: impl FnMut(Entry) -> Sameness,
    ) -> Result<(), InsertError> {
        let slot = match placed {
            Some(slot) => slot,
            None => {
                let value = slot_value(hash, entry);
                let slot = self.place_beyond(hash, value).ok_or(InsertError::Full)?;
                fence_swapped();
                slot
            }
        };
        let wanted = |found: Entry| found != entry && same(found) == Sameness::Same;
        let Some(duplicate) = self.find(hash, wanted) else {
            return Ok(());
        };
        self.clear(hash, slot);
        Err(InsertError::Duplicate(duplicate))
    }

    /// Withdraws an entry that [`Index::insert`] placed; `false` if it was not there. Of an entry only one thread may
    /// think that it is there.
    pub fn remove(&self, hash: u64, entry: Entry) -> bool {
        let value = slot_value(hash, entry);
        let mut window = self.window(hash);
        match window.find_map(|bucket| bucket.slot_of(value)) {
            Some(slot) => {
                self.clear(hash, slot);
                true
            }
            None => false,
        }
    }

    /// The buckets in which an entry of this hash may live, its home first.
    fn window(&self, hash: u64) -> impl Iterator<Item = &Bucket> {
        let mut probe = hash;
        (0..PROBE_LIMIT).map_while(move |_| {
            let number = self.home(probe);
            probe = next_probe(probe);
            self.buckets.get(number)
        })
    }

    /// Places a value whose home is full, and says so in the home.
    fn place_beyond(&self, hash: u64, value: u64) -> Option<&Word> {
        let mut window = self.window(hash).enumerate().skip(1);
        let (distance, slot) =
            window.find_map(|(distance, bucket)| Some((distance, bucket.place(value)?)))?;
        self.change_meta(hash, |meta| with_overflow(meta, hash, distance));
        Some(slot)
    }

    /// Empties the slot of an entry of this hash. Nobody else writes a slot that is in use.
    fn clear(&self, hash: u64, slot: &Word) {
        // Pairs with the acquire of whoever places another entry there.
        slot.write_release(0);
        let home = self.buckets.get(self.home(hash));
        if home.is_some_and(|home| {
            home.slots()
                .as_ptr_range()
                .contains(&core::ptr::from_ref(slot))
        }) {
            return;
        }
        self.change_meta(hash, without_overflow);
    }

    /// Changes what a hash's home says of its entries elsewhere.
    fn change_meta(&self, hash: u64, change: impl Fn(u64) -> u64) {
        let Some(home) = self.buckets.get(self.home(hash)) else {
            return;
        };
        let mut meta = home.meta().read();
        while let Err(found) = home.meta().swap_if(meta, change(meta)) {
            meta = found;
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

    /// Puts a value into the first slot that is empty; `None` if none is. What is in use has a tag, which is not zero.
    #[inline(always)]
    fn place(&self, value: u64) -> Option<&Word> {
        let mut empty = equal_tags(&self.words, 0);
        while empty != 0 {
            let slot = self.words.get(first(empty))?;
            if slot.swap_if(0, value).is_ok() {
                return Some(slot);
            }
            empty &= empty.wrapping_sub(1);
        }
        None
    }

    /// The slot that holds a value.
    fn slot_of(&self, value: u64) -> Option<&Word> {
        self.slots().iter().find(|slot| slot.read() == value)
    }

    #[inline(always)]
    fn find(&self, tag: u16, wanted: &mut impl FnMut(Entry) -> bool) -> Option<Entry> {
        let mut matches = equal_tags(&self.words, tag);
        while matches != 0 {
            // Acquire: pairs with the swap that placed the entry, so that what it points at is complete. Another
            // entry that took the slot meanwhile is offered as those of other keys are.
            let value = self.words.get(first(matches))?.read_acquire();
            if let Some(value) = NonZeroU64::new(value)
                && wanted(Entry(value))
            {
                return Some(Entry(value));
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
        Entry::new(bits)
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
        assert!(index.buckets.iter().all(|bucket| bucket.meta().read() == 0));
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
        let mut numbers: Vec<*const Bucket> = index.window(HASH).map(core::ptr::from_ref).collect();
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
