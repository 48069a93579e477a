//! Which addresses Services ever had to do with: a mark for each, which says "never" or "perhaps".
//!
//! It is set before anything can rest on it, and never taken back: connections outlive their frontend and their
//! endpoint. A mark is two bits of a word (a Bloom filter of blocks, Putze et al. 2007), and there are sixteen for each
//! address that the table has room for: of other addresses a full table mistakes one in fifty at most. A table that has
//! seen ten times as many different addresses as it holds says "perhaps" to half of all, which is slower, never wrong.

use crate::net::Address;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Bits for each address that there is room for.
const BITS_EACH: u64 = 16;

/// The marks of both families.
#[derive(Debug)]
pub(super) struct AddressMarks {
    /// As many as a power of two, and more than one.
    words: Box<[u64]>,
    /// What leaves a word's number of a mixed address.
    shift: u32,
}

impl AddressMarks {
    const fn word_count(addresses: u64) -> u64 {
        let words = addresses.saturating_mul(BITS_EACH).div_ceil(64);
        match words.checked_next_power_of_two() {
            Some(1) => 2,
            Some(count) => count,
            None => u64::MAX,
        }
    }

    pub(super) const fn memory_bytes(addresses: u64) -> u64 {
        Self::word_count(addresses).saturating_mul(size_of::<u64>() as u64)
    }

    /// `None` if the memory cannot be had.
    pub(super) fn new(addresses: u64) -> Option<Self> {
        let count = Self::word_count(addresses);
        let mut words = Vec::new();
        words.try_reserve_exact(usize::try_from(count).ok()?).ok()?;
        words.resize(usize::try_from(count).ok()?, 0);
        Some(Self {
            words: words.into_boxed_slice(),
            shift: 64_u32.saturating_sub(count.trailing_zeros()),
        })
    }

    /// Marks an address, as [`Address::to_words`] writes it.
    pub(super) fn add(&mut self, address: [u64; 2]) {
        let (word, mark) = self.place(address);
        if let Some(word) = self.words.get_mut(word) {
            *word |= mark;
        }
    }

    /// May the address be marked? `false` is certain.
    #[inline(always)]
    pub(super) fn may_hold<A: Address>(&self, address: A) -> bool {
        let (word, mark) = self.place(address.to_words());
        self.words.get(word).is_none_or(|word| mark & !word == 0)
    }

    /// In which word an address's mark lies, and the mark. No secret goes into it: who finds addresses that share one
    /// makes packets between them cost what those between marked addresses do.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the number of a word")]
    const fn place(&self, [high, low]: [u64; 2]) -> (usize, u64) {
        // After one product neighbours lie at equal distances, as their marks do: a row of pods might be mistaken for
        // another.
        let product = (low ^ high.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (product ^ product >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mark = 1 << (mixed >> 32 & 63) | 1 << (mixed >> 38 & 63);
        (mixed.wrapping_shr(self.shift) as usize, mark)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        size_of_val(&*self.words) as u64
    }
}
