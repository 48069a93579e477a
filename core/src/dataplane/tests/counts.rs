//! What is counted is what was sent: for each endpoint, for each ServicePort, and for connections that
//! outlive their endpoint.

use super::super::{EndpointStats, Traffic};
use super::*;
use crate::net::EndpointId;

const FAMILIES: [(&str, &str, [&str; 2]); 2] = [
    (
        "10.200.1.9:40000",
        "10.96.0.80:80",
        ["10.200.2.7:8080", "10.200.2.8:8080"],
    ),
    (
        "[fd20:0:1::9]:40000",
        "[fd96::80]:80",
        ["[fd20:0:2::7]:8080", "[fd20:0:2::8]:8080"],
    ),
];

const WEB: ServiceId = ServiceId(0);

/// The one endpoint of `WEB`, and its counts.
fn only(rig: &Rig) -> (EndpointId, SocketAddr, Option<EndpointStats>) {
    let endpoints: Vec<_> = rig.dataplane.endpoints_of(WEB).collect();
    let [(id, address)] = endpoints.as_slice() else {
        panic!("one endpoint, not {endpoints:?}")
    };
    (*id, *address, rig.dataplane.endpoint_stats(*id))
}

fn publish(rig: &mut Rig, edit: Edit) {
    let published = rig.dataplane.publish(&mut vec![edit]);
    assert_eq!(published.expect("no worker is behind").refused, []);
}

fn traffic(packets: &[&[u8]]) -> Traffic {
    Traffic {
        packets: packets.len() as u64,
        bytes: packets.iter().map(|packet| packet.len() as u64).sum(),
    }
}

#[test]
fn packets_and_bytes_of_an_endpoint_are_those_sent_there_and_back() {
    for (client, frontend, [endpoint, _]) in FAMILIES {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mut rig = Rig::new(vec![service(protocol, frontend, false, &[endpoint])]);
            let (there, back) = match protocol {
                Protocol::Udp | Protocol::Sctp => (
                    udp(client, frontend).payload(b"query").build(),
                    udp(endpoint, client).payload(b"longer answer").build(),
                ),
                Protocol::Tcp => (
                    tcp(client, frontend).syn().build(),
                    tcp(endpoint, client)
                        .flags(0x12)
                        .sequence(7_000)
                        .acknowledgment(1_001)
                        .build(),
                ),
            };
            rig.forwarded(&there);
            rig.forwarded(&back);
            rig.forwarded(&back);
            let (_, address, stats) = only(&rig);
            assert_eq!(address, socket(endpoint));
            let stats = stats.expect("endpoints are counted");
            assert_eq!(stats.opened, 1);
            assert_eq!(stats.original, traffic(&[&there]), "{protocol} {client}");
            assert_eq!(stats.reply, traffic(&[&back, &back]), "{protocol} {client}");
            let service = rig.dataplane.service_stats(WEB);
            assert_eq!(service.opened, 1);
            assert_eq!(
                (service.original, service.reply),
                (stats.original, stats.reply)
            );
        }
    }
}

#[test]
fn counts_of_all_workers_are_added_up() {
    let (client, frontend, [endpoint, _]) = FAMILIES[0];
    let mut rig = Rig::new(vec![service(Protocol::Udp, frontend, false, &[endpoint])]);
    let query = udp(client, frontend).payload(b"query").build();
    rig.forwarded(&query);
    let second = rig.dataplane.worker().expect("the second worker");
    let first = core::mem::replace(&mut rig.worker, second);
    rig.forwarded(&query);
    drop(first);
    let (_, _, stats) = only(&rig);
    assert_eq!(stats.expect("counted").original, traffic(&[&query, &query]));
}

#[test]
fn what_is_dropped_or_passed_counts_for_no_endpoint() {
    let (client, frontend, [endpoint, _]) = FAMILIES[0];
    let mut rig = Rig::new(vec![service(Protocol::Tcp, frontend, false, &[endpoint])]);
    let (descriptor, _) = rig.send(&tcp(client, frontend).build());
    assert_eq!(descriptor.drop_reason(), Some(DropReason::NoConnection));
    let (descriptor, _) = rig.send(&tcp(client, "198.51.100.1:80").syn().build());
    assert_eq!(descriptor.verdict(), Verdict::Pass);
    let (_, _, stats) = only(&rig);
    assert_eq!(stats, Some(EndpointStats::default()));
}

