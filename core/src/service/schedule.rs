//! How a ServicePort's endpoints are chosen.

use crate::net::Scheduler;

/// How a ServicePort's endpoints are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Schedule {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// For how many seconds a new endpoint gets fewer connections than its share, more and more of them; 0: not
    /// at all. Counted from the first choice that it takes part in. Hashing schedulers disregard it: they promise
    /// the same choice everywhere.
    pub slow_start_seconds: u16,
    /// What Maglev's hash begins with. Nodes that are to make the same choice need the same seed; it need not be
    /// secret.
    pub seed: u64,
}
