//! Fragments: where the first one went, or nowhere.

use crate::common::{Rig, cluster_ip, clusters, config, endpoint, service};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use portolan::dataplane::{DropReason, Offload, Verdict};
use portolan::net::Protocol;
use portolan::packet::{Parsed, build, parse};

fn rig(vip: IpAddr, server: IpAddr, protocol: Protocol) -> Rig {
    let mut rig = Rig::new(&config());
    rig.put(
        0,
        service(
            protocol,
            vec![cluster_ip(vip, 80)],
            vec![endpoint(server, 8080)],
        ),
    );
    rig
}

fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => (
            headers.tuple.source.into(),
            headers.tuple.destination.into(),
        ),
        Parsed::Ipv6(headers) => (
            headers.tuple.source.into(),
            headers.tuple.destination.into(),
        ),
        other @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{other:?}"),
    }
}

#[test]
fn later_fragments_follow_their_first_in_both_directions_and_in_any_order_among_themselves() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
        let client = SocketAddr::new(cluster.client, 40_000);
        let server = SocketAddr::new(cluster.endpoints[0], 8080);
        let question = build::udp(client, SocketAddr::new(cluster.vip, 80))
            .payload_len(300)
            .fragments(64);
        let answer = build::udp(server, client).payload_len(300).fragments(64);
        for (fragments, wanted) in [
            (question, (cluster.client, cluster.endpoints[0])),
            (answer, (cluster.vip, cluster.client)),
        ] {
            let order = [0, 3, 1, 4, 2];
            assert_eq!(fragments.len(), order.len());
            let mut sum = Vec::new();
            for n in order {
                let moved = rig.send(&fragments[n]);
                assert_eq!(
                    moved.verdict,
                    Verdict::Forward,
                    "fragment {n} {}",
                    cluster.name
                );
                assert_eq!(addresses(&moved.packet), wanted);
                sum.push((n, moved.packet));
            }
            sum.sort();
            assert_eq!(reassembled_is_right(&sum, wanted), Ok(()));
        }
    }
}

/// Puts fragments together again and verifies the whole datagram's checksum.
fn reassembled_is_right(
    fragments: &[(usize, Vec<u8>)],
    (source, destination): (IpAddr, IpAddr),
) -> Result<(), build::WrongChecksum> {
    let header = if source.is_ipv4() { 20 } else { 48 };
    let message: Vec<u8> = fragments
        .iter()
        .flat_map(|(_, packet)| packet[header..].to_vec())
        .collect();
    let whole = build::raw(source, destination, 17)
        .payload(&message)
        .build();
    build::verify(&whole)
}

#[test]
fn a_later_fragment_before_its_first_is_dropped_and_counted() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
        let question = build::udp((cluster.client, 40_000), (cluster.vip, 80))
            .payload_len(100)
            .fragments(64);
        assert_eq!(
            rig.send(&question[1]).dropped(),
            DropReason::FragmentUnmatched
        );
        assert_eq!(rig.send(&question[0]).verdict, Verdict::Forward);
        assert_eq!(rig.send(&question[1]).verdict, Verdict::Forward);
        rig.wait(Duration::from_secs(30));
        assert_eq!(
            rig.send(&question[1]).dropped(),
            DropReason::FragmentUnmatched,
            "forgotten"
        );
    }
}

#[test]
fn a_fragment_that_reaches_into_the_first_takes_its_datagram_with_it() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
        let datagram = build::udp((cluster.client, 40_000), (cluster.vip, 80)).payload_len(200);
        let fragments = datagram.fragments(64);
        rig.send(&fragments[0]).forwarded();
        let overlapping = datagram.fragment(8, true, &[0; 64]);
        assert_eq!(
            rig.send(&overlapping).dropped(),
            DropReason::FragmentOverlap
        );
        assert_eq!(
            rig.send(&fragments[1]).dropped(),
            DropReason::FragmentUnmatched
        );
    }
}

#[test]
fn fragments_of_what_is_not_ours_pass() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
        for fragment in build::udp((cluster.client, 1), (cluster.outside, 2))
            .payload_len(200)
            .fragments(64)
        {
            rig.send(&fragment).passed();
        }
    }
}

#[test]
fn a_full_table_drops_whole_datagrams_and_recovers_with_time() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
        let datagram = |number| {
            build::udp((cluster.client, 40_000), (cluster.vip, 80))
                .payload_len(100)
                .identification(number)
                .fragments(64)
        };
        for number in 0..8 {
            rig.send(&datagram(number)[0]).forwarded();
        }
        assert_eq!(rig.dataplane.stats().usage.fragments, 8);
        let one_more = datagram(8);
        assert_eq!(
            rig.send(&one_more[0]).dropped(),
            DropReason::FragmentTableFull
        );
        assert_eq!(
            rig.send(&one_more[1]).dropped(),
            DropReason::FragmentUnmatched
        );
        assert_eq!(
            rig.send(&datagram(0)[1]).verdict,
            Verdict::Forward,
            "the others go on"
        );
        rig.wait(Duration::from_secs(30));
        for fragment in one_more {
            assert_eq!(rig.send(&fragment).verdict, Verdict::Forward);
        }
    }
}

#[test]
fn a_name_that_is_used_again_names_the_new_datagram() {
    let [cluster, _] = clusters();
    let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Udp);
    // The table holds eight datagrams: sixty of one name need one record.
    for port in 1..=60 {
        let fragments = build::udp((cluster.client, port), (cluster.vip, 80))
            .payload_len(100)
            .fragments(64);
        for fragment in &fragments {
            assert_eq!(
                rig.send(fragment).verdict,
                Verdict::Forward,
                "datagram {port}"
            );
        }
    }
}

#[test]
fn sctp_fragments_cannot_be_translated_where_ports_change() {
    for cluster in clusters() {
        let mut rig = rig(cluster.vip, cluster.endpoints[0], Protocol::Sctp);
        let fragments = build::sctp((cluster.client, 40_000), (cluster.vip, 80))
            .init(0xfeed_beef)
            .chunk(0, 3, &[0; 80])
            .fragments(64);
        assert_eq!(
            rig.send(&fragments[0]).dropped(),
            DropReason::FragmentUntranslatable
        );
        assert_eq!(
            rig.send(&fragments[1]).dropped(),
            DropReason::FragmentUnmatched
        );
    }
}
