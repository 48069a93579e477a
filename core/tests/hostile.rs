//! Hostile packets and descriptors through whole bursts: a verdict each, no panic, nothing written outside a
//! packet's room, and nothing forwarded that was not valid.
//!
//! `cargo test --release -p portolan --features testing --test hostile` damages ten million packets; without
//! `--release` half a million. `PORTOLAN_MUTATIONS` sets another number, `PORTOLAN_SEED` other damage.

mod common;

use common::{Random, Rig, cluster_ip, config, endpoint, seed, service};
use core::net::IpAddr;
use portolan::dataplane::{
    Config, Descriptor, DropReason, Limits, Offload, Verdict, offload_flags,
};
use portolan::net::Protocol;
use portolan::packet::build::{self, Mutator};
use portolan::packet::{Parsed, parse};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A dataplane that serves what the samples ask for, so that they go the whole way.
fn rig() -> Rig {
    let plain = config();
    let mut rig = Rig::new(&Config {
        limits: Limits {
            connections_ipv4: 1 << 10,
            connections_ipv6: 1 << 10,
            fragments: 1 << 8,
            ..plain.limits
        },
        ..plain
    });
    let families = [
        ("10.96.0.10", "10.244.1.9", "10.96.0.11"),
        ("fd00:10:96::a", "fd00:10:244:1::9", "fd00:10:96::b"),
    ];
    let mut id = 0;
    for (vip, server, empty) in families {
        for protocol in Protocol::ALL {
            let servers = vec![endpoint(ip(server), 8080)];
            rig.put(
                id,
                service(protocol, vec![cluster_ip(ip(vip), 80)], servers),
            );
            rig.put(
                id + 1,
                service(protocol, vec![cluster_ip(ip(empty), 80)], vec![]),
            );
            id += 2;
        }
    }
    // Connections for what the samples' answers and errors are about.
    for sample in build::samples() {
        rig.send_with(&sample.packet, sample.offload, sample.packet.len());
    }
    rig
}

fn accepted(packet: &[u8], offload: &Offload) -> bool {
    matches!(parse(packet, offload), Parsed::Ipv4(_) | Parsed::Ipv6(_))
}

const ROOM: usize = 64;

/// Moves packets as one burst, each with a margin around it, and holds what always holds.
fn judge(rig: &mut Rig, packets: &[(Vec<u8>, Offload)], verdicts: &mut [u64; 4]) {
    let mut frames = Vec::new();
    let mut descriptors = Vec::new();
    for (packet, offload) in packets {
        frames.extend_from_slice(&[0x5a; ROOM]);
        let mut descriptor = Descriptor::new(frames.len() as u32, packet.len() as u32);
        descriptor.capacity += ROOM as u32;
        descriptor.offload = *offload;
        descriptors.push(descriptor);
        frames.extend_from_slice(packet);
        frames.extend_from_slice(&[0xa5; ROOM]);
    }
    frames.extend_from_slice(&[0x5a; ROOM]);
    let asked = descriptors.clone();
    rig.worker
        .process_burst(rig.now, &mut frames, &mut descriptors);
    for ((descriptor, asked), (packet, offload)) in descriptors.iter().zip(&asked).zip(packets) {
        let what = || format!("{descriptor:?} {packet:02x?}");
        let start = asked.offset as usize;
        let end = start + asked.capacity as usize;
        assert!(
            frames[start - ROOM..start].iter().all(|byte| *byte == 0x5a),
            "{}",
            what()
        );
        assert!(
            frames[end..end + ROOM].iter().all(|byte| *byte == 0x5a),
            "{}",
            what()
        );
        let after = &frames[start..start + descriptor.len as usize];
        let behind = &frames[start + packet.len()..end];
        verdicts[descriptor.verdict as usize] += 1;
        match descriptor.verdict() {
            Verdict::Pass | Verdict::Drop => assert_eq!(after, packet, "untouched"),
            Verdict::Forward => {
                assert!(accepted(packet, offload), "not valid: {}", what());
                assert!(accepted(after, offload), "no longer valid: {}", what());
                assert_eq!(after.len(), packet.len());
                if offload.flags & offload_flags::PARTIAL == 0 {
                    assert_eq!(build::verify(packet), build::verify(after), "{}", what());
                }
                assert!(behind.iter().all(|byte| *byte == 0xa5), "{}", what());
            }
            Verdict::Reply => {
                assert!(accepted(packet, offload), "not valid: {}", what());
                assert_eq!(build::verify(after), Ok(()), "{}", what());
                assert!(descriptor.len <= asked.capacity);
            }
        }
        let reason = descriptor.drop_reason();
        assert_eq!(
            reason.is_some(),
            descriptor.verdict() == Verdict::Drop,
            "{}",
            what()
        );
    }
}

