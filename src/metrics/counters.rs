//! What is counted of every exchange, and where do the counts lie in a thread's line?
//!
//! Must not know: rows, processes, how a count is shown. Bounds and labels stand here because
//! writer and reader have to agree on them.
//!
//! Invariants:
//! 1. Every count only grows, over all workers that ever sat in a slot: a reader never sees one
//!    go back.
//! 2. A bucket holds what is at most its bound and above the bound before; the last holds the rest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of a [`Histogram`], in milliseconds; one more holds the rest.
pub const BOUNDS_MS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
/// Buckets of a [`Histogram`].
pub const BUCKETS: usize = BOUNDS_MS.len() + 1;
/// Methods that are counted by name; one more column holds all others.
pub const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];
/// Classes of status; `none`: the client was gone before there was one.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Words of the counters of one thread.
pub(super) const WORDS: usize = STATUS + CLASSES.len() * METHODS.len();
const SENT: usize = 0;
const RECEIVED: usize = 1;
const LATENCY: usize = 2;
const QUEUED: usize = LATENCY + BUCKETS + 1;
const STATUS: usize = QUEUED + BUCKETS + 1;

/// A finished exchange, as far as it is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finished<'a> {
    /// The method as it was sent; empty when none was understood.
    pub method: &'a [u8],
    /// The status; 0 when the client was gone before.
    pub status: u16,
    /// Bytes of the request body.
    pub received: u64,
    /// Bytes of the response body.
    pub sent: u64,
    /// From the complete request to the last byte handed to the kernel.
    pub took: Duration,
    /// How long it had waited before it reached this server, where a trusted peer said so.
    pub queued: Option<Duration>,
}

/// Counts by duration, and their sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Under each of [`BOUNDS_MS`], and the rest; not cumulated.
    pub buckets: [u64; BUCKETS],
    /// Sum in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, words: &[AtomicU64]) {
        for (sum, word) in self.buckets.iter_mut().zip(words) {
            *sum += word.load(Ordering::Relaxed);
        }
        self.sum_us = self.sum_us.wrapping_add(words[BUCKETS].load(Ordering::Relaxed));
    }
}

/// Sums of counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges finished, by status class and method.
    pub exchanges: [[u64; METHODS.len()]; CLASSES.len()],
    /// Bytes of request bodies.
    pub received: u64,
    /// Bytes of response bodies.
    pub sent: u64,
    /// How long exchanges took.
    pub latency: Histogram,
    /// How long they had waited in front of the server.
    pub queued: Histogram,
}

impl Totals {
    /// Exchanges finished.
    pub fn requests(&self) -> u64 {
        self.exchanges.iter().flatten().sum()
    }

    /// Adds what one thread has counted.
    pub(super) fn add(&mut self, words: &[AtomicU64]) {
        self.sent = self.sent.wrapping_add(words[SENT].load(Ordering::Relaxed));
        self.received = self.received.wrapping_add(words[RECEIVED].load(Ordering::Relaxed));
        self.latency.add(&words[LATENCY..QUEUED]);
        self.queued.add(&words[QUEUED..STATUS]);
        for (sum, word) in self.exchanges.iter_mut().flatten().zip(&words[STATUS..]) {
            *sum += word.load(Ordering::Relaxed);
        }
    }

