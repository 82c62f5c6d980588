//! Why did a start not reach the interpreter? The operator's to mend, every time.
//!
//! Invariants:
//! 1. Each message is one line: what was looked for, where, and how to say it better.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::locate::Origin;

/// Why the launcher gave up.
#[derive(Debug)]
pub enum LaunchError {
    /// Something names an interpreter that is not there.
    NotThere {
        /// What named it.
        origin: Origin,
        /// The path or name it gave.
        named: PathBuf,
    },
    /// Nothing names one, and there is none on PATH.
    NoInterpreter,
    /// It is there, but could not be run.
    NotRunnable {
        /// The interpreter.
        python: PathBuf,
        /// What named it.
        origin: Origin,
        /// What the kernel said.
        error: io::Error,
    },
    /// It ran, but did not answer as a Python interpreter does.
    NoAnswer {
        /// The interpreter.
        python: PathBuf,
        /// What named it.
        origin: Origin,
        /// The last line of its complaint, or how it ended.
        complaint: String,
    },
    /// An interpreter the core cannot run in.
    Unsupported {
        /// The interpreter.
        python: PathBuf,
        /// What named it.
        origin: Origin,
        /// What it is.
        is: String,
    },
    /// RWSGI_CORE names no file.
    NoCore {
        /// The path it gave.
        named: PathBuf,
    },
    /// RWSGI_LAUNCH holds neither `exec` nor `dlopen`.
    UnknownMode {
        /// What it holds.
        given: String,
    },
    /// RWSGI_LAUNCH=dlopen was asked for and cannot be done.
    NoDlopen {
        /// Why not.
        why: String,
    },
    /// An argument holds a NUL byte.
    NulByte,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchError::NotThere { origin, named } => write!(
                f,
                "found no Python interpreter at {}, named by {origin}; name one with --python FILE or --venv DIR",
                named.display()
            ),
            LaunchError::NoInterpreter => f.write_str(
                "found no Python interpreter: no active virtual environment, no python3 beside rwsgi, \
                 no python3 or python on PATH; name one with --python FILE or --venv DIR",
            ),
            LaunchError::NotRunnable { python, origin, error } => {
                write!(f, "cannot run {} (named by {origin}): {error}", python.display())
            }
            LaunchError::NoAnswer { python, origin, complaint } => write!(
                f,
                "{} (named by {origin}) does not answer like a Python interpreter: {complaint}",
                python.display()
            ),
            LaunchError::Unsupported { python, origin, is } => write!(
                f,
                "{} (named by {origin}) is {is}; rwsgi needs CPython 3.10 or later with the GIL, \
                 name one with --python FILE or --venv DIR",
                python.display()
            ),
            LaunchError::NoCore { named } => {
                write!(f, "RWSGI_CORE names {}, which is no file", named.display())
            }
            LaunchError::UnknownMode { given } => {
                write!(f, "RWSGI_LAUNCH is '{given}'; it can be 'exec' or 'dlopen'")
            }
            LaunchError::NoDlopen { why } => write!(f, "RWSGI_LAUNCH=dlopen cannot be done: {why}"),
            LaunchError::NulByte => f.write_str("an argument or a path holds a NUL byte"),
        }
    }
}

impl std::error::Error for LaunchError {}
