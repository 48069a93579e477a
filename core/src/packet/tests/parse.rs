use super::super::build::{
    self, Builder, echo, icmp, port_unreachable, raw, sctp, tcp, transport, udp,
};
use super::super::{Kind, Offload, Parsed, offload_flags, parse, tcp_flags};
use super::{accepted, plain, v4, v6};
use crate::net::{DropReason, Protocol};
use alloc::format;
use alloc::vec::Vec;

const CLIENT: &str = "10.244.1.5:40000";
const SERVICE: &str = "10.96.0.10:80";
const CLIENT6: &str = "[fd00::5]:40000";
const SERVICE6: &str = "[fd96::a]:80";

fn verdict(builder: &Builder) -> Parsed {
    parse(&builder.build(), &builder.offload())
}

fn malformed(reason: DropReason) -> Parsed {
    Parsed::Malformed(reason)
}

#[test]
fn addresses_ports_and_protocol_are_found_behind_options_and_extensions() {
    for protocol in Protocol::ALL {
        let four = transport(protocol, CLIENT, SERVICE).payload_len(9);
        let six = transport(protocol, CLIENT6, SERVICE6).payload_len(9);
        for builder in [
            four.clone(),
            four.clone().ipv4_options(&[1; 40]),
            six.clone(),
            six.clone().hop_by_hop(),
            six.clone().destination_options(),
            six.clone().routing(0),
            six.clone().authentication(),
            six.clone().atomic_fragment(),
            six.clone()
                .hop_by_hop()
                .routing(0)
                .authentication()
                .destination_options(),
        ] {
            let headers = plain(&builder.build());
            let tuple = headers.tuple();
            assert_eq!(headers.kind(), Kind::Whole, "{builder:?}");
            assert_eq!(
                (tuple.protocol, tuple.source_port, tuple.destination_port),
                (protocol, 40_000, 80)
            );
            let name = format!("{tuple}");
            assert!(
                name == format!("{protocol} {CLIENT} -> {SERVICE}")
                    || name == format!("{protocol} {CLIENT6} -> {SERVICE6}"),
                "{name}"
            );
        }
    }
}

#[test]
fn tcp_flags_and_the_end_of_the_packet_are_found() {
    let syn = v4(&tcp(CLIENT, SERVICE).syn().trailing(&[0; 6]).build());
    assert_eq!(
        (syn.tcp_flags, syn.transport, syn.end),
        (tcp_flags::SYN, 20, 52),
        "link padding lies behind the end"
    );
    let rst = v6(&tcp(CLIENT6, SERVICE6)
        .flags(tcp_flags::RST)
        .hop_by_hop()
        .build());
    assert_eq!(
        (rst.tcp_flags, rst.transport, rst.end),
        (tcp_flags::RST, 48, 68)
    );
}

#[test]
fn protocols_that_no_service_carries_are_not_ours() {
    for builder in [
        raw("10.0.0.1", "10.0.0.2", 47).payload(&[0; 20]),
        raw("10.0.0.1", "10.0.0.2", 2),
        raw("fd00::1", "fd00::2", 50).payload(&[0; 20]),
        raw("fd00::1", "fd00::2", 59),
        raw("fd00::1", "fd00::2", 59).destination_options(),
        tcp(CLIENT6, SERVICE6).routing(1),
    ] {
        assert_eq!(verdict(&builder), Parsed::NotOurs, "{builder:?}");
    }
}

