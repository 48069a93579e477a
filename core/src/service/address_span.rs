//! Between which addresses something lies: two comparisons that settle most questions.

use crate::net::{Address, Family};

/// From the first address to the last, both included; of one family, as [`Address::to_words`] writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressSpan {
    first: [u64; 2],
    last: [u64; 2],
}

impl AddressSpan {
    pub(super) const NONE: Self = Self {
        first: [u64::MAX; 2],
        last: [0; 2],
    };

    /// Widens the span by the addresses from `first` to `last`.
    pub(super) fn add(&mut self, first: [u64; 2], last: [u64; 2]) {
        self.first = self.first.min(first);
        self.last = self.last.max(last);
    }

    #[inline]
    pub(super) fn holds<A: Address>(&self, address: A) -> bool {
        let words = address.to_words();
        let ([_, first], [_, low], [_, last]) = (self.first, words, self.last);
        match A::FAMILY {
            Family::Ipv4 => first <= low && low <= last,
            Family::Ipv6 => self.first <= words && words <= self.last,
        }
    }
}
