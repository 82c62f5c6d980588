//! How do finished exchanges become lines, without a system call for each?
//!
//! Must not know: what a request is, when the loop is idle (its owner says so by `flush`).
//!
//! Invariants:
//! 1. Created after the fork: its lock is never copied into a child while held.
//! 2. The buffer holds whole lines only.
//! 3. A target that takes nothing makes lines drop, counted; the buffer never grows past its bound.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sink::Sink;
use super::{AccessFormat, AccessRecord, LogError, Needs};

/// Flushed at this size even when the loop does not go idle.
const FLUSH_AT: usize = 32 * 1024;

/// The access log of one worker, shared by its threads.
pub struct AccessLog {
    format: AccessFormat,
    lines: Mutex<Lines>,
}

struct Lines {
    buffer: Vec<u8>,
    sink: Sink,
}

impl AccessLog {
    /// A log that writes lines of `format` to `sink`.
    pub fn new(format: AccessFormat, sink: Sink) -> AccessLog {
        AccessLog { format, lines: Mutex::new(Lines { buffer: Vec::new(), sink }) }
    }

    /// What the records have to carry for this log's format.
    pub fn needs(&self) -> &Needs {
        self.format.needs()
    }

    /// Adds a line. Written out at the next [`AccessLog::flush`], or now if the buffer is full.
    pub fn record(&self, record: &AccessRecord<'_>) {
        let mut lines = self.lock();
        self.format.write(&mut lines.buffer, record);
        lines.buffer.push(b'\n');
        if lines.buffer.len() >= FLUSH_AT {
            lines.flush();
        }
    }

    /// Whether lines are waiting to be flushed.
    pub fn pending(&self) -> bool {
        !self.lock().buffer.is_empty()
    }

    /// Writes out what the target takes now. Call it when the loop goes idle.
    pub fn flush(&self) {
        self.lock().flush();
    }

    /// The last flush of a worker: waits a moment for a slow target.
    pub fn finish(&self) {
        self.lock().flush();
    }

    /// Opens the file anew, after it was moved away (USR1). What is buffered goes to the old one.
    pub fn reopen(&self) -> Result<(), LogError> {
        let mut lines = self.lock();
        lines.flush();
        lines.sink.reopen()
    }

    /// Lines lost so far because the target did not take them.
    pub fn dropped(&self) -> u64 {
        self.lock().sink.dropped()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn flush(&mut self) {
        self.sink.write(&mut self.buffer);
    }
}
