use super::super::build::{self, Builder, icmp, transport};
use super::super::{ErrorRewrite, Headers, Kind, Parsed, parse, rewrite_error};
use super::differences;
use crate::net::{Address, DropReason, Family, Protocol, Tuple};
use crate::packet::Offload;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What the endpoint's error is about, who sends it to whom, and the same as the client is to see it.
struct Ends {
    translated: [&'static str; 2],
    original: [&'static str; 2],
    router: &'static str,
    client: &'static str,
    masquerade: &'static str,
    service: &'static str,
}

fn ends(family: Family) -> Ends {
    match family {
        Family::Ipv4 => Ends {
            translated: ["10.0.0.1:61000", "10.244.2.9:8080"],
            original: ["10.244.1.5:40000", "10.96.0.10:80"],
            router: "172.16.0.1",
            client: "10.244.1.5",
            masquerade: "10.0.0.1",
            service: "10.96.0.10",
        },
        Family::Ipv6 => Ends {
            translated: ["[fd00::1]:61000", "[fd00:2::9]:8080"],
            original: ["[fd00::5]:40000", "[fd96::a]:80"],
            router: "fd77::1",
            client: "fd00::5",
            masquerade: "fd00::1",
            service: "fd96::a",
        },
    }
}

fn types(family: Family) -> [(u8, u8); 4] {
    match family {
        Family::Ipv4 => [(3, 3), (3, 4), (11, 0), (12, 0)],
        Family::Ipv6 => [(1, 4), (2, 0), (3, 0), (4, 1)],
    }
}

fn of_ip<A: Address>(text: &str) -> A {
    A::from_ip(text.parse().expect(text)).expect(text)
}

fn translate(packet: &[u8], ends: &Ends) -> Result<Vec<u8>, DropReason> {
    match parse(packet, &Offload::default()) {
        Parsed::Ipv4(headers) => translate_to(packet, &headers, ends),
        Parsed::Ipv6(headers) => translate_to(packet, &headers, ends),
        Parsed::NotOurs => panic!("not ours"),
        Parsed::Malformed(reason) => Err(reason),
    }
}

fn translate_to<A: Address>(
    packet: &[u8],
    headers: &Headers<A>,
    ends: &Ends,
) -> Result<Vec<u8>, DropReason> {
    use build::ToSocket;
    let [source, destination] = ends.original.map(|end| end.to_socket());
    let quoted: Tuple<IpAddr> = Tuple {
        source: source.ip(),
        destination: destination.ip(),
        source_port: source.port(),
        destination_port: destination.port(),
        protocol: headers.tuple.protocol,
    };
    let to = ErrorRewrite {
        source: of_ip(ends.service),
        destination: of_ip(ends.client),
        quoted: quoted.of_family().expect("one family"),
    };
    let mut after = packet.to_vec();
    rewrite_error(&mut after, headers, &to)?;
    // And back.
    let mut back = after.clone();
    let mut back_headers = *headers;
    back_headers.tuple = to.quoted;
    let (source, destination) = headers.addresses(packet);
    let undo = ErrorRewrite {
        source,
        destination,
        quoted: headers.tuple,
    };
    rewrite_error(&mut back, &back_headers, &undo)?;
    assert!(back == packet, "there and back");
    Ok(after)
}

fn error(from: &str, to: &str, (kind, code): (u8, u8), quote: &[u8]) -> Builder {
    icmp(from, to, kind, code).rest(1_400).payload(quote)
}

#[test]
fn a_translated_error_is_the_error_about_the_original_packet_however_much_it_quotes() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let ends = ends(family);
        for protocol in Protocol::ALL {
            let about = |[source, destination]: [&str; 2]| {
                transport(protocol, source, destination)
                    .payload_len(40)
                    .build()
            };
            let (seen, meant) = (about(ends.translated), about(ends.original));
            let header_len = if family == Family::Ipv4 { 20 } else { 40 };
            for kind in types(family) {
                for len in header_len + 8..=seen.len() {
                    let before = error(ends.router, ends.masquerade, kind, &seen[..len]).build();
                    let expected = error(ends.service, ends.client, kind, &meant[..len]).build();
                    let after = translate(&before, &ends).expect("an error about a connection");
                    assert_eq!(build::verify(&after), Ok(()), "{protocol} {kind:?} {len}");
                    if !cuts_checksum(protocol, len - header_len) {
                        assert_eq!(after, expected, "{protocol} {kind:?}, {len} bytes quoted");
                    }
                }
            }
        }
    }
}

