//! `cargo xtask race` and `cargo xtask stall`: the tests of the kernel's ruleset under traffic, for longer than the
//! test suite has time for.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Race {
    /// Commits of each kind of change
    #[arg(long, default_value_t = 100_000)]
    commits: u64,
    /// Changes under long connections
    #[arg(long, default_value_t = 10_000)]
    changes: u64,
    /// Long connections
    #[arg(long, default_value_t = 1_000)]
    connections: u32,
    /// Only tests whose name contains this, for instance `endpoint_is_replaced`
    #[arg(default_value = "")]
    only: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stall {
    /// How many Services are loaded, with five endpoints each
    #[arg(long, default_value_t = 30_000)]
    services: u32,
}

/// Commits under packets and under connections.
pub(crate) fn race(arguments: &Race) -> Result<ExitCode> {
    let Race {
        commits,
        changes,
        connections,
        only,
    } = arguments;
    let settings = [
        ("PORTOLAN_RACE_COMMITS", commits.to_string()),
        // Each of them reads all tables and makes a process.
        (
            "PORTOLAN_RACE_TAKEOVERS",
            (commits / 1_000).max(1).to_string(),
        ),
        ("PORTOLAN_CONNECTION_CHANGES", changes.to_string()),
        ("PORTOLAN_CONNECTIONS", connections.to_string()),
    ];
    let raced = traffic(&format!("race::{only}"), &settings)?;
    if raced != ExitCode::SUCCESS || !only.is_empty() {
        return Ok(raced);
    }
    traffic("connections::", &settings)
}

/// A large load beside a packet worker.
pub(crate) fn stall(arguments: &Stall) -> Result<ExitCode> {
    let services = arguments.services.to_string();
    let settings = [
        ("PORTOLAN_STALL_SERVICES", services),
        ("PORTOLAN_STALL_OVER_CONTROL_MS", "5".to_owned()),
    ];
    traffic("stall::", &settings)
}

/// Runs tests one after another, since each wants the processors for itself.
fn traffic(tests: &str, settings: &[(&str, String)]) -> Result<ExitCode> {
    let mut command = Command::new(workspace::cargo());
    command.current_dir(workspace::root());
    command.args(["test", "--package", "portolan", "--features", "netlink"]);
    command.args([
        "--test",
        "traffic",
        "--",
        "--nocapture",
        "--test-threads=1",
        tests,
    ]);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    let status = command.status().context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
