//! Every reason to drop a packet, reached by a packet: the list below fails to be complete if one is not.

mod common;

use common::{
    Cluster, Rig, cluster_ip, clusters, config, endpoint, node, node_port, opening, service,
};
use core::net::SocketAddr;
use core::num::NonZeroU32;
use portolan::dataplane::{Config, DropReason, Limits, Offload, Options};
use portolan::net::{Prefix, Protocol};
use portolan::packet::build;
use portolan::service::{Edit, EndpointSet, NodeSpec};

type Scenario = fn(&Cluster) -> DropReason;

/// One scenario a reason, by the reason's number.
const SCENARIOS: [(DropReason, Scenario); 21] = [
    (DropReason::MalformedTruncated, truncated),
    (DropReason::MalformedHeader, header),
    (DropReason::MalformedChecksum, header_checksum),
    (DropReason::MalformedExtensions, extensions),
    (DropReason::MalformedDescriptor, descriptor),
    (DropReason::MalformedOffload, offload),
    (DropReason::NoLocalEndpoint, no_local_endpoint),
    (DropReason::SourceRange, source_range),
    (DropReason::UnallocatedAddress, unallocated),
    (DropReason::NoConnection, no_connection),
    (DropReason::MartianAddress, martian),
    (DropReason::ConnectionTableFull, connection_table_full),
    (DropReason::NoSourcePort, no_source_port),
    (DropReason::FragmentUnmatched, fragment_unmatched),
    (DropReason::FragmentOverlap, fragment_overlap),
    (DropReason::FragmentTableFull, fragment_table_full),
    (DropReason::FragmentUntranslatable, fragment_untranslatable),
    (DropReason::IcmpMismatch, icmp_mismatch),
    (DropReason::RejectSuppressed, reject_suppressed),
    (DropReason::InvalidTransport, invalid_transport),
    (DropReason::NewConnectionLimit, new_connection_limit),
];

#[test]
fn every_drop_reason_is_reached_over_both_families() {
    let listed: Vec<_> = SCENARIOS.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(listed, DropReason::ALL, "each reason has its scenario");
    for (reason, scenario) in SCENARIOS {
        for cluster in clusters() {
            assert_eq!(scenario(&cluster), reason, "{}", cluster.name);
        }
    }
}

fn rig(cluster: &Cluster, protocol: Protocol) -> Rig {
    let mut rig = Rig::new(&config());
    let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
    rig.put(
        0,
        service(protocol, vec![cluster_ip(cluster.vip, 80)], endpoints),
    );
    rig
}

fn ends(cluster: &Cluster) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::new(cluster.client, 40_000),
        SocketAddr::new(cluster.vip, 80),
    )
}

fn truncated(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    let packet = build::udp(client, vip).payload(b"whole").build();
    rig(cluster, Protocol::Udp)
        .send(&packet[..packet.len() - 1])
        .dropped()
}

fn header(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    let packet = build::tcp(client, vip).data_offset(4).build();
    rig(cluster, Protocol::Tcp).send(&packet).dropped()
}

/// IPv6 has no header checksum; that its scenario is IPv4's says so.
fn header_checksum(cluster: &Cluster) -> DropReason {
    let [ipv4, _] = clusters();
    let (client, vip) = ends(&ipv4);
    let packet = build::udp(client, vip).wrong_header_checksum(1).build();
    rig(cluster, Protocol::Udp).send(&packet).dropped()
}

/// IPv4 has no extension headers.
fn extensions(cluster: &Cluster) -> DropReason {
    let [_, ipv6] = clusters();
    let (client, vip) = ends(&ipv6);
    let packet = (0..20).fold(build::udp(client, vip), |packet, _| {
        packet.destination_options()
    });
    rig(cluster, Protocol::Udp).send(&packet.build()).dropped()
}

fn descriptor(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    let packet = build::udp(client, vip).build();
    let mut rig = rig(cluster, Protocol::Udp);
    let mut frames = packet.clone();
    let mut burst = [portolan::dataplane::Descriptor::new(1, packet.len() as u32)];
    rig.worker.process_burst(rig.now, &mut frames, &mut burst);
    assert_eq!(frames, packet);
    burst[0].drop_reason().expect("dropped")
}

fn offload(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    let packet = build::tcp(client, vip).partial_checksum();
    let lie = Offload {
        checksum_start: 60_000,
        ..packet.offload()
    };
    let packet = packet.build();
    rig(cluster, Protocol::Tcp)
        .send_with(&packet, lie, packet.len())
        .dropped()
}

fn no_local_endpoint(cluster: &Cluster) -> DropReason {
    let mut door = node_port(cluster.node, 30_080);
    for rule in &mut door.rules {
        rule.set = EndpointSet::Local;
    }
    let mut rig = Rig::new(&config());
    rig.put(
        0,
        service(
            Protocol::Tcp,
            vec![door],
            vec![endpoint(cluster.endpoints[0], 80)],
        ),
    );
    let client = SocketAddr::new(cluster.outside, 9);
    let packet = opening(Protocol::Tcp, client, SocketAddr::new(cluster.node, 30_080));
    rig.send(&packet).dropped()
}

fn source_range(cluster: &Cluster) -> DropReason {
    let mut door = cluster_ip(cluster.vip, 80);
    door.source_ranges = vec![Prefix::host(cluster.other_client)];
    let mut rig = Rig::new(&config());
    rig.put(
        0,
        service(
            Protocol::Tcp,
            vec![door],
            vec![endpoint(cluster.endpoints[0], 80)],
        ),
    );
    let (client, vip) = ends(cluster);
    rig.send(&opening(Protocol::Tcp, client, vip)).dropped()
}

