//! What others take for the same, in the same run.
//!
//! | file | what it is |
//! |---|---|
//! | `maps` | a bare lookup in maps of other crates |
//! | `rte_hash` | the same in DPDK's, where that is |
//! | `kernel` | this machine's kernel: what its connection tracking and NAT add to a forwarded packet |
//! | `route` | the namespaces that such a packet crosses |
//! | `live` | how it gets there as from a driver |

pub mod kernel;
mod live;
pub(crate) mod maps;
mod route;
pub(crate) mod rte_hash;
