use super::super::build::{self, Builder, echo, sctp, tcp, transport, udp};
use super::super::{
    Kind, Offload, Parsed, SctpChunk, TcpSegment, parse, port_unreachable, tcp_flags, tcp_reset,
};
use super::{v4, v6};
use crate::net::Protocol;
use alloc::vec::Vec;

const ENDS: [(&str, &str); 2] = [
    ("10.244.1.5:40000", "10.96.0.10:80"),
    ("[fd00::5]:40000", "[fd96::a]:80"),
];

/// The packet with `room` bytes in all, and the length of the answer built in it.
fn unreachable(packet: &[u8], room: usize) -> (Vec<u8>, Option<u32>) {
    let mut frame = packet.to_vec();
    frame.resize(room, 0xee);
    let len = match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => port_unreachable(&mut frame, &headers),
        Parsed::Ipv6(headers) => port_unreachable(&mut frame, &headers),
        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
    };
    (frame, len)
}

fn reset(builder: &Builder) -> Option<Vec<u8>> {
    let mut frame = builder.build();
    frame.resize(frame.len().max(60), 0);
    let len = match parse(&builder.build(), &builder.offload()) {
        Parsed::Ipv4(headers) => tcp_reset(&mut frame, &headers),
        Parsed::Ipv6(headers) => tcp_reset(&mut frame, &headers),
        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
    }?;
    frame.truncate(len as usize);
    Some(frame)
}

#[test]
fn port_unreachable_quotes_as_much_as_the_rfc_and_the_room_allow() {
    for (client, service) in ENDS {
        let (overhead, max) = if client.starts_with('[') {
            (48, 1_280)
        } else {
            (28, 576)
        };
        for protocol in Protocol::ALL {
            for len in [0, 1, 100, 548, 549, 1_232, 1_500, 9_000] {
                let packet = transport(protocol, client, service)
                    .payload_len(len)
                    .build();
                for room in [
                    packet.len(),
                    packet.len() + 20,
                    packet.len() + overhead,
                    10_000,
                ] {
                    let (frame, answer) = unreachable(&packet, room);
                    let quoted = packet
                        .len()
                        .min(max - overhead)
                        .min(room.saturating_sub(overhead));
                    if quoted < overhead - 8 + 8 {
                        assert_eq!(answer, None, "no room to quote eight bytes");
                        assert_eq!(frame[..packet.len()], packet, "untouched");
                        continue;
                    }
                    let answer = answer.expect("room enough") as usize;
                    assert_eq!(answer, overhead + quoted, "{protocol} {len} {room}");
                    assert_eq!(build::verify(&frame[..answer]), Ok(()));
                    assert_eq!(frame[overhead..answer], packet[..quoted], "as it came");
                }
            }
        }
    }
}

#[test]
fn port_unreachable_travels_from_the_service_to_the_client() {
    let (client, service) = ENDS[0];
    let packet = udp(client, service)
        .payload(b"question")
        .type_of_service(0x08)
        .build();
    let (frame, len) = unreachable(&packet, 1_500);
    let answer = &frame[..len.expect("room enough") as usize];
    let expected = build::port_unreachable("10.96.0.10", "10.244.1.5", &packet)
        .type_of_service(0xc8)
        .build();
    assert_eq!(answer[20..], expected[20..]);
    let headers = v4(answer);
    assert!(matches!(headers.kind, Kind::IcmpError { .. }));
    assert_eq!(headers.tuple, v4(&packet).tuple);
    assert_eq!((answer[1], answer[8]), (0xc8, 64), "precedence 6, TTL 64");

    let (client, service) = ENDS[1];
    let packet = udp(client, service).payload(b"question").build();
    let (frame, len) = unreachable(&packet, 1_500);
    let answer = &frame[..len.expect("room enough") as usize];
    let expected = build::port_unreachable("fd96::a", "fd00::5", &packet)
        .type_of_service(0xc0)
        .build();
    assert_eq!(answer, expected);
    assert_eq!(v6(answer).tuple, v6(&packet).tuple);
}

#[test]
fn nobody_answers_errors_later_fragments_or_addresses_of_many_hosts() {
    let question = udp("10.0.0.1:1", "10.0.0.2:2").payload_len(100);
    let mut refused = Vec::from([
        build::port_unreachable("10.0.0.2", "10.0.0.1", &question.build()).build(),
        echo("10.0.0.1", "10.0.0.2").build(),
        question.fragments(64).swap_remove(1),
    ]);
    for (source, destination) in [
        ("127.0.0.1:1", "10.0.0.2:2"),
        ("0.0.0.0:1", "10.0.0.2:2"),
        ("224.0.0.5:1", "10.0.0.2:2"),
        ("255.255.255.255:1", "10.0.0.2:2"),
        ("10.0.0.1:1", "224.0.0.5:2"),
        ("10.0.0.1:1", "255.255.255.255:2"),
        ("[::]:1", "[fd00::2]:2"),
        ("[::1]:1", "[fd00::2]:2"),
        ("[ff02::1]:1", "[fd00::2]:2"),
        ("[fd00::1]:1", "[ff02::1]:2"),
    ] {
        refused.push(udp(source, destination).payload_len(30).build());
        assert_eq!(
            reset(&tcp(source, destination).syn()),
            None,
            "{source} {destination}"
        );
    }
    for packet in refused {
        let (frame, answer) = unreachable(&packet, 1_500);
        assert_eq!(answer, None, "{packet:02x?}");
        assert_eq!(frame[..packet.len()], packet);
    }
    let first = question.fragments(64).swap_remove(0);
    assert!(
        unreachable(&first, 1_500).1.is_some(),
        "a first fragment is answered"
    );
}

