//! What is the server as a whole doing, and what has happened to it?
//!
//! The master's own page: it writes, the status process reads. Must not know why anything is done.
//!
//! Invariants:
//! 1. One writer, the master; atomics only.
//! 2. Counters only grow; what a reader sees of state and counters may be a moment apart.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::counters::bump;
use crate::system::clock::Moment;
use crate::system::raw::SharedWords;

const STATE: usize = 0;
const GENERATION: usize = 1;
const WANTED: usize = 2;
const STARTED: usize = 3;
const RELOADED: usize = 4;
const RELOADS_FAILED: usize = 5;
const OVERDUE: usize = 6;
const STARTED_UNIX: usize = 7;
const ENDS: usize = 8;
const WORDS: usize = ENDS + End::NAMES.len();

/// What the server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Course {
    /// Until its first worker serves, and from then on.
    #[default]
    Running,
    /// It was told to stop: it finishes what it has and takes nothing new.
    Stopping,
}

/// Why a worker process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, while it served: a crash, a kill from outside, an exit of the application's.
    Died,
    /// By itself, before it served.
    BootFailed,
    /// It did not serve in time.
    BootTimeout,
    /// A request was stuck in it.
    Stuck,
    /// A newer generation took over.
    Reload,
    /// Its memory was over the limit.
    Memory,
    /// It had served its number of requests.
    Requests,
    /// It was old.
    Age,
    /// There were more than wanted.
    Surplus,
    /// The server stopped.
    Stop,
}

impl End {
    /// Their names, in the order of [`Account::ends`].
    pub const NAMES: [&str; 10] = [
        "died",
        "boot_failed",
        "boot_timeout",
        "stuck",
        "reload",
        "memory",
        "max_requests",
        "age",
        "surplus",
        "stop",
    ];
}

/// The master's page. Clones are handles of the same memory, in this process and its children.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<SharedWords>);

impl Ledger {
    /// Maps an empty page. `unix_ms` is `now` by the wall clock, in milliseconds since the epoch.
    pub fn new(now: Moment, unix_ms: u64) -> io::Result<Ledger> {
        let ledger = Ledger(Arc::new(SharedWords::new(WORDS)?));
        ledger.word(STARTED).store(now.0, Ordering::Relaxed);
        ledger.word(STARTED_UNIX).store(unix_ms, Ordering::Relaxed);
        Ok(ledger)
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.0[index]
    }

    /// The server is told to stop.
    pub fn stop(&self) {
        self.word(STATE).store(1, Ordering::Release);
    }

    /// The generation in force, and how many workers it wants.
    pub fn set_generation(&self, generation: u32, wanted: usize) {
        self.word(GENERATION).store(generation.into(), Ordering::Relaxed);
        self.word(WANTED).store(wanted as u64, Ordering::Relaxed);
    }

    /// A reload took over, or did not.
    pub fn count_reload(&self, adopted: bool) {
        bump(self.word(if adopted { RELOADED } else { RELOADS_FAILED }), 1);
    }

    /// A request was found over its deadline.
    pub fn count_overdue(&self) {
        bump(self.word(OVERDUE), 1);
    }

    /// A worker ended.
    pub fn count_end(&self, end: End) {
        bump(self.word(ENDS + end as usize), 1);
    }

    /// The page at one moment.
    pub fn read(&self) -> Account {
        let load = |index| self.word(index).load(Ordering::Relaxed);
        let stopping = self.word(STATE).load(Ordering::Acquire) != 0;
        Account {
            course: if stopping { Course::Stopping } else { Course::Running },
            generation: load(GENERATION) as u32,
            wanted: load(WANTED),
            started: Moment(load(STARTED)),
            started_unix_ms: load(STARTED_UNIX),
            reloads: load(RELOADED),
            reloads_failed: load(RELOADS_FAILED),
            overdue: load(OVERDUE),
            ends: std::array::from_fn(|index| load(ENDS + index)),
        }
    }
}

/// A [`Ledger`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What the server is about.
    pub course: Course,
    /// The generation in force.
    pub generation: u32,
    /// Workers wanted.
    pub wanted: u64,
    /// When the master started.
    pub started: Moment,
    /// The same in milliseconds since the epoch.
    pub started_unix_ms: u64,
    /// Reloads that took over.
    pub reloads: u64,
    /// Reloads that did not.
    pub reloads_failed: u64,
    /// Requests found over their deadline.
    pub overdue: u64,
    /// Workers ended, by [`End::NAMES`].
    pub ends: [u64; End::NAMES.len()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let ledger = Ledger::new(Moment(5), 9).unwrap();
        let handle = ledger.clone();
        ledger.set_generation(3, 4);
        ledger.count_reload(true);
        ledger.count_reload(false);
        ledger.count_overdue();
        ledger.count_end(End::Stop);
        ledger.count_end(End::Died);
        let seen = handle.read();
        assert_eq!((seen.course, seen.generation, seen.wanted), (Course::Running, 3, 4));
        assert_eq!((seen.reloads, seen.reloads_failed, seen.overdue), (1, 1, 1));
        assert_eq!((seen.ends[0], seen.ends[End::NAMES.len() - 1], seen.ends[4]), (1, 1, 0));
        ledger.stop();
        assert_eq!(handle.read().course, Course::Stopping);
        assert_eq!((handle.read().started, handle.read().started_unix_ms), (Moment(5), 9));
    }
}
