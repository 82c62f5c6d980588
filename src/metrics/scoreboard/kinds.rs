//! What is counted apart?
//!
//! Must not know: where the counts stand, who counts.
//!
//! Invariant: a kind's number is its place in `NAMES`.

#[cfg(doc)]
use super::Snapshot;

/// What an open connection that no thread has at hand waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Its next request.
    Idle,
    /// A whole head.
    Head,
    /// More of a body.
    Body,
    /// A thread that may enter the application.
    Thread,
    /// The client to take more of a reply.
    Write,
    /// The client to end its side.
    Linger,
}

impl Waits {
    /// All, in the order of [`Snapshot::waiting`].
    pub const ALL: [Waits; 6] =
        [Waits::Idle, Waits::Head, Waits::Body, Waits::Thread, Waits::Write, Waits::Linger];
    /// Their names, in the same order.
    pub const NAMES: [&str; 6] = ["idle", "head", "body", "queued", "write", "linger"];
}

/// Which of a worker's deadlines has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// No next request came: not a fault.
    Idle,
    /// A head.
    Head,
    /// A body.
    Body,
    /// A reply the client does not take.
    Write,
}

impl Late {
    /// Their names, in the order of [`Snapshot::late`].
    pub const NAMES: [&str; 4] = ["idle", "head", "body", "write"];
}

/// What came of having as many connections as are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// An idle one was closed for a new one.
    Closed,
    /// There was no idle one: new ones wait in the kernel, from now until one ends.
    Waiting,
}

impl Crowded {
    /// Their names, in the order of [`Snapshot::crowded`].
    pub const NAMES: [&str; 2] = ["closed", "waiting"];
}

/// Which log did not take a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Its access log.
    Access,
    /// Its error log.
    Error,
}

impl LogKind {
    /// Their names, in the order of [`Snapshot::lost`].
    pub const NAMES: [&str; 2] = ["access", "error"];
}
