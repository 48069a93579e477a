//! Bytes of one packet: parse, rewrite, checksums, ICMP errors.

mod offload;

pub use offload::{Offload, offload_flags};
