//! Tables of endpoint ids for schedulers that hash, in memory that cannot fragment.
//!
//! Chunks are all alike: 256 buckets of four bytes. A table of up to 256 buckets is one chunk; a longer one has a
//! root chunk that names the others. So a lookup reads one cache line, or two.

#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::chunk_pool::{ChunkPool, NONE};
use crate::net::EndpointId;
use alloc::vec::Vec;

/// Buckets in a chunk.
pub(super) const CHUNK: u32 = 256;
const CHUNK_LEN: usize = CHUNK as usize;

/// One table; its chunks are in [`BucketTables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BucketTable {
    len: u32,
    first: u32,
}

/// The chunks of all tables.
#[derive(Debug)]
pub(super) struct BucketTables {
    chunks: ChunkPool<CHUNK_LEN>,
}

impl BucketTable {
    pub(super) const EMPTY: Self = Self {
        len: 0,
        first: NONE,
    };

    #[inline]
    pub(super) const fn len(&self) -> u32 {
        self.len
    }
}

impl BucketTables {
    const fn chunk_count(buckets: u32) -> u32 {
        buckets.div_ceil(CHUNK)
    }

    /// Buckets that a table of `len` takes up, chunks and root included.
    pub(super) const fn cost(len: u32) -> u32 {
        let chunks = Self::chunk_count(len);
        let root = if chunks > 1 { 1 } else { 0 };
        chunks.saturating_add(root).saturating_mul(CHUNK)
    }

    pub(super) const fn memory_bytes(buckets: u32) -> u64 {
        ChunkPool::<CHUNK_LEN>::memory_bytes(Self::chunk_count(buckets) as u64)
    }

    /// `None` if the memory cannot be had.
    pub(super) fn new(buckets: u32) -> Option<Self> {
        let chunks = ChunkPool::new(Self::chunk_count(buckets))?;
        Some(Self { chunks })
    }

    /// The endpoint in a bucket; `None` at and beyond the table's length.
    #[inline]
    pub(super) fn bucket(&self, table: &BucketTable, bucket: u32) -> Option<EndpointId> {
        if bucket >= table.len {
            return None;
        }
        let first = self.chunks.get(table.first)?;
        let chunk = if table.len <= CHUNK {
            first
        } else {
            let chunk = *first.get((bucket / CHUNK) as usize)?;
            self.chunks.get(chunk)?
        };
        chunk
            .get((bucket % CHUNK) as usize)
            .copied()
            .map(EndpointId)
    }

    /// A table of these. There are chunks enough, because the Service table counts them; at most 65,536.
    pub(super) fn make(&mut self, buckets: &[EndpointId]) -> BucketTable {
        let words: Vec<u32> = buckets.iter().map(|id| id.0).collect();
        let chunks: Vec<u32> = words
            .chunks(CHUNK_LEN)
            .map(|content| self.chunks.take(content))
            .collect();
        let first = match chunks.as_slice() {
            [] => NONE,
            [only] => *only,
            several => self.chunks.take(several),
        };
        BucketTable {
            len: u32::try_from(words.len()).unwrap_or(0),
            first,
        }
    }

    /// Gives the chunks of a table back.
    pub(super) fn release(&mut self, table: &BucketTable) {
        if table.len > CHUNK {
            let root = self.chunks.get(table.first).copied();
            let count = Self::chunk_count(table.len) as usize;
            for chunk in root.iter().flatten().take(count) {
                self.chunks.give(*chunk);
            }
        }
        if table.len > 0 {
            self.chunks.give(table.first);
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.chunks.bytes()
    }

    #[cfg(test)]
    pub(super) fn free_buckets(&self) -> u32 {
        self.chunks.free().saturating_mul(CHUNK)
    }
}
