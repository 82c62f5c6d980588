//! What does a row say at one moment?
//!
//! Plain copies, taken by whoever watches. Must not know where the words lie.

use super::{Crowded, Late, LogKind, REFUSALS, State, Totals, Waits};
use crate::system::clock::Moment;

/// One row at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What the worker is about.
    pub state: State,
    /// Its process id, 0 before it has entered.
    pub pid: i32,
    /// Its generation.
    pub generation: u32,
    /// It asks to be replaced.
    pub wants_retire: bool,
    /// When it was forked.
    pub spawned: Moment,
    /// When it began to serve; zero before.
    pub booted: Moment,
    /// When its loop last went round.
    pub heartbeat: Moment,
    /// Its threads, with the one that only keeps sockets going where it has several.
    pub threads: usize,
    /// Connections open.
    pub connections: u64,
    /// How many of them wait, by [`Waits::ALL`]; the others are with a thread.
    pub waiting: [u64; Waits::ALL.len()],
    /// Connections ever accepted in this slot.
    pub accepted: u64,
    /// Deadlines ever passed in this slot, by [`Late::NAMES`].
    pub late: [u64; Late::NAMES.len()],
    /// How often it was full, by [`Crowded::NAMES`].
    pub crowded: [u64; Crowded::NAMES.len()],
    /// Lines its logs did not take, by [`LogKind::NAMES`].
    pub lost: [u64; LogKind::NAMES.len()],
    /// Requests ever refused in this slot, by the writer's numbers.
    pub refused: [u64; REFUSALS],
    /// Sums of its threads, and of the workers before it.
    pub totals: Totals,
    /// The requests inside the application.
    pub running: Vec<Running>,
}

/// A request inside the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Index of the thread in its worker.
    pub thread: usize,
    /// Which request of that thread.
    pub sequence: u64,
    /// When the application was called.
    pub started: Moment,
    /// When it last got on.
    pub progress: Moment,
    /// No deadline applies.
    pub exempt: bool,
    /// The master has marked it as over its deadline.
    pub raised: bool,
    /// The kernel's id of the thread.
    pub thread_id: u32,
    /// The interpreter's id of the thread.
    pub ident: u64,
    /// Beginning of the request line, as the peer sent it: escape before showing.
    pub line: Vec<u8>,
}
