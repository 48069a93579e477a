//! Kubernetes Services as a library.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod conntrack;
pub mod dataplane;
#[cfg(all(feature = "driver", target_os = "linux"))]
pub mod driver;
#[cfg(feature = "k8s")]
pub mod k8s;
pub mod model;
pub mod net;
pub mod node;
pub mod packet;
pub mod plan;
pub mod service;
pub mod sync;
pub mod table;
