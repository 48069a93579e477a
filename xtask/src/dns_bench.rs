//! `cargo xtask bench dns`: queries a second, beside another server that has the same names as static data.
//!
//! Both run in one network namespace, one after the other, several times, with one thread each. dnsperf asks over
//! loopback and shares this machine's processors, so what can be compared is queries for each second of the server's
//! CPU time, which includes the kernel's work for its sockets; and how long clients waited at the same modest rate.

use core::fmt::Write;
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self as own, Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::packages::{self, DNSPERF, IP, KNOTD};
use crate::process::{self, Running};
use crate::{interrupt, workspace};

const SERVICES: u32 = 50_000;
const QUERIES: u32 = 200_000;
const RUNS: usize = 3;
const SECONDS: u64 = 4;
/// Queries a second at which waiting is measured: far below what either can do.
const CALM: u32 = 10_000;
const ADDRESS: &str = "127.0.0.1";
const START_LIMIT: Duration = Duration::from_secs(60);
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);

/// What one run showed.
#[derive(Clone, Copy, Debug)]
struct Sample {
    per_second: f64,
    per_core: f64,
    p99_micros: f64,
}

/// A server under measurement.
struct Contender<'a> {
    name: &'static str,
    program: &'static str,
    port: u16,
    command: Box<dyn Fn(&Namespace) -> Command + 'a>,
}

/// Makes names, measures both servers, prints the table. `--portolan PATH` measures that build.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    interrupt::watch()?;
    packages::require(&[IP, KNOTD, DNSPERF])?;
    let portolan = match arguments {
        [] => build()?,
        [option, path] if option == "--portolan" => Path::new(path).canonicalize()?,
        other => bail!("only --portolan PATH is known here, not {other:?}"),
    };
    let work = workspace::target().join(format!("xtask-dns-bench-{}", own::id()));
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let measured = measure(&portolan, &work);
    if measured.is_ok() {
        fs::remove_dir_all(&work)?;
    } else {
        println!("logs: {}", work.display());
    }
    measured
}