#[test]
fn lying_headers_are_malformed() {
    use DropReason::{MalformedChecksum, MalformedExtensions, MalformedHeader, MalformedTruncated};
    let data = [0_u8; 24];
    let four = || udp(CLIENT, SERVICE).payload(&data);
    let six = || udp(CLIENT6, SERVICE6).payload(&data);
    let nine = (0..9).fold(six(), |builder, _| builder.destination_options());
    let cases: Vec<(&str, Builder, DropReason)> = alloc::vec![
        (
            "total length beyond the packet",
            four().total_length(53),
            MalformedTruncated
        ),
        (
            "total length within the header",
            four().total_length(19),
            MalformedTruncated
        ),
        (
            "total length zero",
            four().total_length(0),
            MalformedTruncated
        ),
        (
            "total length cuts UDP",
            four().total_length(27),
            MalformedTruncated
        ),
        ("IHL below five", four().header_words(4), MalformedHeader),
        ("IHL zero", four().header_words(0), MalformedHeader),
        (
            "IHL beyond the packet",
            four().total_length(40).header_words(15),
            MalformedTruncated
        ),
        (
            "header checksum",
            four().wrong_header_checksum(1),
            MalformedChecksum
        ),
        ("UDP length zero", four().udp_length(0), MalformedHeader),
        (
            "UDP length below its header",
            four().udp_length(7),
            MalformedHeader
        ),
        (
            "UDP length beyond the packet",
            four().udp_length(33),
            MalformedTruncated
        ),
        (
            "data offset below five",
            tcp(CLIENT, SERVICE).data_offset(4),
            MalformedHeader
        ),
        (
            "data offset beyond",
            tcp(CLIENT, SERVICE).data_offset(6),
            MalformedTruncated
        ),
        (
            "payload length beyond",
            six().total_length(33),
            MalformedTruncated
        ),
        (
            "payload length zero",
            six().total_length(0),
            MalformedTruncated
        ),
        (
            "jumbogram",
            six().hop_by_hop().total_length(0),
            MalformedHeader
        ),
        ("UDP/IPv6 length zero", six().udp_length(0), MalformedHeader),
        (
            "UDP/IPv6 length beyond",
            six().udp_length(33),
            MalformedTruncated
        ),
        (
            "TCP/IPv6 data offset",
            tcp(CLIENT6, SERVICE6).data_offset(15),
            MalformedTruncated
        ),
        ("nine extension headers", nine, MalformedExtensions),
        (
            "hop-by-hop not first",
            six().destination_options().hop_by_hop(),
            MalformedExtensions,
        ),
        (
            "two hop-by-hop headers",
            six().hop_by_hop().hop_by_hop(),
            MalformedExtensions
        ),
        (
            "two fragment headers",
            six().atomic_fragment().atomic_fragment(),
            MalformedExtensions,
        ),
        (
            "extension longer than the packet",
            six().extension(60, &[200, 0, 0, 0, 0, 0, 0]),
            MalformedTruncated,
        ),
        (
            "short ICMP",
            raw("10.0.0.1", "10.0.0.2", 1).payload(&[8, 0, 0, 0]),
            MalformedTruncated
        ),
        (
            "short ICMPv6",
            raw("fd00::1", "fd00::2", 58).payload(&[1; 7]),
            MalformedTruncated
        ),
    ];
    for (name, builder, reason) in cases {
        assert_eq!(verdict(&builder), malformed(reason), "{name}");
    }
    let none = Offload::default();
    assert_eq!(parse(&[], &none), malformed(MalformedTruncated));
    for version in [0_u8, 1, 2, 3, 5, 7, 8, 15] {
        let mut packet = four().build();
        packet[0] = (version << 4) | 5;
        assert_eq!(
            parse(&packet, &none),
            malformed(MalformedHeader),
            "version {version}"
        );
    }
}

#[test]
fn eight_extension_headers_are_followed() {
    let builder = (0..8).fold(udp(CLIENT6, SERVICE6), |builder, _| {
        builder.destination_options()
    });
    assert_eq!(v6(&builder.build()).transport, 40 + 8 * 16);
}

#[test]
fn fragments_are_told_apart_and_named() {
    let four = udp(CLIENT, SERVICE).payload_len(100).identification(0xbeef);
    let six = udp(CLIENT6, SERVICE6)
        .payload_len(100)
        .identification(0xdead_beef);
    for (fragments, datagram) in [
        (four.fragments(64), 0x0011_beef),
        (six.fragments(64), 0xdead_beef),
        (six.hop_by_hop().fragments(64), 0xdead_beef),
    ] {
        let [first, second] = &fragments[..] else {
            panic!("{fragments:?}")
        };
        let headers = plain(first);
        assert_eq!(headers.kind(), Kind::FirstFragment { datagram });
        assert_eq!(headers.tuple().destination_port, 80);
        let later = plain(second);
        let kind = Kind::LaterFragment {
            datagram,
            offset: 64,
            more: false,
        };
        assert_eq!(later.kind(), kind);
        assert_eq!(
            (later.tuple().source_port, later.tuple().destination_port),
            (0, 0)
        );
        assert_eq!(later.tuple().source, headers.tuple().source);
    }
}

