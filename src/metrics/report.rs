//! What is the whole server doing at one moment? Every page put together, and what follows from it.
//!
//! Pure: whoever gathers it reads pages, /proc and sockets. Must not know how it is shown or asked for.

use super::counters::Totals;
use super::ledger::{Account, Course};
use super::scoreboard::{Crowded, Late, LogKind, Snapshot, State, Waits};
use crate::system::clock::Moment;

/// Everything that can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// When it was gathered.
    pub now: Moment,
    /// The master's process id.
    pub master: i32,
    /// The master's resident bytes, where the kernel tells.
    pub resident: Option<u64>,
    /// The master's page.
    pub account: Account,
    /// Every slot that ever had a worker.
    pub slots: Vec<Slot>,
    /// The accept queues.
    pub queues: Vec<Queue>,
    /// Names of the reasons to refuse, by the workers' numbers.
    pub refusals: Vec<&'static str>,
}

/// A place for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: usize,
    /// Its row.
    pub row: Snapshot,
    /// The worker's resident bytes, where the kernel tells.
    pub resident: Option<u64>,
}

/// Connections the kernel holds for a listener until a worker accepts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The listener's address.
    pub address: String,
    /// How many wait.
    pub waiting: u64,
    /// How many may.
    pub limit: u64,
}

/// Why the server should not be sent requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unready {
    /// It was told to stop.
    Stopping,
    /// No worker serves.
    NoWorker,
    /// This listener's queue is (nearly) full: the workers do not keep up.
    Saturated(Queue),
}

impl std::fmt::Display for Unready {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unready::Stopping => out.write_str("the server is stopping"),
            Unready::NoWorker => out.write_str("no worker serves"),
            Unready::Saturated(Queue { address, waiting, limit }) => {
                write!(out, "{waiting} connections of at most {limit} wait to be accepted at {address}")
            }
        }
    }
}

impl Queue {
    /// Nine tenths count as full: at the brim connections are dropped before anybody reads this.
    fn is_full(&self) -> bool {
        self.limit > 0 && self.waiting * 10 >= self.limit * 9
    }
}

impl Report {
    /// Whether requests should be sent here.
    pub fn readiness(&self) -> Result<(), Unready> {
        if self.account.course == Course::Stopping {
            return Err(Unready::Stopping);
        }
        if self.count(State::Serving) == 0 {
            return Err(Unready::NoWorker);
        }
        match self.queues.iter().find(|queue| queue.is_full()) {
            Some(full) => Err(Unready::Saturated(full.clone())),
            None => Ok(()),
        }
    }

    /// The slots somebody sits in.
    pub fn workers(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.row.state != State::Vacant)
    }

    /// Workers in this state.
    pub fn count(&self, state: State) -> u64 {
        self.slots.iter().filter(|slot| slot.row.state == state).count() as u64
    }

    /// What all workers ever counted.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.slots.iter().for_each(|slot| totals.merge(&slot.row.totals));
        totals
    }

    /// Threads that may run requests: those that do, and those that do not.
    pub fn threads(&self) -> (u64, u64) {
        let able = self.workers().filter(|slot| slot.row.state != State::Booting);
        able.fold((0, 0), |(busy, idle), slot| {
            let running = slot.row.running.len() as u64;
            (busy + running, idle + capacity(&slot.row).saturating_sub(running))
        })
    }

    /// Connections by what they wait for, and those a thread has at hand.
    pub fn connections(&self) -> ([u64; Waits::ALL.len()], u64) {
        let mut waiting = [0; Waits::ALL.len()];
        let mut open = 0;
        for slot in &self.slots {
            open += slot.row.connections;
            waiting.iter_mut().zip(slot.row.waiting).for_each(|(sum, more)| *sum += more);
        }
        // The figures are read one after the other while connections come and go.
        (waiting, open.saturating_sub(waiting.iter().sum()))
    }

    /// Requests that were received and not yet answered to their end.
    pub fn in_flight(&self) -> u64 {
        let (waiting, _) = self.connections();
        self.threads().0 + waiting[Waits::Thread as usize] + waiting[Waits::Write as usize]
    }

    /// Connections ever accepted.
    pub fn accepted(&self) -> u64 {
        self.slots.iter().map(|slot| slot.row.accepted).sum()
    }

    /// Deadlines of connections that passed.
    pub fn late(&self) -> [u64; Late::NAMES.len()] {
        std::array::from_fn(|index| self.slots.iter().map(|slot| slot.row.late[index]).sum())
    }

    /// How often a worker had as many connections as it may, by what came of it.
    pub fn crowded(&self) -> [u64; Crowded::NAMES.len()] {
        std::array::from_fn(|index| self.slots.iter().map(|slot| slot.row.crowded[index]).sum())
    }

    /// Lines that logs of workers did not take.
    pub fn lost(&self) -> [u64; LogKind::NAMES.len()] {
        std::array::from_fn(|index| self.slots.iter().map(|slot| slot.row.lost[index]).sum())
    }

    /// Requests refused, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let sum = |index: usize| self.slots.iter().filter_map(|slot| slot.row.refused.get(index)).sum();
        self.refusals.iter().enumerate().map(move |(index, name)| (*name, sum(index)))
    }
}

/// A worker of several threads has one more that only keeps sockets going.
pub fn capacity(row: &Snapshot) -> u64 {
    match row.threads {
        0 | 1 => 1,
        several => several as u64 - 1,
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
pub(super) mod tests;
