//! Packets and connections through the kernel's ruleset while it changes, in network namespaces of this test's own.
//!
//! What a commit may do to a packet on its way is found by sending many of both: `cargo xtask race` and
//! `cargo xtask stall` run these tests for longer than the test suite does.
#![cfg(target_os = "linux")]

mod cluster;
mod connections;
mod neighbours;
mod race;
mod random;
mod rules;
mod stall;
mod system;
mod wire;
