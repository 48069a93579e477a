//! What becomes of connections when their endpoint ends, and what descriptors say of endpoints.

use crate::common::{
    Rig, cluster_ip, clusters, config, destination, endpoint, opening, service, tag_of,
};
use core::net::SocketAddr;
use portolan::dataplane::{Verdict, descriptor_flags};
use portolan::net::{Protocol, ServiceId};
use portolan::packet::build;
use portolan::service::{Edit, EndpointSpec};

#[test]
fn udp_is_cut_with_its_endpoint_and_tcp_and_sctp_are_kept() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            for remove_service in [false, true] {
                let mut rig = Rig::new(&config());
                let vip = || vec![cluster_ip(cluster.vip, 80)];
                let [one, two, ..] = cluster.endpoints;
                rig.put(0, service(protocol, vip(), vec![endpoint(one, 8080)]));
                let client = SocketAddr::new(cluster.client, 40_000);
                let first = opening(protocol, client, SocketAddr::new(cluster.vip, 80));
                assert_eq!(rig.send(&first).tag, tag_of(one, 8080));
                if remove_service {
                    rig.publish(vec![Edit::Remove(ServiceId(0))]);
                } else {
                    rig.put(0, service(protocol, vip(), vec![endpoint(two, 8080)]));
                }
                let again = rig.send(&first);
                if protocol != Protocol::Udp {
                    assert_eq!(destination(&again.forwarded()), SocketAddr::new(one, 8080));
                    assert_eq!((again.tag, again.flags), (0, 0), "its tag is forgotten");
                } else if remove_service {
                    assert_eq!(
                        again.verdict,
                        Verdict::Drop,
                        "the address is unallocated now"
                    );
                } else {
                    assert_eq!(destination(&again.forwarded()), SocketAddr::new(two, 8080));
                    assert_eq!(again.tag, tag_of(two, 8080));
                    // What the old endpoint still says reaches nobody as the Service's answer.
                    let late = build::udp((one, 8080), client).payload(b"late").build();
                    rig.send(&late).passed();
                }
            }
        }
    }
}

#[test]
fn an_endpoint_in_no_set_keeps_its_connections_and_gets_no_new_ones() {
    for cluster in clusters() {
        for protocol in Protocol::ALL {
            let mut rig = Rig::new(&config());
            let [one, two, ..] = cluster.endpoints;
            let vip = || vec![cluster_ip(cluster.vip, 80)];
            rig.put(0, service(protocol, vip(), vec![endpoint(one, 8080)]));
            let to = SocketAddr::new(cluster.vip, 80);
            let first = opening(protocol, SocketAddr::new(cluster.client, 1), to);
            rig.send(&first).forwarded();
            let terminating = EndpointSpec {
                in_cluster_set: false,
                ..endpoint(one, 8080)
            };
            rig.put(
                0,
                service(protocol, vip(), vec![terminating, endpoint(two, 8080)]),
            );
            let kept = rig.send(&first);
            assert_eq!(
                (kept.forwarded().destination, kept.tag),
                (one, tag_of(one, 8080))
            );
            for port in 2..20 {
                let packet = opening(protocol, SocketAddr::new(cluster.client, port), to);
                assert_eq!(rig.send(&packet).forwarded().destination, two);
            }
        }
    }
}

#[test]
fn descriptors_say_new_direction_and_locality_and_carry_the_newest_tag() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let vip = || vec![cluster_ip(cluster.vip, 80)];
        let server = cluster.endpoints[0];
        let local = |tag| EndpointSpec {
            local: true,
            tag,
            ..endpoint(server, 8080)
        };
        rig.put(0, service(Protocol::Udp, vip(), vec![local(7)]));
        let client = SocketAddr::new(cluster.client, 40_000);
        let question = opening(Protocol::Udp, client, SocketAddr::new(cluster.vip, 80));
        let answer = build::udp((server, 8080), client).build();
        let local_endpoint = descriptor_flags::LOCAL_ENDPOINT;
        let first = rig.send(&question);
        assert_eq!(
            (first.flags, first.tag),
            (descriptor_flags::NEW | local_endpoint, 7)
        );
        let second = rig.send(&question);
        assert_eq!((second.flags, second.tag), (local_endpoint, 7));
        let back = rig.send(&answer);
        assert_eq!(
            (back.flags, back.tag),
            (descriptor_flags::REPLY_DIRECTION | local_endpoint, 7)
        );
        rig.put(0, service(Protocol::Udp, vip(), vec![local(8)]));
        assert_eq!(
            rig.send(&question).tag,
            8,
            "a new tag reaches open connections"
        );
    }
}
