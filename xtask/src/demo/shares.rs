//! Is a spread of answers even, within statistics? Pearson's chi-square test.

/// Chi-square that a fair choice exceeds once in a million trials, for 1, 2, 3... degrees of freedom.
const LIMITS: [f64; 5] = [23.93, 27.63, 30.66, 33.38, 35.89];

/// How far the counts are from equal ones, and how far they may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The sum of (observed - expected)² / expected.
    pub(crate) chi_square: f64,
    /// What it may be.
    pub(crate) limit: f64,
}

impl Spread {
    /// Measures `counts`; `None` for fewer than two or more than six of them.
    pub(crate) fn of(counts: &[u32]) -> Option<Self> {
        let limit = *LIMITS.get(counts.len().checked_sub(2)?)?;
        let total: u32 = counts.iter().sum();
        let expected = f64::from(total) / counts.len() as f64;
        let terms = counts
            .iter()
            .map(|count| (f64::from(*count) - expected).powi(2) / expected);
        Some(Self {
            chi_square: terms.sum(),
            limit,
        })
    }

    /// Is it even?
    pub(crate) fn is_even(self) -> bool {
        self.chi_square <= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_even() {
        let spread = Spread::of(&[1000, 1000, 1000]).unwrap();
        assert!(spread.is_even());
        assert!(spread.chi_square.abs() < f64::EPSILON);
    }

    #[test]
    fn shares_of_a_fair_choice_are_even() {
        assert!(Spread::of(&[1037, 1012, 951]).unwrap().is_even());
    }

    #[test]
    fn one_endpoint_with_twice_the_share_is_not_even() {
        assert!(!Spread::of(&[1500, 750, 750]).unwrap().is_even());
    }

    #[test]
    fn no_answers_at_all_are_not_even() {
        assert!(!Spread::of(&[0, 0]).unwrap().is_even());
    }

    #[test]
    fn one_endpoint_has_no_shares_to_compare() {
        assert_eq!(Spread::of(&[10]), None);
    }
}
