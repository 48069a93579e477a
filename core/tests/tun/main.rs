//! Packets of a kernel through a TUN device and through packet sockets, in network namespaces of this test's own.
#![cfg(target_os = "linux")]

#[path = "../common/allocations.rs"]
mod allocations;
mod device;
mod frames;
mod kernel;
mod pods;
mod services;
mod station;
