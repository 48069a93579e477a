//! Lists of endpoint ids in memory that cannot fragment.
//!
//! Up to [`INLINE`] ids lie in the list's own record, so that most Services need no further cache line.
//! Longer lists are trees of equal pages of one cache line each, 16 ids or 16 pages wide; an id is found in
//! one step a level: 16, 256, 4,096, 65,536 ids. Pages are all alike, so whatever comes and goes, a list
//! within the table's limits always finds its pages. Worst case: 17 ids need 3 pages.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::chunk_pool::ChunkPool;
use crate::net::EndpointId;
use alloc::vec::Vec;

/// Ids that a list holds without pages.
pub(super) const INLINE: usize = 8;
const WIDTH: usize = 16;
const WIDTH_BITS: u32 = 4;

/// A list of ids; its pages are in [`Pages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct IdList {
    len: u32,
    /// The ids, or the root page in the first place.
    words: [u32; INLINE],
}

/// The pages of all lists.
#[derive(Debug)]
pub(super) struct Pages {
    pages: ChunkPool<WIDTH>,
}

impl IdList {
    pub(super) const EMPTY: Self = Self {
        len: 0,
        words: [0; INLINE],
    };

    #[inline]
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    const fn is_inline(&self) -> bool {
        self.len as usize <= INLINE
    }

    /// Bits of an index that are above the lowest level of the tree.
    #[inline]
    const fn top_shift(&self) -> u32 {
        let bits = u32::BITS.wrapping_sub(self.len.wrapping_sub(1).leading_zeros());
        // The index's digits in base 16, without the last one.
        match bits.div_ceil(WIDTH_BITS).checked_sub(1) {
            Some(digits) => digits.wrapping_mul(WIDTH_BITS),
            None => 0,
        }
    }
}

impl Pages {
    pub(super) const fn page_count(ids: u32) -> u64 {
        // 17 ids on 3 pages is the worst ratio.
        (ids as u64).saturating_mul(3).div_ceil(17)
    }

    pub(super) const fn memory_bytes(ids: u32) -> u64 {
        ChunkPool::<WIDTH>::memory_bytes(Self::page_count(ids))
    }

    /// `None` if the memory cannot be had.
    pub(super) fn new(ids: u32) -> Option<Self> {
        let count = u32::try_from(Self::page_count(ids)).ok()?;
        let pages = ChunkPool::new(count)?;
        Some(Self { pages })
    }

    /// The id at `index`; `None` at and beyond the list's length.
    #[inline]
    pub(super) fn id(&self, list: &IdList, index: u32) -> Option<EndpointId> {
        if index >= list.len {
            return None;
        }
        if list.is_inline() {
            return list.words.get(index as usize).copied().map(EndpointId);
        }
        let mut page = *list.words.first()?;
        let mut shift = list.top_shift();
        loop {
            let digit = (index.wrapping_shr(shift) & 0xf) as usize;
            let word = *self.pages.get(page)?.get(digit)?;
            if shift == 0 {
                return Some(EndpointId(word));
            }
            page = word;
            shift = shift.wrapping_sub(WIDTH_BITS);
        }
    }

    /// A list of these ids. There are pages enough, because the table counts ids.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "no more ids than the table has endpoints"
    )]
    pub(super) fn make(&mut self, ids: &[EndpointId]) -> IdList {
        let mut list = IdList {
            len: ids.len() as u32,
            words: [0; INLINE],
        };
        if list.is_inline() {
            for (word, id) in list.words.iter_mut().zip(ids) {
                *word = id.0;
            }
            return list;
        }
        let mut level: Vec<u32> = ids.iter().map(|id| id.0).collect();
        loop {
            level = level
                .chunks(WIDTH)
                .map(|words| self.pages.take(words))
                .collect();
            if level.len() <= 1 {
                break;
            }
        }
        if let (Some(word), Some(root)) = (list.words.first_mut(), level.first()) {
            *word = *root;
        }
        list
    }

    /// Gives the pages of a list back.
    pub(super) fn release(&mut self, list: &IdList) {
        if let (false, Some(root)) = (list.is_inline(), list.words.first()) {
            self.release_page(*root, list.len, list.top_shift());
        }
    }

    fn release_page(&mut self, page: u32, ids: u32, shift: u32) {
        let Some(children) = self.pages.get(page).copied() else {
            return;
        };
        self.pages.give(page);
        if shift == 0 {
            return;
        }
        let span = 1_u32.wrapping_shl(shift);
        let mut left = ids;
        for child in children {
            if left == 0 {
                return;
            }
            let below = left.min(span);
            self.release_page(child, below, shift.wrapping_sub(WIDTH_BITS));
            left = left.wrapping_sub(below);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.pages.bytes()
    }

    #[cfg(test)]
    pub(super) fn free_pages(&self) -> u32 {
        self.pages.free()
    }
}
