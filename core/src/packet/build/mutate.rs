//! Damaged packets without end, the same for the same seed.

use super::{Sample, samples};
use crate::packet::{Offload, checksum};
use alloc::vec::Vec;

/// Bytes that headers treat specially.
const TELLING: [u8; 8] = [0, 1, 4, 5, 6, 0x7f, 0x80, 0xff];

/// Takes a sample and damages it: bits, bytes, length, offload fields, one to four times. Half of the IPv4
/// packets get their header checksum repaired, so that damage reaches what lies behind it.
#[derive(Debug, Clone)]
pub struct Mutator {
    samples: Vec<Sample>,
    state: u64,
}

impl Mutator {
    /// Starts from `seed`. Samples longer than 400 bytes are left out: they would only be copied.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut samples = samples();
        samples.retain(|sample| sample.packet.len() <= 400);
        Self {
            samples,
            state: seed,
        }
    }

    fn random(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.random() % bound.max(1) as u64) as usize
    }

    fn damage(&mut self, packet: &mut Vec<u8>, offload: &mut Offload) {
        let at = self.below(packet.len());
        match self.below(5) {
            0 => packet[at] ^= 1 << self.below(8),
            1 => packet[at] = TELLING[self.below(TELLING.len())],
            2 => packet.truncate(at + 1),
            3 => packet[at] = self.random() as u8,
            _ => {
                offload.flags = self.random() as u8 & 3;
                offload.gso_type = [0, 1, 3, 4, 5, 0x81][self.below(6)];
                offload.gso_size = [0, 1, 536, u16::MAX][self.below(4)];
                offload.checksum_start = self.below(120) as u16;
                offload.checksum_offset = [6, 8, 16, u16::MAX][self.below(4)];
            }
        }
    }
}

impl Iterator for Mutator {
    type Item = (Vec<u8>, Offload);

    /// Never ends.
    fn next(&mut self) -> Option<Self::Item> {
        let chosen = self.below(self.samples.len());
        let sample = &self.samples[chosen];
        let (mut packet, mut offload) = (sample.packet.clone(), sample.offload);
        for _ in 0..=self.below(4) {
            self.damage(&mut packet, &mut offload);
        }
        if self.below(2) == 0 {
            repair_header_checksum(&mut packet);
        }
        Some((packet, offload))
    }
}

/// Makes the IPv4 header checksum right where there is a header.
fn repair_header_checksum(packet: &mut [u8]) {
    let Some(first) = packet.first() else { return };
    let len = usize::from(first & 15) * 4;
    if first >> 4 == 4 && (20..=packet.len()).contains(&len) {
        packet[10..12].fill(0);
        let sum = checksum(&packet[..len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}
