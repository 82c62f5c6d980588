//! When are the operator's functions called, and what are they told?
//!
//! Must not know: Python, what a hook does.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::Secure;
use crate::config::raw::Raw;

/// The operator's functions of one configuration.
///
/// Called on the main thread of the process, but for `worker_abort`. A hook that raises has been logged, with its name and
/// traceback, when its call returns; what follows from it is the caller's to know.
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Whether the hook of this name is set.
    fn has(&self, name: &str) -> bool;
    /// A moment in the master's life.
    fn in_master(&self, moment: MasterMoment<'_>) -> Result<(), HookRaised>;
    /// A moment in a worker's life.
    fn in_worker(&self, moment: WorkerMoment) -> Result<(), HookRaised>;
    /// What secures connections under this configuration, made with the hook `ssl_context` if there
    /// is one. Files are looked for from `directory`. The error names the setting at fault.
    fn secure(&self, directory: &Path) -> Result<Arc<dyn Secure>, WrongHook>;
}

/// What hooks are made of.
#[derive(Debug, Clone, Default)]
pub struct HookSpec {
    /// Name and function (or its dotted name).
    pub hooks: Vec<(&'static str, Raw)>,
    /// All settings, for `server.cfg`.
    pub settings: Vec<(&'static str, Raw)>,
    /// Directories modules are looked for in first.
    pub search: Vec<String>,
}

/// What a Python logger is made of.
#[derive(Debug, Clone, Default)]
pub struct LoggerSpec {
    /// All settings.
    pub settings: Vec<(&'static str, Raw)>,
    /// Directories modules are looked for in first.
    pub search: Vec<String>,
}

/// A hook that cannot be called as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongHook {
    /// Its name; empty: it is not one hook's fault.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A hook raised an exception, which has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookRaised {
    /// Its name.
    pub name: &'static str,
}

impl fmt::Display for HookRaised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the hook {} raised an exception", self.name)
    }
}

impl std::error::Error for HookRaised {}

/// Moments in the master's life hooks may be set for.
#[derive(Debug, Clone, Copy)]
pub enum MasterMoment<'a> {
    /// It is about to listen.
    Starting,
    /// It listens here.
    Ready {
        /// The addresses as the log shows them.
        addresses: &'a [String],
    },
    /// The number of workers was set.
    WorkersChanged {
        /// To this.
        new: usize,
        /// From this; `None`: for the first time.
        old: Option<usize>,
    },
    /// A worker is about to be forked.
    Forking {
        /// Into this slot.
        slot: usize,
    },
    /// It was forked.
    Forked {
        /// Into this slot.
        slot: usize,
        /// This is it.
        pid: i32,
    },
    /// A child has ended, maybe a worker.
    Gone {
        /// This one.
        pid: i32,
        /// It was ended because it had got no further for too long.
        overdue: bool,
    },
    /// The configuration was read again; these are the new one's hooks.
    Reloading,
    /// This process is about to become a new master.
    Executing,
    /// A new master was started.
    Upgrading {
        /// This is it.
        pid: i32,
    },
    /// Everything else has ended.
    Exiting,
}

/// Moments in a worker's life hooks may be set for.
#[derive(Debug, Clone, Copy)]
pub enum WorkerMoment {
    /// It was just forked.
    Forked {
        /// Into this slot.
        slot: usize,
    },
    /// The application is loaded.
    Loaded,
    /// It is told to end at once.
    Interrupted,
    /// A request is over its timeout.
    Aborted,
    /// It ends.
    Exiting,
}
