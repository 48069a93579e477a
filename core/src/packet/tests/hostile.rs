use super::super::build::{Mutator, samples};
use super::super::parse::parse_any;
use super::super::{
    ErrorRewrite, Headers, Offload, Parsed, Plain, PlainHeaders, PlainRewrite, Rewrite, SctpChunk,
    TcpSegment, parse, plain, port_unreachable, rewrite, rewrite_error, tcp_reset,
};
use crate::net::{Address, Protocol};

/// Does everything that can be done to a packet, and checks what always holds.
fn exercise<A: Address>(packet: &[u8], headers: &Headers<A>, offload: &Offload) {
    assert!(headers.end as usize <= packet.len());
    assert!(u32::from(headers.transport) <= headers.end);
    let to = Rewrite::new(&headers.tuple, &headers.tuple.reverse());
    let mut frame = packet.to_vec();
    let _ = rewrite(&mut frame, headers, &to, offload);
    let error = ErrorRewrite {
        source: headers.tuple.source,
        destination: headers.tuple.destination,
        quoted: headers.tuple.reverse(),
    };
    let _ = rewrite_error(&mut frame, headers, &error);
    let end = headers.end as usize;
    assert_eq!(frame[end..], packet[end..], "link padding is left alone");
    let _ = TcpSegment::read(packet, headers);
    let _ = SctpChunk::read(packet, headers);
    let _ = headers.martian();
    if tcp_reset(&mut frame, headers).is_none() {
        let len = port_unreachable(&mut frame, headers);
        assert!(len.is_none_or(|len| len as usize <= packet.len()));
    }
}

/// Plain packets are rewritten in a way of their own, but not otherwise.
fn exercise_plain<A: Address>(packet: &[u8], plain: &PlainHeaders<A>, offload: &Offload) {
    let headers = plain.headers();
    let turned = headers.tuple.reverse();
    let to = Rewrite::new(&headers.tuple, &turned);
    let mut frames = [packet.to_vec(), packet.to_vec()];
    let [expected, found] = &mut frames;
    assert_eq!(rewrite(expected, &headers, &to, offload), Ok(()));
    let to: PlainRewrite<A> = PlainRewrite {
        addresses: A::turned(plain.addresses),
        ports: plain.ports.turned(),
        network: to.network,
        transport: to.transport,
    };
    if let Some(mut segment) = TcpSegment::read(packet, &headers) {
        assert_eq!(plain.segment_with_options(packet), Some(segment));
        segment.window_scale = None;
        let header = PlainHeaders::<A>::bytes(found, 0).map(|(_, header)| &*header);
        let short = header.map(|header| TcpSegment::of_header(header, plain.tcp_payload));
        assert_eq!(short, Some(segment));
    }
    if to.write(found, plain).is_some() {
        assert_eq!(found, expected);
    } else {
        assert_eq!(plain.protocol, Protocol::Sctp);
        assert_eq!(found, packet);
    }
}

fn verdict(packet: &[u8], offload: &Offload) -> bool {
    match plain(packet, offload) {
        Plain::Ipv4(headers) => exercise_plain(packet, &headers, offload),
        Plain::Ipv6(headers) => exercise_plain(packet, &headers, offload),
        Plain::Not => {}
    }
    let parsed = parse(packet, offload);
    assert_eq!(
        parsed,
        parse_any(packet, offload),
        "plain packets have no law of their own"
    );
    match parsed {
        Parsed::Ipv4(headers) => exercise(packet, &headers, offload),
        Parsed::Ipv6(headers) => exercise(packet, &headers, offload),
        Parsed::NotOurs => return true,
        Parsed::Malformed(_) => return false,
    }
    true
}

#[test]
fn every_truncation_of_every_sample_is_malformed() {
    for sample in samples() {
        let padding = if sample.name.ends_with("link padding") {
            18
        } else {
            0
        };
        for len in 0..sample.packet.len() {
            assert_eq!(
                verdict(&sample.packet[..len], &sample.offload),
                len >= sample.packet.len() - padding,
                "{} cut to {len}",
                sample.name
            );
        }
    }
}

#[test]
fn a_million_mutations_get_a_verdict_each() {
    let mut accepted = 0;
    for (packet, offload) in Mutator::new(0x5eed).take(1_000_000) {
        accepted += u32::from(verdict(&packet, &offload));
    }
    assert!(
        accepted > 200_000,
        "mutations reach behind the IP header: {accepted}"
    );
}
