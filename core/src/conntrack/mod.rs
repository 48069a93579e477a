//! Connections: one record for both directions, so that half a NAT mapping cannot exist.
//!
//! | file | what it is |
//! |---|---|
//! | `connections` | the table of one family: find, open, expire, evict |
//! | `binding` | what a connection ties together |
//! | `quick` | the common packet's way, on the record's words |
//! | `record` | one connection's cache line (two for IPv6) |
//! | `state` | what a packet does to a connection: TCP, UDP and SCTP as netfilter sees them |
//! | `timeouts` | netfilter's default timeouts |
//! | `endpoints` | what connections must know of an endpoint that may be gone |
//! | `fragments` | where the later fragments of a datagram go |

mod binding;
mod connections;
mod endpoints;
mod fragments;
mod open;
mod quick;
mod record;
mod sctp;
mod state;
mod tcp;
mod timeouts;
mod udp;

pub use binding::{Binding, Bound, Target};
pub use connections::{Connection, Connections, Hit};
pub use endpoints::{EndpointLife, Endpoints};
pub use fragments::{Followed, FragmentKey, Fragments};
pub use open::{OpenError, Opening, SourcePorts};
pub use quick::{Moment, Quick};
pub use record::Stored;
pub use state::{Progress, State, Step, Transport};
pub use timeouts::{SctpTimeouts, TcpTimeouts, Timeouts};
