//! Indexes that nobody uses: a lock-free stack (Treiber 1986) whose links lie in an array of its own.

use super::Word;
use alloc::boxed::Box;

/// A set of `u32` indexes below a fixed capacity, from which any thread takes and to which any gives back.
///
/// The head carries a count of takes beside the index, so that a thread that was stalled between reading
/// the head and swapping it notices that the same index came back (ABA) unless exactly 2^32 takes passed.
#[derive(Debug)]
pub struct FreeList {
    head: Word,
    next: Box<[Word]>,
}

const NONE: u32 = u32::MAX;

impl FreeList {
    /// All indexes below `capacity`; the lowest are taken first.
    #[must_use]
    pub fn full(capacity: u32) -> Self {
        let next = (0..capacity).map(|index| {
            let above = index.wrapping_add(1);
            Word::new(u64::from(if above == capacity { NONE } else { above }))
        });
        let first = if capacity == 0 { NONE } else { 0 };
        Self {
            head: Word::new(u64::from(first)),
            next: next.collect(),
        }
    }

    /// Bytes that [`FreeList::full`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> usize {
        (capacity as usize).saturating_mul(size_of::<Word>())
    }

    /// Takes an index; `None` if all are in use.
    #[must_use]
    pub fn take(&self) -> Option<u32> {
        let mut head = self.head.read_acquire();
        loop {
            let (takes, first) = split(head);
            let next = self.next.get(first as usize)?.read();
            // A stale `next` is harmless: the swap below fails, because `takes` has moved on.
            match self
                .head
                .swap_if(head, join(takes.wrapping_add(1), split(next).1))
            {
                Ok(()) => return Some(first),
                Err(found) => head = found,
            }
        }
    }

    /// Gives an index back that [`FreeList::take`] gave.
    pub fn give(&self, index: u32) {
        let Some(link) = self.next.get(index as usize) else {
            return;
        };
        let mut head = self.head.read_acquire();
        loop {
            let (takes, first) = split(head);
            link.write(u64::from(first));
            match self.head.swap_if(head, join(takes, index)) {
                Ok(()) => return,
                Err(found) => head = found,
            }
        }
    }
}

const fn join(takes: u32, index: u32) -> u64 {
    ((takes as u64) << 32) | index as u64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "each half is taken on its own"
)]
const fn split(head: u64) -> (u32, u32) {
    ((head >> 32) as u32, head as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_index_is_given_once_and_comes_back() {
        let list = FreeList::full(3);
        let taken: BTreeSet<u32> = (0..3).filter_map(|_| list.take()).collect();
        assert_eq!(taken, BTreeSet::from([0, 1, 2]));
        assert_eq!(list.take(), None);
        list.give(1);
        assert_eq!((list.take(), list.take()), (Some(1), None));
        assert_eq!(FreeList::full(0).take(), None);
    }
}
