//! Two replicas of one value behind a generation: one writer edits the spare and swaps, readers never wait.
//!
//! Left-right (Ramalhete and Correia 2015) with preallocated replicas. A reader announces the generation it
//! reads in a word of its own; the writer edits the spare replica only when no reader announces the
//! generation that used it. An edit is applied twice, once to each replica, in the same order, so applying
//! must be deterministic. Nothing is allocated or freed by readers.

use super::Word;
use super::word::fence_sequential;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Deref;
use crossbeam::utils::CachePadded;

/// A value that is kept twice and edited by the same edits in the same order.
pub trait Replica {
    /// One change.
    type Edit;
    /// What a change did beside changing the value; the same for both replicas, reported once.
    type Effects;
    /// Why a change cannot be applied.
    type Refusal;
    /// Applies one change, or refuses it and changes nothing.
    ///
    /// # Errors
    /// The reason for refusing.
    fn apply(
        &mut self,
        edit: &Self::Edit,
        effects: &mut Self::Effects,
    ) -> Result<(), Self::Refusal>;
}

/// A reader that has not finished with the replica that the writer wants to edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadersBehind {
    /// The generation that the slowest reader still reads.
    pub oldest: u64,
}

impl fmt::Display for ReadersBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a reader has not finished with generation {}",
            self.oldest
        )
    }
}

impl core::error::Error for ReadersBehind {}

/// The edits that a publication refused, by their position.
pub type Refused<T> = Vec<(usize, <T as Replica>::Refusal)>;

const IDLE: u64 = u64::MAX;

struct Shared<T> {
    replicas: [UnsafeCell<T>; 2],
    /// The generation being read; its parity says which replica.
    current: CachePadded<Word>,
    /// For each reader, the generation it reads, or `IDLE`.
    readers: Box<[CachePadded<Word>]>,
}

#[expect(
    unsafe_code,
    reason = "the protocol of this module is what makes sharing sound"
)]
// SAFETY: a replica is written only by the one writer, and only while no reader's word announces a generation
// of its parity (`Published::publish`); readers only take shared references, between announcing and idling.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

/// The writer's side.
pub struct Published<T: Replica> {
    shared: Arc<Shared<T>>,
    /// Applied to the current replica, not yet to the spare.
    backlog: Vec<T::Edit>,
}

/// One reader's side. Not shared: every thread has its own.
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    slot: usize,
}

/// One generation, for as long as this lives.
pub struct Pin<'reader, T> {
    value: &'reader T,
    announced: &'reader Word,
    generation: u64,
}

impl<T: Replica> Published<T> {
    /// Two equal replicas, and words for `readers` readers.
    #[must_use]
    pub fn new(replicas: [T; 2], readers: usize) -> Self {
        let readers = (0..readers)
            .map(|_| CachePadded::new(Word::new(IDLE)))
            .collect();
        let shared = Shared {
            replicas: replicas.map(UnsafeCell::new),
            current: CachePadded::new(Word::new(0)),
            readers,
        };
        Self {
            shared: Arc::new(shared),
            backlog: Vec::new(),
        }
    }

    /// Reader number `slot`. The caller hands out each number once.
    #[must_use]
    pub fn reader(&self, slot: usize) -> Reader<T> {
        Reader {
            shared: Arc::clone(&self.shared),
            slot,
        }
    }

