//! What users want otherwise than kube-proxy: resets instead of silence, connections picked up in their middle,
//! answers to pings.

use crate::common::{
    Cluster, Rig, cluster_ip, clusters, config, destination, endpoint, node_port, service, tag_of,
};
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU32;
use core::time::Duration;
use portolan::dataplane::{
    Config, DropReason, EndedTcp, MidStream, Options, Verdict, descriptor_flags,
};
use portolan::net::{Protocol, Scheduler, ServiceId};
use portolan::packet::{Headers, Parsed, TcpSegment, build, parse, tcp_flags};
use portolan::service::{Edit, FrontendKind, Schedule, ServiceSpec};

const ACK: u8 = tcp_flags::ACK;

fn rig(options: Options) -> Rig {
    Rig::new(&Config {
        options,
        ..config()
    })
}

fn web(cluster: &Cluster, servers: &[IpAddr]) -> ServiceSpec {
    let endpoints = servers.iter().map(|server| endpoint(*server, 8080));
    let frontends = vec![cluster_ip(cluster.vip, 80)];
    service(Protocol::Tcp, frontends, endpoints.collect())
}

/// An answer to [`build::echo`].
fn pong(source: IpAddr, destination: IpAddr) -> build::Builder {
    let kind = if source.is_ipv4() { 0 } else { 129 };
    build::icmp(source, destination, kind, 0).rest(0x0001_0001)
}

