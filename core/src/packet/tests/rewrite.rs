use super::super::build::{self, transport, udp};
use super::super::{
    Headers, Kind, Offload, Parsed, Rewrite, complete_checksum, offload_flags, parse, rewrite,
};
use super::{Random, differences};
use crate::net::{Address, DropReason, Family, Protocol, Tuple};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Another tuple of the same family and protocol.
fn another<A: Address>(tuple: &Tuple<A>, random: &mut Random) -> Tuple<A> {
    let mut address = || A::from_words([random.next(), random.next()]);
    let (source, destination) = (address(), address());
    let ports = random.next();
    Tuple {
        source,
        destination,
        source_port: ports as u16,
        destination_port: (ports >> 16) as u16,
        protocol: tuple.protocol,
    }
}

/// Rewrites to `to`, and gives the packet.
fn rewritten<A: Address>(
    packet: &[u8],
    headers: &Headers<A>,
    to: &Tuple<A>,
    offload: &Offload,
) -> Result<Vec<u8>, DropReason> {
    let mut packet = packet.to_vec();
    rewrite(
        &mut packet,
        headers,
        &Rewrite::new(&headers.tuple, to),
        offload,
    )?;
    Ok(packet)
}

/// Offsets that translation may touch.
fn translated_fields<A: Address>(headers: &Headers<A>) -> Vec<usize> {
    let start = usize::from(headers.transport);
    let mut fields: Vec<usize> = match A::FAMILY {
        Family::Ipv4 => (10..20).collect(),
        Family::Ipv6 => (8..40).collect(),
    };
    if !matches!(headers.kind, Kind::LaterFragment { .. }) {
        fields.extend(start..start + 4);
        fields.extend(match headers.tuple.protocol {
            Protocol::Tcp => start + 16..start + 18,
            Protocol::Udp => start + 6..start + 8,
            Protocol::Sctp => start + 8..start + 12,
        });
    }
    fields
}

fn check<A: Address>(
    name: &str,
    packet: &[u8],
    headers: &Headers<A>,
    offload: &Offload,
    random: &mut Random,
) {
    let to = another(&headers.tuple, random);
    let after = match rewritten(packet, headers, &to, offload) {
        Ok(after) => after,
        Err(reason) => {
            let sctp_fragment = matches!(headers.kind, Kind::FirstFragment { .. })
                && headers.tuple.protocol == Protocol::Sctp;
            assert!(sctp_fragment, "{name}: {reason}");
            assert_eq!(reason, DropReason::FragmentUntranslatable);
            return;
        }
    };
    let fields = translated_fields(headers);
    for at in differences(packet, &after) {
        assert!(fields.contains(&at), "{name}: byte {at} changed");
    }
    // Found again at the new tuple, with all checksums right.
    let tuple = match parse(&after, offload) {
        Parsed::Ipv4(headers) => headers.tuple.to_ip(),
        Parsed::Ipv6(headers) => headers.tuple.to_ip(),
        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{name}: {refused:?}"),
    };
    let mut expected = to;
    if matches!(headers.kind, Kind::LaterFragment { .. }) {
        (expected.source_port, expected.destination_port) = (0, 0);
    }
    assert_eq!(tuple, expected.to_ip(), "{name}");
    let mut complete = after.clone();
    let mut left = *offload;
    assert!(complete_checksum(&mut complete, to.protocol, &mut left));
    assert_eq!(build::verify(&complete), Ok(()), "{name} to {to}");

    let mut back_headers = *headers;
    back_headers.tuple = to;
    let back = rewritten(&after, &back_headers, &headers.tuple, offload).expect(name);
    assert!(back == packet, "{name}: there and back");
}

#[test]
fn every_sample_is_right_after_translation_and_the_same_after_translation_back() {
    let mut random = Random(1);
    for sample in build::samples() {
        for _ in 0..200 {
            match parse(&sample.packet, &sample.offload) {
                Parsed::Ipv4(headers) if is_translated(headers.kind) => {
                    check(
                        &sample.name,
                        &sample.packet,
                        &headers,
                        &sample.offload,
                        &mut random,
                    );
                }
                Parsed::Ipv6(headers) if is_translated(headers.kind) => {
                    check(
                        &sample.name,
                        &sample.packet,
                        &headers,
                        &sample.offload,
                        &mut random,
                    );
                }
                Parsed::Ipv4(_) | Parsed::Ipv6(_) => {}
                refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => {
                    panic!("{}: {refused:?}", sample.name)
                }
            }
        }
    }
}

