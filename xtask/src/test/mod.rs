//! `cargo xtask test`: every check and every test, one step after another, with a line for each and
//! the totals last. A step that runs no test has failed; one that cannot run here says why.

mod count;
mod step;
mod steps;

use core::time::Duration;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{clock, interrupt, packages, workspace};
use count::Count;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only the steps whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Name the steps and run none
    #[arg(long)]
    list: bool,
}

/// Runs the steps. The exit code says whether all passed; the last line printed is the totals.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let wanted = |name: &str| {
        arguments
            .only
            .as_deref()
            .is_none_or(|part| name.contains(part))
    };
    if arguments.list {
        for step in steps::all() {
            println!("{}", step.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    interrupt::watch()?;
    packages::require(&[
        packages::IP,
        packages::NFT,
        packages::CURL,
        packages::IPERF3,
        packages::CC,
    ])?;
    // Each is for one test or step, which says that it is skipped where there is none: gVisor is not in every system.
    for tool in [
        packages::RUNSC,
        packages::VALGRIND,
        packages::OBJDUMP,
        packages::STRACE,
        packages::ETHTOOL,
        packages::PKG_CONFIG,
        packages::CMAKE,
        packages::MUSL_GCC,
        packages::IPTABLES,
        packages::PROMETHEUS,
    ] {
        if let Err(error) = packages::require(&[tool]) {
            println!("going on without {tool}: {error:#}");
        }
    }
    let logs = workspace::target().join("xtask-test");
    fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;

    let started = clock::now();
    let mut total = Count::default();
    for step in steps::all().into_iter().filter(|step| wanted(step.name())) {
        interrupt::check()?;
        total = total + step.run(&logs)?;
    }
    println!(
        "\nlogs: {}; took {} s",
        logs.display(),
        round(started.elapsed())
    );
    print_totals(total);
    let good = total.failed == 0 && total.passed > 0;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_totals(total: Count) {
    if total.skipped == 0 {
        println!("{} passed, {} failed", total.passed, total.failed);
    } else {
        let Count {
            passed,
            failed,
            skipped,
        } = total;
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }
}

fn round(duration: Duration) -> u64 {
    duration.as_secs_f64().round() as u64
}
