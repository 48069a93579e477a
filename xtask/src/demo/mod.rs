//! `cargo xtask demo`: a small cluster made of network namespaces, and requests through Portolan.

mod client;
mod cluster;
mod objects;
pub(crate) mod pod;
mod portolan;
mod routing;
mod scenarios;
mod shares;
mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};

use anyhow::{Context, Result};

use crate::{clock, interrupt, namespace, packages, workspace};
use cluster::Cluster;
use objects::Objects;
use portolan::Portolan;
use scenarios::Stage;
use show::Show;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Show only the scenario of this number, 1 to 10; may be given several times
    #[arg(long)]
    scenario: Vec<usize>,
    /// Use this build of the command `portolan` instead of building one
    #[arg(long)]
    portolan: Option<PathBuf>,
    /// Keep the nodes' descriptions, manifests and logs
    #[arg(long)]
    keep_logs: bool,
}

/// Builds the cluster, shows the scenarios, and takes everything down again.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::watch()?;
    packages::require(&[packages::IP, packages::NFT, packages::CURL])?;
    if let Some(reason) = namespace::refusal() {
        println!("network namespaces are refused here: {reason}");
        println!("in their place: TCP connections of smoltcp hosts, through two nodes in memory");
        return in_memory();
    }
    let started = clock::now();
    let work = workspace::target().join(format!("xtask-demo-{}", process::id()));
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let shown = show(arguments, &work);
    let failed = shown.is_err() && interrupt::check().is_ok();
    if failed || arguments.keep_logs {
        println!("logs: {}", work.display());
    } else {
        fs::remove_dir_all(&work)?;
    }
    let (rows, wrong) = shown?;
    println!("\ntook {:.0} s", started.elapsed().as_secs_f64());
    println!("{} passed, {wrong} failed", rows - wrong);
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(arguments: &Arguments, work: &Path) -> Result<(u32, u32)> {
    let portolan = Portolan::new(arguments.portolan.as_deref(), work)?;
    let objects = Objects::new(work)?;
    let mut cluster = Cluster::new(work)?;
    cluster.divert(|node| portolan.run(node, &objects))?;
    let mut show = Show::default();
    let mut stage = Stage {
        cluster: &cluster,
        objects: &objects,
        portolan: &portolan,
        show: &mut show,
    };
    scenarios::all(&mut stage, &arguments.scenario)?;
    cluster.check()?;
    Ok(show.totals())
}

/// The same scenarios without a kernel's help: an example of the library.
fn in_memory() -> Result<ExitCode> {
    let status = Command::new(workspace::cargo())
        .current_dir(workspace::root())
        .args([
            "run",
            "--quiet",
            "--package",
            "portolan",
            "--features",
            "k8s",
        ])
        .args(["--example", "in_memory"])
        .status()
        .context("running the example in_memory")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
