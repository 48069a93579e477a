//! What a node's dataplane has done, as numbers with names: a plain [`Snapshot`], and the same in Prometheus'
//! text format.
//!
//! kube-proxy's names are kept where they mean the same (`kubeproxy_…`), so that dashboards made for it show
//! something; what it does not count is ours (`portolan_…`). Nothing here opens a socket or reads a clock.
//!
//! | file | what it is |
//! |---|---|
//! | `snapshot` | [`Snapshot`]: counts by name, taken from node, feed and dataplane |
//! | `sync` | [`SyncMetrics`], [`ProbeCounts`]: what only the host knows, for it to note |
//! | `histogram` | [`Histogram`]: durations in kube-proxy's buckets |
//! | `exposition` | [`exposition`]: all of these as text |
//! | `text` | the text format itself: escaping, HELP and TYPE lines |

mod exposition;
mod histogram;
mod snapshot;
mod sync;
mod text;

#[cfg(test)]
mod tests;

pub use exposition::{CONTENT_TYPE, exposition};
pub use histogram::Histogram;
pub use snapshot::{Capacity, EndpointCounts, ServiceCounts, Snapshot};
pub use sync::{Probe, ProbeCounts, SyncMetrics};
