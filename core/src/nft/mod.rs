//! The same decisions in the kernel: one node's plan as nftables sets and maps.
//!
//! The rules and chains are constant; a Service is only elements, so loading is linear and a change costs what
//! it changes. How a packet finds its way through them is told in [`Set`] and in the ruleset's own comments.
#![cfg_attr(
    not(feature = "netlink"),
    expect(
        dead_code,
        reason = "taking over and repairing what the kernel has is asked for by `Table` alone"
    )
)]

mod bytes;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod command;
mod condemned;
mod diff;
mod edits;
mod element;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod error;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod features;
mod former;
pub mod netlink;
mod numbers;
mod options;
mod port;
mod renderer;
mod ruleset;
mod set;
mod skeleton;
mod slots;
mod stale;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod table;
mod text;
mod ticket;

pub use bytes::{Bytes, Written};
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use command::{NftCommand, NftError};
pub use element::{Element, Operation, Transaction};
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use error::TableError;
pub use options::Options;
pub use renderer::{Condemned, Renderer, Step, Update};
pub use set::{Field, Set};
pub use stale::StaleFlows;
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use table::{Table, TableOptions, TableStats, cleanup};
pub use text::{Line, TransactionText};
pub use ticket::{Choice, SizeClass, Ticket};
