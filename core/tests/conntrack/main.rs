//! Connection tracking as packets see it: states and timeouts by name, ports, eviction, ICMP errors, fragments,
//! affinity, endings.

#[path = "../common/mod.rs"]
mod common;

mod affinity;
mod bursts;
mod ends;
mod fragments;
mod full;
mod icmp;
mod options;
mod ports;
mod reply;
mod sctp;
mod strangers;
mod tcp;
mod udp;
