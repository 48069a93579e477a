use super::super::build::samples;
use super::super::parse::parse_any;
use super::super::{
    ErrorRewrite, Headers, Offload, Parsed, Rewrite, SctpChunk, TcpSegment, parse,
    port_unreachable, rewrite, rewrite_error, tcp_reset,
};
use super::Random;
use crate::net::Address;
use alloc::vec::Vec;

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

fn verdict(packet: &[u8], offload: &Offload) -> bool {
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
    let samples = samples();
    // Long ones would spend the time on copying.
    let samples: Vec<_> = samples
        .iter()
        .filter(|sample| sample.packet.len() < 400)
        .collect();
    let mut random = Random(0x5eed);
    let mut accepted = 0_u32;
    for round in 0..1_000_000_u32 {
        let sample = samples[random.below(samples.len())];
        let mut packet = sample.packet.clone();
        let mut offload = sample.offload;
        for _ in 0..=random.below(4) {
            let at = random.below(packet.len());
            match random.below(5) {
                0 => packet[at] ^= 1 << random.below(8),
                1 => packet[at] = [0, 1, 4, 5, 6, 0x7f, 0x80, 0xff][random.below(8)],
                2 => packet.truncate(at + 1),
                3 => packet[at] = random.next() as u8,
                _ => {
                    offload.flags = random.next() as u8 & 3;
                    offload.gso_type = [0, 1, 3, 4, 5][random.below(5)];
                    offload.checksum_start = random.below(120) as u16;
                    offload.checksum_offset = [6, 8, 16][random.below(3)];
                }
            }
        }
        if random.below(2) == 0 {
            repair_header_checksum(&mut packet);
        }
        accepted += u32::from(verdict(&packet, &offload));
        assert!(
            round < 100_000 || accepted > round / 10,
            "mutations reach behind the IP header"
        );
    }
}

/// Makes the IPv4 header checksum right, so that mutations are not all stopped by it.
fn repair_header_checksum(packet: &mut [u8]) {
    let Some(first) = packet.first() else { return };
    let len = usize::from(first & 15) * 4;
    if first >> 4 == 4 && (20..=packet.len()).contains(&len) {
        packet[10..12].fill(0);
        let sum = super::super::checksum(&packet[..len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}
