//! What a burst costs while something else goes on: another worker on the same connections, a flood of new ones into a
//! full table, a Service table that is being changed. CPU time of the measuring thread.

mod crossed;
mod flood;
mod swap;

use clap::Parser;
use portolan::net::Protocol;
use portolan_benches::{Case, Distribution, Family, Setup, Traffic};

/// What an established packet costs while something else goes on.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench together")]
struct Arguments {
    /// Connections in each table
    #[arg(long, default_value_t = 1_000_000)]
    connections: u32,
    /// Services beside those that are asked for, of which one after the other is changed
    #[arg(long, default_value_t = 50_000)]
    services: u32,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Packets a round
    #[arg(long, default_value_t = 1 << 17)]
    packets: u32,
}

/// Bursts of 32 IPv4 packets of all connections alike.
fn setup(case: Case, protocol: Protocol, connections: u32) -> Setup {
    Setup {
        case,
        connections,
        family: Family::Ipv4,
        protocol,
        burst: 32,
        distribution: Distribution::Uniform,
        traffic: Traffic::Data,
    }
}

fn main() {
    let arguments = Arguments::parse();
    crossed::run(&arguments);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        flood::run(&arguments, protocol);
    }
    swap::run(&arguments);
}
