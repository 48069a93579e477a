//! One packet of each kind that the parser knows, for tests that go through all of them.

use super::{Builder, icmp, port_unreachable, sctp, tcp, too_big, transport, udp};
use crate::net::Protocol;
use crate::packet::{Offload, tcp_flags};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A packet that the parser accepts.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What it is.
    pub name: String,
    /// The packet.
    pub packet: Vec<u8>,
    /// The offload fields that go with it.
    pub offload: Offload,
}

/// The two ends of every sample of a family.
const ENDS: [(&str, &str, &str); 2] = [
    ("IPv4", "10.244.1.5:40000", "10.96.0.10:80"),
    ("IPv6", "[fd00:10:244:1::5]:40000", "[fd00:10:96::a]:80"),
];

/// One of each kind, both families.
#[must_use]
pub fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (family, client, service) in ENDS {
        let mut add = |name: &str, builder: &Builder| {
            samples.push(Sample {
                name: format!("{family} {name}"),
                packet: builder.build(),
                offload: builder.offload(),
            });
        };
        for protocol in Protocol::ALL {
            let plain = transport(protocol, client, service).payload_len(37);
            add(&format!("{protocol}"), &plain);
            add(
                &format!("{protocol}, IPv4 options or IPv6 extensions"),
                &decorated(plain.clone()),
            );
            let quote = plain.build();
            let error = port_unreachable(plain.destination.ip(), plain.source.ip(), &quote);
            add(&format!("port unreachable about {protocol}"), &error);
            let short = quote.get(..quote.len() - 37).unwrap_or(&quote);
            let error = too_big(plain.destination.ip(), plain.source.ip(), 1_400, short);
            add(&format!("too big about {protocol}, headers only"), &error);
            let error = too_big(
                plain.destination.ip(),
                plain.source.ip(),
                1_400,
                &decorated(plain).build(),
            );
            add(&format!("too big about {protocol} with options"), &error);
        }
        add("SYN", &tcp(client, service).syn());
        add(
            "SYN with data, partial checksum",
            &tcp(client, service)
                .syn()
                .payload(b"early")
                .partial_checksum(),
        );
        add(
            "segmented",
            &tcp(client, service).payload_len(5_000).segmented(1_400),
        );
        add(
            "segmented UDP",
            &udp(client, service).payload_len(5_000).segmented(1_200),
        );
        add(
            "UDP without checksum",
            &udp(client, service).payload(b"q").without_checksum(),
        );
        add("SCTP INIT", &sctp(client, service).init(0xfeed_beef));
        add(
            "RST",
            &tcp(client, service).flags(tcp_flags::RST | tcp_flags::ACK),
        );
        let quote = tcp(client, service).build();
        let ends = tcp(client, service);
        let (parameter, redirect) = if family == "IPv4" { (12, 5) } else { (4, 137) };
        add(
            "parameter problem",
            &icmp(ends.destination.ip(), ends.source.ip(), parameter, 0).payload(&quote),
        );
        add(
            "redirect",
            &icmp(ends.destination.ip(), ends.source.ip(), redirect, 0).payload(&quote),
        );
        add(
            "echo",
            &super::echo(ends.source.ip(), ends.destination.ip()),
        );
        add(
            "link padding",
            &udp(client, service).payload(b"q").trailing(&[0; 18]),
        );
        for protocol in Protocol::ALL {
            let whole = transport(protocol, client, service).payload_len(100);
            for (n, packet) in whole.fragments(64).into_iter().enumerate() {
                samples.push(Sample {
                    name: format!("{family} fragment {n} of {protocol}"),
                    packet,
                    offload: Offload::default(),
                });
            }
        }
    }
    samples
}

/// IPv4 options, or each IPv6 extension header that is skipped; the other family's are left out when built.
fn decorated(builder: Builder) -> Builder {
    if builder.source.is_ipv4() {
        return builder.ipv4_options(&[7, 7, 4, 0, 0, 0, 0]);
    }
    builder
        .hop_by_hop()
        .destination_options()
        .routing(0)
        .authentication()
        .atomic_fragment()
        .destination_options()
}
