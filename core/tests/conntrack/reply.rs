//! Rejections: ICMP port unreachable in the packet's place, with whatever room there is.

use crate::common::{Rig, cluster_ip, clusters, config, opening, service, tuple};
use core::net::SocketAddr;
use portolan::dataplane::{DropReason, Offload, Verdict};
use portolan::net::Protocol;
use portolan::packet::build;

#[test]
fn a_service_without_endpoints_answers_in_place() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&config());
            rig.put(
                0,
                service(protocol, vec![cluster_ip(cluster.vip, 80)], vec![]),
            );
            let client = SocketAddr::new(cluster.client, 40_000);
            let packet = opening(protocol, client, SocketAddr::new(cluster.vip, 80));
            let header = if cluster.client.is_ipv4() { 20 } else { 40 };
            // Room for the outer headers, the inner header and eight bytes is needed, and enough.
            let least = header + 8 + header + 8;
            for capacity in packet.len()..packet.len() + 100 {
                let moved = rig.send_with(&packet, Offload::default(), capacity);
                if capacity < least {
                    assert_eq!(moved.dropped(), DropReason::RejectSuppressed);
                    continue;
                }
                assert_eq!(
                    moved.verdict,
                    Verdict::Reply,
                    "{protocol} {} room {capacity}",
                    cluster.name
                );
                assert!(moved.packet.len() <= capacity);
                assert_eq!(tuple(&moved.packet), tuple(&packet), "quotes what was sent");
                let quoted = moved.packet.len() - header - 8;
                assert_eq!(
                    quoted,
                    packet.len().min(capacity - header - 8),
                    "and as much as fits"
                );
            }
            assert_eq!(rig.connections(), vec![]);
            assert_eq!(
                rig.dataplane
                    .service_stats(portolan::net::ServiceId(0))
                    .rejected,
                100
            );
        }
    }
}

#[test]
fn a_known_address_without_that_port_answers_too() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        rig.put(
            0,
            service(Protocol::Tcp, vec![cluster_ip(cluster.vip, 80)], vec![]),
        );
        for protocol in Protocol::ALL {
            let client = SocketAddr::new(cluster.client, 40_000);
            let packet = opening(protocol, client, SocketAddr::new(cluster.vip, 81));
            assert_eq!(rig.send(&packet).verdict, Verdict::Reply, "{protocol}");
        }
        let error = build::port_unreachable(
            cluster.client,
            cluster.vip,
            &opening(
                Protocol::Udp,
                SocketAddr::new(cluster.vip, 81),
                SocketAddr::new(cluster.client, 9),
            ),
        );
        rig.send(&error.build()).passed();
    }
}
