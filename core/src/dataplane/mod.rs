//! Packets in, verdicts out.
//!
//! A [`Dataplane`] owns the memory, a [`Worker`] moves bursts of packets through it. Nothing here knows
//! Kubernetes: the Service table is filled with [`crate::service::Edit`]s.
//!
//! | file | what it is |
//! |---|---|
//! | `config` | capacities, timeouts, choices; memory in bytes before it is allocated |
//! | `options` | what users want otherwise than kube-proxy |
//! | `handle` | [`Dataplane`]: publish, poll, read |
//! | `worker` | [`Worker`]: a burst in three short loops |
//! | `allowance` | how many connections a worker may still open |
//! | `outcome` | what becomes of a packet, before its descriptor says so |
//! | `path` | one packet: known connection, new connection, ICMP error, fragment |
//! | `connect` | a new connection: opened and accounted for, and the common one's packet translated |
//! | `decide` | where a new connection goes; shared with `explain` |
//! | `explain` | why a packet would go where it would go |
//! | `stats` | counts |
//! | `endpoint_counters` | counts of each endpoint: packets, bytes, connections |

mod allowance;
mod beside;
mod config;
mod connect;
mod decide;
mod descriptor;
mod endpoint_counters;
mod explain;
mod handle;
mod lane;
mod opened;
mod options;
mod outcome;
mod path;
mod quick;
mod shared;
mod stats;
mod worker;

#[cfg(test)]
mod tests;

pub use crate::net::{DropReason, Verdict};
pub use crate::packet::{Offload, offload_flags};
pub use config::{Config, Limits, Memory};
pub use descriptor::{Descriptor, descriptor_flags};
pub use endpoint_counters::{EndpointStats, Traffic};
pub use explain::{Explanation, MasqueradeCause};
pub use handle::{Dataplane, NewError, NewWorkerError, PublishError, Published};
pub use options::{EndedTcp, MidStream, Options};
pub use stats::{ServiceStats, Stats, Usage};
pub use worker::Worker;
