//! What is written down, and where? The error log (through `tracing`) and the access log.
//!
//! Must not know: connections, requests, workers, settings by name. Whoever serves a request
//! fills an [`AccessRecord`] with borrowed facts; everybody else uses `tracing`'s macros.
//!
//! Invariants:
//! 1. Nothing a peer sent reaches a log unescaped, so one event cannot pretend to be two.
//! 2. A log target that is full, slow, blocked or gone costs lines (they are counted), never
//!    the process and never more than a moment of its time.
//! 3. No thread is started, and no lock is held while a system call or a fork runs.

pub mod access;
pub mod access_filter;
pub mod access_format;
pub mod access_json;
mod access_line;
pub mod access_record;
mod clock;
mod elsewhere;
pub mod error_log;
mod escape;
pub mod json;
mod level;
mod losses;
mod output;
mod percent;
pub mod sink;
pub mod syslog;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use access::{AccessLog, AccessSettings, Layout};
pub use access_format::{AccessFormat, FormatError, Needs};
pub use access_json::Names;
pub use access_record::{AccessRecord, Fields, NoFields, Phases};
pub use elsewhere::{Elsewhere, Figure, divert, tell};
pub use error_log::{ErrorLog, Owner, Tally, dropped, fatal, init, level, plain, prepare, reopen, set_level};
pub use escape::escape;
pub use json::JsonWriter;
pub use level::{Level, UnknownLevel};
pub use losses::{Lost, tell_losses};
pub use sink::Sink;
pub use syslog::{Syslog, SyslogSettings};

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output (`accesslog = "-"`).
    Stdout,
    /// The process's standard error (`errorlog = "-"`).
    Stderr,
    /// A file, created and appended to.
    File(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("standard output"),
            Target::Stderr => f.write_str("standard error"),
            Target::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a log could not be opened. The operator's to mend: a path or its permissions.
#[derive(Debug)]
pub struct LogError {
    /// What was to be opened.
    pub target: Target,
    /// What the kernel said.
    pub error: io::Error,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open log {}: {}", self.target, self.error)
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
