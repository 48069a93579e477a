//! `cargo xtask bench tun`: TCP through NAT on packets of this machine's kernel.
//!
//! A client, a node and a server, each in a network namespace. Everything that enters the node goes through a
//! TUN, where `examples/tun_nat.rs` serves one Service; or the node is a bump in the wire between the other two, whose
//! frames packet sockets move. Client, server and forwarder share this machine's cores,
//! so the figure that can be compared is bytes delivered for each second of the forwarder thread's CPU time,
//! which includes the kernel's work in that thread: forwarding, and much of the receiver's TCP.

use core::time::Duration;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::namespace::Namespace;
use crate::packages::{self, IP, IPERF3};
use crate::process::{self, Running};
use crate::{interrupt, workspace};

const TUN: &str = "ptl0";
/// Runs of each case; the median is shown.
const RUNS: usize = 3;
const SECONDS: u64 = 3;
/// What a forwarder's core must reach with offload, in Gbit/s.
const TARGET: f64 = 8.0;
const FRONTENDS: [(&str, &str); 2] = [("IPv4", "10.96.0.10"), ("IPv6", "fd00:96::10")];
const FRONTEND_PORT: &str = "80";
const ENDPOINT_PORT: &str = "5201";
const BUILD_LIMIT: Duration = Duration::from_secs(600);
const CLIENT_MAC: &str = "02:00:00:00:01:02";
const TO_CLIENT_MAC: &str = "02:00:00:00:01:01";
const SERVER_MAC: &str = "02:00:00:00:02:02";
const TO_SERVER_MAC: &str = "02:00:00:00:02:01";

/// What the forwarder moves packets of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    /// A TUN that the node routes everything into.
    Tun,
    /// Packet sockets on the node's two interfaces.
    Between,
}

/// What one run of iperf3 showed.
#[derive(Clone, Copy, Debug)]
struct Sample {
    gbit_per_second: f64,
    gbit_per_core: f64,
    packet_bytes: f64,
}

