//! One table, one run: what a packet costs, beside what memory itself asks.
//!
//! `cargo run --release -p portolan-benches --bin table -- --help` says what may be chosen. Tables and floors lie
//! on huge pages where the kernel gives them.

#[cfg(feature = "peers")]
mod peers;

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
    #[arg(long = "case", value_enum, value_delimiter = ',')]
    cases: Vec<CaseName>,
    /// Connections in the table: 1k, 100k, 1M or any number
    #[arg(long, value_delimiter = ',', value_parser = count)]
    connections: Vec<u32>,
    /// Address families
    #[arg(long = "family", value_enum, value_delimiter = ',')]
    families: Vec<FamilyName>,
    /// Transport protocols
    #[arg(long = "protocol", value_enum, value_delimiter = ',')]
    protocols: Vec<ProtocolName>,
    /// Packets a burst
    #[arg(long = "burst", value_delimiter = ',')]
    bursts: Vec<usize>,
    /// How often each connection is chosen
    #[arg(long = "distribution", value_enum, value_delimiter = ',')]
    distributions: Vec<DistributionName>,
    /// Looks connections up in other crates' maps and in DPDK's rte_hash too, at each of these sizes
    #[cfg(feature = "peers")]
    #[arg(long = "peers", value_delimiter = ',', value_parser = count, default_values = ["1k", "100k", "1M"])]
    peers: Vec<u32>,
    /// Forwards packets of as many connections through this kernel, too, without and with its NAT (as root)
    #[cfg(feature = "peers")]
    #[arg(long = "kernel", value_delimiter = ',', value_parser = count, default_values = ["1k", "100k"])]
    kernel: Vec<u32>,
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
    /// Packets between addresses that are no Service's
    Pass,
    /// Packets from endpoints to destinations that are no frontends
    PassFromEndpoint,
    /// First packets of ever new clients, into a table that is full
    SynFlood,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FamilyName {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
    /// Data from the client and the endpoint's acknowledgment in turn: the timeout is another one each time
    Exchange,
}

/// Whose rows are measured first.
const OURS: &str = "portolan";

