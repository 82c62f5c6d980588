//! How long do requests take the application, lately?
//!
//! From that follows how many may be served in a row, and whether a reply may wait for others. Must
//! not know: connections, clocks.

use super::crew::HOLD_NS;

/// Most connections served in one row. More of them gain nothing: what they have in common is in
/// the processor's caches already, and what each one needs no longer is.
const ROW: usize = 16;
/// A reply is held back if its application takes no longer: with a slower one nobody can tell when
/// the next reply is made. In nanoseconds.
pub const BRISK_NS: u64 = HOLD_NS / 4;
/// Where the receiver goes to sleep again before the next reply is made.
const DROWSY_NS: u64 = 10_000;
/// However long a request took, it is forgotten after some dozens of others.
const CEILING_NS: u64 = 4_000_000;

/// What is remembered of it, in nanoseconds.
#[derive(Debug)]
pub struct Pace {
    /// Rises at once, and falls slowly.
    peak: u64,
    /// Sixteen times the mean.
    sum: u64,
}

impl Pace {
    /// Slow, until shown otherwise.
    pub fn new() -> Self {
        Pace { peak: CEILING_NS, sum: 16 * CEILING_NS }
    }

    /// A request took so long.
    pub fn note(&mut self, spent: u64) {
        let spent = spent.min(CEILING_NS);
        self.peak = spent.max(self.peak - self.peak / 16);
        self.sum = self.sum - self.sum / 16 + spent;
    }

    /// How many requests are answered while a reply may be held.
    pub fn row(&self) -> usize {
        if self.peak > BRISK_NS {
            return 1;
        }
        (HOLD_NS / self.peak.max(1)).min(ROW as u64) as usize
    }

    /// Whether receivers go to sleep between two replies, so that these are better sent together.
    pub fn is_drowsy(&self) -> bool {
        self.sum / 16 >= DROWSY_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(spent: &[(u64, usize)]) -> Pace {
        let mut pace = Pace::new();
        for (spent, times) in spent {
            (0..*times).for_each(|_| pace.note(*spent));
        }
        pace
    }

    #[test]
    fn fast_ones_are_served_in_rows_after_some_dozens() {
        assert_eq!(Pace::new().row(), 1);
        assert_eq!(after(&[(2_000, 30)]).row(), 1);
        assert_eq!(after(&[(2_000, 100)]).row(), ROW);
        assert_eq!(after(&[(0, 1000)]).row(), ROW);
    }

    #[test]
    fn what_takes_longer_is_served_in_shorter_ones() {
        assert_eq!(after(&[(100_000, 100)]).row(), 10);
        assert_eq!(after(&[(250_000, 100)]).row(), 4);
        assert_eq!(after(&[(251_000, 100)]).row(), 1);
    }

    #[test]
    fn a_single_slow_one_counts_at_once_and_not_for_ever() {
        assert_eq!(after(&[(2_000, 100), (u64::MAX, 1)]).row(), 1);
        assert_eq!(after(&[(2_000, 100), (u64::MAX, 1), (2_000, 100)]).row(), ROW);
        // One in ten stays in mind.
        let mixed: Vec<(u64, usize)> = (0..100).flat_map(|_| [(2_000, 9), (1_000_000, 1)]).collect();
        assert_eq!(after(&mixed).row(), 1);
    }

    #[test]
    fn an_interrupt_makes_nobody_drowsy() {
        let mut pace = after(&[(2_000, 200)]);
        assert!(!pace.is_drowsy());
        pace.note(100_000);
        assert!(!pace.is_drowsy());
        assert!(after(&[(50_000, 200)]).is_drowsy());
    }
}
