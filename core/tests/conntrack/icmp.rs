//! ICMP errors about connections: in both directions, outside and inside, and path discovery.

use crate::common::{
    Rig, cluster_ip, clusters, config, endpoint, node_port, opening, service, tuple,
};
use core::net::{IpAddr, SocketAddr};
use portolan::dataplane::{DropReason, Offload, Verdict, descriptor_flags};
use portolan::net::{Protocol, Tuple};
use portolan::packet::{Parsed, build, parse};

fn outer(packet: &[u8]) -> (IpAddr, IpAddr) {
    match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => {
            let (source, destination) = headers.addresses(packet);
            (source.into(), destination.into())
        }
        Parsed::Ipv6(headers) => {
            let (source, destination) = headers.addresses(packet);
            (source.into(), destination.into())
        }
        other @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{other:?}"),
    }
}

/// The packet inside an error, which must have right checksums of its own.
fn quoted(packet: &[u8], header_len: usize) -> Tuple<IpAddr> {
    let inner = &packet[header_len + 8..];
    assert_eq!(
        build::verify(inner),
        Ok(()),
        "the quoted packet is as its sender sent it"
    );
    tuple(inner)
}

#[test]
fn errors_are_translated_outside_and_inside_in_both_directions() {
    for cluster in clusters() {
        let header_len = if cluster.client.is_ipv4() { 20 } else { 40 };
        for protocol in Protocol::ALL {
            for masquerade in [false, true] {
                let mut rig = Rig::new(&config());
                let frontend = if masquerade {
                    node_port(cluster.node, 30_080)
                } else {
                    cluster_ip(cluster.vip, 80)
                };
                let door = SocketAddr::new(frontend.address, frontend.port);
                let server = cluster.endpoints[0];
                rig.put(
                    0,
                    service(protocol, vec![frontend], vec![endpoint(server, 8080)]),
                );
                let client = SocketAddr::new(cluster.client, 40_000);
                let sent = opening(protocol, client, door);
                let arrived = rig.send(&sent);
                let forward = arrived.forwarded();
                let before = rig.only();

                // A router on the way complains about the translated packet.
                for (who, shown) in [(cluster.router, cluster.router), (server, door.ip())] {
                    let error = build::too_big(who, forward.source, 1_400, &arrived.packet).build();
                    let moved = rig.send(&error);
                    assert_eq!(
                        moved.verdict,
                        Verdict::Forward,
                        "{protocol} {}",
                        cluster.name
                    );
                    assert_eq!(
                        moved.flags & descriptor_flags::RELATED,
                        descriptor_flags::RELATED
                    );
                    assert_eq!(moved.flags & descriptor_flags::REPLY_DIRECTION, 2);
                    assert_eq!(outer(&moved.packet), (shown, client.ip()));
                    assert_eq!(quoted(&moved.packet, header_len), tuple(&sent));
                    assert_eq!(
                        moved.packet[header_len..header_len + 2],
                        error[header_len..header_len + 2]
                    );
                    assert_eq!(
                        moved.packet[header_len + 4..header_len + 8],
                        error[header_len + 4..header_len + 8],
                        "the MTU is the router's"
                    );
                }
                // The client complains about an answer.
                let answer = build::transport(
                    protocol,
                    (server, 8080),
                    (forward.source, forward.source_port),
                );
                if protocol == Protocol::Udp {
                    let answer = answer.payload(b"x").build();
                    let seen = rig.send(&answer);
                    seen.forwarded();
                    let error =
                        build::port_unreachable(client.ip(), door.ip(), &seen.packet).build();
                    let moved = rig.send(&error);
                    assert_eq!(moved.verdict, Verdict::Forward);
                    assert_eq!(moved.flags & descriptor_flags::REPLY_DIRECTION, 0);
                    assert_eq!(outer(&moved.packet), (forward.source, server));
                    assert_eq!(quoted(&moved.packet, header_len), tuple(&answer));
                }
                let after = rig.only();
                assert_eq!(before.original, after.original);
                assert_eq!(
                    rig.dataplane.stats().related,
                    if protocol == Protocol::Udp { 3 } else { 2 }
                );
            }
        }
    }
}

#[test]
fn an_error_changes_neither_state_nor_time() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let frontends = vec![cluster_ip(cluster.vip, 80)];
        rig.put(
            0,
            service(
                Protocol::Tcp,
                frontends,
                vec![endpoint(cluster.endpoints[0], 8080)],
            ),
        );
        let arrived = rig.send(&opening(
            Protocol::Tcp,
            SocketAddr::new(cluster.client, 40_000),
            SocketAddr::new(cluster.vip, 80),
        ));
        rig.wait(core::time::Duration::from_secs(10));
        let before = rig.only();
        let error = build::port_unreachable(cluster.endpoints[0], cluster.client, &arrived.packet);
        assert_eq!(rig.send(&error.build()).verdict, Verdict::Forward);
        assert_eq!(rig.only(), before);
    }
}

#[test]
fn errors_about_nothing_of_ours_pass_and_errors_that_contradict_themselves_are_dropped() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let frontends = vec![cluster_ip(cluster.vip, 80)];
        rig.put(
            0,
            service(
                Protocol::Udp,
                frontends,
                vec![endpoint(cluster.endpoints[0], 8080)],
            ),
        );
        let client = SocketAddr::new(cluster.client, 40_000);
        let arrived = rig.send(&opening(
            Protocol::Udp,
            client,
            SocketAddr::new(cluster.vip, 80),
        ));
        let foreign = build::udp((cluster.outside, 9), (cluster.client, 9)).build();
        let error = build::port_unreachable(cluster.client, cluster.outside, &foreign).build();
        rig.send(&error).passed();
        let misdirected =
            build::port_unreachable(cluster.router, cluster.other_client, &arrived.packet);
        assert_eq!(
            rig.send(&misdirected.build()).dropped(),
            DropReason::IcmpMismatch
        );
        rig.send(&build::echo(cluster.client, cluster.outside).build())
            .passed();
    }
}
