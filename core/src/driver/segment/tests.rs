//! Every segment is checked with smoltcp's parser and checksums, so a mistake is not made twice.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

use super::*;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

const V4: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
    IpAddr::V4(Ipv4Addr::new(10, 200, 0, 7)),
];
const V6: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xffff, 0, 0, 0, 0, 0, 9)),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// With flags.
    Tcp(u8),
    Udp,
}

fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(at).wrapping_add(at >> 8) % 251) as u8)
        .collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A packet as a kernel hands it over: a partial checksum, and to be cut into segments of `gso_size` unless that
/// is zero. TCP has 12 bytes of options; IPv4 has 4; IPv6 has a destination options header.
fn packet(addresses: [IpAddr; 2], kind: Kind, len: usize, gso_size: u16) -> (Vec<u8>, Offload) {
    let ipv4 = addresses[0].is_ipv4();
    let payload = payload(len);
    let mut transport = Vec::new();
    transport.extend_from_slice(&[0x9c, 0x40, 0x00, 0x50]);
    let protocol = match kind {
        Kind::Tcp(flags) => {
            transport.extend_from_slice(&[0xff, 0xff, 0xff, 0x00, 0, 0, 0, 1, 0x80, flags]);
            transport.extend_from_slice(&[0x10, 0, 0, 0, 0, 0]);
            transport.extend_from_slice(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
            6
        }
        Kind::Udp => {
            transport.extend_from_slice(&((len + 8) as u16).to_be_bytes());
            transport.extend_from_slice(&[0, 0]);
            17
        }
    };
    let header_len = transport.len();
    transport.extend_from_slice(&payload);
    let mut packet = if ipv4 {
        let total = (24 + transport.len()) as u16;
        let mut header = vec![0x46, 0, 0, 0, 0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header
    } else {
        let total = (8 + transport.len()) as u16;
        let mut header = vec![0x60, 0, 0, 0, 0, 0, 60, 64];
        header[4..6].copy_from_slice(&total.to_be_bytes());
        header
    };
    packet.extend_from_slice(&octets(addresses[0]));
    packet.extend_from_slice(&octets(addresses[1]));
    if ipv4 {
        packet.extend_from_slice(&[1, 1, 1, 0]);
        Ipv4Packet::new_unchecked(&mut packet).fill_checksum();
    } else {
        packet.extend_from_slice(&[protocol, 0, 1, 4, 0, 0, 0, 0]);
    }
    let start = packet.len();
    packet.extend_from_slice(&transport);
    let field = if protocol == 6 { 16 } else { 6 };
    let mut pseudo = u64::from(protocol) + transport.len() as u64;
    for pair in [octets(addresses[0]), octets(addresses[1])]
        .concat()
        .chunks(2)
    {
        pseudo += u64::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while pseudo > 0xffff {
        pseudo = (pseudo >> 16) + (pseudo & 0xffff);
    }
    packet[start + field..start + field + 2].copy_from_slice(&(pseudo as u16).to_be_bytes());
    let gso_type = match (gso_size, kind, ipv4) {
        (0, ..) => gso_type::NONE,
        (_, Kind::Udp, _) => gso_type::UDP_SEGMENTATION,
        (_, Kind::Tcp(_), true) => gso_type::TCP_IPV4,
        (_, Kind::Tcp(_), false) => gso_type::TCP_IPV6,
    };
    let offload = Offload {
        flags: offload_flags::PARTIAL,
        gso_type,
        header_len: (start + header_len) as u16,
        gso_size,
        checksum_start: start as u16,
        checksum_offset: field as u16,
        reserved: 0,
    };
    (packet, offload)
}

/// The transport message of a packet of [`packet`]'s shape, if its network header is right.
fn message(packet: &[u8], addresses: [IpAddr; 2]) -> Vec<u8> {
    if addresses[0].is_ipv4() {
        let ip = Ipv4Packet::new_checked(packet).expect("an IPv4 packet");
        assert!(ip.verify_checksum(), "IPv4 header checksum");
        assert_eq!(usize::from(ip.total_len()), packet.len());
        assert_eq!(
            [IpAddr::V4(ip.src_addr()), IpAddr::V4(ip.dst_addr())],
            addresses
        );
        ip.payload().to_vec()
    } else {
        let ip = Ipv6Packet::new_checked(packet).expect("an IPv6 packet");
        assert_eq!(ip.total_len(), packet.len());
        assert_eq!(
            [IpAddr::V6(ip.src_addr()), IpAddr::V6(ip.dst_addr())],
            addresses
        );
        ip.payload()[8..].to_vec()
    }
}

fn checksum_is_right(message: &[u8], kind: Kind, [source, destination]: [IpAddr; 2]) -> bool {
    let (source, destination) = (source.into(), destination.into());
    match kind {
        Kind::Tcp(_) => TcpPacket::new_checked(message)
            .expect("a TCP segment")
            .verify_checksum(&source, &destination),
        Kind::Udp => {
            let udp = UdpPacket::new_checked(message).expect("a UDP datagram");
            assert_ne!(udp.checksum(), 0, "zero would mean no checksum");
            assert_eq!(usize::from(udp.len()), message.len());
            udp.verify_checksum(&source, &destination)
        }
    }
}

fn segments(packet: &[u8], offload: &Offload) -> Vec<Vec<u8>> {
    let mut buffer = vec![0xaa; packet.len()];
    let mut segments = Segments::new(packet, offload, &mut buffer).expect("segments");
    let mut all = Vec::new();
    while let Some(segment) = segments.next_segment() {
        all.push(segment.to_vec());
    }
    all
}

#[test]
fn segments_put_together_are_the_packet_and_each_is_right() {
    for addresses in [V4, V6] {
        for kind in [Kind::Tcp(ACK | PSH | FIN | CWR), Kind::Udp] {
            for (len, gso_size) in [
                (1, 1400),
                (1400, 1400),
                (1401, 1400),
                (60_001, 1399),
                (4000, 3),
                (777, 776),
            ] {
                let (packet, offload) = packet(addresses, kind, len, gso_size);
                let all = segments(&packet, &offload);
                let case = (addresses, kind, len, gso_size);
                assert_eq!(all.len(), len.div_ceil(usize::from(gso_size)), "{case:?}");
                let mut rebuilt = Vec::new();
                for (index, segment) in all.iter().enumerate() {
                    let message = message(segment, addresses);
                    assert!(
                        checksum_is_right(&message, kind, addresses),
                        "{case:?} {index}"
                    );
                    if kind == Kind::Udp {
                        rebuilt.extend_from_slice(&message[8..]);
                        continue;
                    }
                    let tcp = TcpPacket::new_checked(&message).expect("a TCP segment");
                    let sequence = 0xffff_ff00_u32.wrapping_add(rebuilt.len() as u32);
                    assert_eq!(tcp.seq_number().0 as u32, sequence, "{case:?} {index}");
                    let last = index + 1 == all.len();
                    assert_eq!((tcp.fin(), tcp.psh()), (last, last), "{case:?} {index}");
                    assert_eq!(
                        (tcp.ack(), tcp.cwr()),
                        (true, index == 0),
                        "{case:?} {index}"
                    );
                    assert_eq!(tcp.options(), &message[20..32]);
                    rebuilt.extend_from_slice(tcp.payload());
                }
                assert!(rebuilt == payload(len), "{case:?}");
            }
        }
    }
}

#[test]
fn ipv4_segments_are_numbered_on() {
    let (packet, offload) = packet(V4, Kind::Udp, 4000, 1000);
    let numbers: Vec<u16> = segments(&packet, &offload)
        .iter()
        .map(|segment| {
            Ipv4Packet::new_checked(segment)
                .expect("an IPv4 packet")
                .ident()
        })
        .collect();
    assert_eq!(numbers, [0xfffe, 0xffff, 0, 1]);
}

#[test]
fn a_partial_checksum_is_completed() {
    for addresses in [V4, V6] {
        for kind in [Kind::Tcp(ACK), Kind::Udp] {
            for len in [0, 1, 2, 3, 1399, 65_000] {
                let (mut packet, mut offload) = packet(addresses, kind, len, 0);
                assert_eq!(complete_checksum(&mut packet, &mut offload), Ok(()));
                assert_eq!(offload, Offload::default());
                let message = message(&packet, addresses);
                assert!(
                    checksum_is_right(&message, kind, addresses),
                    "{kind:?} {len}"
                );
            }
        }
    }
}

#[test]
fn a_complete_checksum_is_left_alone() {
    let (mut packet, _) = packet(V4, Kind::Udp, 100, 0);
    let before = packet.clone();
    let mut valid = Offload {
        flags: offload_flags::VALID,
        ..Offload::default()
    };
    assert_eq!(complete_checksum(&mut packet, &mut valid), Ok(()));
    assert_eq!(packet, before);
}

#[test]
fn offload_fields_that_contradict_the_packet_are_refused() {
    let (bytes, good) = packet(V4, Kind::Tcp(ACK), 3000, 1000);
    let malformed = SegmentError::Malformed;
    let cases: [(&str, Offload, SegmentError); 11] = [
        (
            "no size",
            Offload {
                gso_size: 0,
                ..good
            },
            malformed,
        ),
        (
            "one byte each",
            Offload {
                gso_size: 1,
                ..good
            },
            SegmentError::TooManySegments,
        ),
        (
            "not partial",
            Offload { flags: 0, ..good },
            SegmentError::NotPartial,
        ),
        (
            "other family",
            Offload {
                gso_type: gso_type::TCP_IPV6,
                ..good
            },
            malformed,
        ),
        (
            "other protocol",
            Offload {
                gso_type: 5,
                ..good
            },
            malformed,
        ),
        (
            "fragmentation",
            Offload {
                gso_type: 3,
                ..good
            },
            malformed,
        ),
        (
            "no type",
            Offload {
                gso_type: 0,
                ..good
            },
            SegmentError::Type,
        ),
        (
            "in the options",
            Offload {
                checksum_start: 20,
                ..good
            },
            malformed,
        ),
        (
            "behind the end",
            Offload {
                checksum_start: 65_535,
                ..good
            },
            malformed,
        ),
        (
            "other field",
            Offload {
                checksum_offset: 6,
                ..good
            },
            malformed,
        ),
        (
            "field far away",
            Offload {
                checksum_offset: 65_535,
                ..good
            },
            malformed,
        ),
    ];
    for (name, offload, error) in cases {
        let mut buffer = vec![0; bytes.len()];
        assert_eq!(
            Segments::new(&bytes, &offload, &mut buffer).err(),
            Some(error),
            "{name}"
        );
    }
    let mut short = vec![0; 100];
    assert_eq!(
        Segments::new(&bytes, &good, &mut short).err(),
        Some(SegmentError::Buffer)
    );
}

#[test]
fn no_truncation_and_no_mutation_makes_it_panic() {
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for addresses in [V4, V6] {
        for kind in [Kind::Tcp(ACK), Kind::Udp] {
            let (bytes, good) = packet(addresses, kind, 200, 48);
            for end in 0..bytes.len() {
                exhaust(&bytes[..end], &good);
            }
            for _ in 0..20_000 {
                let (mut bytes, mut offload) = (bytes.clone(), good);
                for _ in 0..random() % 4 {
                    let at = random() % bytes.len().min(64);
                    bytes[at] = random() as u8;
                }
                match random() % 5 {
                    0 => offload.checksum_start = random() as u16,
                    1 => offload.checksum_offset = random() as u16,
                    2 => offload.gso_size = random() as u16 % 300,
                    3 => offload.gso_type = random() as u8,
                    _ => offload.flags = random() as u8,
                }
                bytes.truncate(random() % (bytes.len() + 1));
                exhaust(&bytes, &offload);
            }
        }
    }
}

/// Takes all the segments there are, and completes the checksum of a copy.
fn exhaust(packet: &[u8], offload: &Offload) {
    let mut buffer = vec![0; packet.len()];
    if let Ok(mut segments) = Segments::new(packet, offload, &mut buffer) {
        let mut count = 0_usize;
        while segments.next_segment().is_some() {
            count += 1;
        }
        assert!(count <= MAX_SEGMENTS);
    }
    let mut copy = packet.to_vec();
    if complete_checksum(&mut copy, &mut offload.clone()).is_err() {
        assert_eq!(copy, packet, "a refused packet is left as it was");
    }
}
