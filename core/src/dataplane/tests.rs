//! The dataplane as its users see it: packets built by name go in, verdicts and packets come out.

mod counts;

use super::{Config, Dataplane, Descriptor, DropReason, Limits, Verdict, Worker, descriptor_flags};
use crate::net::{Instant, Prefix, Protocol, ServiceId};
use crate::packet::build::{self, tcp, udp};
use crate::packet::{Headers, Parsed, parse};
use crate::service::{
    Edit, EndpointSet, EndpointSpec, Frontend, FrontendKind, NodeSpec, Schedule, ServiceSpec,
    SourceRule,
};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

struct Rig {
    dataplane: Dataplane,
    worker: Worker,
    now: Instant,
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

fn service(
    protocol: Protocol,
    frontend: &str,
    masquerade: bool,
    endpoints: &[&str],
) -> ServiceSpec {
    let frontend = socket(frontend);
    let rule = SourceRule {
        set: EndpointSet::Cluster,
        masquerade,
    };
    ServiceSpec {
        protocol,
        frontends: vec![Frontend {
            address: frontend.ip(),
            port: frontend.port(),
            kind: FrontendKind::ClusterIp,
            rules: [rule; 3],
            source_ranges: Vec::new(),
        }],
        endpoints: endpoints
            .iter()
            .enumerate()
            .map(|(position, endpoint)| EndpointSpec {
                address: socket(endpoint).ip(),
                port: socket(endpoint).port(),
                local: false,
                in_cluster_set: true,
                in_local_set: false,
                weight: 1,
                tag: 100 + position as u64,
            })
            .collect(),
        affinity_seconds: None,
        schedule: Schedule::default(),
    }
}

impl Rig {
    fn new(services: Vec<ServiceSpec>) -> Self {
        let limits = Limits {
            connections_ipv4: 1_000,
            connections_ipv6: 1_000,
            affinities: 100,
            fragments: 16,
            workers: 2,
            ..Limits::default()
        };
        let mut dataplane = Dataplane::new(&Config {
            limits,
            seed: 7,
            ..Config::default()
        })
        .expect("small tables");
        let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
        let mut edits = vec![Edit::Node(NodeSpec {
            addresses: vec!["192.168.66.11".parse::<IpAddr>().expect("an address")],
            pod_prefixes: vec![prefix("10.200.0.0/16"), prefix("fd20::/48")],
            service_prefixes: vec![prefix("10.96.0.0/16"), prefix("fd96::/112")],
            masquerade_ipv4: "192.168.66.11".parse().ok(),
            masquerade_ipv6: "fd66::11".parse().ok(),
            ..NodeSpec::default()
        })];
        for (id, spec) in (0..).zip(services) {
            edits.push(Edit::Put(ServiceId(id), Arc::new(spec)));
        }
        let published = dataplane.publish(&mut edits).expect("no worker is behind");
        assert_eq!(published.refused, []);
        let worker = dataplane.worker().expect("the first worker");
        Self {
            dataplane,
            worker,
            now: Instant::from_secs(1),
        }
    }

    fn send(&mut self, packet: &[u8]) -> (Descriptor, Vec<u8>) {
        let mut frames = packet.to_vec();
        frames.resize(packet.len() + 600, 0);
        let mut descriptor = Descriptor::new(0, u32::try_from(packet.len()).expect("short"));
        descriptor.capacity = u32::try_from(frames.len()).expect("short");
        let mut burst = [descriptor];
        self.worker.process_burst(self.now, &mut frames, &mut burst);
        let [descriptor] = burst;
        frames.truncate(descriptor.len as usize);
        (descriptor, frames)
    }

