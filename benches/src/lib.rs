//! What a packet costs, measured through the public calls, in CPU time of the measuring thread.
//!
//! A host hands [`Worker::process_burst`] packets that have just arrived, of connections in no order. So that
//! is what is timed: [`Sender`] fills a segment of 512 packets of connections chosen at random, untimed, and
//! times only the bursts over it; no packet is used twice, and neither filling nor copying is in the figures.
//! Beside each figure stands what memory itself asks: [`Floor`], one or two random lines of a table of the
//! same size, measured in the same run.
//!
//! | file | what it is |
//! |---|---|
//! | `clock` | CPU time of the thread, and criterion's view of it |
//! | `frame` | one packet, written into a frame |
//! | `scene` | a dataplane with Services and connections |
//! | `sender` | packets of those connections, through a worker |
//! | `floor` | random lines out of a table of the same size |
//! | `peer` | maps of other crates, DPDK's `rte_hash`, this kernel's NAT (feature `peers`) |
//! | `cluster`, `kube_proxy` | Services as objects, and as a ruleset of kube-proxy's shape |
//! | `namespace` | network namespaces that go by themselves |
//! | `row` | one case at one size: rounds, medians |

mod clock;
mod cluster;
mod floor;
mod flow;
mod frame;
mod kube_proxy;
mod namespace;
#[cfg(feature = "peers")]
mod peer;
mod row;
mod scene;
mod sender;

pub use clock::{CpuTime, thread_time};
pub use cluster::Cluster;
pub use floor::Floor;
pub use frame::{FRAME_STRIDE, Segment, Shape};
pub use kube_proxy::KubeProxy;
pub use namespace::{Namespace, run};
#[cfg(feature = "peers")]
pub use peer::{kernel, maps::Peer, rte_hash::RteHash};
pub use row::{Measured, median};
pub use scene::{Case, Distribution, Family, Scene, Setup, Traffic, idle_service, publish};
pub use sender::{SEGMENT_PACKETS, Sender};

use portolan::dataplane::{Descriptor, Worker};
use portolan::net::Instant;

/// [`Worker::process_burst`], under a name of its own for profilers and for whoever follows its calls.
#[inline(never)]
pub fn burst_under_test(
    worker: &mut Worker,
    now: Instant,
    frames: &mut [u8],
    descriptors: &mut [Descriptor],
) {
    worker.process_burst(now, frames, descriptors);
}
