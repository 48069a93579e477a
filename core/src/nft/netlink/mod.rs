//! Set elements over nfnetlink: what grows and moves goes to the kernel without a process and without text.
//!
//! Everything here but the socket is a pure function of bytes and builds without an operating system. The numbers
//! are those of the kernel's headers; what the messages mean is `nf_tables_api.c`'s and `nfnetlink.c`'s.
//!
//! ```
//! use portolan::net::Family;
//! use portolan::nft::netlink::Batch;
//! use portolan::nft::{Bytes, Element, Operation, Set, Transaction};
//! use core::net::Ipv4Addr;
//!
//! let address = Bytes::new().address(Ipv4Addr::new(10, 96, 0, 80));
//! let transaction = Transaction {
//!     family: Family::Ipv4,
//!     operations: vec![Operation::Add(Element::new(Set::ClusterIps, address))],
//! };
//! // One `send` of these bytes on a socket of NETLINK_NETFILTER is one transaction.
//! let batch = Batch::new(&transaction, "portolan", None).expect("there is something to do");
//! assert!(!batch.bytes().is_empty());
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `element` | keys, ranges, data, timeouts, comments |
//! | `batch`, `reply` | a transaction, and what the kernel says to it |
//! | `dump`, `notice` | reading a set and the generation; events of others' commits |
//! | `rules` | whether chains and rules are what they were |
//! | `table` | whole tables: asleep, awake, owned, deleted |
//! | `flow`, `flow_socket` | UDP connections that the kernel tracks, and deleting them |
//! | `socket`, `monitor` | the two sockets (Linux, feature `netlink`); `sys`: their system calls |
//! | `message`, `attribute`, `numbers` | netlink's own form |

mod attribute;
mod batch;
mod dump;
mod element;
mod flow;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod flow_socket;
mod message;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod monitor;
mod notice;
mod numbers;
mod reply;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod rules;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod socket;
#[cfg(all(feature = "netlink", target_os = "linux"))]
mod sys;
mod table;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use dump::{ElementDump, Progress, ask_elements, ask_generation, read_generation};
pub use flow::{Flow, FlowDump, ask_flows, delete_flows, forget_flows};
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use monitor::Monitor;
pub use notice::{Notice, read_notices};
pub use reply::{Answers, Outcome, Refusal};
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use rules::Constants;
#[cfg(all(feature = "netlink", target_os = "linux"))]
pub use socket::{AskError, Socket, SocketError};
pub use table::{TableEdit, TableFlags, TableVerb};
