//! Source ports: the whole range before failure, collisions solved for one flow only, NodePorts never given out.

use crate::common::{
    Rig, answer, cluster_ip, clusters, config, endpoint, node_port, opening, service, source,
};
use core::net::SocketAddr;
use portolan::dataplane::{Config, DropReason, descriptor_flags};
use portolan::net::Protocol;
use std::collections::BTreeSet;

#[test]
fn the_whole_range_is_used_before_there_is_no_port() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&Config {
                masquerade_ports: 30_000..=30_012,
                ..config()
            });
            let door = node_port(cluster.node, 30_005);
            rig.put(
                0,
                service(
                    protocol,
                    vec![door],
                    vec![endpoint(cluster.endpoints[0], 80)],
                ),
            );
            let mut given = BTreeSet::new();
            for port in 1..=12 {
                let client = SocketAddr::new(cluster.outside, port);
                let moved = rig.send(&opening(
                    protocol,
                    client,
                    SocketAddr::new(cluster.node, 30_005),
                ));
                let forward = moved.forwarded();
                assert_eq!(forward.source, cluster.node);
                assert_eq!(
                    moved.flags & descriptor_flags::MASQUERADE,
                    descriptor_flags::MASQUERADE
                );
                assert!(given.insert(forward.source_port), "a port twice");
            }
            let wanted: BTreeSet<u16> = (30_000..=30_012).filter(|port| *port != 30_005).collect();
            assert_eq!(
                given, wanted,
                "all but the NodePort, {protocol} {}",
                cluster.name
            );
            let client = SocketAddr::new(cluster.outside, 99);
            let refused = rig.send(&opening(
                protocol,
                client,
                SocketAddr::new(cluster.node, 30_005),
            ));
            assert_eq!(refused.dropped(), DropReason::NoSourcePort);
            assert_eq!(
                rig.connections().len(),
                12,
                "nothing is left of the one refused"
            );
        }
    }
}

#[test]
fn one_port_serves_several_endpoints() {
    let [cluster, _] = clusters();
    let mut rig = Rig::new(&Config {
        masquerade_ports: 2_000..=2_000,
        ..config()
    });
    for (id, address) in cluster.endpoints.iter().enumerate() {
        let port = 30_000 + id as u16;
        let door = node_port(cluster.node, port);
        rig.put(
            id as u32,
            service(Protocol::Tcp, vec![door], vec![endpoint(*address, 80)]),
        );
        let client = SocketAddr::new(cluster.outside, 7);
        let moved = rig.send(&opening(
            Protocol::Tcp,
            client,
            SocketAddr::new(cluster.node, port),
        ));
        assert_eq!(moved.forwarded().source_port, 2_000);
    }
}

#[test]
fn one_client_reaches_one_endpoint_by_two_addresses_from_one_port() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&config());
            let frontends = vec![
                cluster_ip(cluster.vip, 80),
                cluster_ip(cluster.other_vip, 80),
            ];
            rig.put(
                0,
                service(
                    protocol,
                    frontends,
                    vec![endpoint(cluster.endpoints[0], 8080)],
                ),
            );
            let client = SocketAddr::new(cluster.client, 40_000);
            let [first, second] = [cluster.vip, cluster.other_vip].map(|vip| {
                let moved = rig.send(&opening(protocol, client, SocketAddr::new(vip, 80)));
                (vip, moved.forwarded())
            });
            assert_eq!(
                first.1.source_port, 40_000,
                "the client's own port where it is free"
            );
            assert_ne!(second.1.source_port, 40_000);
            assert_eq!(second.1.source, cluster.client, "and no other address");
            // Each answer goes back to the address that was asked, and to the client's own port.
            for (vip, forward) in [first, second] {
                let endpoint = SocketAddr::new(cluster.endpoints[0], 8080);
                let answer = answer(protocol, endpoint, source(&forward));
                let back = rig.send(&answer).forwarded();
                assert_eq!((back.source, back.source_port), (vip, 80));
                assert_eq!(
                    (back.destination, back.destination_port),
                    (cluster.client, 40_000)
                );
            }
        }
    }
}

#[test]
fn an_endpoint_that_reaches_itself_sees_the_node() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&config());
            let pod = cluster.endpoints[0];
            rig.put(
                0,
                service(
                    protocol,
                    vec![cluster_ip(cluster.vip, 80)],
                    vec![endpoint(pod, 8080)],
                ),
            );
            let itself = SocketAddr::new(pod, 40_000);
            let moved = rig.send(&opening(protocol, itself, SocketAddr::new(cluster.vip, 80)));
            let forward = moved.forwarded();
            assert_eq!((forward.source, forward.destination), (cluster.node, pod));
            assert_eq!(
                moved.flags & descriptor_flags::MASQUERADE,
                descriptor_flags::MASQUERADE
            );
            assert!(rig.only().masquerade);
        }
    }
}
