//! Indexes that nobody uses: a lock-free stack (Treiber 1986).

use super::Word;
use alloc::boxed::Box;

/// A stack of `u32` indexes whose links lie where the caller says: in the very things that are free, if they
/// have a word to spare while they are.
///
/// The head carries a count of takes beside the index, so that a thread that was stalled between reading
/// the head and swapping it notices that the same index came back (ABA) unless exactly 2^32 takes passed.
/// A thread that lost may have read the link of something in use by now; what it read is thrown away.
#[derive(Debug)]
pub struct FreeStack {
    head: Word,
}

const NONE: u32 = u32::MAX;

impl FreeStack {
    /// All indexes below `capacity`; the lowest are taken first.
    #[must_use]
    pub fn full<'links>(capacity: u32, link: impl Fn(u32) -> Option<&'links Word>) -> Self {
        for index in 0..capacity {
            let above = index.wrapping_add(1);
            if let Some(link) = link(index) {
                link.write(u64::from(if above == capacity { NONE } else { above }));
            }
        }
        let first = if capacity == 0 { NONE } else { 0 };
        Self {
            head: Word::new(u64::from(first)),
        }
    }

    /// Takes an index, and says which is likely to be the next; `None` if all are in use.
    #[inline(always)]
    #[must_use]
    pub fn take<'links>(&self, link: impl Fn(u32) -> Option<&'links Word>) -> Option<(u32, u32)> {
        let mut head = self.head.read_acquire();
        loop {
            let (takes, first) = split(head);
            let next = split(link(first)?.read()).1;
            // A stale `next` is harmless: the swap below fails, because `takes` has moved on.
            match self.head.swap_if(head, join(takes.wrapping_add(1), next)) {
                Ok(()) => return Some((first, next)),
                Err(found) => head = found,
            }
        }
    }

    /// How many were taken since the start, modulo 2^32.
    #[must_use]
    pub fn taken(&self) -> u32 {
        split(self.head.read_acquire()).0
    }

    /// Gives an index back that [`FreeStack::take`] gave.
    pub fn give<'links>(&self, index: u32, link: impl Fn(u32) -> Option<&'links Word>) {
        let Some(link) = link(index) else {
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

/// A [`FreeStack`] with links of its own.
#[derive(Debug)]
pub struct FreeList {
    stack: FreeStack,
    links: Box<[Word]>,
}

impl FreeList {
    /// All indexes below `capacity`; the lowest are taken first.
    #[must_use]
    pub fn full(capacity: u32) -> Self {
        let links: Box<[Word]> = (0..capacity).map(|_| Word::new(0)).collect();
        let stack = FreeStack::full(capacity, |index| links.get(index as usize));
        Self { stack, links }
    }

    /// Bytes that [`FreeList::full`] allocates.
    #[must_use]
    pub const fn memory_bytes(capacity: u32) -> usize {
        (capacity as usize).saturating_mul(size_of::<Word>())
    }

    /// Takes an index; `None` if all are in use.
    #[must_use]
    pub fn take(&self) -> Option<u32> {
        let (index, _) = self.stack.take(|index| self.links.get(index as usize))?;
        Some(index)
    }

    /// Gives an index back that [`FreeList::take`] gave.
    pub fn give(&self, index: u32) {
        self.stack
            .give(index, |index| self.links.get(index as usize));
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
        assert_eq!(list.stack.taken(), 4);
        assert_eq!(FreeList::full(0).take(), None);
    }
}
