//! Tests of the packet layer that use more than one of its files.

mod agreement;
mod answer;
mod hostile;
mod icmp;
mod parse;
mod rewrite;

use super::{Headers, Offload, Parsed, parse as parse_packet};
use crate::net::Tuple;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Headers of either family, for tests that run over both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Either {
    V4(Headers<Ipv4Addr>),
    V6(Headers<Ipv6Addr>),
}

impl Either {
    fn tuple(self) -> Tuple<IpAddr> {
        match self {
            Self::V4(headers) => headers.tuple.to_ip(),
            Self::V6(headers) => headers.tuple.to_ip(),
        }
    }

    fn kind(self) -> super::Kind {
        match self {
            Self::V4(headers) => headers.kind,
            Self::V6(headers) => headers.kind,
        }
    }
}

/// The headers of a packet that must be accepted.
fn accepted(packet: &[u8], offload: &Offload) -> Either {
    match parse_packet(packet, offload) {
        Parsed::Ipv4(headers) => Either::V4(headers),
        Parsed::Ipv6(headers) => Either::V6(headers),
        refused @ (Parsed::NotOurs | Parsed::Malformed(_)) => {
            panic!("{refused:?} for {packet:02x?}")
        }
    }
}

fn plain(packet: &[u8]) -> Either {
    accepted(packet, &Offload::default())
}

fn v4(packet: &[u8]) -> Headers<Ipv4Addr> {
    match plain(packet) {
        Either::V4(headers) => headers,
        Either::V6(headers) => panic!("{headers:?}"),
    }
}

fn v6(packet: &[u8]) -> Headers<Ipv6Addr> {
    match plain(packet) {
        Either::V6(headers) => headers,
        Either::V4(headers) => panic!("{headers:?}"),
    }
}

/// Where two packets of one length differ.
fn differences(before: &[u8], after: &[u8]) -> Vec<usize> {
    assert_eq!(before.len(), after.len());
    (0..before.len())
        .filter(|&n| before[n] != after[n])
        .collect()
}

/// A small generator, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
