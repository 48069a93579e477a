//! Where ClusterIPs lie that no ServiceCIDR covers: most packets that are not ours end at this question.

/// How many there are of one family, and between which addresses, as [`crate::net::Address::to_words`] writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClusterIps {
    count: u32,
    first: u128,
    last: u128,
}

impl ClusterIps {
    pub(super) const NONE: Self = Self {
        count: 0,
        first: u128::MAX,
        last: 0,
    };

    /// May the address be one?
    #[inline]
    pub(super) const fn may_hold(&self, address: [u64; 2]) -> bool {
        let number = number(address);
        self.first <= number && number <= self.last
    }

    pub(super) const fn add(&mut self, address: [u64; 2]) {
        let number = number(address);
        self.count = self.count.saturating_add(1);
        if number < self.first {
            self.first = number;
        }
        if number > self.last {
            self.last = number;
        }
    }

    /// One is gone; the span shrinks only when all are.
    pub(super) const fn remove(&mut self) {
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            *self = Self::NONE;
        }
    }
}

const fn number([high, low]: [u64; 2]) -> u128 {
    ((high as u128) << 64) | low as u128
}
