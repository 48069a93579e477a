//! Packets of a kernel through a TUN device, in network namespaces of this test's own.
#![cfg(target_os = "linux")]

#[path = "../common/allocations.rs"]
mod allocations;
mod device;
mod kernel;
mod services;
