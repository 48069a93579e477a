//! The one place where these commands read a clock. The library never does: there, time is an
//! argument.

use std::time::Instant;

/// The present, on the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "commands measure and bound their own waiting"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