/// Builds the forwarder, measures, prints the table.
pub(crate) fn run() -> Result<ExitCode> {
    interrupt::watch()?;
    packages::require(&[IP, IPERF3])?;
    let forwarder = build()?;
    let network = Network::new()?;
    println!(
        "TCP through NAT, iperf3 {SECONDS} s, median of {RUNS} runs (MTU 1500, one stream, one queue)"
    );
    println!("device  family offload  Gbit/s  Gbit/s per forwarder core  bytes per packet");
    let mut reached = true;
    for device in [Device::Tun, Device::Between] {
        if device == Device::Between {
            network.put_a_wire_between()?;
        }
        for offload in [true, false] {
            let mut node = Forwarder::start(&network.node, &forwarder, device, offload)?;
            if device == Device::Tun {
                network.route_through_tun()?;
            }
            reached &= measure(&network, &mut node, device, offload)?;
        }
    }
    let verdict = if reached { "reached" } else { "missed" };
    println!("target: {TARGET} Gbit/s per forwarder core with offload: {verdict}");
    Ok(if reached {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures both families and prints a line for each; whether both reach what they must.
fn measure(network: &Network, node: &mut Forwarder, device: Device, offload: bool) -> Result<bool> {
    let mut reached = true;
    for (family, frontend) in FRONTENDS {
        let mut samples = (0..RUNS)
            .map(|_| network.measure(node, frontend))
            .collect::<Result<Vec<_>>>()
            .with_context(|| format!("{device:?}, {family}, offload {offload}"))?;
        samples.sort_by(|a, b| a.gbit_per_core.total_cmp(&b.gbit_per_core));
        let Some(median) = samples.get(RUNS / 2) else {
            bail!("no runs")
        };
        println!(
            "{:7} {family:6} {:7} {:7.2} {:26.2} {:17.0}",
            match device {
                Device::Tun => "TUN",
                Device::Between => "sockets",
            },
            if offload { "on" } else { "off" },
            median.gbit_per_second,
            median.gbit_per_core,
            median.packet_bytes,
        );
        reached &= !offload || median.gbit_per_core >= TARGET;
    }
    Ok(reached)
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(workspace::cargo());
    cargo.current_dir(workspace::root()).args([
        "build",
        "--release",
        "--package=portolan",
        "--features=driver",
        "--example=tun_nat",
    ]);
    process::run(&mut cargo, "", BUILD_LIMIT).context("building the forwarder")?;
    Ok(workspace::target().join("release/examples/tun_nat"))
}

/// Three namespaces in a row. Neighbours are given, because the rules that send everything into the TUN would
/// send questions for the node's own address there too.
struct Network {
    client: Namespace,
    node: Namespace,
    server: Namespace,
    _listening: Running,
}

impl Network {
    fn new() -> Result<Self> {
        let (client, node, server) = (
            Namespace::new("client")?,
            Namespace::new("node")?,
            Namespace::new("server")?,
        );
        node.sysctl(&[
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            "net.ipv4.conf.default.accept_local=1",
        ])?;
        client.join("eth0", &node, "client")?;
        server.join("eth0", &node, "server")?;
        end(&client, "eth0", CLIENT_MAC, 1, 2, Some(TO_CLIENT_MAC))?;
        end(&server, "eth0", SERVER_MAC, 2, 2, Some(TO_SERVER_MAC))?;
        end(&node, "client", TO_CLIENT_MAC, 1, 1, None)?;
        end(&node, "server", TO_SERVER_MAC, 2, 1, None)?;
        for (link, subnet, mac) in [("client", 1, CLIENT_MAC), ("server", 2, SERVER_MAC)] {
            node.ip(&format!(
                "neigh add 10.{subnet}.0.2 lladdr {mac} dev {link}\n\
                 neigh add fd00:{subnet}::2 lladdr {mac} dev {link}\n"
            ))?;
        }
        let rules = "rule add pref 10 iif client lookup 100\n\
                     rule add pref 11 iif server lookup 100\n\
                     rule add pref 20 lookup local\n\
                     rule del pref 0\n";
        node.ip(rules)?;
        node.ip6(rules)?;
        let mut listen = server.command("iperf3");
        listen.args(["--server", "--port", ENDPOINT_PORT]);
        let listening = Running::start("iperf3 --server", &mut listen, Path::new("/dev/null"))?;
        Ok(Self {
            client,
            node,
            server,
            _listening: listening,
        })
    }

    /// Again for each forwarder: the routes went with the TUN of the one before.
    fn route_through_tun(&self) -> Result<()> {
        self.node
            .ip(&format!("route add default dev {TUN} table 100\n"))?;
        self.node
            .ip6(&format!("route add default dev {TUN} table 100\n"))
    }

    /// Client and server are each other's routers, and the node is a wire.
    fn put_a_wire_between(&self) -> Result<()> {
        self.node
            .sysctl(&["net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"])?;
        for (outer, subnet, mac) in [(&self.client, 1, SERVER_MAC), (&self.server, 2, CLIENT_MAC)] {
            outer.ip(&format!(
                "neigh replace 10.{subnet}.0.1 lladdr {mac} dev eth0\n\
                 neigh replace fd00:{subnet}::1 lladdr {mac} dev eth0\n"
            ))?;
        }
        Ok(())
    }

    fn measure(&self, node: &mut Forwarder, frontend: &str) -> Result<Sample> {
        let before = node.counts()?;
        let mut iperf = self.client.command("iperf3");
        let seconds = SECONDS.to_string();
        iperf.args([
            "--client",
            frontend,
            "--port",
            FRONTEND_PORT,
            "--time",
            &seconds,
            "--json",
        ]);
        let report = process::run(&mut iperf, "", Duration::from_secs(SECONDS + 20))?;
        let after = node.counts()?;
        let bits = 8.0 * received_bytes(&report).context("reading iperf3's report")? as f64;
        let cpu_nanos = (after.cpu_nanos - before.cpu_nanos).max(1) as f64;
        let packets = (after.packets - before.packets).max(1) as f64;
        Ok(Sample {
            gbit_per_second: bits / SECONDS as f64 / 1e9,
            gbit_per_core: bits / cpu_nanos,
            packet_bytes: (after.bytes - before.bytes) as f64 / packets,
        })
    }
}

/// Names one end of a link, and sets it up with the addresses of its subnet and, for an outer end, its router.
fn end(
    namespace: &Namespace,
    link: &str,
    mac: &str,
    subnet: u8,
    host: u8,
    router_mac: Option<&str>,
) -> Result<()> {
    namespace.ip(&format!(
        "link set {link} address {mac}\n\
         link set {link} up\n\
         addr add 10.{subnet}.0.{host}/24 dev {link}\n\
         addr add fd00:{subnet}::{host}/64 dev {link} nodad\n"
    ))?;
    let Some(router_mac) = router_mac else {
        return Ok(());
    };
    namespace.ip(&format!(
        "neigh add 10.{subnet}.0.1 lladdr {router_mac} dev {link}\n\
         neigh add fd00:{subnet}::1 lladdr {router_mac} dev {link}\n\
         route add default via 10.{subnet}.0.1\n"
    ))?;
    namespace.ip6(&format!("route add default via fd00:{subnet}::1\n"))
}

/// `end.sum_received.bytes` of iperf3's JSON: the last "bytes" behind "sum_received".
fn received_bytes(report: &str) -> Option<u64> {
    let (_, sum) = report.rsplit_once("\"sum_received\"")?;
    let (_, bytes) = sum.split_once("\"bytes\":")?;
    let digits = bytes
        .trim_start()
        .split(|byte: char| !byte.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// A running forwarder; killed by its own id when dropped.
struct Forwarder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What the forwarder has counted.
struct Counts {
    cpu_nanos: u64,
    packets: u64,
    bytes: u64,
}

impl Forwarder {
    fn start(node: &Namespace, program: &Path, device: Device, offload: bool) -> Result<Self> {
        let mut command = node.command(&program.to_string_lossy());
        match device {
            Device::Tun => command.args(["--tun", TUN]),
            Device::Between => command.args(["--between", "client", "server"]),
        };
        for (frontend, endpoint) in [("10.96.0.10", "10.2.0.2"), ("[fd00:96::10]", "[fd00:2::2]")] {
            command
                .arg("--frontend")
                .arg(format!("{frontend}:{FRONTEND_PORT}"));
            command
                .arg("--endpoint")
                .arg(format!("{endpoint}:{ENDPOINT_PORT}"));
        }
        if !offload {
            command.arg("--no-offload");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the forwarder")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the forwarder's pipes were not made");
        };
        let mut forwarder = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        let first = forwarder.line()?;
        if first != "ready" {
            bail!("the forwarder did not start: it said {first:?}");
        }
        Ok(forwarder)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("reading from the forwarder")?;
        Ok(line.trim_end().to_owned())
    }

    fn counts(&mut self) -> Result<Counts> {
        self.input
            .write_all(b"\n")
            .context("asking the forwarder")?;
        let line = self.line()?;
        let numbers: Vec<u64> = line
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        let [cpu_nanos, packets, bytes] = numbers[..] else {
            bail!("the forwarder said {line:?} instead of its counts");
        };
        Ok(Counts {
            cpu_nanos,
            packets,
            bytes,
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // Killed rather than asked: its TUN goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receivers_bytes_are_found_in_a_report() {
        let report =
            r#"{"end":{"sum_sent":{"bytes":9},"sum_received":{"start":0,"bytes": 1234,"x":1}}}"#;
        assert_eq!(received_bytes(report), Some(1234));
        assert_eq!(received_bytes("{}"), None);
    }
}
