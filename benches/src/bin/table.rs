//! One table, one run: what a packet costs, beside what memory itself asks.
//!
//! `cargo run --release -p portolan-benches --bin table -- --help` says what may be chosen. Tables and floors lie
//! on huge pages where the kernel gives them.

use clap::{Parser, ValueEnum};
use portolan::net::Protocol;
use portolan_benches::{Case, Distribution, Family, Measured, Setup, Traffic};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a packet costs, in nanoseconds of CPU time, beside one and two random lines of a table of that size.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What kind of packets
    #[arg(long = "case", value_enum, value_delimiter = ',', default_values = ["established_dnat", "established_masquerade", "new", "pass"])]
    cases: Vec<CaseName>,
    /// Connections in the table: 1k, 100k, 1M or any number
    #[arg(long, value_delimiter = ',', value_parser = count, default_values = ["1k", "100k", "1M"])]
    connections: Vec<u32>,
    /// Address families
    #[arg(long = "family", value_enum, value_delimiter = ',', default_values = ["v4", "v6"])]
    families: Vec<FamilyName>,
    /// Transport protocols
    #[arg(long = "protocol", value_enum, value_delimiter = ',', default_values = ["tcp"])]
    protocols: Vec<ProtocolName>,
    /// Packets a burst
    #[arg(long = "burst", value_delimiter = ',', default_values = ["32"])]
    bursts: Vec<usize>,
    /// How often each connection is chosen
    #[arg(long = "distribution", value_enum, value_delimiter = ',', default_values = ["uniform"])]
    distributions: Vec<DistributionName>,
    /// What packets of established TCP connections do
    #[arg(long, value_enum, default_value = "data")]
    traffic: TrafficName,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Packets a round
    #[arg(long, default_value_t = 1 << 18)]
    packets: u32,
    /// Writes the rows to this file too, as a JSON list of objects
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum CaseName {
    /// Packets of established connections, destination translated, both directions
    EstablishedDnat,
    /// The same with the source translated too
    EstablishedMasquerade,
    /// First packets of new connections
    New,
    /// Packets to destinations that are no frontends
    Pass,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FamilyName {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolName {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DistributionName {
    Uniform,
    Zipf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TrafficName {
    /// 20 bytes of data in each packet: what the connection remembers moves with every packet
    Data,
    /// Pure acknowledgments of what was acknowledged
    Ack,
}

/// One row, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Row {
    case: String,
    connections: u32,
    family: String,
    protocol: String,
    burst: usize,
    distribution: String,
    ns_per_packet: f64,
    floor_one_line_ns: f64,
    floor_two_lines_ns: f64,
    bytes_per_connection: f64,
    peer: &'static str,
}

fn count(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1_000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number: u32 = digits
        .parse()
        .map_err(|_| format!("{text}: a number, perhaps with k or M"))?;
    number
        .checked_mul(factor)
        .filter(|count| (2..=50_000_000).contains(count))
        .ok_or_else(|| format!("{text}: from 2 to 50M"))
}

fn name(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

fn setups(arguments: &Arguments) -> Vec<(Setup, [String; 4])> {
    let mut setups = Vec::new();
    for &case in &arguments.cases {
        for &family in &arguments.families {
            for &protocol in &arguments.protocols {
                for &connections in &arguments.connections {
                    for &burst in &arguments.bursts {
                        for &distribution in &arguments.distributions {
                            let names =
                                [name(case), name(family), name(protocol), name(distribution)];
                            let setup = Setup {
                                case: case.into(),
                                connections,
                                family: match family {
                                    FamilyName::V4 => Family::Ipv4,
                                    FamilyName::V6 => Family::Ipv6,
                                },
                                protocol: match protocol {
                                    ProtocolName::Tcp => Protocol::Tcp,
                                    ProtocolName::Udp => Protocol::Udp,
                                },
                                burst: burst.clamp(1, 512),
                                distribution: match distribution {
                                    DistributionName::Uniform => Distribution::Uniform,
                                    DistributionName::Zipf => Distribution::Zipf,
                                },
                                traffic: match arguments.traffic {
                                    TrafficName::Data => Traffic::Data,
                                    TrafficName::Ack => Traffic::Ack,
                                },
                            };
                            setups.push((setup, names));
                        }
                    }
                }
            }
        }
    }
    setups
}

impl From<CaseName> for Case {
    fn from(name: CaseName) -> Self {
        match name {
            CaseName::EstablishedDnat => Self::EstablishedDnat,
            CaseName::EstablishedMasquerade => Self::EstablishedMasquerade,
            CaseName::New => Self::New,
            CaseName::Pass => Self::Pass,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    println!(
        "ns of CPU time a packet, median of {} rounds (fastest-slowest); floors: 64-byte lines at random, same bytes as the table",
        arguments.rounds
    );
    println!(
        "{:<24}{:>12}{:>4}{:>5}{:>6}{:>9}{:>10}{:>17}{:>9}{:>10}{:>12}{:>12}",
        "case",
        "connections",
        "fam",
        "prot",
        "burst",
        "distrib.",
        "ns/packet",
        "(range)",
        "one line",
        "two lines",
        "x two lines",
        "bytes/conn."
    );
    let mut rows = Vec::new();
    for (setup, [case, family, protocol, distribution]) in setups(&arguments) {
        let measured = Measured::new(setup, arguments.rounds.max(1), arguments.packets.max(1));
        let (least, most) = measured.range;
        println!(
            "{case:<24}{:>12}{family:>4}{protocol:>5}{:>6}{distribution:>9}{:>10.1}{:>17}{:>9.1}{:>10.1}{:>12.2}{:>12.1}",
            setup.connections,
            setup.burst,
            measured.packet,
            format!("({least:.1}-{most:.1})"),
            measured.floor_one_line,
            measured.floor_two_lines,
            measured.packet / measured.floor_two_lines,
            measured.bytes_per_connection,
        );
        rows.push(Row {
            case,
            connections: setup.connections,
            family,
            protocol,
            burst: setup.burst,
            distribution,
            ns_per_packet: measured.packet,
            floor_one_line_ns: measured.floor_one_line,
            floor_two_lines_ns: measured.floor_two_lines,
            bytes_per_connection: measured.bytes_per_connection,
            peer: "portolan",
        });
    }
    match arguments.json.map(|path| write(&path, &rows)) {
        None | Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(path: &std::path::Path, rows: &[Row]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(rows).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
