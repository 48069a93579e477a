//! Elements over netlink into the running kernel, in network namespaces of this test's own: what is sent is what
//! `nft` lists, and what `nft` writes is what is read.
#![cfg(target_os = "linux")]

mod elements;
mod faults;
mod flows;
mod kernel;
mod outcomes;
