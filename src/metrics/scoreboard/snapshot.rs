//! What does a row say at one moment?
//!
//! Plain copies, taken by whoever watches. Must not know where the words lie.

use super::{LATENCY_BOUNDS_MS, State};
use crate::system::clock::Moment;

/// One row at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Connections open.
    pub connections: u64,
    /// Connections accepted since it was born.
    pub accepted: u64,
    /// Sums of its threads.
    pub totals: Totals,
    /// The requests inside the application.
    pub running: Vec<Running>,
}

/// Counters since a worker was born.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Exchanges finished.
    pub requests: u64,
    /// The same by status class: 1xx to 5xx.
    pub by_class: [u64; 5],
    /// Bytes of request bodies.
    pub received: u64,
    /// Bytes of response bodies.
    pub sent: u64,
    /// Exchanges by duration: under each of [`LATENCY_BOUNDS_MS`], and the rest.
    pub latency: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Sum of the durations in microseconds.
    pub latency_us: u64,
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
