//! What memory itself asks: random 64-byte lines, 32 prefetched, then 32 read.

use crate::clock::CpuTime;
use core::hint::black_box;
use core::time::Duration;
use portolan::driver::huge_pages;
use portolan::sync::Lines;
use portolan::table::hash::next_seed;
use portolan::table::{Cache, prefetch_whole};

const BATCH: usize = 32;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// A table of nothing but lines.
#[derive(Debug)]
pub struct Floor {
    lines: Lines<Line>,
    random: u64,
}

impl Floor {
    /// Lines for `bytes`, at least one.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let count = usize::try_from(bytes / 64).unwrap_or(usize::MAX).max(1);
        let mut number = 0;
        // On the same pages as the dataplane's tables.
        let lines = Lines::new(count, Some(huge_pages), || {
            number += 1;
            Line([number; 8])
        });
        Self { lines, random: 1 }
    }

    /// Nanoseconds an operation that reads `N` independent random lines, asked for into `cache`.
    #[must_use]
    pub fn nanos<const N: usize>(&mut self, clock: &CpuTime, operations: u32, cache: Cache) -> f64 {
        let batches = operations.div_ceil(BATCH as u32);
        let time = clock.time(|| self.read::<N>(batches, cache));
        nanos_each(time, u64::from(batches) * BATCH as u64)
    }

    /// Reads `N` lines for each of 32 operations, `batches` times.
    pub fn read<const N: usize>(&mut self, batches: u32, cache: Cache) {
        let mut total = 0_u64;
        for _ in 0..batches {
            let mut wanted = [[0_usize; N]; BATCH];
            for lines in &mut wanted {
                for line in lines {
                    let random = next_seed(&mut self.random);
                    *line = ((u128::from(random) * self.lines.len() as u128) >> 64) as usize;
                    prefetch_whole(&self.lines, *line, cache);
                }
            }
            for lines in &wanted {
                for line in lines {
                    let Line(words) = &self.lines[*line];
                    total = total.wrapping_add(words[(*line) & 7]);
                }
            }
        }
        black_box(total);
    }
}

/// Nanoseconds for each of `count`.
pub(crate) fn nanos_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e9 / count.max(1) as f64
}
