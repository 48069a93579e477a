//! CPU time of the measuring thread: what strangers on the machine take is not counted.

use core::time::Duration;
use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Measures what it costs to read the clock twice, so that it can be taken off.
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    overhead: Duration,
}

impl CpuTime {
    /// Measures the clock itself.
    #[must_use]
    pub fn new() -> Self {
        let mut costs: Vec<Duration> = (0..1_000)
            .map(|_| {
                let start = thread_time();
                thread_time().saturating_sub(start)
            })
            .collect();
        costs.sort_unstable();
        let overhead = costs.get(costs.len() / 2).copied().unwrap_or_default();
        Self { overhead }
    }

    /// CPU time that `work` takes, without the clock's own.
    pub fn time(&self, work: impl FnOnce()) -> Duration {
        let start = thread_time();
        work();
        thread_time()
            .saturating_sub(start)
            .saturating_sub(self.overhead)
    }
}

impl Default for CpuTime {
    fn default() -> Self {
        Self::new()
    }
}