#[test]
fn first_fragments_hold_the_whole_transport_header_and_later_ones_do_not_touch_it() {
    for (client, service) in [(CLIENT, SERVICE), (CLIENT6, SERVICE6)] {
        let tcp = tcp(client, service).tcp_options(&[1; 8]).payload_len(100);
        let sctp = sctp(client, service).chunk(0, 3, &[0; 100]);
        let udp = udp(client, service).payload_len(100);
        let none = Offload::default();
        let data = [0xaa_u8; 16];
        for (name, packet, reason) in [
            (
                "TCP header cut",
                &tcp.fragments(16)[0],
                DropReason::MalformedTruncated,
            ),
            (
                "TCP options cut",
                &tcp.fragments(24)[0],
                DropReason::MalformedTruncated,
            ),
            (
                "SCTP header cut",
                &sctp.fragments(8)[0],
                DropReason::MalformedTruncated,
            ),
            (
                "TCP at 8",
                &tcp.fragment(8, true, &data),
                DropReason::FragmentOverlap,
            ),
            (
                "TCP at 16",
                &tcp.fragment(16, false, &data),
                DropReason::FragmentOverlap,
            ),
            (
                "SCTP at 8",
                &sctp.fragment(8, true, &data),
                DropReason::FragmentOverlap,
            ),
            (
                "empty",
                &udp.fragment(64, false, &[]),
                DropReason::MalformedHeader,
            ),
            (
                "beyond 64 KiB",
                &udp.fragment(65_528, false, &data),
                DropReason::MalformedHeader,
            ),
        ] {
            assert_eq!(
                parse(packet, &none),
                malformed(reason),
                "{name}: {packet:02x?}"
            );
        }
        assert_eq!(plain(&udp.fragments(8)[0]).tuple().destination_port, 80);
    }
    let odd = udp(CLIENT6, SERVICE6).fragment(64, true, &[0; 15]);
    assert_eq!(
        parse(&odd, &Offload::default()),
        malformed(DropReason::MalformedHeader),
        "RFC 8200, 4.5"
    );
}

#[test]
fn icmp_errors_carry_the_quoted_tuple_and_their_own_addresses() {
    for protocol in Protocol::ALL {
        let quoted = transport(protocol, CLIENT, SERVICE).payload_len(20);
        let error = port_unreachable("10.96.0.10", "10.244.1.5", &quoted.build()).build();
        let headers = v4(&error);
        assert_eq!(headers.tuple, v4(&quoted.build()).tuple);
        let (source, destination) = headers.addresses(&error);
        assert_eq!(
            format!("{source} {destination}"),
            "10.96.0.10 10.244.1.5",
            "{protocol}"
        );
        let quoted = transport(protocol, CLIENT6, SERVICE6).hop_by_hop();
        let error = port_unreachable("fd96::a", "fd00::5", &quoted.build()).build();
        let headers = v6(&error);
        assert_eq!(headers.tuple, v6(&quoted.build()).tuple);
        let Kind::IcmpError {
            quote,
            quote_transport,
            ..
        } = headers.kind
        else {
            panic!("{headers:?}")
        };
        assert_eq!((quote, quote_transport), (48, 96));
    }
}

#[test]
fn only_errors_about_connections_are_errors() {
    let quote = udp(CLIENT, SERVICE).payload(b"question").build();
    let quote6 = udp(CLIENT6, SERVICE6).payload(b"question").build();
    for kind in 0..=255_u8 {
        let four = v4(&icmp("10.0.0.1", "10.0.0.2", kind, 0)
            .payload(&quote)
            .build());
        let expected = matches!(kind, 3 | 4 | 11 | 12);
        assert_eq!(
            matches!(four.kind, Kind::IcmpError { .. }),
            expected,
            "ICMP {kind}"
        );
        assert_eq!(four.kind == Kind::Other, !expected);
        let six = v6(&icmp("fd00::1", "fd00::2", kind, 0).payload(&quote6).build());
        let expected = matches!(kind, 1..=4);
        assert_eq!(
            matches!(six.kind, Kind::IcmpError { .. }),
            expected,
            "ICMPv6 {kind}"
        );
    }
    let other = echo("10.0.0.1", "10.0.0.2").build();
    for quote in [
        other,
        raw("10.0.0.1", "10.0.0.2", 47).payload(&[0; 16]).build(),
    ] {
        assert_eq!(
            v4(&port_unreachable("10.0.0.2", "10.0.0.1", &quote).build()).kind,
            Kind::Other
        );
    }
    let later = &udp(CLIENT, SERVICE).payload_len(64).fragments(32)[1];
    assert_eq!(
        v4(&port_unreachable("10.0.0.2", "10.0.0.1", later).build()).kind,
        Kind::Other
    );
    let later = &udp(CLIENT6, SERVICE6).payload_len(64).fragments(32)[1];
    assert_eq!(
        v6(&port_unreachable("fd00::2", "fd00::1", later).build()).kind,
        Kind::Other
    );
}

#[test]
fn an_error_must_quote_eight_bytes_of_transport_header() {
    let quote = tcp(CLIENT, SERVICE).build();
    for len in 0..quote.len() {
        let error = port_unreachable("10.0.0.2", "10.0.0.1", &quote[..len]);
        let parsed = verdict(&error);
        assert_eq!(
            matches!(parsed, Parsed::Ipv4(headers) if headers.tuple.destination_port == 80),
            len >= 28,
            "{len} bytes quoted: {parsed:?}"
        );
        assert!(len >= 28 || parsed == malformed(DropReason::MalformedTruncated));
    }
    let other_family = port_unreachable("fd00::2", "fd00::1", &[&quote[..], &[0; 20]].concat());
    assert_eq!(
        verdict(&other_family),
        malformed(DropReason::MalformedHeader)
    );
}