/// Flags, sequence and acknowledgment number of a segment.
fn segment(packet: &[u8]) -> (u8, u32, u32) {
    fn of<A: portolan::net::Address>(packet: &[u8], headers: &Headers<A>) -> (u8, u32, u32) {
        let segment = TcpSegment::read(packet, headers).expect("TCP");
        (segment.flags, segment.sequence, segment.acknowledgment)
    }
    match parse(packet, &portolan::dataplane::Offload::default()) {
        Parsed::Ipv4(headers) => of(packet, &headers),
        Parsed::Ipv6(headers) => of(packet, &headers),
        other @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_an_endpoint_that_is_gone_is_reset_on_request() {
    for cluster in clusters() {
        let mut rig = rig(Options {
            ended_tcp: EndedTcp::Reset,
            ..Options::default()
        });
        let [one, two, ..] = cluster.endpoints;
        rig.put(0, web(&cluster, &[one]));
        let client = SocketAddr::new(cluster.client, 40_000);
        let door = SocketAddr::new(cluster.vip, 80);
        rig.send(&build::tcp(client, door).syn().build())
            .forwarded();
        rig.put(0, web(&cluster, &[two]));
        // What the old endpoint still says is translated: it may be ending in good order.
        let said = build::tcp((one, 8080), client).flags(ACK | tcp_flags::SYN);
        rig.send(&said.acknowledgment(1_001).build()).forwarded();
        let data = build::tcp(client, door)
            .flags(ACK)
            .sequence(1_001)
            .acknowledgment(77);
        let answer = rig.send(&data.payload(b"more").build());
        assert_eq!(answer.verdict, Verdict::Reply);
        assert_eq!(segment(&answer.packet), (tcp_flags::RST, 77, 0));
        let tuple = crate::common::tuple(&answer.packet);
        assert_eq!((tuple.source, tuple.destination), (door.ip(), client.ip()));
        assert_eq!(rig.connections(), [], "forgotten");
        // The next connection of the same ports goes to the new endpoint at once.
        let again = rig.send(&build::tcp(client, door).syn().build());
        assert_eq!(again.forwarded().destination, two);
    }
}

#[test]
fn a_new_connection_of_old_ports_is_not_taken_for_the_one_whose_endpoint_is_gone() {
    for cluster in clusters() {
        let mut rig = rig(Options {
            ended_tcp: EndedTcp::Reset,
            ..Options::default()
        });
        let [one, two, ..] = cluster.endpoints;
        rig.put(0, web(&cluster, &[one]));
        let client = SocketAddr::new(cluster.client, 40_000);
        let syn = build::tcp(client, (cluster.vip, 80)).syn().build();
        rig.send(&syn).forwarded();
        rig.put(0, web(&cluster, &[two]));
        assert_eq!(rig.send(&syn).forwarded().destination, two);
        // A reset is answered by nobody, and a Service that is gone has no endpoints at all.
        rig.publish(vec![Edit::Remove(ServiceId(0))]);
        let reset = build::tcp(client, (cluster.vip, 80))
            .flags(tcp_flags::RST)
            .build();
        assert_eq!(rig.send(&reset).dropped(), DropReason::NoConnection);
    }
}

#[test]
fn a_segment_of_no_connection_is_dropped_or_reset_or_picked_up_as_asked() {
    for cluster in clusters() {
        for masquerade in [false, true] {
            let door = if masquerade {
                node_port(cluster.node, 30_080)
            } else {
                cluster_ip(cluster.vip, 80)
            };
            let to = SocketAddr::new(door.address, door.port);
            let client = SocketAddr::new(cluster.outside, 40_000);
            let server = cluster.endpoints[0];
            let with = |mid_stream| {
                let mut rig = rig(Options {
                    mid_stream,
                    ..Options::default()
                });
                let endpoints = vec![endpoint(server, 8080)];
                rig.put(0, service(Protocol::Tcp, vec![door.clone()], endpoints));
                rig
            };
            let middle = |flags| {
                let segment = build::tcp(client, to).flags(flags).sequence(5_000);
                segment.acknowledgment(9_000).payload(b"middle").build()
            };
            let dropped = with(MidStream::Drop).send(&middle(ACK));
            assert_eq!(dropped.dropped(), DropReason::NoConnection);

            let mut resetting = with(MidStream::Reset);
            let reset = resetting.send(&middle(ACK));
            assert_eq!(reset.verdict, Verdict::Reply);
            assert_eq!(segment(&reset.packet), (tcp_flags::RST, 9_000, 0));
            let unanswered = resetting.send(&middle(ACK | tcp_flags::RST));
            assert_eq!(unanswered.dropped(), DropReason::NoConnection);

            let mut picking = with(MidStream::PickUp);
            let moved = picking.send(&middle(ACK));
            assert_eq!(moved.flags & descriptor_flags::NEW, descriptor_flags::NEW);
            assert_eq!(
                destination(&moved.forwarded()),
                SocketAddr::new(server, 8080)
            );
            let only = picking.only();
            assert_eq!(only.state.name(Protocol::Tcp), Some("ESTABLISHED"));
            assert_eq!(only.remaining_seconds, 300, "until it is answered");
            let back = moved.forwarded().reverse();
            let answer = build::tcp(
                SocketAddr::new(back.source, back.source_port),
                SocketAddr::new(back.destination, back.destination_port),
            );
            let answer = answer.flags(ACK).sequence(9_000).acknowledgment(5_006);
            let answer = picking.send(&answer.build()).forwarded();
            assert_eq!(destination(&answer), client);
            picking.send(&middle(ACK)).forwarded();
            picking.wait(Duration::from_secs(200));
            assert!(picking.only().state.assured());
            for flags in [
                ACK | tcp_flags::FIN,
                ACK | tcp_flags::RST,
                ACK | tcp_flags::SYN,
            ] {
                let fresh = with(MidStream::PickUp).send(&middle(flags));
                assert_eq!(fresh.verdict, Verdict::Drop, "{flags:#x}");
            }
        }
    }
}

#[test]
fn two_appliances_that_share_packets_by_the_packet_choose_one_endpoint() {
    for cluster in clusters() {
        let mut here = rig(Options {
            mid_stream: MidStream::PickUp,
            ..Options::default()
        });
        let mut there = rig(Options {
            mid_stream: MidStream::PickUp,
            ..Options::default()
        });
        let schedule = Schedule {
            scheduler: Scheduler::Maglev,
            seed: 42,
            ..Schedule::default()
        };
        let maglev = ServiceSpec {
            schedule,
            ..web(&cluster, &cluster.endpoints)
        };
        // There, other Services were first, so that ids are others.
        there.put(3, web(&cluster, &cluster.endpoints));
        there.publish(vec![Edit::Remove(ServiceId(3))]);
        here.put(0, maglev.clone());
        there.put(1, maglev);
        let mut used = std::collections::BTreeSet::new();
        for port in 1_000..1_030 {
            let client = SocketAddr::new(cluster.outside, port);
            let to = SocketAddr::new(cluster.vip, 80);
            let syn = here.send(&build::tcp(client, to).syn().build()).forwarded();
            let data = build::tcp(client, to)
                .flags(ACK)
                .sequence(1_001)
                .acknowledgment(1);
            let moved = there.send(&data.payload(b"by the other way").build());
            assert_eq!(moved.forwarded(), syn, "{}", cluster.name);
            used.insert(syn.destination);
        }
        assert_eq!(used.len(), 4, "and all are used");
    }
}

#[test]
fn an_echo_request_to_a_services_address_is_answered_on_request_only() {
    for cluster in clusters() {
        let mut answering = rig(Options {
            answer_echo: true,
            ..Options::default()
        });
        let mut silent = rig(Options::default());
        let mut balanced = cluster_ip(cluster.other_vip, 80);
        balanced.kind = FrontendKind::LoadBalancer;
        let frontends = vec![
            cluster_ip(cluster.vip, 80),
            balanced,
            node_port(cluster.node, 30_080),
        ];
        for rig in [&mut answering, &mut silent] {
            rig.put(0, service(Protocol::Tcp, frontends.clone(), vec![]));
        }
        for vip in [cluster.vip, cluster.other_vip] {
            let ping = build::echo(cluster.client, vip)
                .payload(b"are you there?")
                .build();
            silent.send(&ping).passed();
            let answer = answering.send(&ping);
            assert_eq!(answer.verdict, Verdict::Reply);
            let expected = pong(vip, cluster.client).payload(b"are you there?").build();
            assert_eq!(answer.packet.len(), expected.len());
            let message = if vip.is_ipv4() { 20 } else { 40 };
            assert_eq!(answer.packet[message..], expected[message..]);
            assert_eq!(build::verify(&answer.packet), Ok(()));
        }
        // The node answers for itself; others are not ours; what is broken or is an answer is left alone.
        for other in [cluster.node, cluster.unallocated, cluster.endpoints[0]] {
            answering
                .send(&build::echo(cluster.client, other).build())
                .passed();
        }
        let wrong = build::echo(cluster.client, cluster.vip)
            .wrong_checksum(7)
            .build();
        answering.send(&wrong).passed();
        let answer = pong(cluster.client, cluster.vip).build();
        answering.send(&answer).passed();
        answering.publish(vec![Edit::Remove(ServiceId(0))]);
        answering
            .send(&build::echo(cluster.client, cluster.vip).build())
            .passed();
    }
}

#[test]
fn an_error_that_quotes_what_was_never_sent_or_is_acknowledged_is_not_believed() {
    for cluster in clusters() {
        let mut rig = rig(Options::default());
        let server = cluster.endpoints[0];
        rig.put(0, web(&cluster, &[server]));
        let client = SocketAddr::new(cluster.client, 40_000);
        let door = SocketAddr::new(cluster.vip, 80);
        let mut exchange = |packet: build::Builder| rig.send(&packet.build());
        let syn = build::tcp(client, door).syn().sequence(1_000);
        let arrived = exchange(syn).forwarded();
        let (near, far) = ((server, 8080), (arrived.source, arrived.source_port));
        let far = SocketAddr::from(far);
        let answer = build::tcp(near, far).flags(ACK | tcp_flags::SYN);
        exchange(answer.sequence(7_000).acknowledgment(1_001)).forwarded();
        let data = build::tcp(client, door)
            .flags(ACK)
            .sequence(1_001)
            .acknowledgment(7_001);
        exchange(data.payload(&[0; 500])).forwarded();
        let acknowledged = build::tcp(near, far).flags(ACK).sequence(7_001);
        exchange(acknowledged.acknowledgment(1_301)).forwarded();
        for (sequence, believed) in [
            (1_301, true),
            (1_501, true),
            (1_502, false),
            (1_300, false),
            (0x8000_0000, false),
        ] {
            let quoted = build::tcp(far, near).flags(ACK).sequence(sequence).build();
            let error = build::too_big(cluster.router, far.ip(), 1_400, &quoted).build();
            let moved = rig.send(&error);
            if believed {
                assert_eq!(moved.verdict, Verdict::Forward, "{sequence}");
                assert_eq!(moved.tag, tag_of(server, 8080));
            } else {
                assert_eq!(moved.dropped(), DropReason::IcmpMismatch, "{sequence}");
            }
        }
    }
}

#[test]
fn a_worker_opens_no_more_connections_a_second_than_it_may_and_keeps_those_that_are_open() {
    for cluster in clusters() {
        let mut rig = rig(Options {
            new_connections_per_second: NonZeroU32::new(3),
            ..Options::default()
        });
        rig.put(0, web(&cluster, &cluster.endpoints[..1]));
        let door = SocketAddr::new(cluster.vip, 80);
        let syn = |port: u16| {
            let client = SocketAddr::new(cluster.client, port);
            build::tcp(client, door).flags(tcp_flags::SYN).build()
        };
        let mut next = 40_000;
        let mut flood = |rig: &mut Rig| {
            let sent = (0..10).map(|_| {
                next += 1;
                rig.send(&syn(next))
            });
            let forwarded = sent.filter(|sent| sent.verdict == Verdict::Forward);
            forwarded.count()
        };
        assert_eq!(flood(&mut rig), 3, "{}", cluster.name);
        assert_eq!(flood(&mut rig), 0, "{}", cluster.name);
        // A retransmission is no new connection.
        rig.send(&syn(40_001)).forwarded();
        rig.wait(Duration::from_secs(1));
        assert_eq!(flood(&mut rig), 3, "{}", cluster.name);
        let stats = rig.dataplane.stats();
        assert_eq!(stats.drops_for(DropReason::NewConnectionLimit), 24);
    }
}
