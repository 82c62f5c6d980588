//! What time is it, for a thread that asks often?
//!
//! Must not know: what the time is used for.
//!
//! Invariant: the Date is never more than a second old; it is formatted at most once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::date;
use crate::system::clock::now_ns;

/// A thread's clock readings.
#[derive(Debug)]
pub struct Stamp {
    date: [u8; 29],
    unix: u64,
    /// Monotonic milliseconds up to which `date` is current.
    until_ms: u64,
    /// The last reading of the monotonic clock, in milliseconds.
    pub now_ms: u64,
    /// The same, in nanoseconds.
    pub now_ns: u64,
}

impl Stamp {
    /// The present.
    pub fn new() -> Self {
        let mut stamp = Stamp { date: date::format(0), unix: 0, until_ms: 0, now_ms: 0, now_ns: 0 };
        stamp.tick();
        stamp.refresh();
        stamp
    }

    /// Reads the monotonic clock, and says the milliseconds.
    pub fn tick(&mut self) -> u64 {
        self.now_ns = now_ns();
        self.now_ms = self.now_ns / 1_000_000;
        self.now_ms
    }

    /// Makes the Date current. The wall clock is asked once a second, by the monotonic one, so
    /// that a jump of the wall clock shows within a second and breaks nothing.
    pub fn refresh(&mut self) {
        if self.now_ms < self.until_ms {
            return;
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.unix = since_epoch.as_secs();
        self.date = date::format(self.unix);
        self.until_ms = self.now_ms + 1000 - u64::from(since_epoch.subsec_millis());
    }

    /// The Date header's value.
    pub fn date(&self) -> &[u8] {
        &self.date
    }

    /// The present in milliseconds since the epoch, as of the last reading of the clock after
    /// [`Stamp::refresh`].
    pub fn unix_ms(&self) -> u64 {
        let left = self.until_ms.saturating_sub(self.now_ms).min(1_000);
        self.unix * 1_000 + (1_000 - left)
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Stamp::new()
    }
}