#[test]
fn a_service_keeps_what_its_former_endpoints_counted_and_a_new_endpoint_begins_at_zero() {
    let (client, frontend, [old, new]) = FAMILIES[1];
    let mut rig = Rig::new(vec![service(Protocol::Udp, frontend, false, &[old])]);
    let query = udp(client, frontend).payload(b"query").build();
    rig.forwarded(&query);
    let before = only(&rig).0;
    let spec = service(Protocol::Udp, frontend, false, &[new]);
    publish(&mut rig, Edit::Put(WEB, Arc::new(spec)));
    let (id, address, stats) = only(&rig);
    assert_eq!(
        (address, stats),
        (socket(new), Some(EndpointStats::default()))
    );
    assert_ne!(id, before);
    assert_eq!(rig.dataplane.endpoint_stats(before), None);
    rig.forwarded(&query);
    assert_eq!(only(&rig).2.expect("counted").original, traffic(&[&query]));
    let service = rig.dataplane.service_stats(WEB);
    assert_eq!(service.original, traffic(&[&query, &query]));
    publish(&mut rig, Edit::Remove(WEB));
    assert_eq!(rig.dataplane.service_stats(WEB), Default::default());
}

#[test]
fn an_id_that_is_given_away_again_begins_at_zero() {
    let (client, frontend, [old, new]) = FAMILIES[0];
    let limits = Limits {
        connections_ipv4: 1_000,
        connections_ipv6: 1_000,
        table: crate::service::TableLimits {
            endpoints: 1,
            ..crate::service::TableLimits::default()
        },
        workers: 1,
        ..Limits::default()
    };
    let mut rig = Rig::new(vec![]);
    rig.dataplane = Dataplane::new(&Config {
        limits,
        ..Config::default()
    })
    .expect("small tables");
    rig.worker = rig.dataplane.worker().expect("the only worker");
    for endpoint in [old, new, old] {
        let spec = service(Protocol::Udp, frontend, false, &[endpoint]);
        publish(&mut rig, Edit::Put(WEB, Arc::new(spec)));
        let query = udp(client, frontend).payload(b"query").build();
        rig.forwarded(&query);
        let (id, address, stats) = only(&rig);
        assert_eq!((id, address), (EndpointId(0), socket(endpoint)));
        assert_eq!(stats.expect("counted").original, traffic(&[&query]));
    }
    assert_eq!(rig.dataplane.service_stats(WEB).original.packets, 3);
}

#[test]
fn another_tag_does_not_begin_anew() {
    let (client, frontend, [endpoint, _]) = FAMILIES[0];
    let mut rig = Rig::new(vec![service(Protocol::Udp, frontend, false, &[endpoint])]);
    let query = udp(client, frontend).payload(b"query").build();
    rig.forwarded(&query);
    let mut spec = service(Protocol::Udp, frontend, false, &[endpoint]);
    for endpoint in &mut spec.endpoints {
        endpoint.tag = 7;
    }
    publish(&mut rig, Edit::Put(WEB, Arc::new(spec)));
    assert_eq!(only(&rig).2.expect("counted").original, traffic(&[&query]));
}

#[test]
fn connections_that_outlive_their_endpoint_are_counted_apart() {
    let (client, frontend, [old, new]) = FAMILIES[0];
    let mut rig = Rig::new(vec![service(Protocol::Tcp, frontend, false, &[old])]);
    rig.forwarded(&tcp(client, frontend).syn().build());
    let spec = service(Protocol::Tcp, frontend, false, &[new]);
    publish(&mut rig, Edit::Put(WEB, Arc::new(spec)));
    let answer = tcp(old, client)
        .flags(0x12)
        .sequence(7_000)
        .acknowledgment(1_001)
        .build();
    rig.forwarded(&answer);
    assert_eq!(rig.dataplane.stats().ended, traffic(&[&answer]));
    assert_eq!(only(&rig).2, Some(EndpointStats::default()));
}

#[test]
fn counting_can_be_switched_off_and_costs_no_memory_then() {
    let on = Limits::default();
    let off = Limits {
        endpoint_counters: false,
        ..on
    };
    let counted = u64::from(on.table.endpoints) * (40 * u64::from(on.workers) + 48)
        + u64::from(on.table.services) * 40;
    assert_eq!(on.memory().endpoint_counters, counted);
    assert_eq!(off.memory().endpoint_counters, 0);
    assert_eq!(on.memory().total() - off.memory().total(), counted);
    let (client, frontend, [endpoint, _]) = FAMILIES[0];
    let mut rig = Rig::new(vec![]);
    rig.dataplane = Dataplane::new(&Config {
        limits: off,
        ..Config::default()
    })
    .expect("tables");
    rig.worker = rig.dataplane.worker().expect("a worker");
    let spec = service(Protocol::Udp, frontend, false, &[endpoint]);
    publish(&mut rig, Edit::Put(WEB, Arc::new(spec)));
    rig.forwarded(&udp(client, frontend).payload(b"query").build());
    assert_eq!(only(&rig).2, None);
    let service = rig.dataplane.service_stats(WEB);
    assert_eq!((service.opened, service.original), (1, Traffic::default()));
}