fn is_translated(kind: Kind) -> bool {
    !matches!(kind, Kind::IcmpError { .. } | Kind::Other)
}

fn ends(family: Family) -> [&'static str; 4] {
    match family {
        Family::Ipv4 => [
            "10.244.1.5:40000",
            "10.96.0.10:80",
            "10.244.0.1:61000",
            "10.244.2.9:8080",
        ],
        Family::Ipv6 => [
            "[fd00::5]:40000",
            "[fd96::a]:80",
            "[fd00::1]:61000",
            "[fd00:2::9]:8080",
        ],
    }
}

/// Translates a packet between [`ends`] from the first two to the last two.
fn translate(packet: &[u8], offload: &Offload) -> Vec<u8> {
    let mut packet = packet.to_vec();
    match parse(&packet, offload) {
        Parsed::Ipv4(headers) => {
            let to: Tuple<Ipv4Addr> = target(Family::Ipv4, headers.tuple.protocol);
            rewrite(
                &mut packet,
                &headers,
                &Rewrite::new(&headers.tuple, &to),
                offload,
            )
        }
        Parsed::Ipv6(headers) => {
            let to: Tuple<Ipv6Addr> = target(Family::Ipv6, headers.tuple.protocol);
            rewrite(
                &mut packet,
                &headers,
                &Rewrite::new(&headers.tuple, &to),
                offload,
            )
        }
        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
    }
    .expect("accepted");
    packet
}

fn target<A: Address>(family: Family, protocol: Protocol) -> Tuple<A> {
    use build::ToSocket;
    let [_, _, source, destination] = ends(family);
    let (source, destination) = (source.to_socket(), destination.to_socket());
    let tuple: Tuple<IpAddr> = Tuple {
        source: source.ip(),
        destination: destination.ip(),
        source_port: source.port(),
        destination_port: destination.port(),
        protocol,
    };
    tuple.of_family().expect("one family")
}

#[test]
fn a_translated_packet_is_the_packet_that_the_new_ends_would_have_sent() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let [client, service, source, endpoint] = ends(family);
        for protocol in Protocol::ALL {
            for len in [0, 1, 2, 3, 64, 1_459, 60_000] {
                let before = transport(protocol, client, service).payload_len(len);
                let after = transport(protocol, source, endpoint).payload_len(len);
                let none = Offload::default();
                assert_eq!(
                    translate(&before.build(), &none),
                    after.build(),
                    "{protocol} {len}"
                );
                let (before, after) = (before.partial_checksum(), after.partial_checksum());
                assert_eq!(
                    translate(&before.build(), &before.offload()),
                    after.build(),
                    "{protocol} {len}, partial"
                );
            }
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_the_same_error() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let [client, service, source, endpoint] = ends(family);
        let none = Offload::default();
        for protocol in Protocol::ALL {
            for bits in 1..=u16::MAX {
                let wrong = transport(protocol, client, service)
                    .wrong_checksum(bits)
                    .build();
                let after = translate(&wrong, &none);
                let right = transport(protocol, source, endpoint).build();
                let at = right.len() - after_checksum(protocol);
                if protocol == Protocol::Sctp {
                    // CRC32c errors are differences over GF(2).
                    let expected = transport(protocol, source, endpoint).wrong_checksum(bits);
                    assert_eq!(after, expected.build());
                    continue;
                }
                let field =
                    |packet: &[u8]| i64::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
                let before = transport(protocol, client, service).build();
                if field(&wrong) == 0 && protocol == Protocol::Udp {
                    assert_eq!(field(&after), 0, "absent, not wrong");
                    continue;
                }
                let error = (field(&wrong) - field(&before)).rem_euclid(0xffff);
                let error_after = (field(&after) - field(&right)).rem_euclid(0xffff);
                assert_eq!(error, error_after, "{protocol} {bits:#x}");
            }
        }
    }
}

/// Bytes from the checksum field to the end of a packet without payload.
fn after_checksum(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 4,
        Protocol::Udp => 2,
        // One DATA chunk of 16 bytes.
        Protocol::Sctp => 4 + 16,
    }
}

