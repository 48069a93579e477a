//! Instructions a packet, counted by callgrind: the same binary gives the same number on the noisiest machine.
//!
//! `cargo run --release -p portolan-benches --bin instructions` writes `benches/baseline/instructions.csv`;
//! with `--check` it compares, and fails where a count rose or fell by more than two in a hundred: a rise is
//! to be explained, a fall to be kept by writing the file anew. Counts depend on the compiler's version, which
//! the file's first line names: another compiler needs a baseline of its own.

use clap::Parser;
use core::fmt::Write;
use portolan::net::Protocol;
use portolan_benches::{Case, CpuTime, Distribution, Family, Scene, Setup, Traffic};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Counts instructions a packet, in bursts of 32, and writes or checks the baseline.
#[derive(Debug, Parser)]
#[command(name = "instructions")]
struct Arguments {
    /// Compare with the baseline instead of writing it
    #[arg(long)]
    check: bool,
    /// Do the work that is counted: a case's name and a number of rounds
    #[arg(long, hide = true, num_args = 2)]
    work: Option<Vec<String>>,
}

const PACKETS: u32 = 512;
const HEADER: &str = "case,instructions_per_packet";

/// Names and scenes, each with 1,024 connections.
const CASES: [(&str, Case, Family, Protocol); 9] = [
    (
        "established_dnat_v4_tcp",
        Case::EstablishedDnat,
        Family::Ipv4,
        Protocol::Tcp,
    ),
    (
        "established_dnat_v6_tcp",
        Case::EstablishedDnat,
        Family::Ipv6,
        Protocol::Tcp,
    ),
    (
        "established_dnat_v4_udp",
        Case::EstablishedDnat,
        Family::Ipv4,
        Protocol::Udp,
    ),
    (
        "established_masquerade_v4_tcp",
        Case::EstablishedMasquerade,
        Family::Ipv4,
        Protocol::Tcp,
    ),
    ("new_v4_tcp", Case::New, Family::Ipv4, Protocol::Tcp),
    ("new_v6_tcp", Case::New, Family::Ipv6, Protocol::Tcp),
    ("pass_v4_tcp", Case::Pass, Family::Ipv4, Protocol::Tcp),
    ("pass_v6_tcp", Case::Pass, Family::Ipv6, Protocol::Tcp),
    (
        "pass_from_endpoint_v4_tcp",
        Case::PassFromEndpoint,
        Family::Ipv4,
        Protocol::Tcp,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.work.as_deref() {
        Some([name, rounds]) => work(name, rounds),
        Some(_) | None => compare(arguments.check),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline/instructions.csv")
}

fn work(name: &str, rounds: &str) -> Result<ExitCode, String> {
    let rounds: u32 = rounds
        .parse()
        .map_err(|_| format!("{rounds}: no number of rounds"))?;
    let (_, case, family, protocol) = CASES
        .into_iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| format!("{name}: no such case"))?;
    let mut scene = Scene::new(Setup {
        case,
        connections: 1_024,
        family,
        protocol,
        burst: 32,
        distribution: Distribution::Uniform,
        traffic: Traffic::Data,
    });
    let clock = CpuTime::new();
    for _ in 0..rounds {
        let _ = scene.round(&clock, PACKETS);
    }
    Ok(ExitCode::SUCCESS)
}

/// Instructions inside bursts while a case runs for `rounds` rounds, opening its connections included.
fn count(name: &str, rounds: u32) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let counts =
        std::env::temp_dir().join(format!("portolan-{}-{name}.callgrind", std::process::id()));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*burst_under_test*")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(&program)
        .args(["--work", name, &rounds.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "valgrind: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let text = std::fs::read_to_string(&counts)
        .map_err(|error| format!("{}: {error}", counts.display()))?;
    let _ = std::fs::remove_file(&counts);
    text.lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
        .ok_or_else(|| format!("{name}: callgrind gave no totals"))
}

/// The compiler and what it compiles for, as `cargo xtask test` compares them with the file's first line.
fn compiler() -> Result<String, String> {
    let said = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.lines().next();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    match (version, host) {
        (Some(version), Some(host)) => Ok(format!("{version}, {host}")),
        (None | Some(_), None | Some(_)) => Err("rustc -vV: no version".to_owned()),
    }
}

fn compare(check: bool) -> Result<ExitCode, String> {
    let path = baseline();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut after = format!("# {}\n{HEADER}\n", compiler()?);
    let mut wrong = 0;
    for (name, ..) in CASES {
        // Two lengths of one run: what they differ by is the rounds', whatever came before them.
        let rounds = 8;
        let all = count(name, 2 * rounds)?.saturating_sub(count(name, rounds)?);
        let each = all as f64 / f64::from(rounds * PACKETS);
        writeln!(after, "{name},{each:.1}").map_err(|error| error.to_string())?;
        let known = before.lines().find_map(|line| {
            let (known, count) = line.split_once(',')?;
            (known == name).then(|| count.parse::<f64>().ok())?
        });
        let fits = known.is_some_and(|known| (each / known - 1.0).abs() <= 0.02);
        let known = known.map_or_else(|| "none".to_owned(), |known| format!("{known:.1}"));
        println!("{name:<32}{each:>9.1}  baseline {known:>9}");
        if check && !fits {
            println!("  ^ not within 2 % of the baseline");
            wrong += 1;
        }
    }
    if check {
        println!("{} passed, {wrong} failed", CASES.len() - wrong);
        return Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    std::fs::write(&path, after).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