    /// Adds other sums.
    pub fn merge(&mut self, other: &Totals) {
        self.sent += other.sent;
        self.received += other.received;
        for (mine, theirs) in [(&mut self.latency, &other.latency), (&mut self.queued, &other.queued)] {
            mine.sum_us += theirs.sum_us;
            mine.buckets.iter_mut().zip(theirs.buckets).for_each(|(mine, theirs)| *mine += theirs);
        }
        let theirs = other.exchanges.iter().flatten();
        self.exchanges.iter_mut().flatten().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Counts an exchange in a thread's words.
#[inline]
pub(super) fn count(words: &[AtomicU64], finished: &Finished<'_>) {
    let class = match finished.status / 100 {
        class @ 1..=5 => usize::from(class),
        _ => 0,
    };
    bump(&words[STATUS + class * METHODS.len() + method(finished.method)], 1);
    bump(&words[SENT], finished.sent);
    bump(&words[RECEIVED], finished.received);
    measure(&words[LATENCY..QUEUED], finished.took);
    if let Some(queued) = finished.queued {
        measure(&words[QUEUED..STATUS], queued);
    }
}

#[inline]
fn measure(words: &[AtomicU64], took: Duration) {
    let micros = took.as_secs().saturating_mul(1_000_000).saturating_add(took.subsec_micros().into());
    // The nanoseconds cut off must not lift a duration into the bucket below.
    let above = u64::from(!took.subsec_nanos().is_multiple_of(1_000));
    let bucket = BOUNDS_MS.iter().position(|bound| micros.saturating_add(above) <= bound * 1_000);
    bump(&words[bucket.unwrap_or(BOUNDS_MS.len())], 1);
    bump(&words[BUCKETS], micros);
}

/// The column of a method.
#[inline]
fn method(name: &[u8]) -> usize {
    match name {
        b"GET" => 0,
        b"HEAD" => 1,
        b"POST" => 2,
        b"PUT" => 3,
        b"DELETE" => 4,
        b"PATCH" => 5,
        b"OPTIONS" => 6,
        _ => METHODS.len() - 1,
    }
}

/// Adds in a word that only this thread writes: cheaper than an atomic addition.
#[inline]
pub(super) fn bump(word: &AtomicU64, by: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(exchanges: &[Finished<'_>]) -> Totals {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        exchanges.iter().for_each(|finished| count(&words, finished));
        let mut totals = Totals::default();
        totals.add(&words);
        totals
    }

    #[test]
    fn a_duration_is_in_the_bucket_of_its_bound() {
        for (nanos, bucket) in [
            (0, 0),
            (999_999, 0),
            (1_000_000, 0),
            (1_000_001, 1),
            (1_001_000, 1),
            (2_000_000, 1),
            (30_000_000, 5),
            (10_000_000_000, 12),
            (10_000_000_001, 13),
        ] {
            let took = Duration::from_nanos(nanos);
            let totals = counted(&[Finished { took, status: 200, ..Finished::default() }]);
            assert_eq!(totals.latency.buckets[bucket], 1, "{nanos}: {:?}", totals.latency);
            assert_eq!(totals.latency.sum_us, nanos / 1_000);
            assert_eq!(totals.queued, Histogram::default());
        }
    }

    #[test]
    fn exchanges_are_counted_by_class_and_method() {
        let cases = [
            (200, "GET", 2, 0),
            (0, "", 0, 7),
            (404, "BREW", 4, 7),
            (503, "OPTIONS", 5, 6),
            (999, "PUT", 0, 3),
        ];
        for (status, name, class, column) in cases {
            let totals = counted(&[Finished { method: name.as_bytes(), status, ..Finished::default() }]);
            assert_eq!(totals.exchanges[class][column], 1, "{status} {name}");
            assert_eq!(totals.requests(), 1);
        }
    }

    #[test]
    fn sums_are_merged() {
        let queued = Some(Duration::from_millis(3));
        let one = counted(&[Finished { received: 5, sent: 7, status: 200, queued, ..Finished::default() }]);
        let mut both = one.clone();
        both.merge(&one);
        assert_eq!((both.received, both.sent, both.requests()), (10, 14, 2));
        assert_eq!((both.queued.count(), both.queued.sum_us, both.queued.buckets[2]), (2, 6_000, 2));
        assert_eq!(both.latency.count(), 2);
    }

    #[test]
    fn figures_beyond_all_bounds_do_no_harm() {
        let most =
            Finished { took: Duration::MAX, received: u64::MAX, sent: u64::MAX, ..Finished::default() };
        assert_eq!(counted(&[most]).latency.buckets[BUCKETS - 1], 1);
    }
}