#[test]
fn martians_are_reported_and_others_are_not() {
    for (source, destination, martian) in [
        ("10.0.0.1:1", "10.0.0.2:2", false),
        ("127.0.0.1:1", "10.0.0.2:2", true),
        ("10.0.0.1:1", "127.9.9.9:2", true),
        ("0.0.0.0:1", "10.0.0.2:2", true),
        ("10.0.0.1:1", "224.0.0.1:2", true),
        ("239.255.255.255:1", "10.0.0.2:2", true),
        ("10.0.0.1:1", "255.255.255.255:2", true),
        ("240.0.0.1:1", "128.0.0.1:2", false),
        ("[fd00::1]:1", "[fd00::2]:2", false),
        ("[::1]:1", "[fd00::2]:2", true),
        ("[::]:1", "[fd00::2]:2", true),
        ("[fd00::1]:1", "[ff02::1]:2", true),
        ("[::2]:1", "[fe80::1]:2", false),
    ] {
        let reported = match plain(&udp(source, destination).build()) {
            super::Either::V4(headers) => headers.martian(),
            super::Either::V6(headers) => headers.martian(),
        };
        assert_eq!(reported, martian, "{source} -> {destination}");
    }
}

#[test]
fn offload_must_point_at_the_packets_own_checksum() {
    for (client, service) in [(CLIENT, SERVICE), (CLIENT6, SERVICE6)] {
        for protocol in Protocol::ALL {
            let builder = transport(protocol, client, service)
                .payload_len(64)
                .partial_checksum();
            let (packet, right) = (builder.build(), builder.offload());
            accepted(&packet, &right);
            for start in 0..=packet.len() as u16 + 2 {
                for offset in [0, 2, 6, 8, 16, 60_000, u16::MAX] {
                    let offload = Offload {
                        checksum_start: start,
                        checksum_offset: offset,
                        ..right
                    };
                    let inner = protocol == Protocol::Udp
                        && start >= right.checksum_start + 8
                        && usize::from(start) + usize::from(offset) + 2 <= packet.len();
                    let fits = !matches!(parse(&packet, &offload), Parsed::Malformed(_));
                    assert_eq!(fits, offload == right || inner, "{protocol} {offload:?}");
                }
            }
            let wrong_end = Offload {
                flags: offload_flags::VALID,
                checksum_start: 9_999,
                ..right
            };
            accepted(&packet, &wrong_end);
        }
    }
}

#[test]
fn segmentation_must_fit_protocol_and_family() {
    for (client, service, types) in [(CLIENT, SERVICE, [1, 3, 5]), (CLIENT6, SERVICE6, [4, 3, 5])] {
        for protocol in Protocol::ALL {
            let builder = transport(protocol, client, service).payload_len(4_000);
            let packet = builder.build();
            for gso_type in 0..=255_u8 {
                for gso_size in [0_u16, 1_000] {
                    let offload = Offload {
                        gso_type,
                        gso_size,
                        ..Offload::default()
                    };
                    let fits = match protocol {
                        Protocol::Tcp => gso_type & 0x7f == types[0],
                        Protocol::Udp => types[1..].contains(&gso_type),
                        Protocol::Sctp => false,
                    };
                    let fits = gso_type == 0 || (fits && gso_size != 0);
                    let expected = malformed(DropReason::MalformedOffload);
                    assert_eq!(
                        parse(&packet, &offload) != expected,
                        fits,
                        "{protocol} {gso_type:#x} {gso_size}"
                    );
                }
            }
        }
    }
    let error = port_unreachable("10.0.0.2", "10.0.0.1", &udp(CLIENT, SERVICE).build()).build();
    let partial = Offload {
        flags: offload_flags::PARTIAL,
        ..Offload::default()
    };
    assert_eq!(
        parse(&error, &partial),
        malformed(DropReason::MalformedOffload)
    );
}

#[test]
fn packets_of_64_kib_are_accepted() {
    assert_eq!(
        v4(&udp(CLIENT, SERVICE).payload_len(65_507).build()).end,
        65_535
    );
    assert_eq!(
        v6(&udp(CLIENT6, SERVICE6).payload_len(65_527).build()).end,
        65_575
    );
}

#[test]
fn every_sample_is_accepted_and_right() {
    for sample in build::samples() {
        accepted(&sample.packet, &sample.offload);
        if sample.offload == Offload::default() {
            assert_eq!(build::verify(&sample.packet), Ok(()), "{}", sample.name);
        }
    }
}
