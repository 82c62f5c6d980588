//! How severe is an event? Gunicorn's five names over `tracing`'s levels.
//!
//! Must not know: what is done with an event.
//!
//! Invariants:
//! 1. The order of the variants is the order of severity.

use std::fmt;
use std::str::FromStr;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// Severity, with Gunicorn's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// Odd, but dealt with.
    Warning,
    /// Something failed.
    Error,
    /// A worker or the server failed.
    Critical,
}

impl Level {
    /// All of them, least severe first.
    pub const ALL: [Level; 5] = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];

    /// As in a line.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
            Level::Critical => "CRITICAL",
        }
    }

    /// Of an event, as far as its metadata tells.
    pub(super) fn of(metadata: &Metadata<'_>) -> Level {
        match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        }
    }

    /// Critical events are told from errors by a field, which only the event itself shows.
    pub(super) fn filter(self) -> LevelFilter {
        match self {
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Error | Level::Critical => LevelFilter::ERROR,
        }
    }
}

/// The text is none of the level names, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of debug, info, warning, error, critical")
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Level, UnknownLevel> {
        Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name)).ok_or(UnknownLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for (name, level) in [
            ("debug", Ok(Level::Debug)),
            ("INFO", Ok(Level::Info)),
            ("Warning", Ok(Level::Warning)),
            ("error", Ok(Level::Error)),
            ("critical", Ok(Level::Critical)),
            ("warn", Err(UnknownLevel)),
            ("", Err(UnknownLevel)),
        ] {
            assert_eq!(name.parse::<Level>(), level, "{name}");
        }
    }
}
