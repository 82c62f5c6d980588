//! Who is told of lines that a log did not take?
//!
//! Must not know: what is done with the number.
//!
//! Invariant: whoever is told neither waits nor logs.

use std::sync::OnceLock;

/// Which log lost a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The error log.
    Error,
    /// The access log.
    Access,
}

type Tell = Box<dyn Fn(Lost, u64) + Send + Sync>;

static TOLD: OnceLock<Tell> = OnceLock::new();

/// From here on, and once in a process, `tell` is called with each loss and its number of lines.
pub fn tell_losses(tell: impl Fn(Lost, u64) + Send + Sync + 'static) {
    let _ = TOLD.set(Box::new(tell));
}

/// Lines were lost.
pub(super) fn lost(which: Lost, lines: u64) {
    if let Some(tell) = TOLD.get() {
        tell(which, lines);
    }
}
