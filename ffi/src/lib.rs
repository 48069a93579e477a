//! The C ABI of Portolan: `include/portolan.h` is generated from these files by `cargo xtask header`.
//!
//! Rules that every function keeps:
//!
//! - A pointer is NULL or valid for the call; a required one that is NULL gives a status.
//! - A handle is used by one thread at a time. A second caller is told `PORTOLAN_STATUS_BUSY` and harms nothing:
//!   each handle is a [`std::sync::Mutex`] that is only ever tried, never waited for.
//! - Control calls catch panics; the handle is poisoned then. Packet calls cannot panic.
//! - Integers come in and are checked, never Rust enums. Outputs are written on success only.
//! - What fails says so in its status, and in words through `portolan_error`.
//!
//! `unsafe` is what C's pointers need and nothing else: turning them into references and slices.
#![allow(
    unsafe_code,
    reason = "the boundary with C: each block says what the caller promised"
)]
#![allow(
    non_camel_case_types,
    reason = "types are named as C programs write them"
)]

// In the order in which the header shows them.

pub mod version;

pub mod status;

pub mod error;

pub mod address;

pub mod options;

pub mod timeouts;

pub mod limits;

pub mod rejections;

pub mod node;

pub mod scheduler;

pub mod node_config;

pub mod object;

pub mod txn;

pub mod frontends;

pub mod changes;

pub mod service;

pub mod dataplane;

pub mod descriptor;

pub mod frames;

pub mod words;

pub mod worker;

#[cfg(target_os = "linux")]
pub mod driver;

#[cfg(target_os = "linux")]
pub mod af_packet;

#[cfg(target_os = "linux")]
pub mod nft;

#[cfg(target_os = "linux")]
pub mod nft_stats;

pub mod dns;

pub mod stats;

pub mod service_stats;

pub mod connections;

pub mod explain;

pub mod explain_text;

pub(crate) mod arena;
pub(crate) mod call;
pub(crate) mod sized;
pub(crate) mod value;

#[cfg(test)]
mod tests;
