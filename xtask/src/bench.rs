//! `cargo xtask bench`: the benchmarks, and the tables they print.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{tun_bench, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `tun` for TCP through NAT on this kernel's packets; else handed to the benchmarks as it is (a filter,
    /// for instance)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs `cargo bench` on the package of benchmarks.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.rest.first().is_some_and(|what| what == "tun") {
        return tun_bench::run();
    }
    let status = Command::new(workspace::cargo())
        .current_dir(workspace::root())
        .args(["bench", "--package", "portolan-benches", "--"])
        .args(&arguments.rest)
        .status()
        .context("running cargo bench")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
