//! A burst never allocates and never frees, whatever it holds, also while another thread publishes.

#[path = "common/allocations.rs"]
mod allocations;
mod common;

use common::{Cluster, Rig, cluster_ip, clusters, config, endpoint, node_port, opening, service};
use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use portolan::dataplane::{Config, Descriptor, Limits, Offload, Verdict};
use portolan::net::{Protocol, ServiceId};
use portolan::packet::build;
use portolan::service::Edit;
use std::sync::Arc;
use std::thread;

/// Allocations and frees of this thread while `body` ran.
fn calls(body: impl FnOnce()) -> u64 {
    let before = allocations::of_this_thread();
    body();
    allocations::of_this_thread() - before
}

struct Burst {
    name: &'static str,
    frames: Vec<u8>,
    descriptors: Vec<Descriptor>,
    verdict: Option<Verdict>,
}

impl Burst {
    fn new(name: &'static str, verdict: Option<Verdict>, packets: &[(Vec<u8>, Offload)]) -> Self {
        let mut frames = Vec::new();
        let mut descriptors = Vec::new();
        for (packet, offload) in packets {
            let mut descriptor = Descriptor::new(frames.len() as u32, packet.len() as u32);
            descriptor.capacity += 100;
            descriptor.offload = *offload;
            descriptors.push(descriptor);
            frames.extend_from_slice(packet);
            frames.extend_from_slice(&[0; 100]);
        }
        Self {
            name,
            frames,
            descriptors,
            verdict,
        }
    }
}

fn plain(packets: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Offload)> {
    packets
        .into_iter()
        .map(|packet| (packet, Offload::default()))
        .collect()
}

const PORTS: core::ops::Range<u16> = 1_000..1_040;

fn door(cluster: &Cluster, masquerade: bool) -> SocketAddr {
    if masquerade {
        SocketAddr::new(cluster.node, 30_080)
    } else {
        SocketAddr::new(cluster.vip, 80)
    }
}

fn openings(cluster: &Cluster, to: SocketAddr) -> Vec<Vec<u8>> {
    let packet = |port, protocol| opening(protocol, SocketAddr::new(cluster.client, port), to);
    PORTS
        .flat_map(|port| Protocol::ALL.map(|protocol| packet(port, protocol)))
        .collect()
}

fn bursts(rig: &mut Rig) -> Vec<Burst> {
    let mut bursts = Vec::new();
    for cluster in clusters() {
        for masquerade in [false, true] {
            let to = door(&cluster, masquerade);
            let new = openings(&cluster, to);
            bursts.push(Burst::new(
                "new",
                Some(Verdict::Forward),
                &plain(new.clone()),
            ));
            bursts.push(Burst::new(
                "known",
                Some(Verdict::Forward),
                &plain(new.clone()),
            ));
            let errors = new.iter().take(30).map(|packet| {
                let arrived = rig.send(packet);
                let forward = arrived.forwarded();
                build::too_big(cluster.router, forward.source, 1_400, &arrived.packet).build()
            });
            let errors = plain(errors.collect());
            bursts.push(Burst::new("ICMP errors", Some(Verdict::Forward), &errors));
        }
        let udp = build::udp((cluster.client, 9), door(&cluster, false)).payload_len(500);
        let fragments = plain(udp.fragments(64));
        bursts.push(Burst::new("fragments", Some(Verdict::Forward), &fragments));
        let empty = openings(&cluster, SocketAddr::new(cluster.other_vip, 80));
        bursts.push(Burst::new("rejected", Some(Verdict::Reply), &plain(empty)));
        let none = openings(&cluster, SocketAddr::new(cluster.unallocated, 80));
        bursts.push(Burst::new("dropped", Some(Verdict::Drop), &plain(none)));
        let foreign = openings(&cluster, SocketAddr::new(cluster.outside, 80));
        bursts.push(Burst::new("not ours", Some(Verdict::Pass), &plain(foreign)));
    }
    let hostile: Vec<_> = build::Mutator::new(5).take(2_000).collect();
    bursts.push(Burst::new("hostile", None, &hostile));
    bursts
}

/// A dataplane with room for little, so that evicting and refusing are among what bursts do.
fn rig() -> Rig {
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: 400,
            connections_ipv6: 400,
            ..plain.limits
        },
        ..plain
    });
    rig.publish(edits(4));
    rig
}

fn edits(endpoints: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let servers = cluster.endpoints.iter().take(endpoints);
            let servers: Vec<_> = servers.map(|server| endpoint(*server, 8080)).collect();
            let [one, two] = [door(&cluster, false), door(&cluster, true)];
            let doors = vec![
                cluster_ip(one.ip(), one.port()),
                node_port(two.ip(), two.port()),
            ];
            let mut served = service(protocol, doors, servers);
            served.affinity_seconds = Some(60);
            let empty = service(protocol, vec![cluster_ip(cluster.other_vip, 80)], vec![]);
            for spec in [served, empty] {
                edits.push(Edit::Put(ServiceId(edits.len() as u32), Arc::new(spec)));
            }
        }
    }
    edits
}

#[test]
fn no_burst_allocates_or_frees() {
    let mut rig = rig();
    for mut burst in bursts(&mut rig) {
        let now = rig.now;
        let worker = &mut rig.worker;
        let made = calls(|| worker.process_burst(now, &mut burst.frames, &mut burst.descriptors));
        assert_eq!(made, 0, "{}", burst.name);
        if let Some(wanted) = burst.verdict {
            for descriptor in &burst.descriptors {
                let verdict = descriptor.verdict();
                assert_eq!(
                    verdict,
                    wanted,
                    "{}: {:?}",
                    burst.name,
                    descriptor.drop_reason()
                );
            }
        }
    }
    let opened: u64 = rig.dataplane.stats().connections_opened.iter().sum();
    assert!(opened > 200, "bursts opened {opened} connections");
}

#[test]
fn no_burst_allocates_or_frees_while_another_thread_publishes() {
    let mut rig = rig();
    let bursts = bursts(&mut rig);
    let Rig {
        mut dataplane,
        mut worker,
        now,
    } = rig;
    let stop = AtomicBool::new(false);
    let generation = dataplane.generation();
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut round = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                let mut edits = edits(1 + round % 4);
                round += usize::from(dataplane.publish(&mut edits).is_ok());
                dataplane.poll(now);
            }
        });
        // At least two hundred publications beside the bursts, however slow the other thread is.
        for round in 0..20_000_u64 {
            let burst = &bursts[round as usize % bursts.len()];
            let (mut frames, mut descriptors) = (burst.frames.clone(), burst.descriptors.clone());
            let later = now.after(core::time::Duration::from_millis(round * 20));
            let made = calls(|| worker.process_burst(later, &mut frames, &mut descriptors));
            assert_eq!(made, 0, "{}", burst.name);
        }
        stop.store(true, Ordering::SeqCst);
        publisher.join().expect("no panic");
    });
    let published = dataplane.generation().0 - generation.0;
    println!("{published} publications beside 20,000 bursts");
    assert!(published > 50, "{published} publications");
}
