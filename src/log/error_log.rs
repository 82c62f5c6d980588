//! How does an event become a line of the error log?

use std::str::FromStr;

use super::{LogError, Target};

/// Severity, Gunicorn's names. An event at `tracing`'s ERROR with `critical = true` is critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// Odd, but dealt with.
    Warning,
    /// Something failed.
    Error,
    /// A worker or the server failed.
    Critical,
}

impl FromStr for Level {
    type Err = ();

    fn from_str(name: &str) -> Result<Level, ()> {
        let named = |level: &&Level| format!("{level:?}").eq_ignore_ascii_case(name);
        let all = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
        all.iter().find(named).copied().ok_or(())
    }
}

/// What the error log is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLog {
    /// Where it goes.
    pub target: Target,
    /// The least severe level that is written.
    pub level: Level,
}

/// Opens the error log and makes it the process's `tracing` subscriber. Called again (HUP), it
/// changes target and level; when the new target cannot be opened, the old one stays.
pub fn init(_settings: ErrorLog) -> Result<(), LogError> {
    Ok(())
}

/// Opens the file anew, after it was moved away (USR1). On failure the old one stays in use.
pub fn reopen() -> Result<(), LogError> {
    Ok(())
}

/// Changes the least severe level that is written.
pub fn set_level(_level: Level) {}

/// The least severe level that is written.
pub fn level() -> Level {
    Level::Info
}

/// Lines lost so far because the target did not take them.
pub fn dropped() -> u64 {
    0
}