    /// The generation being read.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.current.read()
    }

    /// What readers read now.
    #[must_use]
    #[expect(unsafe_code, reason = "a shared reference beside the readers'")]
    pub fn current(&self) -> &T {
        let cell = self.shared.replica(self.generation());
        // SAFETY: only `publish` writes, it needs `&mut self`, and it never writes the current replica.
        unsafe { &*cell.get() }
    }

    /// Applies `edits` to the spare replica and makes it the current one; `edits` is empty afterwards.
    ///
    /// `before_release` sees the effects before any reader can see the edits. Returns the new generation. Refused edits are left out and returned with their position in `edits`; the others take effect.
    ///
    /// # Errors
    /// [`ReadersBehind`] if a reader is still inside the spare; nothing has happened then, and
    /// `edits` is as it was.
    #[expect(unsafe_code, reason = "the one place where a replica is written")]
    pub fn publish(
        &mut self,
        edits: &mut Vec<T::Edit>,
        effects: &mut T::Effects,
        scratch: &mut T::Effects,
        before_release: impl FnOnce(&T::Effects),
    ) -> Result<(u64, Refused<T>), ReadersBehind> {
        let current = self.generation();
        self.settle()?;
        let next = current.wrapping_add(1);
        let cell = self.shared.replica(next);
        // SAFETY: `settle` saw every reader idle or announcing `current`; a reader that announces from now on
        // re-reads `current` afterwards and therefore never uses this replica before the release below.
        let spare = unsafe { &mut *cell.get() };
        for edit in self.backlog.drain(..) {
            // Accepted by the other replica, hence by this one.
            let _ = spare.apply(&edit, scratch);
        }
        let mut refused = Vec::new();
        for (position, edit) in edits.drain(..).enumerate() {
            match spare.apply(&edit, effects) {
                Ok(()) => self.backlog.push(edit),
                Err(refusal) => refused.push((position, refusal)),
            }
        }
        before_release(effects);
        // Release: pairs with the acquire in `Reader::pin`.
        self.shared.current.write_release(next);
        Ok((next, refused))
    }

    /// Is every reader idle or reading the current generation?
    ///
    /// # Errors
    /// [`ReadersBehind`] if one still reads the generation before.
    pub fn settle(&self) -> Result<(), ReadersBehind> {
        let current = self.generation();
        // Pairs with the fence in `Reader::pin`: either the reader's announcement is seen here, or the
        // reader sees `current` and does not use the spare.
        fence_sequential();
        for reader in &self.shared.readers {
            // Acquire: pairs with the release in `Pin::drop`; the reader's loads are over.
            let announced = reader.read_acquire();
            if announced != IDLE && announced != current {
                return Err(ReadersBehind { oldest: announced });
            }
        }
        Ok(())
    }
}

impl<T> Shared<T> {
    fn replica(&self, generation: u64) -> &UnsafeCell<T> {
        let [even, odd] = &self.replicas;
        if generation & 1 == 0 { even } else { odd }
    }
}

impl<T> Reader<T> {
    /// Begins reading. At most two rounds: the writer cannot publish twice past an announcement.
    ///
    /// `None` only if this reader's number is not below the number of readers there may be.
    #[inline]
    #[expect(
        unsafe_code,
        reason = "a shared reference for as long as the announcement stands"
    )]
    pub fn pin(&mut self) -> Option<Pin<'_, T>> {
        let announced: &Word = self.shared.readers.get(self.slot)?;
        let mut generation = self.shared.current.read_acquire();
        loop {
            announced.write(generation);
            fence_sequential();
            // Acquire: pairs with the release in `publish`.
            let now = self.shared.current.read_acquire();
            if now == generation {
                break;
            }
            generation = now;
        }
        let cell = self.shared.replica(generation);
        // SAFETY: the announcement keeps the writer (`settle`) from editing this replica until `Pin::drop`.
        let value = unsafe { &*cell.get() };
        Some(Pin {
            value,
            announced,
            generation,
        })
    }
}

impl<T> Pin<'_, T> {
    /// The generation pinned.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }
}

impl<T> Deref for Pin<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Pin<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire in `Published::settle`.
        self.announced.write_release(IDLE);
    }
}

impl<T: Replica> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("generation", &self.generation())
            .field("backlog", &self.backlog.len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Pin<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Sum(u64);

    impl Replica for Sum {
        type Edit = u64;
        type Effects = u64;
        type Refusal = ();

        fn apply(&mut self, edit: &u64, effects: &mut u64) -> Result<(), ()> {
            if *edit > 100 {
                return Err(());
            }
            self.0 += edit;
            *effects += 1;
            Ok(())
        }
    }

    #[test]
    fn a_pinned_generation_stays_and_the_writer_is_told_who_is_behind() {
        let mut published = Published::new([Sum(0), Sum(0)], 1);
        let mut reader = published.reader(0);
        let (mut effects, mut scratch) = (0, 0);
        let pin = reader.pin().expect("slot 0 exists");
        assert_eq!(
            published.publish(&mut alloc::vec![7, 101], &mut effects, &mut scratch, |_| ()),
            Ok((1, alloc::vec![(1, ())]))
        );
        assert_eq!(
            (pin.generation(), pin.0),
            (0, 0),
            "the pin keeps its generation"
        );
        assert_eq!(
            published.publish(&mut alloc::vec![1], &mut effects, &mut scratch, |_| ()),
            Err(ReadersBehind { oldest: 0 })
        );
        drop(pin);
        assert_eq!(
            published.publish(&mut alloc::vec![1], &mut effects, &mut scratch, |_| ()),
            Ok((2, alloc::vec![]))
        );
        assert_eq!(
            reader.pin().map(|pin| (pin.generation(), pin.0)),
            Some((2, 8))
        );
        assert_eq!(published.current().0, 8);
        assert_eq!(
            (effects, scratch),
            (2, 1),
            "each edit's effects are reported once"
        );
    }
}