fn measure(portolan: &Path, work: &Path) -> Result<ExitCode> {
    write_names(work)?;
    let at = |file: &str| work.join(file).to_string_lossy().into_owned();
    let contenders = [
        Contender {
            name: "portolan",
            program: "portolan",
            port: 5301,
            command: Box::new(|namespace| {
                let mut command = namespace.command(&portolan.to_string_lossy());
                command.args(["run", "--tun", "ptl0", "--dns-threads", "1"]);
                command.args(["--dns", &format!("{ADDRESS}:5301")]);
                command.args(["--control", "portolan.sock"]);
                command.args(["--node-config", &at("node.yaml")]);
                command.args(["--objects", &at("services.json")]);
                command.current_dir(work);
                command
            }),
        },
        Contender {
            name: "knot",
            program: "knotd",
            port: 5302,
            command: Box::new(|namespace| {
                let mut command = namespace.command("knotd");
                command.args(["--config", &at("knot.conf")]);
                command
            }),
        },
    ];
    let namespace = Namespace::new("dns")?;
    println!(
        "DNS over UDP, one thread, {SERVICES} Services, {QUERIES} different queries, dnsperf {SECONDS} s, median of {RUNS} runs"
    );
    println!("server    queries/s  queries/s per core  p99 at {CALM}/s (µs)");
    let mut medians = Vec::new();
    for contender in &contenders {
        let samples = contender.measure(&namespace, work)?;
        let median = |of: fn(&Sample) -> f64| {
            let mut all: Vec<f64> = samples.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(RUNS / 2).copied().unwrap_or_default()
        };
        let sample = Sample {
            per_second: median(|sample| sample.per_second),
            per_core: median(|sample| sample.per_core),
            p99_micros: median(|sample| sample.p99_micros),
        };
        println!(
            "{:8} {:10.0} {:19.0} {:21.0}",
            contender.name, sample.per_second, sample.per_core, sample.p99_micros
        );
        medians.push(sample);
    }
    let [ours, theirs] = medians[..] else {
        bail!("two servers were to be measured");
    };
    let reached = ours.per_core >= theirs.per_core;
    let verdict = if reached { "reached" } else { "missed" };
    println!("target: at least as many queries per core: {verdict}");
    Ok(if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Contender<'_> {
    fn measure(&self, namespace: &Namespace, work: &Path) -> Result<Vec<Sample>> {
        let log = work.join(self.name).with_extension("log");
        let mut server = Running::start(self.name, &mut (self.command)(namespace), &log)?;
        process::until(&format!("{} answers", self.name), START_LIMIT, || {
            server
                .check()
                .with_context(|| format!("see {}", log.display()))?;
            Ok(self
                .ask(namespace, work, "first", &["-n", "1"])
                .is_ok_and(|said| figure(&said, "NOERROR").is_some_and(|count| count > 0.0)))
        })?;
        (0..RUNS)
            .map(|_| {
                let before = cpu_seconds(self.program, work)?;
                let said = self.ask(namespace, work, "queries", &["-l", &SECONDS.to_string()])?;
                let after = cpu_seconds(self.program, work)?;
                let completed = figure(&said, "Queries completed:").context("no count")?;
                let per_second = figure(&said, "Queries per second:").context("no rate")?;
                let rate = CALM.to_string();
                let limits = ["-l", "2", "-Q", &rate, "-v"];
                let calm = self.ask(namespace, work, "queries", &limits)?;
                Ok(Sample {
                    per_second,
                    per_core: completed / (after - before).max(1e-3),
                    p99_micros: percentile(&calm, 0.99).context("no latencies")?,
                })
            })
            .collect()
    }

    fn ask(
        &self,
        namespace: &Namespace,
        work: &Path,
        queries: &str,
        limits: &[&str],
    ) -> Result<String> {
        let mut command = namespace.command("dnsperf");
        command.args([
            "-s",
            ADDRESS,
            "-p",
            &self.port.to_string(),
            "-c",
            "8",
            "-T",
            "1",
        ]);
        command.args(["-t", "2", "-d", &work.join(queries).to_string_lossy()]);
        command.args(limits);
        process::run(&mut command, "", Duration::from_secs(SECONDS + 30))
    }
}

/// The number behind a word in what dnsperf says.
fn figure(said: &str, word: &str) -> Option<f64> {
    let (_, rest) = said.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The waiting time, in microseconds, below which this share of the queries stayed: dnsperf's lines of single queries
/// begin with `>` and end with seconds.
fn percentile(said: &str, share: f64) -> Option<f64> {
    let lines = said.lines().filter(|line| line.starts_with("> "));
    let seconds = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    let mut all: Vec<f64> = seconds.collect();
    all.sort_by(f64::total_cmp);
    let place = (all.len() as f64 * share) as usize;
    Some(all.get(place)? * 1e6)
}

/// CPU time, in the kernel and outside it, of the server of this name whose files are in `work`: `ip netns exec` became
/// it.
fn cpu_seconds(name: &str, work: &Path) -> Result<f64> {
    let work = work.to_string_lossy();
    let work = work.as_ref();
    let mut total = 0.0;
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(line) = fs::read_to_string(path.join("cmdline")) else {
            continue;
        };
        let program = line.split('\0').next().unwrap_or_default();
        if !program.ends_with(name) || !line.contains(work) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        // Behind the name in brackets: user and system time are fields 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        total += ticks
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum::<f64>();
    }
    // The kernel counts in hundredths of a second on every usual machine.
    Ok(total / 100.0)
}

/// The same names as manifests, as a zone file, and as queries.
fn write_names(work: &Path) -> Result<()> {
    let mut services = String::from("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n");
    let mut zone = String::from(
        "$ORIGIN cluster.local.\n$TTL 5\n@ SOA ns.dns hostmaster 1 7200 1800 86400 5\n@ NS ns.dns\nns.dns A 10.96.0.10\n",
    );
    let name = |number: u32| format!("service-{number}.namespace-{}", number % 500);
    let address = |number: u32| {
        format!(
            "10.{}.{}.{}",
            96 + number / 65_536,
            number / 256 % 256,
            number % 256
        )
    };
    for number in 1..=SERVICES {
        let comma = if number == SERVICES { "" } else { "," };
        let (namespace, ip) = (number % 500, address(number));
        writeln!(
            services,
            "{{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{{\"namespace\":\"namespace-{namespace}\",\"name\":\"service-{number}\"}},\
             \"spec\":{{\"clusterIP\":\"{ip}\",\"ports\":[{{\"name\":\"http\",\"port\":80}}]}}}}{comma}"
        )?;
        let name = name(number);
        writeln!(
            zone,
            "{name}.svc A {ip}\n_http._tcp.{name}.svc SRV 0 100 80 {name}.svc"
        )?;
    }
    services.push_str("]}\n");
    let mut queries = String::new();
    // Spread over all Services; one in ten asks for a port, one in ten for what does not exist, as search lists do.
    for number in 0..QUERIES {
        let name = name(number.wrapping_mul(7919) % SERVICES + 1);
        match number % 10 {
            0 => writeln!(queries, "_http._tcp.{name}.svc.cluster.local SRV")?,
            1 => writeln!(
                queries,
                "{name}.svc.cluster.local.{name}.svc.cluster.local A"
            )?,
            2 => writeln!(queries, "{name}.svc.cluster.local AAAA")?,
            _ => writeln!(queries, "{name}.svc.cluster.local A")?,
        }
    }
    let directory = work.to_string_lossy();
    let knot = format!(
        "server:\n  listen: {ADDRESS}@5302\n  rundir: {directory}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {directory}\nzone:\n  - domain: cluster.local\n    file: {directory}/zone\n"
    );
    let node = "nodeName: node\nips: [192.0.2.10]\nserviceCIDRs: [10.96.0.0/12]\n";
    for (file, text) in [
        ("services.json", services.as_str()),
        ("zone", &zone),
        ("queries", &queries),
        ("first", "service-1.namespace-1.svc.cluster.local A\n"),
        ("knot.conf", &knot),
        ("node.yaml", node),
    ] {
        fs::write(work.join(file), text).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(workspace::cargo());
    cargo.current_dir(workspace::root()).args([
        "build",
        "--release",
        "--package=portolan",
        "--features=cli",
        "--bin=portolan",
    ]);
    process::run(&mut cargo, "", BUILD_LIMIT).context("building portolan")?;
    Ok(workspace::target().join("release/portolan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_percentiles_are_found_in_what_dnsperf_says() {
        let said = "> NOERROR a.example A 0.000020\n> NXDOMAIN b.example A 0.000040\n\
                    \n  Queries completed:    1000 (100.00%)\n  Queries per second:   250.5\n";
        assert_eq!(figure(said, "Queries completed:"), Some(1000.0));
        assert_eq!(figure(said, "Queries per second:"), Some(250.5));
        assert_eq!(percentile(said, 0.99).map(f64::round), Some(40.0));
        assert_eq!(percentile("", 0.99), None);
    }
}
