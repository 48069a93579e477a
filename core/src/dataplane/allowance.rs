//! How many connections a worker may still open, if that is limited ([`super::Options::new_connections_per_second`]).

use crate::net::TICKS_PER_SECOND;
use core::num::NonZeroU32;

/// What one connection costs: a worker earns its limit in so many parts each tick.
const COST: u64 = TICKS_PER_SECOND as u64;

/// What a worker has earned and not yet spent; never more than a second's.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowance {
    left: u64,
    /// The tick until which it was earned; `None` before the first.
    earned: Option<u32>,
}

impl Allowance {
    /// May another connection be opened?
    #[inline]
    pub(super) fn suffices(&mut self, limit: Option<NonZeroU32>, now: u32) -> bool {
        limit.is_none_or(|limit| self.is_earned(limit, now))
    }

    fn is_earned(&mut self, limit: NonZeroU32, now: u32) -> bool {
        let limit = u64::from(limit.get());
        let most = limit.saturating_mul(COST);
        let ticks = match self.earned {
            Some(earned) => now.saturating_sub(earned),
            None => TICKS_PER_SECOND,
        };
        let earned = limit.saturating_mul(u64::from(ticks));
        self.left = self.left.saturating_add(earned).min(most);
        self.earned = Some(self.earned.map_or(now, |earned| earned.max(now)));
        self.left >= COST
    }

    /// One was opened.
    #[inline]
    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(COST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many connections are opened at a tick by somebody who never stops asking.
    fn opened(allowance: &mut Allowance, limit: NonZeroU32, now: u32) -> u32 {
        let mut count = 0;
        while allowance.suffices(Some(limit), now) {
            allowance.spend();
            count += 1;
        }
        count
    }

    #[test]
    fn a_second_allows_the_limit_however_it_is_cut() {
        for limit in [1, 3, 16, 1_000] {
            let mut allowance = Allowance::default();
            let limit = NonZeroU32::new(limit).expect("not zero");
            assert_eq!(opened(&mut allowance, limit, 100), limit.get());
            assert_eq!(opened(&mut allowance, limit, 100), 0);
            let second = 101..=100 + TICKS_PER_SECOND;
            let sum: u32 = second.map(|now| opened(&mut allowance, limit, now)).sum();
            assert_eq!(sum, limit.get());
        }
    }

    #[test]
    fn silence_earns_no_more_than_a_second_and_a_clock_that_steps_back_nothing() {
        let mut allowance = Allowance::default();
        let limit = NonZeroU32::new(10).expect("not zero");
        assert_eq!(opened(&mut allowance, limit, 0), 10);
        assert_eq!(opened(&mut allowance, limit, u32::MAX), 10);
        assert_eq!(opened(&mut allowance, limit, 5), 0);
    }
}
