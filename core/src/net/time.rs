//! Time as an argument. Nothing in this crate's pure layers reads a clock.

use core::time::Duration;

/// A moment on the host's monotonic clock, in nanoseconds since an origin that the host chose.
///
/// Moments handed to one dataplane must come from one clock; a moment earlier than one already seen is
/// harmless (nothing expires early).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

/// Ticks in a second: the resolution of deadlines in tables.
pub const TICKS_PER_SECOND: u32 = 16;
const NANOS_PER_TICK: u64 = 1_000_000_000 / TICKS_PER_SECOND as u64;

/// A duration in ticks, rounded up; what is longer than 8.5 years becomes that.
#[must_use]
pub fn ticks(duration: Duration) -> u32 {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    u32::try_from(nanos.div_ceil(NANOS_PER_TICK)).unwrap_or(u32::MAX)
}

impl Instant {
    /// The moment in ticks since the origin; the end of ticks (8.5 years) is not left.
    #[inline]
    #[must_use]
    pub fn ticks(self) -> u32 {
        u32::try_from(self.0 / NANOS_PER_TICK).unwrap_or(u32::MAX)
    }

    /// The origin.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds since the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the origin.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `duration` later; saturates at the end of time (584 years).
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
