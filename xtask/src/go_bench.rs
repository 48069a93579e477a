//! `cargo xtask bench go`: what a burst costs from Go, beside the same burst without Go in the same run.

use core::time::Duration;
use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::packages::{self, CC};
use crate::{process, workspace};

/// How often each side runs; they take turns, so that what else the machine does meets both.
const TURNS: usize = 5;

/// How long one program may take, cargo with everything to be built included.
const LIMIT: Duration = Duration::from_secs(1200);

/// Nanoseconds a packet, of every turn, by packets a burst.
type Times = BTreeMap<u32, Vec<f64>>;

/// Runs both and prints the table.
pub(crate) fn run() -> Result<ExitCode> {
    packages::require(&[CC])?;
    let root = workspace::root();
    let mut build = Command::new(workspace::cargo());
    build.args(["build", "--quiet", "--release", "--package", "portolan-ffi"]);
    process::run(build.current_dir(&root), "", LIMIT)?;
    let program = workspace::target().join("portolan-burst");
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-Iinclude", "benches/c/burst.c"]);
    compile.arg(workspace::target().join("release/libportolan.a"));
    compile
        .args(["-lm", "-lpthread", "-ldl", "-o"])
        .arg(&program);
    process::run(compile.current_dir(&root), "", LIMIT)?;

    let (mut without, mut with) = (Times::new(), Times::new());
    for _ in 0..TURNS {
        let said = process::run(&mut Command::new(&program), "", LIMIT)?;
        read(&said, &mut without, |line| {
            let (count, time) = line.split_once(' ')?;
            Some((count.parse().ok()?, time.parse().ok()?))
        });
        let mut go = Command::new("go");
        go.args([
            "test",
            "-run=^$",
            "-bench=^BenchmarkProcess$",
            "-benchtime=200000x",
            ".",
        ]);
        let said = process::run(go.current_dir(root.join("bindings-go")), "", LIMIT)?;
        let mut counted = said.lines().filter(|line| line.contains("allocs/op"));
        if !counted.all(|line| line.contains(" 0 allocs/op")) {
            bail!("a burst from Go allocates:\n{said}");
        }
        read(&said, &mut with, go_line);
    }
    println!(
        "{:>7} {:>12} {:>12} {:>7}",
        "burst", "without Go", "from Go", "ratio"
    );
    for (count, times) in &mut without {
        let times = median(times);
        let from_go = with.get_mut(count).context("go has run every burst")?;
        let from_go = median(from_go);
        println!(
            "{count:>7} {times:>9.1} ns {from_go:>9.1} ns {:>7.3}",
            from_go / times
        );
    }
    println!(
        "CPU time of the thread for each packet, medians of {TURNS} turns; 0 allocations a burst"
    );
    Ok(ExitCode::SUCCESS)
}

fn read(said: &str, times: &mut Times, parse: impl Fn(&str) -> Option<(u32, f64)>) {
    for (count, time) in said.lines().filter_map(parse) {
        times.entry(count).or_default().push(time);
    }
}

/// Burst and time out of `BenchmarkProcess/32-2  200000  1000 ns/op  30.1 cpu-ns/packet  0 B/op  0 allocs/op`.
fn go_line(line: &str) -> Option<(u32, f64)> {
    let rest = line.strip_prefix("BenchmarkProcess/")?;
    let count = rest.split(['-', ' ', '\t']).next()?;
    let before = rest.split("cpu-ns/packet").next()?;
    let time = before.split_whitespace().last()?;
    Some((count.parse().ok()?, time.parse().ok()?))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_go_says_burst_and_time() {
        let line = "BenchmarkProcess/32-2  \t  200000\t  1102 ns/op\t  34.5 cpu-ns/packet\t 0 B/op\t 0 allocs/op";
        assert_eq!(go_line(line), Some((32, 34.5)));
        assert_eq!(go_line("ok  \tportolan\t1.2s"), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&mut [9.0, 1.0, 5.0]) - 5.0).abs() < f64::EPSILON);
    }
}
