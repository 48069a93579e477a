//! Two workers, the two directions of the same connections on different threads, both opening the same tuples,
//! under churn and expiry: no connection is ever lost, split or doubled, and in the end every record is free.
//!
//! `PORTOLAN_SEED` chooses other schedules, `PORTOLAN_SECONDS` how long each test runs (1 by default).

#[path = "../common/mod.rs"]
mod common;

mod directions;
mod race;

use common::{
    Cluster, Random, Rig, cluster_ip, clusters, config, endpoint, node_port, opening, seed, service,
};
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use portolan::dataplane::{Config, Dataplane, Descriptor, Limits, Stats, Verdict, Worker};
use portolan::net::{Instant, Protocol, Scheduler, ServiceId};
use portolan::service::{Edit, Schedule, ServiceSpec};
use portolan::sync::Load;
use std::sync::Arc;
use std::thread;

fn seconds() -> u64 {
    std::env::var("PORTOLAN_SECONDS").ok().map_or(1, |text| {
        text.parse().expect("PORTOLAN_SECONDS is a number")
    })
}

/// Moves packets as one burst; what became of each.
fn burst(worker: &mut Worker, now: Instant, packets: &[Vec<u8>]) -> Vec<(Descriptor, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut descriptors = Vec::new();
    for packet in packets {
        let mut descriptor = Descriptor::new(frames.len() as u32, packet.len() as u32);
        descriptor.capacity += 100;
        frames.extend_from_slice(packet);
        frames.extend_from_slice(&[0; 100]);
        descriptors.push(descriptor);
    }
    worker.process_burst(now, &mut frames, &mut descriptors);
    let moved = |descriptor: Descriptor| {
        let start = descriptor.offset as usize;
        (
            descriptor,
            frames[start..start + descriptor.len as usize].to_vec(),
        )
    };
    descriptors
        .iter()
        .map(|descriptor| moved(*descriptor))
        .collect()
}

/// Four endpoints behind a ClusterIP (even ids) and a NodePort (odd ids), for each family and protocol.
fn services() -> Vec<(u32, Cluster, Protocol, bool)> {
    let mut all = Vec::new();
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            for masquerade in [false, true] {
                all.push((all.len() as u32, cluster, protocol, masquerade));
            }
        }
    }
    all
}

fn door(cluster: &Cluster, masquerade: bool) -> SocketAddr {
    if masquerade {
        SocketAddr::new(cluster.node, 30_080)
    } else {
        SocketAddr::new(cluster.vip, 80)
    }
}

fn spec(
    cluster: &Cluster,
    protocol: Protocol,
    masquerade: bool,
    servers: &[IpAddr],
) -> ServiceSpec {
    let to = door(cluster, masquerade);
    let frontend = if masquerade {
        node_port(to.ip(), to.port())
    } else {
        cluster_ip(to.ip(), to.port())
    };
    // Each Service has a port of its own, so that two of them never lead to one endpoint.
    let port = 8_000 + u16::from(masquerade);
    let endpoints = servers
        .iter()
        .map(|server| endpoint(*server, port))
        .collect();
    let schedule = Schedule {
        scheduler: Scheduler::WeightedLeastConnection,
        ..Schedule::default()
    };
    ServiceSpec {
        schedule,
        ..service(protocol, vec![frontend], endpoints)
    }
}

fn rig(connections: u32) -> Rig {
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: connections,
            connections_ipv6: connections,
            ..plain.limits
        },
        ..plain
    });
    for (id, cluster, protocol, masquerade) in services() {
        rig.put(id, spec(&cluster, protocol, masquerade, &cluster.endpoints));
    }
    rig
}

/// Time that all threads share and anyone moves on.
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn wait(&self, duration: Duration) {
        self.0
            .fetch_add(duration.as_nanos() as u64, Ordering::SeqCst);
    }
}

