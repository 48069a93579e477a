//! A burst's packets are looked up ahead of their turn, but fare as if each came alone after the ones before it.

use crate::common::{Rig, cluster_ip, clusters, config, endpoint, opening, service, tuple};
use core::net::SocketAddr;
use portolan::dataplane::{Descriptor, Verdict};
use portolan::net::Protocol;
use portolan::packet::{build, tcp_flags};
use portolan::service::ServiceSpec;

const STRIDE: usize = 256;

/// Moves all packets as one burst; verdict, flags and packet of each.
fn burst(rig: &mut Rig, packets: &[Vec<u8>]) -> Vec<(Verdict, u16, Vec<u8>)> {
    let mut frames = vec![0; packets.len() * STRIDE];
    let mut descriptors = Vec::new();
    for (frame, packet) in frames.chunks_mut(STRIDE).zip(packets) {
        frame[..packet.len()].copy_from_slice(packet);
        let offset = (descriptors.len() * STRIDE) as u32;
        let mut descriptor = Descriptor::new(offset, packet.len() as u32);
        descriptor.capacity = STRIDE as u32;
        descriptors.push(descriptor);
    }
    rig.worker
        .process_burst(rig.now, &mut frames, &mut descriptors);
    let moved = frames.chunks(STRIDE).zip(&descriptors);
    moved
        .map(|(frame, descriptor)| {
            let packet = frame[..descriptor.len as usize].to_vec();
            (descriptor.verdict(), descriptor.flags, packet)
        })
        .collect()
}

#[test]
fn a_burst_fares_as_its_packets_do_one_by_one() {
    for cluster in clusters() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let frontends = vec![cluster_ip(cluster.vip, 80)];
            let spec = service(
                protocol,
                frontends,
                vec![endpoint(cluster.endpoints[0], 8080)],
            );
            let (vip, server) = (
                SocketAddr::new(cluster.vip, 80),
                SocketAddr::new(cluster.endpoints[0], 8080),
            );
            let mut packets = Vec::new();
            for number in 0..50 {
                let client = SocketAddr::new(cluster.client, 40_000 + number % 23);
                // First packets, the same again, strangers, and answers to what this very burst opens.
                packets.push(opening(protocol, client, vip));
                packets.push(opening(
                    protocol,
                    client,
                    SocketAddr::new(cluster.outside, 9),
                ));
                packets.push(match protocol {
                    Protocol::Tcp => build::tcp(server, client)
                        .flags(tcp_flags::SYN | tcp_flags::ACK)
                        .acknowledgment(1)
                        .build(),
                    Protocol::Udp | Protocol::Sctp => build::udp(server, client).build(),
                });
            }
            let [mut together, mut alone] = [Rig::new(&config()), Rig::new(&config())];
            for rig in [&mut together, &mut alone] {
                rig.put(0, spec.clone());
            }
            let found = burst(&mut together, &packets);
            for (number, (packet, found)) in packets.iter().zip(found).enumerate() {
                let expected = alone.send(packet);
                let expected = (expected.verdict, expected.flags, expected.packet);
                assert_eq!(found, expected, "packet {number}: {}", tuple(packet));
            }
            assert_eq!(together.connections(), alone.connections());
            assert_eq!(together.connections().len(), 23);
        }
    }
}

#[test]
fn affinity_holds_within_a_burst() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let frontends = vec![cluster_ip(cluster.vip, 80)];
        let endpoints = cluster.endpoints.map(|address| endpoint(address, 8080));
        rig.put(
            0,
            ServiceSpec {
                affinity_seconds: Some(60),
                ..service(Protocol::Udp, frontends, endpoints.to_vec())
            },
        );
        let packets: Vec<_> = (1..=60)
            .map(|port| {
                let client = SocketAddr::new(cluster.client, port);
                opening(Protocol::Udp, client, SocketAddr::new(cluster.vip, 80))
            })
            .collect();
        let moved = burst(&mut rig, &packets);
        let chosen = moved.iter().map(|(_, _, packet)| tuple(packet).destination);
        let chosen: Vec<_> = chosen.collect();
        assert!(
            chosen.iter().all(|address| *address == chosen[0]),
            "one client, one endpoint: {chosen:?}"
        );
    }
}
