//! `cargo xtask bench`: what a packet costs, as tables.

use std::path::{PathBuf, absolute};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{dns_bench, go_bench, tun_bench, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Write the table's rows to this file, too, as a JSON list of objects
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Handed on as they are; `cargo xtask bench table -- --help` says what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum What {
    /// Whole bursts, beside what memory itself asks, in one table
    #[default]
    Table,
    /// Established packets while something else goes on: two workers on the same connections, a flood, a Service table
    /// that changes
    Together,
    /// The parts of a packet's way (criterion)
    Parts,
    /// From decoded objects to the published table, and one changed slice among many Services
    Control,
    /// Instructions a packet (callgrind), written to the baseline; `--check` compares with it
    Instructions,
    /// TCP through NAT on this kernel's packets, with and without offload
    Tun,
    /// Bursts from Go, beside the same bursts without Go
    Go,
    /// DNS over UDP, beside another server with the same names
    Dns,
    /// nftables: kube-proxy's layout beside ours, loaded and changed in namespaces (as root)
    Nft,
}

/// Runs one kind of benchmark.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let binary = |name| {
        [
            "run",
            "--quiet",
            "--release",
            "--package",
            PACKAGE,
            "--bin",
            name,
        ]
    };
    let json = arguments.json.as_ref().map(absolute).transpose()?;
    if json.is_some() && !matches!(arguments.what, What::Table) {
        bail!("--json: only the table is written to a file");
    }
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root());
    match arguments.what {
        What::Tun => return tun_bench::run(),
        What::Go => return go_bench::run(),
        What::Dns => return dns_bench::run(&arguments.rest),
        What::Table => command.args(binary("table")).args(["--features", "peers"]),
        What::Together => command.args(binary("together")),
        What::Control => command.args(binary("control")),
        What::Nft => command.args(binary("nft")),
        What::Instructions => command.args(binary("instructions")),
        What::Parts => command.args(["bench", "--package", PACKAGE, "--bench", "path"]),
    };
    // Large tables on huge pages, as a host would have them.
    command.env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
    let status = command
        .arg("--")
        .args(
            json.iter()
                .flat_map(|file| ["--json".as_ref(), file.as_os_str()]),
        )
        .args(&arguments.rest)
        .status()
        .context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The package of benchmarks.
const PACKAGE: &str = "portolan-benches";
