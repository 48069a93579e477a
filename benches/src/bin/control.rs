//! What the control side costs: from decoded objects to the published table, and one changed EndpointSlice among many
//! Services until packets see it. CPU time of the one thread that does it.

use core::time::Duration;
use portolan::dataplane::{Config, Dataplane, Limits};
use portolan::model::{Kind, Object};
use portolan::net::Protocol;
use portolan::node::{Feed, Node, NodeConfig};
use portolan::service::TableLimits;
use portolan_benches::{Cluster, CpuTime, Family, median};

const SERVICES: [u32; 3] = [1_000, 10_000, 50_000];
const ENDPOINTS_EACH: u32 = 5;
/// Changes of one slice that are timed, each of another Service.
const CHANGES: u32 = 2_000;
const ROUNDS: usize = 5;

fn main() {
    println!(
        "{:>8}  {:>9}  {:>12}  {:>24}  {:>24}",
        "services", "endpoints", "from nothing", "any slice (fast, slow)", "the same slice again"
    );
    for services in SERVICES {
        let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(services)).collect();
        let mut starts: Vec<f64> = rounds.iter().map(|round| millis(round.start)).collect();
        let [any, same] = [0, 1].map(|kind: usize| {
            let rounds = rounds.iter();
            spread(rounds.flat_map(|round| round.changes[kind].iter().copied()))
        });
        println!(
            "{services:>8}  {:>9}  {:>9.0} ms  {any:>24}  {same:>24}",
            services * ENDPOINTS_EACH,
            median(&mut starts),
        );
    }
}

/// What one round measured.
struct Round {
    start: Duration,
    /// Of slices far apart, so that nothing of theirs is in a cache; of one slice time and again.
    changes: [Vec<Duration>; 2],
}

/// The median in microseconds, and what one in twenty is below and above.
fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<f64> = times.map(|time| millis(time) * 1e3).collect();
    times.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| times[times.len() * part / 100];
    format!("{:.1} us ({:.1}, {:.1})", at(50), at(5), at(95))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Everything from nothing, then single changes.
fn round(services: u32) -> Round {
    let clock = CpuTime::new();
    let cluster = Cluster {
        family: Family::Ipv4,
        protocol: Protocol::Tcp,
        services,
        endpoints: ENDPOINTS_EACH,
    };
    let mut node = Node::new(NodeConfig {
        name: "n1".into(),
        cluster_cidrs: vec!["10.128.0.0/9".parse().expect("a prefix")],
        addresses: vec![cluster.node()],
        ..NodeConfig::default()
    });
    let mut feed = Feed::new();
    let mut dataplane = dataplane(services);
    let all_services: Vec<Object> = (0..services)
        .map(|number| cluster.service(number))
        .collect();
    let slices: Vec<Object> = (0..services)
        .map(|number| cluster.slice(number, 0))
        .collect();
    let start = clock.time(|| {
        let rejected = node.replace(Kind::Service, all_services);
        let unserved = node.replace(Kind::EndpointSlice, slices);
        assert!(rejected.is_empty() && unserved.is_empty(), "{unserved:?}");
        let published = feed.publish(&node, &mut dataplane);
        published.expect("no worker is behind");
    });
    assert_eq!(dataplane.stats().usage.table.services, services);
    let mut change = |number: u32, version: u32| {
        let changed = cluster.slice(number, version);
        clock.time(|| {
            node.apply([changed]);
            let published = feed.publish(&node, &mut dataplane);
            published.expect("no worker is behind");
        })
    };
    let far = |nth: u32| nth.wrapping_mul(0x9e37_79b1) % services;
    let any = (0..CHANGES).map(|nth| change(far(nth), 1 + nth)).collect();
    let same = (0..CHANGES).map(|nth| change(7, 1 + nth)).collect();
    Round {
        start,
        changes: [any, same],
    }
}

fn dataplane(services: u32) -> Dataplane {
    let limits = Limits {
        connections_ipv4: 1_024,
        connections_ipv6: 1_024,
        table: TableLimits {
            services,
            frontends: services,
            endpoints: services * (ENDPOINTS_EACH + 1),
            ..TableLimits::default()
        },
        workers: 1,
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    Dataplane::new(&config).unwrap_or_else(|error| panic!("{error}"))
}
