//! The vocabulary every layer shares: addresses, protocols, tuples, prefixes, time, ids.
//!
//! Addresses are [`core::net`]'s own types, host order never appears, and time is an argument.

mod address;
mod arrival;
mod ids;
mod prefix;
mod protocol;
mod scheduler;
mod time;
mod tuple;
mod verdict;

pub use address::{Address, Family};
pub use arrival::Arrival;
pub use ids::{EndpointId, Generation, ServiceId};
pub use prefix::{ParsePrefixError, Prefix};
pub use protocol::Protocol;
pub use scheduler::Scheduler;
pub use time::{Instant, TICKS_PER_SECOND, ticks};
pub use tuple::{Direction, Ports, Tuple};
pub use verdict::{DropReason, Verdict};
