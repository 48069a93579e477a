//! UDP: 30 seconds, and 120 once it is answered and two seconds old.

use crate::common::{Rig, cluster_ip, clusters, config, endpoint, opening, service};
use core::net::SocketAddr;
use core::time::Duration;
use portolan::net::Protocol;
use portolan::packet::build;

#[test]
fn a_flow_becomes_a_stream_when_it_is_answered_and_older_than_two_seconds() {
    for cluster in clusters() {
        let mut rig = Rig::new(&config());
        let endpoints = vec![endpoint(cluster.endpoints[0], 5353)];
        rig.put(
            0,
            service(Protocol::Udp, vec![cluster_ip(cluster.vip, 53)], endpoints),
        );
        let client = SocketAddr::new(cluster.client, 40_000);
        let question = opening(Protocol::Udp, client, SocketAddr::new(cluster.vip, 53));
        let server = SocketAddr::new(cluster.endpoints[0], 5353);
        let answer = build::udp(server, client).payload(b"answer").build();

        rig.send(&question).forwarded();
        assert_eq!(rig.only().remaining_seconds, 30);
        rig.wait(Duration::from_secs(5));
        rig.send(&question).forwarded();
        assert_eq!(rig.only().remaining_seconds, 30, "older, but not answered");
        rig.wait(Duration::from_secs(30));
        assert_eq!(rig.connections(), vec![], "and over after thirty seconds");

        rig.send(&question).forwarded();
        let back = rig.send(&answer).forwarded();
        assert_eq!((back.source, back.source_port), (cluster.vip, 53));
        assert_eq!(
            rig.only().remaining_seconds,
            30,
            "answered, but not yet older"
        );
        assert!(!rig.only().state.assured());
        rig.wait(Duration::from_millis(2_100));
        rig.send(&question).forwarded();
        assert_eq!(rig.only().remaining_seconds, 120);
        assert!(rig.only().state.assured());
    }
}
