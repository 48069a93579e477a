//! Kubernetes Services as a library: objects in, decisions out; packets in, verdicts out.
//!
//! Three handles, because there are three kinds of users:
//!
//! - [`node::Node`]: Kubernetes objects in, one node's decisions out. Cheap and pure; whoever renders decisions
//!   elsewhere needs only this.
//! - [`dataplane::Dataplane`] and its [`dataplane::Worker`]s: bursts of packets, rewritten in place. Made from a
//!   node by [`node::Feed`], or filled by hand with [`service::Edit`]s.
//! - The command `portolan` (feature `cli`), for hosts that want neither.
//!
//! # Layers
//!
//! Each module uses only modules to its left: [`net`], [`sync`], [`table`], [`packet`], [`service`],
//! [`conntrack`], [`dataplane`], `driver` and [`phy`]; and [`net`], [`model`], [`plan`], [`node`], with `k8s` decoding into
//! [`model`]. The packet path knows nothing of Kubernetes. [`health`], [`metrics`] and `dns`
//! look on: nothing but hosts uses them.
//!
//! # Features
//!
//! | feature | adds | dependencies |
//! |---|---|---|
//! | (default) | everything on the packet path, model, plan, node; `no_std` with `alloc` | smoltcp, crossbeam |
//! | `k8s` | decoding of JSON and YAML manifests | k8s-openapi, serde |
//! | `api` | the API server's part: defaults, validation, allocation, endpoints | as `k8s` |
//! | `driver` | TUN devices, packet sockets (Linux) | libc |
//! | `nft` | one node's plan as nftables sets and maps | |
//! | `netlink` | the same in the kernel (Linux) | libc |
//! | `cli` | the command | clap, tracing |
//! | `dns` | names of Services: query bytes to reply bytes; `no_std` with `alloc` | hashbrown, foldhash |
//! | `testing` | building packets by name | |
#![no_std]

extern crate alloc;
// Tests have threads and clocks.
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "api")]
pub mod api;
pub mod conntrack;
pub mod dataplane;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(all(feature = "driver", target_os = "linux"))]
pub mod driver;
pub mod health;
#[cfg(feature = "k8s")]
pub mod k8s;
pub mod metrics;
pub mod model;
pub mod net;
#[cfg(feature = "nft")]
pub mod nft;
pub mod node;
pub mod packet;
pub mod phy;
pub mod plan;
pub mod service;
pub mod sync;
pub mod table;

/// The README's code runs as a test.
#[cfg(all(doctest, feature = "k8s", feature = "testing"))]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
