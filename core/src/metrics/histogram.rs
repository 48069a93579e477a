//! Durations, counted in buckets.

use core::time::Duration;

/// How many buckets there are beside the last, which has no bound.
const BUCKETS: usize = 15;
const FIRST_BOUND: Duration = Duration::from_millis(1);

/// Durations in kube-proxy's buckets for `sync_proxy_rules_duration_seconds`: up to 1 ms, and so on by doubling
/// up to 16.384 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let mut bound = FIRST_BOUND;
        for count in &mut self.counts {
            if duration <= bound {
                *count = count.saturating_add(1);
                break;
            }
            bound = bound.saturating_mul(2);
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(duration);
    }

    /// For each bound, how many durations were not longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let mut bound = FIRST_BOUND;
        let mut sum = 0_u64;
        self.counts.iter().map(move |count| {
            sum = sum.saturating_add(*count);
            let this = (bound, sum);
            bound = bound.saturating_mul(2);
            this
        })
    }

    /// How many durations there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}
