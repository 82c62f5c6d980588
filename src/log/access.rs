//! How do finished exchanges become lines, without a system call for each?
//!
//! Must not know: what a request is, when the loop is idle (its owner says so by `flush`).
//!
//! Invariants:
//! 1. Created after the fork: its lock is never copied into a child while held.
//! 2. The buffer holds whole lines, but for the rest of one the target has begun to take.
//! 3. A target that takes nothing makes new lines drop, counted; the buffer has a bound.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::access_filter::AccessFilter;
use super::access_json::{JsonFormat, Names};
use super::level::Level;
use super::sink::Sink;
use super::syslog::{Syslog, SyslogSettings};
use super::{AccessFormat, AccessRecord, LogError, Needs, Target};

/// Flushed each time so much was added, even when the loop does not go idle.
const FLUSH_AT: usize = 32 * 1024;
/// Held back for a target that takes nothing: some thousand lines.
const HELD: usize = 1024 * 1024;
/// What a worker waits for a slow target when it ends.
const PATIENCE: Duration = Duration::from_millis(200);

/// The access log of one worker, shared by its threads.
pub struct AccessLog {
    format: Format,
    filter: AccessFilter,
    lines: Mutex<Lines>,
    syslog: Option<Syslog>,
}

/// What the access log is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// What its lines look like.
    pub layout: Layout,
    /// Where they go. `None`: to syslog only.
    pub target: Option<Target>,
    /// They go to syslog, too.
    pub syslog: Option<SyslogSettings>,
    /// Paths that get no line; with `*` at the end, all that begin so.
    pub skip: Vec<String>,
    /// Of what is left, one in so many gets a line.
    pub sample: u64,
}

/// What lines look like, as the operator said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Gunicorn's format.
    Text(String),
    /// JSON.
    Json {
        /// Under which names.
        names: Names,
        /// Request fields to show.
        request: Vec<String>,
        /// Response fields to show.
        response: Vec<String>,
    },
}

/// The same, compiled.
#[derive(Debug)]
enum Format {
    Text(AccessFormat),
    Json(JsonFormat),
}

struct Lines {
    buffer: Vec<u8>,
    /// The buffer's length that makes the next record flush.
    flush_at: usize,
    /// `None`: lines go to syslog only.
    sink: Option<Sink>,
}

impl AccessSettings {
    /// What the records will have to carry, without opening anything.
    pub fn needs(&self) -> Result<Needs, String> {
        Ok(self.format()?.needs().clone())
    }

    fn format(&self) -> Result<Format, String> {
        match &self.layout {
            Layout::Text(format) => {
                AccessFormat::compile(format).map(Format::Text).map_err(|error| error.to_string())
            }
            Layout::Json { names, request, response } => {
                Ok(Format::Json(JsonFormat::new(*names, request, response)))
            }
        }
    }
}

impl Format {
    fn needs(&self) -> &Needs {
        match self {
            Format::Text(format) => format.needs(),
            Format::Json(format) => format.needs(),
        }
    }
}

impl AccessLog {
    /// A log that writes lines of `format` to `sink`.
    pub fn new(format: AccessFormat, sink: Option<Sink>) -> AccessLog {
        AccessLog::made(Format::Text(format), AccessFilter::default(), sink)
    }

    fn made(format: Format, filter: AccessFilter, sink: Option<Sink>) -> AccessLog {
        let lines = Lines { buffer: Vec::new(), flush_at: FLUSH_AT, sink };
        AccessLog { format, filter, lines: Mutex::new(lines), syslog: None }
    }

    /// Opens what these settings ask for; the error is the operator's.
    pub fn open(settings: &AccessSettings) -> Result<AccessLog, String> {
        let format = settings.format()?;
        let sink = settings.target.clone().map(Sink::open).transpose().map_err(|error| error.to_string())?;
        let mut log = AccessLog::made(format, AccessFilter::new(&settings.skip, settings.sample), sink);
        log.syslog = settings.syslog.clone().map(Syslog::open);
        Ok(log)
    }

    /// Whether an exchange gets a line: ask before making a record of it.
    pub fn admits(&self, path: &[u8], status: u16) -> bool {
        self.filter.admits(path, status)
    }

    /// Whether its lines say how long the application took.
    pub fn wants_phases(&self) -> bool {
        matches!(self.format, Format::Json(_))
    }

    /// What the records have to carry for this log's format.
    pub fn needs(&self) -> &Needs {
        self.format.needs()
    }

    /// Adds a line. Written out at the next [`AccessLog::flush`], or now if the buffer is full.
    pub fn record(&self, record: &AccessRecord<'_>) {
        let mut lines = self.lock();
        if lines.buffer.len() >= HELD {
            lines.flush();
        }
        if lines.buffer.len() >= HELD {
            lines.drop_line();
            return;
        }
        let start = lines.buffer.len();
        match &self.format {
            Format::Text(format) => format.write(&mut lines.buffer, record),
            Format::Json(format) => format.write(&mut lines.buffer, record),
        }
        if let Some(syslog) = &self.syslog {
            let told = syslog.send(Level::Info, &lines.buffer[start..]);
            if lines.sink.is_none() {
                lines.buffer.truncate(start);
            }
            if let Err(complaint) = told {
                tracing::warn!("{complaint}");
            }
        }
        if lines.sink.is_none() {
            return;
        }
        lines.buffer.push(b'\n');
        if lines.buffer.len() >= lines.flush_at {
            lines.flush();
        }
    }

    /// Whether lines are waiting. Still so right after a flush: the target takes nothing now, and
    /// the next idle moment is soon enough to try again.
    pub fn pending(&self) -> bool {
        !self.lock().buffer.is_empty()
    }

    /// Writes out what the target takes now. Call it when the loop goes idle.
    pub fn flush(&self) {
        self.lock().flush();
    }

    /// The last flush of a worker: waits a moment for a slow target, then gives up.
    pub fn finish(&self) {
        let lines = &mut *self.lock();
        if let Some(sink) = &mut lines.sink {
            sink.finish(&mut lines.buffer, PATIENCE);
        }
    }

    /// Opens the file anew, after it was moved away (USR1). What is buffered goes to the old one.
    pub fn reopen(&self) -> Result<(), LogError> {
        let mut lines = self.lock();
        lines.flush();
        lines.sink.as_mut().map_or(Ok(()), Sink::reopen)
    }

    /// Lines lost so far because the target did not take them.
    pub fn dropped(&self) -> u64 {
        self.lock().sink.as_ref().map_or(0, Sink::dropped)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic while formatting leaves at most half a line behind.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn flush(&mut self) {
        if !self.buffer.is_empty()
            && let Some(sink) = &mut self.sink
        {
            sink.write(&mut self.buffer);
        }
        self.flush_at = self.buffer.len() + FLUSH_AT;
    }

    fn drop_line(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.drop_line();
        }
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
