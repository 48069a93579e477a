//! Now, as two clocks say it.

use crate::net::Instant;
use core::fmt;
use core::time::Duration;

const SECONDS_PER_DAY: u64 = 86_400;

/// A moment. Ages are told by the monotonic clock; the wall clock, which may be set back, is only printed.
///
/// Prints as RFC 3339 in UTC, to the nanosecond where it is none, as Go's `time.Time` does in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// The host's monotonic clock.
    pub clock: Instant,
    /// The wall clock: time since 1970-01-01T00:00:00Z.
    pub unix: Duration,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix.as_secs();
        let (year, month, day) = date(seconds / SECONDS_PER_DAY);
        let of_day = seconds % SECONDS_PER_DAY;
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        let mut nanos = self.unix.subsec_nanos();
        if nanos > 0 {
            let mut digits = 9;
            while nanos.is_multiple_of(10) {
                nanos /= 10;
                digits -= 1;
            }
            write!(f, ".{nanos:0digits$}")?;
        }
        f.write_str("Z")
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar (Hinnant, "chrono-compatible
/// low-level date algorithms", `civil_from_days`, for days that are not negative).
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is their last.
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}
