//! The same decisions in the kernel: one node's plan as nftables sets and maps.
//!
//! The rules and chains are constant; a Service is only elements, so loading is linear and a change costs what
//! it changes. How a packet finds its way through them is told in [`Set`] and in the ruleset's own comments.

mod bytes;
mod element;
pub mod netlink;
mod options;
mod set;
mod stale;
mod skeleton;
mod ticket;

pub use bytes::{Bytes, Written};
pub use element::{Element, Operation, Transaction};
pub use options::Options;
pub use set::{Field, Set};
pub use stale::StaleFlows;
pub use ticket::{Choice, SizeClass, Ticket};
