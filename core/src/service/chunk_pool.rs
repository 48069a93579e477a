//! Chunks of words that are all alike, so that memory made of them cannot fragment: whatever comes and goes, there is
//! room for as many as there were at the beginning.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use alloc::vec::Vec;

/// No chunk, where a chunk's number stands.
pub(super) const NONE: u32 = u32::MAX;

/// Chunks of `LEN` words each, some of them free.
#[derive(Debug)]
pub(super) struct ChunkPool<const LEN: usize> {
    chunks: Vec<[u32; LEN]>,
    /// The first free chunk; each names the next in its first word.
    free: u32,
}

impl<const LEN: usize> ChunkPool<LEN> {
    /// Bytes that [`ChunkPool::new`] allocates.
    pub(super) const fn memory_bytes(count: u64) -> u64 {
        count.saturating_mul(size_of::<[u32; LEN]>() as u64)
    }

    /// So many chunks, all free; `None` if the memory cannot be had.
    pub(super) fn new(count: u32) -> Option<Self> {
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(count as usize).ok()?;
        for number in 0..count {
            let mut chunk = [NONE; LEN];
            let next = number.wrapping_add(1);
            if let Some(link) = chunk.first_mut()
                && next < count
            {
                *link = next;
            }
            chunks.push(chunk);
        }
        let free = if count == 0 { NONE } else { 0 };
        Some(Self { chunks, free })
    }

    /// The chunk of a number.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&[u32; LEN]> {
        self.chunks.get(number as usize)
    }

    /// A free chunk, which now begins with this. Whoever takes chunks has counted that there is one.
    pub(super) fn take(&mut self, content: &[u32]) -> u32 {
        let number = self.free;
        let Some(chunk) = self.chunks.get_mut(number as usize) else {
            debug_assert!(false, "as many chunks as were counted");
            return NONE;
        };
        self.free = chunk.first().copied().unwrap_or(NONE);
        for (word, value) in chunk.iter_mut().zip(content) {
            *word = *value;
        }
        number
    }

    /// Gives a chunk back.
    pub(super) fn give(&mut self, number: u32) {
        let chunk = self.chunks.get_mut(number as usize);
        if let Some(link) = chunk.and_then(|chunk| chunk.first_mut()) {
            *link = self.free;
            self.free = number;
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.chunks
            .capacity()
            .saturating_mul(size_of::<[u32; LEN]>()) as u64
    }

    /// How many are free.
    #[cfg(test)]
    pub(super) fn free(&self) -> u32 {
        let links = core::iter::successors(self.get(self.free), |chunk| self.get(*chunk.first()?));
        u32::try_from(links.count()).unwrap_or(u32::MAX)
    }
}