fn unallocated(cluster: &Cluster) -> DropReason {
    let to = SocketAddr::new(cluster.unallocated, 80);
    let packet = opening(Protocol::Udp, ends(cluster).0, to);
    rig(cluster, Protocol::Udp).send(&packet).dropped()
}

fn no_connection(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    rig(cluster, Protocol::Tcp)
        .send(&build::tcp(client, vip).build())
        .dropped()
}

fn martian(cluster: &Cluster) -> DropReason {
    let loopback = if cluster.client.is_ipv4() {
        "127.0.0.1:1"
    } else {
        "[::1]:1"
    };
    let packet = opening(
        Protocol::Udp,
        loopback.parse().expect("valid"),
        ends(cluster).1,
    );
    rig(cluster, Protocol::Udp).send(&packet).dropped()
}

fn connection_table_full(cluster: &Cluster) -> DropReason {
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: 0,
            connections_ipv6: 0,
            ..plain.limits
        },
        ..plain
    });
    let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
    rig.put(
        0,
        service(Protocol::Udp, vec![cluster_ip(cluster.vip, 80)], endpoints),
    );
    let (client, vip) = ends(cluster);
    rig.send(&opening(Protocol::Udp, client, vip)).dropped()
}

fn no_source_port(cluster: &Cluster) -> DropReason {
    let mut rig = Rig::new(&config());
    rig.publish(vec![Edit::Node(NodeSpec {
        masquerade_ipv4: None,
        masquerade_ipv6: None,
        ..node()
    })]);
    let door = node_port(cluster.node, 30_080);
    rig.put(
        0,
        service(
            Protocol::Tcp,
            vec![door],
            vec![endpoint(cluster.endpoints[0], 80)],
        ),
    );
    let to = SocketAddr::new(cluster.node, 30_080);
    rig.send(&opening(
        Protocol::Tcp,
        SocketAddr::new(cluster.outside, 9),
        to,
    ))
    .dropped()
}

fn question(cluster: &Cluster) -> build::Builder {
    let (client, vip) = ends(cluster);
    build::udp(client, vip).payload_len(100)
}

fn fragment_unmatched(cluster: &Cluster) -> DropReason {
    rig(cluster, Protocol::Udp)
        .send(&question(cluster).fragments(64)[1])
        .dropped()
}

fn fragment_overlap(cluster: &Cluster) -> DropReason {
    let mut rig = rig(cluster, Protocol::Udp);
    rig.send(&question(cluster).fragments(64)[0]).forwarded();
    rig.send(&question(cluster).fragment(8, true, &[0; 64]))
        .dropped()
}

fn fragment_table_full(cluster: &Cluster) -> DropReason {
    let mut rig = rig(cluster, Protocol::Udp);
    for number in 0..8 {
        rig.send(&question(cluster).identification(number).fragments(64)[0])
            .forwarded();
    }
    // Whatever is not ours depends on the same table.
    let foreign = build::udp((cluster.client, 1), (cluster.outside, 1)).payload_len(100);
    assert_eq!(
        rig.send(&foreign.fragments(64)[0]).dropped(),
        DropReason::FragmentTableFull
    );
    rig.send(&question(cluster).identification(8).fragments(64)[0])
        .dropped()
}

fn fragment_untranslatable(cluster: &Cluster) -> DropReason {
    let (client, vip) = ends(cluster);
    let packet = build::sctp(client, vip).init(7).chunk(0, 3, &[0; 80]);
    rig(cluster, Protocol::Sctp)
        .send(&packet.fragments(64)[0])
        .dropped()
}

fn icmp_mismatch(cluster: &Cluster) -> DropReason {
    let mut rig = rig(cluster, Protocol::Udp);
    let arrived = rig.send(&question(cluster).build());
    let error = build::port_unreachable(cluster.router, cluster.other_client, &arrived.packet);
    rig.send(&error.build()).dropped()
}

fn reject_suppressed(cluster: &Cluster) -> DropReason {
    let mut rig = Rig::new(&config());
    rig.put(
        0,
        service(Protocol::Udp, vec![cluster_ip(cluster.vip, 80)], vec![]),
    );
    let (client, vip) = ends(cluster);
    let packet = build::udp(client, vip).build();
    // No room to answer in.
    rig.send_with(&packet, Offload::default(), packet.len())
        .dropped()
}

fn invalid_transport(cluster: &Cluster) -> DropReason {
    let mut rig = rig(cluster, Protocol::Tcp);
    let (client, vip) = ends(cluster);
    rig.send(&opening(Protocol::Tcp, client, vip)).forwarded();
    rig.send(&build::tcp(client, vip).flags(0).build())
        .dropped()
}

fn new_connection_limit(cluster: &Cluster) -> DropReason {
    let options = Options {
        new_connections_per_second: NonZeroU32::new(1),
        ..Options::default()
    };
    let mut rig = Rig::new(&Config {
        options,
        ..config()
    });
    let endpoints = vec![endpoint(cluster.endpoints[0], 8080)];
    let frontends = vec![cluster_ip(cluster.vip, 80)];
    rig.put(0, service(Protocol::Udp, frontends, endpoints));
    let (client, vip) = ends(cluster);
    let other = SocketAddr::new(cluster.client, 40_001);
    rig.send(&build::udp(client, vip).build()).forwarded();
    rig.send(&build::udp(other, vip).build()).dropped()
}
