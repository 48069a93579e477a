//! A keyed hash of a few cycles for keys of a few words.
//!
//! Whoever picks addresses and ports must not be able to pick buckets. The compression is NH (Black et al.,
//! UMAC, CRYPTO 1999) on 64-bit words: the sum of products of pairs of key-shifted words, which for any two
//! different inputs collides with probability 2^-64 over the key; its 128 bits are then folded and mixed
//! with more key, so that both the high bits (bucket) and the low bits (tag) depend on everything.
//! The key comes from the seed that the host gives; it must come from a good source and stay secret.

/// The key of one table.
#[derive(Clone, Copy)]
pub struct HashKey {
    words: [u64; 6],
    finish: [u64; 2],
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// Steps a seed to the next of a sequence of independent 64-bit numbers (`SplitMix64`, Steele et al. 2014).
#[must_use]
pub const fn next_seed(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl HashKey {
    /// The key that follows from `seed`; `purpose` tells tables apart that share a seed.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the seed's halves are used separately"
    )]
    pub const fn new(seed: u128, purpose: u64) -> Self {
        // The purpose goes through the mixer first, so that no seed's half can cancel it.
        let mut salt = purpose ^ 0xa076_1d64_78bd_642f;
        let (mut low, mut high) = (seed as u64, (seed >> 64) as u64 ^ next_seed(&mut salt));
        let mut words = [0; 6];
        let mut index = 0;
        while index < words.len() {
            words[index] = next_seed(&mut low) ^ next_seed(&mut high);
            index += 1;
        }
        let finish = [
            next_seed(&mut low) ^ next_seed(&mut high) | 1,
            next_seed(&mut low) ^ next_seed(&mut high) | 1,
        ];
        Self { words, finish }
    }

    /// The hash of two words.
    #[inline(always)]
    #[must_use]
    pub const fn hash2(&self, a: u64, b: u64) -> u64 {
        let [k0, k1, ..] = self.words;
        self.fold(product(a.wrapping_add(k0), b.wrapping_add(k1)))
    }

    /// The hash of six words.
    #[inline]
    #[must_use]
    pub const fn hash6(&self, words: [u64; 6]) -> u64 {
        let [k0, k1, k2, k3, k4, k5] = self.words;
        let [a, b, c, d, e, f] = words;
        let sum = product(a.wrapping_add(k0), b.wrapping_add(k1))
            .wrapping_add(product(c.wrapping_add(k2), d.wrapping_add(k3)))
            .wrapping_add(product(e.wrapping_add(k4), f.wrapping_add(k5)));
        self.fold(sum)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are folded")]
    const fn fold(&self, sum: u128) -> u64 {
        let [f0, f1] = self.finish;
        let mixed = product((sum as u64) ^ f0, ((sum >> 64) as u64).wrapping_add(f1));
        (mixed as u64) ^ ((mixed >> 64) as u64)
    }
}

#[inline]
const fn product(a: u64, b: u64) -> u128 {
    (a as u128).wrapping_mul(b as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_field_apart_spread_evenly_over_buckets_and_tags() {
        let key = HashKey::new(7, 0);
        let mut buckets = [0_u32; 256];
        let mut tags = [0_u32; 256];
        for word in 0..65_536_u64 {
            let hash = key.hash2(word << 16, 80);
            buckets[(hash >> 56) as usize] += 1;
            tags[(hash & 0xff) as usize] += 1;
        }
        // 256 expected in each; six standard deviations are 96.
        for count in buckets.iter().chain(&tags) {
            assert!(
                (160..=352).contains(count),
                "{count} of 65,536 keys in one of 256"
            );
        }
    }

    #[test]
    fn the_seed_and_the_purpose_both_change_the_hash() {
        let hashes = [
            HashKey::new(1, 0),
            HashKey::new(2, 0),
            HashKey::new(1, 1),
            HashKey::new(1 << 64, 0),
        ]
        .map(|key| key.hash6([1, 2, 3, 4, 5, 6]));
        for (position, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..position].contains(hash));
        }
    }
}
