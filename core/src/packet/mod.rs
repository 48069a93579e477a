//! Bytes of one packet: parse, rewrite, checksums, ICMP errors.
//!
//! [`parse`] accepts or refuses; what it accepted, the other functions can translate without another check
//! that could fail. Nothing here allocates, panics, reads a clock or knows what a Service is.
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
#[cfg(any(test, feature = "testing"))]
pub mod build;
mod checksum;
mod chunk;
mod crc32c;
mod headers;
mod icmp;
mod ipv4;
mod ipv6;
mod offload;
mod parse;
mod plain;
mod rewrite;
mod segment;
mod transport;
#[cfg(any(test, feature = "testing"))]
mod verify;

pub use answer::{echo_reply, port_unreachable, tcp_reset};
pub use checksum::{Delta, checksum, transport_checksum};
pub use chunk::SctpChunk;
pub use crc32c::crc32c;
pub use headers::{Headers, Kind, Parsed, tcp_flags};
pub use icmp::{ErrorRewrite, rewrite_error};
pub use offload::{Offload, offload_flags};
pub use parse::parse;
pub(crate) use parse::parse_any;
pub use plain::{Plain, PlainHeaders, PlainPacket, PlainRewrite, plain, plain_ipv4, plain_ipv6};
pub use rewrite::{Rewrite, complete_checksum, rewrite};
pub use segment::TcpSegment;
#[cfg(test)]
mod tests;
