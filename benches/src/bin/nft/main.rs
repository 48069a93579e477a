//! What the kernel takes to load Services and to change one: kube-proxy's layout of chains beside Portolan's of
//! elements, each in network namespaces of its own, in one run. Needs root.

mod kernel;
mod layout;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::process::ExitCode;

use clap::Parser;

use kernel::Took;
use layout::{Chains, Elements, Layout};
use portolan::net::Protocol;
use portolan_benches::{Cluster, Family, Namespace, run};

/// The Service that packets are sent to; its endpoints are addresses of this host.
const ANSWERING: u32 = 0;

/// Loads clusters into the kernel, changes one endpoint again and again, sends first packets.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench nft")]
struct Arguments {
    /// Services x endpoints of each: 1000x5, for instance
    #[arg(long, value_delimiter = ',', value_parser = cluster, default_values = ["1000x5", "5000x5", "10000x5", "30000x5", "44125x1", "5000x50"])]
    clusters: Vec<Cluster>,
    /// Up to how many Services kube-proxy's layout is measured: its time grows with their square
    #[arg(long, default_value_t = 5_000)]
    kube_proxy: u32,
    /// How often one endpoint is changed
    #[arg(long, default_value_t = 21)]
    changes: u32,
    /// First packets, each of a connection of its own
    #[arg(long, default_value_t = 2_000)]
    packets: usize,
}

fn cluster(text: &str) -> Result<Cluster, String> {
    let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
    let parts = text.split_once('x').and_then(|(services, endpoints)| {
        Some(Cluster {
            family: Family::Ipv4,
            // A first packet is then a whole connection. For nftables a protocol is a field like another.
            protocol: Protocol::Udp,
            services: number(services)?,
            endpoints: number(endpoints)?,
        })
    });
    parts.ok_or_else(|| format!("{text} is not like 1000x5"))
}

/// What was measured of one layout with one cluster.
#[derive(Debug)]
struct Row {
    load: Took,
    /// Of the changes, the median by wall time.
    change: Took,
    memory: u64,
    first_packet: [Duration; 2],
}

fn measure(layout: &mut impl Layout, cluster: Cluster, arguments: &Arguments) -> io::Result<Row> {
    layout.prepare(cluster)?;
    let before = kernel::kernel_memory();
    let ((), load) = kernel::time(|| layout.load(cluster))?;
    let memory = kernel::kernel_memory().saturating_sub(before);
    // The Service that answers keeps its endpoints; another one in the middle changes.
    let changed = cluster.services / 2;
    let mut changes = Vec::new();
    for turn in 1..=arguments.changes.max(1) {
        let ((), took) = kernel::time(|| layout.change(cluster, changed, turn))?;
        changes.push(took);
    }
    changes.sort_unstable_by_key(|took| took.wall);
    let change = changes[changes.len() / 2];
    let endpoints: Vec<_> = cluster.endpoints(ANSWERING, 0).collect();
    let client = SocketAddr::new(cluster.node(), 0);
    for address in endpoints.iter().chain([&client]) {
        kernel::own_address(address.ip())?;
    }
    let frontend = cluster.frontend(ANSWERING);
    let first_packet = kernel::first_packets(client, frontend, &endpoints, arguments.packets)?;
    Ok(Row {
        load,
        change,
        memory,
        first_packet,
    })
}

/// Measures in a network namespace that has a route to everything.
fn alone(measure: impl FnOnce() -> io::Result<Row> + Send) -> io::Result<Row> {
    Namespace::new()?.within(|| {
        run("ip", &["route", "add", "10.0.0.0/8", "dev", "lo"], "")?;
        measure()
    })
}

fn print(name: &str, cluster: Cluster, row: &Row) {
    let Cluster {
        services,
        endpoints,
        ..
    } = cluster;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    println!(
        "{name:<20} {services:>6} x {endpoints:<3} {:>9.1} {:>9.1} {:>9.1} {:>9.3} {:>9.3} {:>8} {:>7.1} {:>7.1}",
        ms(row.load.wall),
        ms(row.load.cpu),
        ms(row.load.kernel),
        ms(row.change.wall),
        ms(row.change.cpu),
        row.memory / u64::from(services),
        micros(row.first_packet[0]),
        micros(row.first_packet[1]),
    );
}

fn compare(arguments: &Arguments) -> io::Result<()> {
    println!(
        "{:<20} {:>6}   {:<3} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7}",
        "layout",
        "Serv.",
        "e.",
        "load ms",
        "CPU",
        "kernel",
        "change ms",
        "CPU",
        "bytes/S",
        "p50 us",
        "p99 us"
    );
    for &cluster in &arguments.clusters {
        let ours = alone(|| measure(&mut Elements::new(cluster), cluster, arguments))?;
        print("portolan", cluster, &ours);
        let text = alone(|| measure(&mut Elements::through_nft(cluster), cluster, arguments))?;
        print("portolan, nft alone", cluster, &text);
        if cluster.services <= arguments.kube_proxy {
            let theirs = alone(|| measure(&mut Chains, cluster, arguments))?;
            print("kube-proxy's", cluster, &theirs);
            let ratio =
                |theirs: Took, ours: Took| theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64();
            println!(
                "{:<20} {:>24.0} times {:>23.0} times (CPU)",
                "",
                ratio(theirs.load, ours.load),
                ratio(theirs.change, ours.change)
            );
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