/// Does a quote of this many bytes of transport header end inside its checksum? Half a checksum is left as it is.
fn cuts_checksum(protocol: Protocol, len: usize) -> bool {
    match protocol {
        Protocol::Tcp => len == 17,
        Protocol::Udp => false,
        Protocol::Sctp => (9..12).contains(&len),
    }
}

#[test]
fn quoted_options_and_extensions_are_left_alone() {
    let ends4 = ends(Family::Ipv4);
    let ends6 = ends(Family::Ipv6);
    for protocol in Protocol::ALL {
        let about = |[source, destination]: [&str; 2]| {
            let builder = transport(protocol, source, destination).payload_len(40);
            if source.starts_with('[') {
                builder.hop_by_hop().destination_options().atomic_fragment()
            } else {
                builder.ipv4_options(&[7; 20])
            }
        };
        for (ends, kind) in [(&ends4, (11, 0)), (&ends6, (3, 0))] {
            let seen = about(ends.translated).build();
            let meant = about(ends.original).build();
            let before = error(ends.router, ends.masquerade, kind, &seen).build();
            let expected = error(ends.service, ends.client, kind, &meant).build();
            assert_eq!(translate(&before, ends), Ok(expected), "{protocol}");
        }
    }
}

#[test]
fn an_error_about_a_first_fragment_is_translated() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let ends = ends(family);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let about = |[source, destination]: [&str; 2]| {
                transport(protocol, source, destination)
                    .payload_len(400)
                    .fragments(64)
                    .swap_remove(0)
            };
            let kind = types(family)[2];
            let before = error(ends.router, ends.masquerade, kind, &about(ends.translated));
            let expected = error(ends.service, ends.client, kind, &about(ends.original));
            assert_eq!(
                translate(&before.build(), &ends),
                Ok(expected.build()),
                "{protocol}"
            );
        }
    }
}

#[test]
fn wrong_checksums_in_and_around_the_quote_stay_wrong() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let ends = ends(family);
        let kind = types(family)[0];
        for bits in [1_u16, 0x8000, 0x1234, 0xfffe] {
            let about = |[source, destination]: [&str; 2]| {
                transport(Protocol::Tcp, source, destination)
                    .wrong_checksum(bits)
                    .wrong_header_checksum(bits)
                    .build()
            };
            let seen = about(ends.translated);
            let before = error(ends.router, ends.masquerade, kind, &seen).build();
            let after = translate(&before, &ends).expect("quoted checksums are not judged");
            assert_eq!(build::verify(&after), Ok(()), "the error itself was right");
            let quote = after.len() - seen.len();
            assert!(
                build::verify(&after[quote..]).is_err(),
                "the quote was wrong and is"
            );

            let before = error(ends.router, ends.masquerade, kind, &seen).wrong_checksum(bits);
            let after = translate(&before.build(), &ends).expect("not judged");
            assert_eq!(build::verify(&after), Err(build::WrongChecksum::Icmp));
        }
    }
}

#[test]
fn what_is_no_error_is_refused_and_left_alone() {
    let ends = ends(Family::Ipv4);
    for packet in [
        build::echo("10.0.0.1", "10.0.0.2").build(),
        build::udp("10.0.0.1:1", "10.0.0.2:2").build(),
    ] {
        assert_eq!(translate(&packet, &ends), Err(DropReason::MalformedHeader));
    }
    let quote = build::udp(ends.translated[0], ends.translated[1]).build();
    let packet = error(ends.router, ends.masquerade, (3, 3), &quote).build();
    let headers = super::v4(&packet);
    assert!(matches!(headers.kind, Kind::IcmpError { .. }));
    let to = ErrorRewrite {
        source: of_ip(ends.service),
        destination: of_ip(ends.client),
        quoted: headers.tuple.reverse(),
    };
    for len in 0..packet.len() {
        let mut short = packet[..len].to_vec();
        let result = rewrite_error(&mut short, &headers, &to);
        assert_eq!(result, Err(DropReason::MalformedTruncated), "{len}");
        assert!(differences(&short, &packet[..len]).is_empty());
    }
}
