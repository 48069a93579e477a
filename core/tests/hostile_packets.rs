//! Ten million damaged packets through everything that the packet layer does: a verdict each, no panic, and nothing
//! accepted that does not lie inside its slice.
//!
//! `PORTOLAN_SEED` chooses other packets; a failure prints the packet.
#![allow(missing_docs, reason = "an integration test has no public items")]

use portolan::net::Address;
use portolan::packet::build::Mutator;
use portolan::packet::{
    ErrorRewrite, Headers, Kind, Offload, Parsed, Rewrite, SctpChunk, TcpSegment, parse,
    port_unreachable, rewrite, rewrite_error, tcp_reset,
};

const PACKETS: usize = 10_000_000;

#[test]
fn ten_million_mutations_get_a_verdict_each() {
    let seed = std::env::var("PORTOLAN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(20_251_122);
    let mut counts = [0_u64; 4];
    for (packet, offload) in Mutator::new(seed).take(PACKETS) {
        let kind = match parse(&packet, &offload) {
            Parsed::Ipv4(headers) => exercise(&packet, &headers, &offload, seed),
            Parsed::Ipv6(headers) => exercise(&packet, &headers, &offload, seed),
            Parsed::NotOurs => 2,
            Parsed::Malformed(_) => 3,
        };
        counts[kind] += 1;
    }
    println!("translated, other, not ours, malformed: {counts:?}");
    assert!(counts.iter().all(|&count| count > 1_000), "{counts:?}");
}

/// Translates there and back, and answers. Gives 0 if the packet was translated.
fn exercise<A: Address>(
    packet: &[u8],
    headers: &Headers<A>,
    offload: &Offload,
    seed: u64,
) -> usize {
    let what = || format!("seed {seed}, {offload:?}: {packet:02x?}");
    let end = headers.end as usize;
    assert!(end <= packet.len(), "{}", what());
    assert!(usize::from(headers.transport) <= end, "{}", what());
    let to = headers.tuple.reverse();
    let mut frame = packet.to_vec();
    let translated = match headers.kind {
        Kind::IcmpError { .. } => {
            let (source, destination) = headers.addresses(packet);
            let error = ErrorRewrite {
                source: destination,
                destination: source,
                quoted: to,
            };
            rewrite_error(&mut frame, headers, &error).is_ok()
        }
        Kind::Whole | Kind::FirstFragment { .. } | Kind::LaterFragment { .. } => rewrite(
            &mut frame,
            headers,
            &Rewrite::new(&headers.tuple, &to),
            offload,
        )
        .is_ok(),
        Kind::Other => false,
    };
    assert_eq!(frame[end..], packet[end..], "{}", what());
    if translated {
        // What was accepted is accepted again: translation makes no packet malformed.
        let again = parse(&frame, offload);
        assert!(
            matches!(again, Parsed::Ipv4(_) | Parsed::Ipv6(_)),
            "{}",
            what()
        );
    }
    let segment = TcpSegment::read(packet, headers);
    assert!(
        segment.is_none_or(|segment| segment.payload_len <= headers.end),
        "{}",
        what()
    );
    let _ = SctpChunk::read(packet, headers);
    let mut frame = packet.to_vec();
    let answer = tcp_reset(&mut frame, headers).or_else(|| {
        frame.copy_from_slice(packet);
        port_unreachable(&mut frame, headers)
    });
    if let Some(len) = answer {
        let answer = portolan::packet::build::verify(&frame[..len as usize]);
        assert_eq!(answer, Ok(()), "{}", what());
    }
    usize::from(!translated)
}
