//! How is the configuration said, on a command line and around it?
//!
//! Wiring, no policy: clap is built from the settings table, files and variables are fetched
//! here and understood in [`crate::config`].
//!
//! Invariants:
//! 1. Nothing is printed and no process is ended here: [`load`] returns what to say and with which code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::config::{Config, ConfigError, Origin};

/// How the program was started. Kept, so that a reload reads the same things again.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The environment as it was before anything changed it.
    pub env: BTreeMap<String, String>,
}

impl Invocation {
    /// These arguments (without the program's name) in this process's environment.
    pub fn of_process(args: impl IntoIterator<Item = OsString>) -> Self {
        let text = |s: OsString| s.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { args: args.into_iter().map(text).collect(), env }
    }
}

/// What [`load`] came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Serve (or check) this.
    Run(Box<Config>),
    /// Print this to stdout and end.
    Print {
        /// The text, with its line ends.
        text: String,
        /// The exit code.
        code: u8,
    },
}

/// Reads a text file.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Everything from arguments, environment and files to a typed configuration.
pub fn load(_invocation: &Invocation, _read: ReadFile<'_>) -> Result<Loaded, ConfigError> {
    Err(ConfigError::general(Origin::Default, "the settings table is not built yet"))
}
