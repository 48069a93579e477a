//! Source ranges of frontends: chains of cache lines, three prefixes each.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::prefix_words::PrefixWords;
use crate::net::Prefix;
use alloc::vec::Vec;

const PER_CHUNK: usize = 3;
/// The list that has no chunk.
pub(super) const EMPTY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Chunk {
    prefixes: [PrefixWords; PER_CHUNK],
    used: u32,
    next: u32,
}

/// The chunks of all lists.
#[derive(Debug)]
pub(super) struct Ranges {
    chunks: Vec<Chunk>,
    free: u32,
}

impl Ranges {
    /// As many chunks as prefixes: every list may hold one prefix only.
    pub(super) const fn memory_bytes(prefixes: u32) -> u64 {
        (prefixes as u64).saturating_mul(size_of::<Chunk>() as u64)
    }

    /// `None` if the memory cannot be had.
    pub(super) fn new(prefixes: u32) -> Option<Self> {
        let mut chunks = Vec::new();
        chunks.try_reserve_exact(prefixes as usize).ok()?;
        for chunk in 0..prefixes {
            let next = chunk.wrapping_add(1);
            chunks.push(Chunk {
                prefixes: [PrefixWords::default(); PER_CHUNK],
                used: 0,
                next: if next < prefixes { next } else { EMPTY },
            });
        }
        let free = if prefixes == 0 { EMPTY } else { 0 };
        Some(Self { chunks, free })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.chunks.capacity().saturating_mul(size_of::<Chunk>()) as u64
    }

    /// Does one of the list's prefixes hold the address?
    #[inline]
    pub(super) fn holds(&self, list: u32, address: [u64; 2]) -> bool {
        let mut position = list;
        while let Some(chunk) = self.chunks.get(position as usize) {
            let prefixes = chunk.prefixes.iter().take(chunk.used as usize);
            if prefixes.into_iter().any(|prefix| prefix.contains(address)) {
                return true;
            }
            position = chunk.next;
        }
        false
    }

    /// A list of these prefixes. There are chunks enough, because the table counts prefixes.
    #[expect(clippy::cast_possible_truncation, reason = "at most three")]
    pub(super) fn make(&mut self, prefixes: &[Prefix]) -> u32 {
        let mut list = EMPTY;
        for group in prefixes.chunks(PER_CHUNK) {
            let position = self.free;
            let Some(chunk) = self.chunks.get_mut(position as usize) else {
                debug_assert!(false, "there are as many chunks as prefixes");
                return list;
            };
            self.free = chunk.next;
            for (words, prefix) in chunk.prefixes.iter_mut().zip(group) {
                *words = PrefixWords::new(*prefix);
            }
            chunk.used = group.len() as u32;
            chunk.next = list;
            list = position;
        }
        list
    }

    /// Gives the chunks of a list back.
    pub(super) fn release(&mut self, list: u32) {
        let mut position = list;
        while let Some(chunk) = self.chunks.get_mut(position as usize) {
            let next = chunk.next;
            chunk.next = self.free;
            self.free = position;
            position = next;
        }
    }
}
