//! Numbers given out of a range: dynamic ones from its upper band, explicit ones from anywhere.
//!
//! Both of Kubernetes' allocators split their range: who asks for a certain number takes it from the lower, static
//! band by convention, who takes any number gets one of the upper band as long as there is one, and so the two
//! rarely meet (KEP-3070, KEP-3668).

use alloc::collections::BTreeMap;

/// Where the next search begins. Not a secret: it spreads numbers, so that a number that was just released is not
/// given to somebody else at once.
#[derive(Debug, Clone)]
pub(crate) struct Spread(u64);

impl Spread {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`; 0 if that is 0. SplitMix64 (Steele, Lea, Flood 2014).
    fn below(&mut self, bound: u128) -> u128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed ^ (mixed >> 31))
            .checked_rem(bound)
            .unwrap_or(0)
    }
}

/// A range of numbers: `[first, first + static_len)` is the static band, the rest up to `end` the dynamic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bands {
    pub(crate) first: u128,
    pub(crate) static_len: u128,
    /// One beyond the last.
    pub(crate) end: u128,
}

impl Bands {
    /// How many numbers there are.
    pub(crate) const fn len(&self) -> u128 {
        self.end.saturating_sub(self.first)
    }

    pub(crate) fn contains(&self, number: u128) -> bool {
        (self.first..self.end).contains(&number)
    }

    /// A number that is not in `taken`: of the upper band if there is one, else of the lower.
    pub(crate) fn pick<T>(&self, taken: &BTreeMap<u128, T>, spread: &mut Spread) -> Option<u128> {
        let split = self.first.saturating_add(self.static_len).min(self.end);
        free_in(split, self.end, taken, spread)
            .or_else(|| free_in(self.first, split, taken, spread))
    }
}

/// A free number of `[from, to)`, searched upwards from a random place and then from the beginning.
fn free_in<T>(
    from: u128,
    to: u128,
    taken: &BTreeMap<u128, T>,
    spread: &mut Spread,
) -> Option<u128> {
    if from >= to {
        return None;
    }
    let start = from.saturating_add(spread.below(to.saturating_sub(from)));
    first_free(start, to, taken).or_else(|| first_free(from, start, taken))
}

/// The least number of `[from, to)` that is not taken.
fn first_free<T>(from: u128, to: u128, taken: &BTreeMap<u128, T>) -> Option<u128> {
    let mut candidate = from;
    for number in taken.range(from..to).map(|(number, _)| *number) {
        if number != candidate {
            break;
        }
        candidate = candidate.checked_add(1)?;
    }
    (candidate < to).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANDS: Bands = Bands {
        first: 100,
        static_len: 16,
        end: 200,
    };

    fn draw(count: u128) -> BTreeMap<u128, ()> {
        let (mut taken, mut spread) = (BTreeMap::new(), Spread::new(7));
        for _ in 0..count {
            if let Some(number) = BANDS.pick(&taken, &mut spread) {
                assert!(taken.insert(number, ()).is_none(), "{number} twice");
            }
        }
        taken
    }

    #[test]
    fn the_upper_band_is_used_up_before_the_lower_is_touched() {
        assert!(draw(84).keys().all(|number| (116..200).contains(number)));
        assert!(draw(85).keys().any(|number| (100..116).contains(number)));
    }

    #[test]
    fn every_number_is_given_once_and_then_none() {
        let taken = draw(150);
        assert_eq!(taken.len(), 100);
        assert_eq!(BANDS.pick(&taken, &mut Spread::new(1)), None);
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let numbers = |seed| {
            let mut spread = Spread::new(seed);
            let empty = BTreeMap::<u128, ()>::new();
            [
                BANDS.pick(&empty, &mut spread),
                BANDS.pick(&empty, &mut spread),
            ]
        };
        assert_eq!(numbers(3), numbers(3));
        assert_ne!(numbers(3), numbers(4));
    }
}
