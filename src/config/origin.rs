//! Where did a value come from?
//!
//! Must not know: how sources are read, or what a value means.
//!
//! Invariants:
//! 1. Displayed, an origin is something the operator can go to: a file and line, a variable, a flag.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, for every complaint about it and for `--print-config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// An environment variable of this name.
    Environment(String),
    /// A configuration file.
    File {
        /// As it was named or found.
        path: PathBuf,
        /// Counted from 1, where it is known.
        line: Option<usize>,
    },
    /// This flag inside the variable `GUNICORN_CMD_ARGS`.
    GunicornCmdArgs(String),
    /// This flag (or `APP`) on the command line.
    CommandLine(String),
}

impl Origin {
    /// Whether a flag said it, on the command line or in a variable that stands for one.
    pub fn is_flag(&self) -> bool {
        matches!(self, Origin::CommandLine(_) | Origin::GunicornCmdArgs(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::File { path, line: Some(line) } => write!(f, "{} line {line}", path.display()),
            Origin::File { path, line: None } => write!(f, "{}", path.display()),
            Origin::GunicornCmdArgs(flag) => write!(f, "GUNICORN_CMD_ARGS, {flag}"),
            Origin::CommandLine(flag) => write!(f, "command line, {flag}"),
        }
    }
}
