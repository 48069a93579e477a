//! A prefix ready to be compared with the words of an address.

use crate::net::{Address, Family, Prefix};
use core::net::IpAddr;

/// A prefix of one family, as [`Address::to_words`] writes addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PrefixWords {
    words: [u64; 2],
    /// Leading bits that must be equal, of 128; an IPv4 prefix counts the 96 bits that are always zero.
    len: u32,
}

impl PrefixWords {
    pub(super) fn new(prefix: Prefix) -> Self {
        let len = u32::from(prefix.len());
        Self {
            words: words(prefix.address()),
            len: match Family::of(prefix.address()) {
                Family::Ipv4 => len.saturating_add(96),
                Family::Ipv6 => len,
            },
        }
    }

    /// The first address and the last.
    pub(super) fn ends(&self) -> [[u64; 2]; 2] {
        let [high, low] = self.words;
        let [high_mask, low_mask] = self.masks();
        [
            [high & high_mask, low & low_mask],
            [high | !high_mask, low | !low_mask],
        ]
    }

    #[inline]
    fn masks(&self) -> [u64; 2] {
        let low_len = self.len.saturating_sub(64);
        let high = u64::MAX.checked_shl(64_u32.saturating_sub(self.len));
        let low = u64::MAX.checked_shl(64_u32.saturating_sub(low_len));
        [high.unwrap_or(0), low.unwrap_or(0)]
    }

    #[inline]
    pub(super) fn contains(&self, address: [u64; 2]) -> bool {
        let [high, low] = address;
        let [prefix_high, prefix_low] = self.words;
        let [high_mask, low_mask] = self.masks();
        (high ^ prefix_high) & high_mask == 0 && (low ^ prefix_low) & low_mask == 0
    }
}

/// The words of an address of either family.
pub(super) fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => v4.to_words(),
        IpAddr::V6(v6) => v6.to_words(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_its_ends_and_not_their_neighbours() {
        for (address, len) in [
            ("10.96.0.0", 12),
            ("0.0.0.0", 0),
            ("10.0.0.1", 32),
            ("fd00::", 8),
            ("fd00:1:2:3:4::", 72),
            ("::1", 128),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let prefix = PrefixWords::new(Prefix::new(address, len).expect("a prefix"));
            let [first, last] = prefix.ends();
            assert!(prefix.contains(first) && prefix.contains(last));
            let [first, last] =
                [first, last].map(|[high, low]| u128::from(high) << 64 | u128::from(low));
            let words = |number: u128| [(number >> 64) as u64, number as u64];
            let before = first.checked_sub(1).map(words);
            let after = last.checked_add(1).map(words);
            for neighbour in [before, after].into_iter().flatten() {
                assert!(!prefix.contains(neighbour), "{address}/{len}");
            }
        }
    }
}