#[test]
fn resets_follow_rfc_9293() {
    for (client, service) in ENDS {
        // Without ACK: sequence 0, acknowledging all that came.
        let syn = tcp(client, service)
            .syn()
            .sequence(u32::MAX)
            .payload(b"early");
        let expected = tcp(service, client)
            .flags(tcp_flags::RST | tcp_flags::ACK)
            .sequence(0)
            .acknowledgment(5)
            .window(0)
            .identification(0);
        assert_same_but_ipv4_flags(&reset(&syn).expect("answered"), &expected.build());
        // With ACK: the sequence number that was acknowledged.
        let data = tcp(client, service).acknowledgment(77).payload_len(500);
        let expected = tcp(service, client)
            .flags(tcp_flags::RST)
            .sequence(77)
            .acknowledgment(0)
            .window(0)
            .identification(0);
        assert_same_but_ipv4_flags(&reset(&data).expect("answered"), &expected.build());
        assert_eq!(reset(&tcp(client, service).flags(tcp_flags::RST)), None);
        assert_eq!(reset(&udp(client, service)), None);
    }
}

/// Answers set "do not fragment"; the builder does not.
fn assert_same_but_ipv4_flags(answer: &[u8], expected: &[u8]) {
    assert_eq!(build::verify(answer), Ok(()));
    let network = if answer[0] >> 4 == 4 { 12 } else { 0 };
    assert_eq!(answer[network..], expected[network..]);
    assert_eq!(answer.len(), expected.len());
}

#[test]
fn segments_are_read() {
    for (client, service) in ENDS {
        let read = |builder: &Builder| {
            let packet = builder.build();
            match parse(&packet, &builder.offload()) {
                Parsed::Ipv4(headers) => TcpSegment::read(&packet, &headers),
                Parsed::Ipv6(headers) => TcpSegment::read(&packet, &headers),
                refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
            }
        };
        let base = tcp(client, service)
            .sequence(7)
            .acknowledgment(9)
            .window(512);
        let data = read(&base.clone().payload_len(33).trailing(&[0; 9])).expect("a segment");
        let expected = TcpSegment {
            flags: tcp_flags::ACK,
            sequence: 7,
            acknowledgment: 9,
            window: 512,
            payload_len: 33,
            window_scale: None,
        };
        assert_eq!(data, expected);
        assert_eq!(data.sequence_len(), 33);
        let syn = read(&base.clone().syn()).expect("a segment");
        assert_eq!((syn.window_scale, syn.sequence_len()), (Some(7), 1));
        for (options, scale) in [
            (&[3, 3, 15][..], Some(14)),
            (&[1, 1, 3, 3, 0], Some(0)),
            (&[0, 3, 3, 7], None),
            (&[2, 1, 3, 3, 7], None),
            (&[8, 40, 3, 3, 7], None),
            (&[8, 2, 3, 3, 7], Some(7)),
            (&[1, 1, 1, 3], None),
        ] {
            let segment = read(&base.clone().flags(tcp_flags::SYN).tcp_options(options));
            assert_eq!(
                segment.expect("a segment").window_scale,
                scale,
                "{options:?}"
            );
        }
        assert_eq!(read(&udp(client, service)), None);
    }
}

#[test]
fn chunks_are_read() {
    for (client, service) in ENDS {
        let read = |builder: &Builder| {
            let packet = builder.build();
            match parse(&packet, &Offload::default()) {
                Parsed::Ipv4(headers) => SctpChunk::read(&packet, &headers),
                Parsed::Ipv6(headers) => SctpChunk::read(&packet, &headers),
                refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
            }
        };
        let init = read(&sctp(client, service).init(0xfeed_beef)).expect("a chunk");
        assert_eq!((init.kind, init.verification_tag), (SctpChunk::INIT, 0));
        assert_eq!(init.initiate_tag, Some(0xfeed_beef));
        let echo = sctp(client, service)
            .verification_tag(5)
            .chunk(10, 1, b"cookie");
        let echo = read(&echo.chunk(0, 3, b"data")).expect("a chunk");
        assert_eq!((echo.kind, echo.flags, echo.verification_tag), (10, 1, 5));
        assert_eq!(read(&sctp(client, service)), None, "no chunk");
        assert_eq!(
            read(&sctp(client, service).payload(&[1, 0, 0, 3])),
            None,
            "short length"
        );
        assert_eq!(
            read(&sctp(client, service).payload(&[0, 0, 0, 9])),
            None,
            "beyond the packet"
        );
        assert_eq!(
            read(&sctp(client, service).payload(&[1, 0, 0, 4])),
            None,
            "INIT without tag"
        );
        assert_eq!(read(&tcp(client, service)), None);
    }
}