/// One row, as `--json` writes it: what does not apply is absent.
#[derive(Debug, Default, Serialize)]
struct Row {
    case: String,
    connections: u32,
    family: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<usize>,
    distribution: String,
    ns_per_packet: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_one_line_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_two_lines_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_two_lines_second_cache_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_connection: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding_nat_ns: Option<f64>,
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

/// One row to be measured.
#[derive(Debug, Clone, Copy)]
struct Choice {
    case: CaseName,
    family: FamilyName,
    protocol: ProtocolName,
    connections: u32,
    burst: usize,
    distribution: DistributionName,
}

impl Choice {
    const fn setup(&self, traffic: TrafficName) -> Setup {
        Setup {
            case: self.case.case(),
            connections: self.connections,
            family: self.family.family(),
            protocol: match self.protocol {
                ProtocolName::Tcp => Protocol::Tcp,
                ProtocolName::Udp => Protocol::Udp,
            },
            burst: self.burst,
            distribution: match self.distribution {
                DistributionName::Uniform => Distribution::Uniform,
                DistributionName::Zipf => Distribution::Zipf,
            },
            traffic: match traffic {
                TrafficName::Data => Traffic::Data,
                TrafficName::Ack => Traffic::Ack,
                TrafficName::Exchange => Traffic::Exchange,
            },
        }
    }
}

/// What was asked for: every combination. Of nothing that was not asked for, every case and family at three sizes, and
/// what else is telling of established connections.
fn choices(arguments: &Arguments) -> Vec<Choice> {
    let common = Choice {
        case: CaseName::EstablishedDnat,
        family: FamilyName::V4,
        protocol: ProtocolName::Tcp,
        connections: 1_000_000,
        burst: 32,
        distribution: DistributionName::Uniform,
    };
    let mut choices = vec![common];
    vary(
        &mut choices,
        or(&arguments.cases, CaseName::value_variants()),
        |choice, case| choice.case = case,
    );
    vary(
        &mut choices,
        or(&arguments.families, FamilyName::value_variants()),
        |choice, family| choice.family = family,
    );
    vary(
        &mut choices,
        or(&arguments.protocols, &[ProtocolName::Tcp]),
        |choice, protocol| choice.protocol = protocol,
    );
    vary(
        &mut choices,
        or(&arguments.connections, &[1_000, 100_000, 1_000_000]),
        |choice, count| choice.connections = count,
    );
    vary(
        &mut choices,
        or(&arguments.bursts, &[32]),
        |choice, burst| choice.burst = burst.clamp(1, 512),
    );
    vary(
        &mut choices,
        or(&arguments.distributions, &[DistributionName::Uniform]),
        |choice, distribution| choice.distribution = distribution,
    );
    let asked = !(arguments.cases.is_empty()
        && arguments.families.is_empty()
        && arguments.protocols.is_empty()
        && arguments.connections.is_empty()
        && arguments.bursts.is_empty()
        && arguments.distributions.is_empty());
    if !asked {
        choices.extend([
            Choice {
                connections: 8_000_000,
                ..common
            },
            Choice {
                protocol: ProtocolName::Udp,
                ..common
            },
            Choice { burst: 1, ..common },
            Choice {
                burst: 256,
                ..common
            },
            Choice {
                distribution: DistributionName::Zipf,
                ..common
            },
        ]);
    }
    choices
}

fn or<'values, T>(asked: &'values [T], default: &'values [T]) -> &'values [T] {
    if asked.is_empty() { default } else { asked }
}

/// Each choice once for each value.
fn vary<T: Copy>(choices: &mut Vec<Choice>, values: &[T], set: impl Fn(&mut Choice, T)) {
    let varied = choices.iter().flat_map(|choice| {
        values.iter().map(|value| {
            let mut choice = *choice;
            set(&mut choice, *value);
            choice
        })
    });
    *choices = varied.collect();
}

impl CaseName {
    const fn case(self) -> Case {
        match self {
            Self::EstablishedDnat => Case::EstablishedDnat,
            Self::EstablishedMasquerade => Case::EstablishedMasquerade,
            Self::New => Case::New,
            Self::Pass => Case::Pass,
            Self::PassFromEndpoint => Case::PassFromEndpoint,
            Self::SynFlood => Case::SynFlood,
        }
    }
}

impl FamilyName {
    const fn family(self) -> Family {
        match self {
            Self::V4 => Family::Ipv4,
            Self::V6 => Family::Ipv6,
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
        "{:<24}{:>12}{:>4}{:>5}{:>6}{:>9}{:>10}{:>17}{:>9}{:>10}{:>11}{:>12}{:>12}",
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
        "2nd cache",
        "x two lines",
        "bytes/conn."
    );
    let mut rows = Vec::new();
    for choice in choices(&arguments) {
        rows.push(measure(&choice, &arguments));
    }
    #[cfg(feature = "peers")]
    peers::compare(&arguments, &mut rows);
    match arguments.json.map(|path| write(&path, &rows)) {
        None | Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures a row, and prints it.
fn measure(choice: &Choice, arguments: &Arguments) -> Row {
    let setup = choice.setup(arguments.traffic);
    let measured = Measured::new(setup, arguments.rounds.max(1), arguments.packets.max(1));
    let [case, family] = [name(choice.case), name(choice.family)];
    let [protocol, distribution] = [name(choice.protocol), name(choice.distribution)];
    let (least, most) = measured.range;
    println!(
        "{case:<24}{:>12}{family:>4}{protocol:>5}{:>6}{distribution:>9}{:>10.1}{:>17}{:>9.1}{:>10.1}{:>11.1}{:>12.2}{:>12.1}",
        setup.connections,
        setup.burst,
        measured.packet,
        format!("({least:.1}-{most:.1})"),
        measured.floor_one_line,
        measured.floor_two_lines,
        measured.floor_two_lines_second_cache,
        measured.packet / measured.floor_two_lines,
        measured.bytes_per_connection,
    );
    Row {
        case,
        connections: setup.connections,
        family,
        protocol: Some(protocol),
        burst: Some(setup.burst),
        distribution,
        ns_per_packet: measured.packet,
        floor_one_line_ns: Some(measured.floor_one_line),
        floor_two_lines_ns: Some(measured.floor_two_lines),
        floor_two_lines_second_cache_ns: Some(measured.floor_two_lines_second_cache),
        bytes_per_connection: Some(measured.bytes_per_connection),
        peer: OURS,
        ..Row::default()
    }
}

fn write(path: &std::path::Path, rows: &[Row]) -> Result<(), String> {
    let text = serde_json::to_string_pretty(rows).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}