    fn forwarded(&mut self, packet: &[u8]) -> (Descriptor, Vec<u8>) {
        let (descriptor, out) = self.send(packet);
        assert_eq!(
            descriptor.verdict(),
            Verdict::Forward,
            "{:?}",
            descriptor.drop_reason()
        );
        assert!(
            build::verify(&out).is_ok(),
            "every checksum is right: {:?}",
            build::verify(&out)
        );
        (descriptor, out)
    }
}

fn ends(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    fn of<A: crate::net::Address>(headers: &Headers<A>) -> (SocketAddr, SocketAddr) {
        let tuple = headers.tuple.to_ip();
        (
            SocketAddr::new(tuple.source, tuple.source_port),
            SocketAddr::new(tuple.destination, tuple.destination_port),
        )
    }
    match parse(packet, &super::Offload::default()) {
        Parsed::Ipv4(headers) => of(&headers),
        Parsed::Ipv6(headers) => of(&headers),
        Parsed::NotOurs | Parsed::Malformed(_) => panic!("what is forwarded parses"),
    }
}

#[test]
fn a_connection_is_translated_there_and_back_in_both_families() {
    for (client, frontend, endpoint) in [
        ("10.200.1.9:40000", "10.96.0.80:80", "10.200.2.7:8080"),
        ("[fd20:0:1::9]:40000", "[fd96::80]:80", "[fd20:0:2::7]:8080"),
    ] {
        let mut rig = Rig::new(vec![service(Protocol::Tcp, frontend, false, &[endpoint])]);
        let (descriptor, syn) = rig.forwarded(&tcp(client, frontend).syn().build());
        assert_eq!(ends(&syn), (socket(client), socket(endpoint)));
        assert_eq!(
            (descriptor.flags, descriptor.endpoint_tag),
            (descriptor_flags::NEW, 100)
        );
        let answer = tcp(endpoint, client)
            .flags(0x12)
            .sequence(7_000)
            .acknowledgment(1_001);
        let (descriptor, answer) = rig.forwarded(&answer.build());
        assert_eq!(ends(&answer), (socket(frontend), socket(client)));
        assert_eq!(descriptor.flags, descriptor_flags::REPLY_DIRECTION);
        let (_, ack) = rig.forwarded(
            &tcp(client, frontend)
                .sequence(1_001)
                .acknowledgment(7_001)
                .build(),
        );
        assert_eq!(ends(&ack), (socket(client), socket(endpoint)));
        let connections: Vec<_> = rig.dataplane.connections(rig.now).collect();
        let [connection] = connections.as_slice() else {
            panic!("one connection")
        };
        assert_eq!(connection.state.name(Protocol::Tcp), Some("ESTABLISHED"));
        assert_eq!(connection.remaining_seconds, 432_000);
    }
}

#[test]
fn a_masqueraded_connection_comes_back_through_the_node() {
    for (client, frontend, endpoint, node) in [
        (
            "203.0.113.9:40000",
            "10.96.0.80:80",
            "10.200.2.7:8080",
            "192.168.66.11",
        ),
        (
            "[2001:db8::9]:40000",
            "[fd96::80]:80",
            "[fd20:0:2::7]:8080",
            "fd66::11",
        ),
    ] {
        let mut rig = Rig::new(vec![service(Protocol::Udp, frontend, true, &[endpoint])]);
        let (_, out) = rig.forwarded(&udp(client, frontend).payload(b"query").build());
        let (source, destination) = ends(&out);
        assert_eq!(
            (source.ip(), destination),
            (node.parse().expect("an address"), socket(endpoint))
        );
        let (_, back) = rig.forwarded(&udp(destination, source).payload(b"answer").build());
        assert_eq!(ends(&back), (socket(frontend), socket(client)));
    }
}

#[test]
fn an_endpoint_reaches_itself_only_with_its_source_translated() {
    let mut rig = Rig::new(vec![service(
        Protocol::Tcp,
        "10.96.0.80:80",
        false,
        &["10.200.2.7:8080"],
    )]);
    let (descriptor, out) = rig.forwarded(&tcp("10.200.2.7:40000", "10.96.0.80:80").syn().build());
    assert_eq!(
        ends(&out).0.ip(),
        "192.168.66.11".parse::<IpAddr>().expect("an address")
    );
    assert!(descriptor.flags & descriptor_flags::MASQUERADE != 0);
}

#[test]
fn what_has_no_endpoint_is_rejected_and_what_is_not_ours_passes() {
    let mut rig = Rig::new(vec![
        service(Protocol::Tcp, "10.96.0.80:80", false, &[]),
        service(Protocol::Tcp, "[fd96::80]:80", false, &[]),
    ]);
    for (client, frontend) in [
        ("10.200.1.9:40000", "10.96.0.80:80"),
        ("[fd20:0:1::9]:40000", "[fd96::80]:80"),
    ] {
        let (descriptor, out) = rig.send(&tcp(client, frontend).syn().build());
        assert_eq!(descriptor.verdict(), Verdict::Reply);
        assert!(build::verify(&out).is_ok());
        assert_eq!(
            ends(&out),
            (socket(client), socket(frontend)),
            "the error quotes the packet"
        );
    }
    let elsewhere = tcp("10.200.1.9:40000", "203.0.113.80:80").syn().build();
    let (descriptor, out) = rig.send(&elsewhere);
    assert_eq!((descriptor.verdict(), out), (Verdict::Pass, elsewhere));
    let unallocated = rig
        .send(&tcp("10.200.1.9:40000", "10.96.0.81:80").syn().build())
        .0;
    assert_eq!(
        unallocated.drop_reason(),
        Some(DropReason::UnallocatedAddress)
    );
}

#[test]
fn a_first_packet_and_its_successors_in_one_burst_are_one_connection() {
    let mut rig = Rig::new(vec![service(
        Protocol::Udp,
        "10.96.0.80:53",
        false,
        &["10.200.2.7:53", "10.200.2.8:53", "10.200.2.9:53"],
    )]);
    let packet = udp("10.200.1.9:40000", "10.96.0.80:53")
        .payload(b"query")
        .build();
    let len = u32::try_from(packet.len()).expect("short");
    let mut frames = packet.repeat(8);
    let mut burst: Vec<_> = (0..8).map(|nth| Descriptor::new(nth * len, len)).collect();
    rig.worker.process_burst(rig.now, &mut frames, &mut burst);
    let out: Vec<_> = frames.chunks(packet.len()).map(ends).collect();
    assert!(out.iter().all(|ends| *ends == out[0]), "{out:?}");
    assert_eq!(rig.dataplane.stats().connections_opened, [1, 0]);
}
