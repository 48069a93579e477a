//! Counts that one thread writes and any thread reads, each thread on cache lines of its own.

use super::Word;
use alloc::boxed::Box;
use alloc::sync::Arc;
use crossbeam::utils::CachePadded;

/// `N` counts for each of a fixed number of writers.
#[derive(Debug)]
pub struct Counters<const N: usize> {
    slots: Box<[CachePadded<[Word; N]>]>,
}

/// One writer's counts.
#[derive(Debug)]
pub struct CounterSlot<const N: usize> {
    counters: Arc<Counters<N>>,
    slot: usize,
}

impl<const N: usize> Counters<N> {
    /// Zeroed counts for `writers` threads.
    #[must_use]
    pub fn new(writers: usize) -> Arc<Self> {
        let slots = (0..writers).map(|_| CachePadded::new(core::array::from_fn(|_| Word::new(0))));
        Arc::new(Self {
            slots: slots.collect(),
        })
    }

    /// Bytes that [`Counters::new`] allocates.
    #[must_use]
    pub const fn memory_bytes(writers: usize) -> usize {
        writers.saturating_mul(size_of::<CachePadded<[Word; N]>>())
    }

    /// The counts of writer `slot`, for it alone to write.
    #[must_use]
    pub fn slot(self: &Arc<Self>, slot: usize) -> CounterSlot<N> {
        CounterSlot {
            counters: Arc::clone(self),
            slot,
        }
    }

    /// The sum over all writers. Not one moment's: writers go on counting.
    #[must_use]
    pub fn sum(&self) -> [u64; N] {
        let mut sum = [0_u64; N];
        for slot in &self.slots {
            for (total, word) in sum.iter_mut().zip(slot.iter()) {
                *total = total.wrapping_add(word.read());
            }
        }
        sum
    }
}

impl<const N: usize> CounterSlot<N> {
    /// Adds to count `index`; does nothing for an index that is none.
    #[inline]
    pub fn add(&self, index: usize, amount: u64) {
        if let Some(word) = self
            .counters
            .slots
            .get(self.slot)
            .and_then(|slot| slot.get(index))
        {
            word.add_unshared(amount);
        }
    }
}
