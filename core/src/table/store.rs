//! Records of a fixed number that are remembered until a deadline and found by their hash.
//!
//! What session affinity and fragments have in common: allocated once, shared by all threads without locks,
//! opened by one thread, found by others, and made room for by clearing expired ones away.

use super::{Entry, Index, InsertError, Sameness};
use crate::sync::{FreeList, Header, Life, Word};
use alloc::boxed::Box;

/// Expired records are looked for among so many, when there is no free one.
const SAMPLE: u64 = 64;

/// A record's own first word.
pub trait Dated {
    /// Version, life and deadline.
    fn header(&self) -> &Word;
}

/// The records.
#[derive(Debug)]
pub struct Store<R> {
    index: Index,
    records: Box<[R]>,
    free: FreeList,
    hand: Word,
}

/// A record of one incarnation.
#[derive(Debug)]
pub struct Found<'store, R> {
    /// The record.
    pub record: &'store R,
    /// Its header when it was found.
    pub header: Header,
    number: u32,
}

impl<R> Clone for Found<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Found<'_, R> {}

impl<R: Dated> Found<'_, R> {
    /// Is what was read of the record since it was found this incarnation's?
    #[must_use]
    pub fn confirm(&self) -> bool {
        self.header.confirm(self.record.header())
    }

    /// Gives a live record another state and deadline; `false` if another thread changed it first.
    pub fn advance(&self, state: u8, deadline: u32) -> bool {
        let live = Life::Live(state);
        self.header
            .advance(self.record.header(), live, deadline)
            .is_ok()
    }

    fn entry(&self) -> Entry {
        let version = (self.header.version() & 0xffff) << 32;
        Entry::new(version | u64::from(self.number))
    }
}

impl<R: Dated> Store<R> {
    /// Room for `capacity` records, made by `record`.
    #[must_use]
    pub fn new(capacity: u32, record: impl Fn() -> R) -> Self {
        Self {
            index: Index::new(u64::from(capacity), None),
            records: (0..capacity).map(|_| record()).collect(),
            free: FreeList::full(capacity),
            hand: Word::new(0),
        }
    }

    /// Bytes that [`Store::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> u64 {
        (capacity as u64)
            .saturating_mul(size_of::<R>() as u64)
            .saturating_add(FreeList::memory_bytes(capacity) as u64)
            .saturating_add(Index::memory_bytes(capacity as u64))
    }

    /// How many records are in use, expired ones not yet reused included. Looks at every record.
    #[must_use]
    pub fn used(&self) -> u64 {
        let free = |record: &&R| Header::load(record.header()).life() == Life::Free;
        let count = self.records.iter().filter(|record| !free(record)).count();
        count as u64
    }

    /// Offers the live records of a hash, and some others, until one is `wanted`.
    pub fn find<'store>(&'store self, hash: u64, mut wanted: impl FnMut(Found<'store, R>) -> bool) {
        self.index
            .find(hash, |entry| self.resolve(entry).is_some_and(&mut wanted));
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the low half is the record's number"
    )]
    fn resolve(&self, entry: Entry) -> Option<Found<'_, R>> {
        let number = entry.bits() as u32;
        let record = self.records.get(number as usize)?;
        let header = Header::load(record.header());
        let live = matches!(header.life(), Life::Live(_));
        (live && header.version() & 0xffff == entry.bits() >> 32).then_some(Found {
            record,
            header,
            number,
        })
    }

    /// A record to be written and then to be handed to [`Store::publish`]. If none is free, expired ones are
    /// cleared away, for which `hash` says under which hash they were published. `None` if none has expired
    /// among those looked at.
    #[must_use]
    pub fn claim(&self, deadline: u32, now: u32, hash: impl Fn(&R) -> u64) -> Option<Found<'_, R>> {
        let number = match self.free.take() {
            Some(number) => number,
            None => {
                self.clear(now, hash);
                self.free.take()?
            }
        };
        let record = self.records.get(number as usize)?;
        let header = Header::claim(record.header(), deadline);
        Some(Found {
            record,
            header,
            number,
        })
    }

    /// Makes a claimed record live, unless a live one is there that `same` calls the same.
    ///
    /// # Errors
    /// [`InsertError`]; the record is free again then.
    pub fn publish(
        &self,
        hash: u64,
        claimed: Found<'_, R>,
        state: u8,
        mut same: impl FnMut(Found<'_, R>) -> Sameness,
    ) -> Result<(), InsertError> {
        let same = |entry| self.resolve(entry).map_or(Sameness::Different, &mut same);
        let placed = self.index.insert(hash, claimed.entry(), same);
        match placed {
            // Nobody else touches a record that is being opened.
            Ok(()) => _ = claimed.advance(state, claimed.header.deadline()),
            Err(_) => {
                let _ = claimed
                    .header
                    .advance(claimed.record.header(), Life::Free, 0);
                self.free.give(claimed.number);
            }
        }
        placed
    }

    /// Forgets a live record that was published under `hash`.
    pub fn release(&self, found: Found<'_, R>, hash: u64) {
        if found
            .header
            .advance(found.record.header(), Life::Free, 0)
            .is_ok()
        {
            self.index.remove(hash, found.entry());
            self.free.give(found.number);
        }
    }

    fn clear(&self, now: u32, hash: impl Fn(&R) -> u64) {
        let count = self.records.len() as u64;
        let start = self.hand.read();
        self.hand.write(start.wrapping_add(SAMPLE));
        for step in 0..SAMPLE.min(count) {
            let number = start.wrapping_add(step).checked_rem(count).unwrap_or(0);
            let Ok(number) = u32::try_from(number) else {
                return;
            };
            let Some(record) = self.records.get(number as usize) else {
                return;
            };
            let header = Header::load(record.header());
            if matches!(header.life(), Life::Live(_)) && header.deadline() <= now {
                // A hash of what another incarnation wrote meanwhile finds nothing, and frees nothing.
                let hash = hash(record);
                self.release(
                    Found {
                        record,
                        header,
                        number,
                    },
                    hash,
                );
            }
        }
    }
}
