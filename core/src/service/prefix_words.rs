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

    #[inline]
    pub(super) fn contains(&self, address: [u64; 2]) -> bool {
        let [high, low] = address;
        let [prefix_high, prefix_low] = self.words;
        let low_len = self.len.saturating_sub(64);
        let high_mask = u64::MAX
            .checked_shl(64_u32.saturating_sub(self.len))
            .unwrap_or(0);
        let low_mask = u64::MAX
            .checked_shl(64_u32.saturating_sub(low_len))
            .unwrap_or(0);
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