#[test]
fn every_truncation_of_every_sample_is_dropped() {
    let mut rig = rig();
    for sample in build::samples() {
        let padding = if sample.name.ends_with("link padding") {
            18
        } else {
            0
        };
        for len in 0..sample.packet.len() - padding {
            let moved = rig.send_with(&sample.packet[..len], sample.offload, len);
            assert_eq!(moved.verdict, Verdict::Drop, "{} cut to {len}", sample.name);
        }
    }
}

#[test]
fn every_lying_length_gets_a_verdict() {
    let mut rig = rig();
    let mut verdicts = [0; 4];
    for sample in build::samples()
        .iter()
        .filter(|sample| sample.packet.len() < 400)
    {
        let at = if sample.packet[0] >> 4 == 4 { 2 } else { 4 };
        let lies = (0..=u16::MAX).step_by(97).chain(0..200).map(|lie| {
            let mut packet = sample.packet.clone();
            packet[at..at + 2].copy_from_slice(&lie.to_be_bytes());
            if at == 2 {
                let header = usize::from(packet[0] & 15) * 4;
                packet[10..12].fill(0);
                let sum = portolan::packet::checksum(&packet[..header]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            (packet, sample.offload)
        });
        judge(&mut rig, &lies.collect::<Vec<_>>(), &mut verdicts);
    }
    println!("passed, forwarded, answered, dropped: {verdicts:?}");
}

#[test]
fn descriptors_out_of_range_are_dropped_and_nothing_is_written() {
    let mut rig = rig();
    let packet = build::tcp("10.244.1.5:1", "10.96.0.10:80").syn().build();
    let len = packet.len() as u32;
    let far = [
        0,
        1,
        len - 1,
        len,
        len + 1,
        u32::MAX - len,
        u32::MAX - 1,
        u32::MAX,
    ];
    for offset in far {
        for lying_len in far {
            for capacity in far {
                let mut frames = packet.clone();
                let mut descriptor = Descriptor::new(offset, lying_len);
                descriptor.capacity = capacity;
                let mut burst = [descriptor];
                rig.worker.process_burst(rig.now, &mut frames, &mut burst);
                let inside = lying_len <= capacity
                    && u64::from(offset) + u64::from(capacity) <= u64::from(len);
                if !inside {
                    assert_eq!(
                        burst[0].drop_reason(),
                        Some(DropReason::MalformedDescriptor)
                    );
                    assert_eq!(frames, packet);
                }
            }
        }
    }
    let mut none = [];
    rig.worker.process_burst(rig.now, &mut none, &mut []);
}

#[test]
fn descriptors_whose_frames_overlap_get_a_verdict_each() {
    let mut rig = rig();
    let mut random = Random(seed(11));
    let samples = build::samples();
    for _ in 0..20_000 {
        let sample = &samples[random.index(samples.len())];
        let mut frames = sample.packet.clone();
        frames.resize(frames.len() + 200, 0);
        let mut burst: Vec<_> = (0..8)
            .map(|_| {
                let offset = if random.one_in(2) {
                    0
                } else {
                    random.index(80)
                };
                let mut descriptor = Descriptor::new(offset as u32, sample.packet.len() as u32);
                descriptor.capacity = (frames.len() - offset) as u32;
                descriptor.len -=
                    (random.index(3) * random.index(20)).min(sample.packet.len()) as u32;
                descriptor.offload = sample.offload;
                descriptor.verdict = u8::MAX;
                descriptor
            })
            .collect();
        rig.worker.process_burst(rig.now, &mut frames, &mut burst);
        let last = Verdict::Drop as u8;
        assert!(burst.iter().all(|descriptor| descriptor.verdict <= last));
    }
}

#[test]
fn mutations_get_a_verdict_each_and_nothing_invalid_is_forwarded() {
    let default = if cfg!(debug_assertions) {
        500_000
    } else {
        10_000_000
    };
    let count: usize = std::env::var("PORTOLAN_MUTATIONS")
        .ok()
        .map_or(default, |text| {
            text.parse().expect("PORTOLAN_MUTATIONS is a number")
        });
    let mut rig = rig();
    let mut mutator = Mutator::new(seed(20_251_122));
    let mut verdicts = [0; 4];
    let mut left = count;
    while left > 0 {
        let packets: Vec<_> = mutator.by_ref().take(left.min(64)).collect();
        judge(&mut rig, &packets, &mut verdicts);
        left -= packets.len();
        rig.wait(core::time::Duration::from_millis(20));
    }
    println!("{count} packets: passed, forwarded, answered, dropped: {verdicts:?}");
    assert!(
        verdicts.iter().all(|seen| *seen > count as u64 / 10_000),
        "{verdicts:?}"
    );
}
