//! The builder and the translator share checksum code, so another implementation judges both.

use super::super::build::{samples, transport};
use super::super::{Kind, Offload, Parsed, Rewrite, parse, rewrite};
use super::{Either, plain};
use crate::net::Protocol;
use core::net::IpAddr;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

fn addresses(packet: &[u8]) -> (IpAddr, IpAddr) {
    match packet[0] >> 4 {
        4 => {
            let header = Ipv4Packet::new_checked(packet).expect("an IPv4 packet");
            assert!(header.verify_checksum());
            (header.src_addr().into(), header.dst_addr().into())
        }
        _ => {
            let header = Ipv6Packet::new_checked(packet).expect("an IPv6 packet");
            (header.src_addr().into(), header.dst_addr().into())
        }
    }
}

/// Is the transport or ICMP checksum right, says smoltcp?
fn is_right(packet: &[u8], transport: u16, end: u32, kind: Kind, protocol: Protocol) -> bool {
    let (source, destination) = addresses(packet);
    let (from, to): (IpAddress, IpAddress) = (source.into(), destination.into());
    let message = &packet[usize::from(transport)..end as usize];
    match (kind, protocol, source, destination) {
        (Kind::Whole, Protocol::Tcp, ..) => {
            let segment = TcpPacket::new_checked(message).expect("a segment");
            segment.verify_checksum(&from, &to)
        }
        (Kind::Whole, Protocol::Udp, ..) => {
            let datagram = UdpPacket::new_checked(message).expect("a datagram");
            datagram.checksum() == 0 || datagram.verify_checksum(&from, &to)
        }
        (Kind::IcmpError { .. } | Kind::Other, _, IpAddr::V6(source), IpAddr::V6(destination)) => {
            let message = Icmpv6Packet::new_checked(message).expect("a message");
            message.verify_checksum(&source, &destination)
        }
        (Kind::IcmpError { .. } | Kind::Other, ..) => {
            let message = Icmpv4Packet::new_checked(message).expect("a message");
            message.verify_checksum()
        }
        (
            Kind::Whole | Kind::FirstFragment { .. } | Kind::LaterFragment { .. },
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp,
            ..,
        ) => true,
    }
}

fn judged(packet: &[u8]) -> bool {
    match plain(packet) {
        Either::V4(h) => is_right(packet, h.transport, h.end, h.kind, h.tuple.protocol),
        Either::V6(h) => is_right(packet, h.transport, h.end, h.kind, h.tuple.protocol),
    }
}

#[test]
fn another_implementation_finds_every_sample_right() {
    for sample in samples() {
        // smoltcp knows no redirect and no partial checksum.
        if sample.offload == Offload::default() && !sample.name.ends_with("redirect") {
            assert!(judged(&sample.packet), "{}", sample.name);
        }
    }
}

#[test]
fn another_implementation_finds_translated_packets_right_and_wrong_ones_wrong() {
    for (client, service) in [("10.0.0.1:1", "10.0.0.2:2"), ("[fd00::1]:1", "[fd00::2]:2")] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for len in 0..300 {
                let builder = transport(protocol, client, service).payload_len(len);
                for (builder, right) in
                    [(builder.clone(), true), (builder.wrong_checksum(1), false)]
                {
                    let mut packet = builder.build();
                    match parse(&packet, &Offload::default()) {
                        Parsed::Ipv4(headers) => {
                            let mut to = headers.tuple.reverse();
                            to.source_port = 40_000;
                            let to = Rewrite::new(&headers.tuple, &to);
                            rewrite(&mut packet, &headers, &to, &Offload::default())
                        }
                        Parsed::Ipv6(headers) => {
                            let mut to = headers.tuple.reverse();
                            to.source_port = 40_000;
                            let to = Rewrite::new(&headers.tuple, &to);
                            rewrite(&mut packet, &headers, &to, &Offload::default())
                        }
                        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => panic!("{refused:?}"),
                    }
                    .expect("accepted");
                    assert_eq!(judged(&packet), right, "{protocol} {len}");
                }
            }
        }
    }
}