/// Runs `body` with two workers while the control thread publishes and polls, then drains.
fn with_churn<F>(name: &str, churn: Churn, body: F) -> (Stats, u64)
where
    F: Fn(usize, &mut Worker, &Clock, &AtomicBool) -> u64 + Sync,
{
    let seed = seed(0x9091);
    let Rig {
        mut dataplane,
        worker,
        now,
    } = rig(CONNECTIONS);
    let clock = Clock(AtomicU64::new(now.as_nanos()));
    let stop = AtomicBool::new(false);
    let second = dataplane.worker().expect("a second worker");
    let sent = thread::scope(|scope| {
        let threads: Vec<_> = [worker, second]
            .into_iter()
            .enumerate()
            .map(|(number, mut worker)| {
                let (body, clock, stop) = (&body, &clock, &stop);
                scope.spawn(move || body(number, &mut worker, clock, stop))
            })
            .collect();
        run_control(&mut dataplane, &clock, churn, seed);
        stop.store(true, Ordering::SeqCst);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    let stats = drain(&mut dataplane, &clock);
    println!(
        "{name}: {sent} packets, {:?} connections, generation {}",
        stats.connections_opened,
        dataplane.generation()
    );
    (stats, sent)
}

#[derive(Debug, Clone, Copy)]
struct Churn {
    /// Endpoints come and go.
    endpoints: bool,
    /// How far time goes with each round.
    step: Duration,
}

fn run_control(dataplane: &mut Dataplane, clock: &Clock, churn: Churn, seed: u64) {
    let mut random = Random(seed);
    let rounds = seconds() * 1_500;
    for round in 0..rounds {
        let services = services();
        let (id, cluster, protocol, masquerade) = services[random.index(services.len())];
        let count = if churn.endpoints {
            1 + random.index(4)
        } else {
            4
        };
        let mut spec = spec(&cluster, protocol, masquerade, &cluster.endpoints[..count]);
        for endpoint in &mut spec.endpoints {
            endpoint.tag = round;
        }
        let mut edits = vec![Edit::Put(ServiceId(id), Arc::new(spec))];
        while dataplane.publish(&mut edits).is_err() {
            thread::yield_now();
        }
        clock.wait(churn.step);
        dataplane.poll(clock.now());
        thread::sleep(Duration::from_micros(500));
    }
}

/// After everything has expired and was swept, nothing is in use.
fn drain(dataplane: &mut Dataplane, clock: &Clock) -> Stats {
    clock.wait(Duration::from_secs(6 * 24 * 3600));
    while dataplane.poll(clock.now()).is_some() {}
    let stats = dataplane.stats();
    assert_eq!(stats.usage.connections_ipv4, 0, "return to zero");
    assert_eq!(stats.usage.connections_ipv6, 0, "return to zero");
    for (service, ..) in services() {
        for (endpoint, at) in dataplane.endpoints_of(ServiceId(service)) {
            let load = dataplane.load(endpoint);
            assert_eq!(load, Load::default(), "{at} returns to zero");
        }
    }
    // Every record can be had again.
    let mut worker = dataplane.worker().expect("the workers are gone");
    for cluster in clusters() {
        let opened = (1..60_000_u16)
            .take_while(|port| {
                let client = SocketAddr::new(cluster.other_client, *port);
                let packet = opening(Protocol::Sctp, client, door(&cluster, false));
                let before = dataplane.stats().connections_evicted;
                let moved = burst(&mut worker, clock.now(), &[packet]);
                moved[0].0.verdict() == Verdict::Forward
                    && dataplane.stats().connections_evicted == before
            })
            .count();
        let all = dataplane.connections(clock.now());
        let alive = all
            .filter(|c| c.original.source == cluster.other_client)
            .count();
        assert!(opened >= alive, "{opened} opened, {alive} alive");
        assert_eq!(alive, CONNECTIONS as usize, "a record was lost");
    }
    stats
}

const CONNECTIONS: u32 = 4_096;

/// in = pass + forward + reply + drop
fn assert_balanced(stats: &Stats, sent: u64) {
    let judged = stats.passed + stats.forwarded + stats.replied + stats.dropped();
    assert_eq!(judged, sent, "{stats:?}");
}
