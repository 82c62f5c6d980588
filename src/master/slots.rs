//! Which workers are there, and how far is each in its life?
//!
//! The one table of workers. Pure: must not know processes beyond their numbers, nor decide
//! anything; `plan` moves workers from stage to stage.
//!
//! Invariants:
//! 1. A slot number belongs to at most one worker. The smallest free one is given out, so that
//!    the scoreboard stays small.
//! 2. Stages only move down the list of [`Stage`].

use crate::metrics::ledger::End;
use crate::system::clock::Moment;

/// One worker process, or one about to be forked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its place on the scoreboard.
    pub slot: usize,
    /// Its process id; `None` between the decision to fork and the fork.
    pub pid: Option<i32>,
    /// The configuration and code it was born under.
    pub generation: u32,
    /// When it was forked.
    pub spawned: Moment,
    /// How far it is.
    pub stage: Stage,
    /// Why it is to be replaced, once a successor serves.
    pub marked: Option<Reason>,
    /// How many of its predecessors died young, one after the other.
    pub failures: u32,
    /// When it is to be replaced for its age.
    pub age_limit: Option<Moment>,
    /// Requests it runs that are over their deadline.
    pub overdue: Vec<Overdue>,
    /// How many log reopenings it knows of.
    pub reopened: u32,
}

/// A worker's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Entered at the fork; holds nothing anybody waits for. Leaves for Serving when it rings,
    /// or for Ending. Deadline: `boot_timeout`.
    Booting {
        /// When it counts as hanging.
        deadline: Option<Moment>,
    },
    /// Entered when it has loaded the application; takes connections. Leaves for Retiring or
    /// Ending. No deadline of its own: requests and age have theirs.
    Serving {
        /// Since when.
        since: Moment,
    },
    /// Entered when it was sent TERM (or QUIT); finishes what it has. Leaves by its exit, or
    /// for Ending at the deadline.
    Retiring {
        /// Why.
        reason: Reason,
        /// When it is killed.
        deadline: Moment,
    },
    /// Entered when it was sent KILL; leaves by its exit. No deadline: the kernel owes us that.
    Ending {
        /// Why.
        reason: Reason,
    },
}

/// Why a worker has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A request is stuck in it.
    Stuck,
    /// It hangs while booting.
    BootTimeout,
    /// A newer generation serves.
    OldGeneration,
    /// Its resident memory is over the limit.
    Memory,
    /// It has served its number of requests.
    Requests,
    /// It is old.
    Age,
    /// There are more workers than wanted.
    Surplus,
    /// The server stops.
    Stop,
}

/// A request over its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// The thread it runs in.
    pub thread: usize,
    /// Which request of that thread.
    pub sequence: u64,
    /// Its last progress: a later one acquits it.
    pub progress: Moment,
    /// When its worker is given up.
    pub deadline: Moment,
}

impl Stage {
    /// What a process that ends in this stage ended of.
    pub fn end(self) -> End {
        match self {
            Stage::Booting { .. } => End::BootFailed,
            Stage::Serving { .. } => End::Died,
            Stage::Retiring { reason, .. } | Stage::Ending { reason } => match reason {
                Reason::Stuck => End::Stuck,
                Reason::BootTimeout => End::BootTimeout,
                Reason::OldGeneration => End::Reload,
                Reason::Memory => End::Memory,
                Reason::Requests => End::Requests,
                Reason::Age => End::Age,
                Reason::Surplus => End::Surplus,
                Reason::Stop => End::Stop,
            },
        }
    }
}

impl Worker {
    /// Whether it takes connections.
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving { .. })
    }

    /// Whether it is on its way to serving.
    pub fn is_booting(&self) -> bool {
        matches!(self.stage, Stage::Booting { .. })
    }

    /// Whether it has not been told to go.
    pub fn is_staff(&self) -> bool {
        self.is_serving() || self.is_booting()
    }

    /// Whether it was told to go and has not been killed.
    pub fn is_retiring(&self) -> bool {
        matches!(self.stage, Stage::Retiring { .. })
    }
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    workers: Vec<Worker>,
}

impl Slots {
    /// Every worker, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter()
    }

    /// Every worker, oldest first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers.iter_mut()
    }

    /// Whether nobody is left.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// The smallest number nobody has.
    pub fn vacant(&self) -> usize {
        (0..).find(|slot| self.get(*slot).is_none()).unwrap_or(usize::MAX)
    }

    /// Adds a worker. Its slot is vacant.
    pub fn add(&mut self, worker: Worker) {
        debug_assert!(self.get(worker.slot).is_none());
        self.workers.push(worker);
    }

    /// The worker in a slot.
    pub fn get(&self, slot: usize) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.slot == slot)
    }

    /// The worker in a slot.
    pub fn get_mut(&mut self, slot: usize) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.slot == slot)
    }

    /// Takes the worker with that process id off the table.
    pub fn remove_pid(&mut self, pid: i32) -> Option<Worker> {
        let index = self.workers.iter().position(|worker| worker.pid == Some(pid))?;
        Some(self.workers.remove(index))
    }

    /// Takes the worker in a slot off the table.
    pub fn remove_slot(&mut self, slot: usize) -> Option<Worker> {
        let index = self.workers.iter().position(|worker| worker.slot == slot)?;
        Some(self.workers.remove(index))
    }

    /// How many workers are so.
    pub fn count(&self, is_so: impl Fn(&Worker) -> bool) -> usize {
        self.workers.iter().filter(|worker| is_so(worker)).count()
    }
}
