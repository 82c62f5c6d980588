//! Which connection has waited long enough?
//!
//! Each connection has at most a handful of entries here, and usually one: moving a deadline
//! later costs nothing, because an entry that comes due early is put back. So a request on a
//! kept-alive connection does not touch the heap.
//!
//! Must not know: what a deadline is for.
//!
//! Invariant: for every armed token there is an entry at or before its deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Room for so many entries is kept.
const ROOM: usize = 1024;

/// Entries by time, in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Timers {
    /// Adds an entry.
    pub fn arm(&mut self, at_ms: u64, token: usize) {
        self.heap.push(Reverse((at_ms, token)));
    }

    /// When the first entry comes due.
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// Takes an entry that is due: its time and token.
    pub fn take_due(&mut self, now_ms: u64) -> Option<(u64, usize)> {
        match self.heap.peek() {
            Some(Reverse((at_ms, _))) if *at_ms <= now_ms => {
                let entry = self.heap.pop().map(|Reverse(entry)| entry);
                self.give_back();
                entry
            }
            _ => None,
        }
    }

    /// Gives back what a crowd took, in steps: another one may come.
    fn give_back(&mut self) {
        let room = self.heap.capacity();
        if room > ROOM && self.heap.len() < room / 8 {
            self.heap.shrink_to((room / 4).max(ROOM));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order_and_not_early() {
        let mut timers = Timers::default();
        for (at_ms, token) in [(30, 3), (10, 1), (20, 2)] {
            timers.arm(at_ms, token);
        }
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.take_due(9), None);
        assert_eq!(timers.take_due(25), Some((10, 1)));
        assert_eq!(timers.take_due(25), Some((20, 2)));
        assert_eq!(timers.take_due(25), None);
        assert_eq!(timers.next(), Some(30));
    }

    #[test]
    fn what_a_crowd_took_is_given_back() {
        let mut timers = Timers::default();
        for token in 0..100_000 {
            timers.arm(token as u64, token);
        }
        while timers.take_due(u64::MAX).is_some() {}
        assert!(timers.heap.capacity() <= 8 * ROOM);
        timers.arm(1, 1);
        assert_eq!(timers.take_due(1), Some((1, 1)));
    }
}
