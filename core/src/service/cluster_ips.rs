//! Where ClusterIPs lie that no ServiceCIDR covers: most packets that are not ours end at this question.

use super::address_span::AddressSpan;

/// How many there are of one family, and between which addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClusterIps {
    count: u32,
    pub(super) span: AddressSpan,
}

impl ClusterIps {
    pub(super) const NONE: Self = Self {
        count: 0,
        span: AddressSpan::NONE,
    };

    pub(super) fn add(&mut self, address: [u64; 2]) {
        self.count = self.count.saturating_add(1);
        self.span.add(address, address);
    }

    /// One is gone; the span shrinks only when all are.
    pub(super) const fn remove(&mut self) {
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            *self = Self::NONE;
        }
    }
}