#[test]
fn an_absent_udp_checksum_stays_absent_and_none_is_made_absent() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let [client, service, source, endpoint] = ends(family);
        let none = Offload::default();
        let absent = udp(client, service).payload(b"query").without_checksum();
        let expected = udp(source, endpoint).payload(b"query").without_checksum();
        assert_eq!(translate(&absent.build(), &none), expected.build());
        let mut seen_ones = 0;
        for word in 0..=u16::MAX {
            let before = udp(client, service).payload(&word.to_be_bytes()).build();
            let after = translate(&before, &none);
            let expected = udp(source, endpoint).payload(&word.to_be_bytes()).build();
            assert_eq!(after, expected);
            let field = [after[after.len() - 4], after[after.len() - 3]];
            assert_ne!(field, [0, 0]);
            seen_ones += u32::from(field == [0xff, 0xff]);
        }
        assert!(seen_ones > 0, "some payload sums to zero");
    }
}

#[test]
fn sctp_fragments_keep_their_ports_or_are_refused() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let [client, service, ..] = ends(family);
        let whole = transport(Protocol::Sctp, client, service).payload_len(200);
        let first = whole.fragments(64).swap_remove(0);
        let none = Offload::default();
        let (addresses_only, ports_too) = match parse(&first, &none) {
            Parsed::Ipv4(headers) => both(&first, &headers),
            Parsed::Ipv6(headers) => both(&first, &headers),
            refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
        };
        assert_eq!(ports_too, Err(DropReason::FragmentUntranslatable));
        assert_eq!(addresses_only, Ok(()));
    }
}

/// What comes of a change of addresses only, and of ports too.
type Outcomes = (Result<(), DropReason>, Result<(), DropReason>);

fn both<A: Address>(packet: &[u8], headers: &Headers<A>) -> Outcomes {
    let mut random = Random(7);
    let ports_too = another(&headers.tuple, &mut random);
    let addresses_only = Tuple {
        source_port: headers.tuple.source_port,
        destination_port: headers.tuple.destination_port,
        ..ports_too
    };
    let none = Offload::default();
    let outcome = |to: &Tuple<A>| {
        let mut bytes = packet.to_vec();
        let result = rewrite(
            &mut bytes,
            headers,
            &Rewrite::new(&headers.tuple, to),
            &none,
        );
        assert!(result.is_ok() || bytes == packet, "refused and yet written");
        result
    };
    (outcome(&addresses_only), outcome(&ports_too))
}

#[test]
fn a_tunnels_inner_partial_checksum_leaves_the_outer_one_complete() {
    let inner = build::tcp("192.168.0.1:1", "192.168.0.2:2")
        .payload_len(50)
        .partial_checksum();
    let vxlan = udp("10.244.1.5:40000", "10.96.0.10:80").payload(&inner.build());
    let offload = Offload {
        flags: offload_flags::PARTIAL,
        checksum_start: 28 + 20,
        checksum_offset: 16,
        ..Offload::default()
    };
    let after = translate(&vxlan.build(), &offload);
    let expected = udp("10.244.0.1:61000", "10.244.2.9:8080").payload(&inner.build());
    assert_eq!(after, expected.build());
}

#[test]
fn a_packet_other_than_the_parsed_one_is_refused_and_left_alone() {
    let packet = udp("10.0.0.1:1", "10.0.0.2:2").payload_len(30).build();
    let headers = super::v4(&packet);
    let to = Rewrite::new(&headers.tuple, &headers.tuple.reverse());
    for len in 0..28 {
        let mut short = packet[..len].to_vec();
        let result = rewrite(&mut short, &headers, &to, &Offload::default());
        assert_eq!(result, Err(DropReason::MalformedTruncated), "{len}");
        assert_eq!(short, packet[..len]);
    }
}

#[test]
fn a_completed_checksum_is_the_one_that_the_sender_would_have_computed() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let [client, service, ..] = ends(family);
        for protocol in Protocol::ALL {
            for len in [0, 1, 7, 64, 1_399, 9_000] {
                let builder = transport(protocol, client, service)
                    .payload_len(len)
                    .trailing(&[0xaa; 5]);
                let partial = builder.clone().partial_checksum();
                let (mut packet, mut offload) = (partial.build(), partial.offload());
                assert!(complete_checksum(&mut packet, protocol, &mut offload));
                assert_eq!(offload.flags, 0);
                assert_eq!(packet, builder.build(), "{protocol} {len}");
                assert!(complete_checksum(&mut packet, protocol, &mut offload));
                assert_eq!(packet, builder.build(), "nothing left to complete");
            }
            let partial = transport(protocol, client, service).partial_checksum();
            let whole = partial.build();
            for len in 0..whole.len() {
                let mut short = whole[..len].to_vec();
                let mut offload = partial.offload();
                assert!(
                    !complete_checksum(&mut short, protocol, &mut offload),
                    "{len}"
                );
                assert_eq!(short, whole[..len]);
            }
        }
    }
}
