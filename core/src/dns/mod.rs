//! DNS for Services: objects in, query bytes to reply bytes.
//!
//! [`Zone`] follows a node's objects and publishes; each thread that answers has a [`Reader`]. What is answered follows
//! Kubernetes' specification of DNS-based service discovery, version 1.1.0, and where that is silent CoreDNS, so that
//! clients of either find what they look for. Sockets, forwarding and clocks are the host's.
//!
//! Answering allocates nothing and never panics: queries are hostile until proven otherwise.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::integer_division,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::large_stack_arrays
    )
)]

mod answer;
mod code;
mod config;
mod name;
mod query;
mod records;
mod resolve;
mod tables;
mod write_records;
mod writer;
mod zone;

pub use answer::{Outcome, Refusal, Transport, decline};
pub use config::{Config, ConfigError, MAX_TTL, PodNames};
pub use zone::{Reader, Zone};
