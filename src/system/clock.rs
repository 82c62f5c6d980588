//! What time is it, for measuring?
//!
//! The wall clock is for what is shown only: deadlines follow CLOCK_MONOTONIC, which every process of this
//! machine reads alike, so that one process can judge the age of what another one wrote down.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::raw;

/// A point on the monotonic clock, in milliseconds, comparable between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The present.
    pub fn now() -> Moment {
        Moment(now_ms())
    }

    /// Time gone by since `earlier`; zero when `earlier` lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Moment> for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.since(earlier)
    }
}

/// Milliseconds on the monotonic clock.
pub fn now_ms() -> u64 {
    raw::monotonic_ns() / 1_000_000
}

/// Milliseconds since the epoch, by the wall clock: for what is shown, never for deadlines.
pub fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// Microseconds since the epoch, by the wall clock.
pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Nanoseconds on the monotonic clock.
pub fn now_ns() -> u64 {
    raw::monotonic_ns()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_add_and_subtract_without_wrapping() {
        let start = Moment(1_000);
        assert_eq!(start + Duration::from_secs(2), Moment(3_000));
        assert_eq!(Moment(3_500) - start, Duration::from_millis(2_500));
        assert_eq!(start - Moment(3_500), Duration::ZERO);
        assert_eq!(start + Duration::MAX, Moment(u64::MAX));
    }

    #[test]
    fn the_clock_moves_forward() {
        let first = now_ns();
        assert!(now_ns() >= first);
        assert!(now_ms() >= first / 1_000_000);
    }
}
