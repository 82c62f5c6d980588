//! What does the master need to know from the configuration?
//!
//! Built by the composition root. Must not know where a value came from. Immutable; a reload
//! brings a new one.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Policy;
use crate::door::Hooks;
use crate::metrics::seat::{Desk, Seat};

/// Exit codes of the master and, where the same, of a worker that fails to boot.
pub mod exit {
    /// Asked to stop, and did.
    pub const OK: i32 = 0;
    /// Configuration, pidfile or bind.
    pub const CONFIG: i32 = 1;
    /// A worker failed to boot.
    pub const BOOT: i32 = 3;
    /// The application failed to load.
    pub const APP: i32 = 4;
    /// A bug.
    pub const BUG: i32 = 255;
}

/// One entry of `bind`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// HOST:PORT, resolved when it is bound; IPv4 is preferred, as Gunicorn does.
    Host(String, u16),
    /// An address.
    Tcp(SocketAddr),
    /// `unix:PATH`.
    Unix(PathBuf),
    /// `unix:@NAME`, without the `@`.
    Abstract(Vec<u8>),
    /// `fd://N`: already bound by whoever started us.
    Fd(i32),
}

/// A worker's whole life, run once in the forked child; returns the exit code. Part of the
/// settings because each generation lives by the configuration it was born under.
#[derive(Clone)]
pub struct WorkerLife(pub Rc<dyn Fn(Seat) -> i32>);

/// Loads the application, once, in a mold. The error is the exit code.
#[derive(Clone)]
pub struct Preload(pub Rc<dyn Fn() -> Result<Preloaded, i32>>);

/// What a mold does with the application it has loaded.
pub struct Preloaded {
    /// What a worker forked from it does.
    pub worker: WorkerLife,
    /// Lets the application handle signals of its own.
    pub woken: Hook,
    /// Lets it take its leave, at the end of the mold.
    pub finish: Hook,
}
/// The status process's whole life, run once in the forked child; returns the exit code.
#[derive(Clone)]
pub struct StatusLife(pub Rc<dyn Fn(Desk) -> i32>);

/// Everything the master needs.
#[derive(Debug, Clone)]
pub struct MasterSettings {
    /// What a worker of this configuration does.
    pub worker: WorkerLife,
    /// The application is loaded once per generation, in a mold; workers are forked from it.
    pub preload: Option<Preload>,
    /// What the status process of this configuration does.
    pub status: StatusLife,
    /// Where it answers; empty: there is none.
    pub status_binds: Vec<Bind>,
    /// The operator's functions, if there are any.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Where to listen.
    pub binds: Vec<Bind>,
    /// listen(2) backlog.
    pub backlog: i32,
    /// How many workers serve.
    pub workers: usize,
    /// How many more may be alive while some are being replaced; at least 1.
    pub surge: usize,
    /// Threads per worker: lines on the scoreboard.
    pub threads: usize,
    /// Longest time a request may go without progress; zero: for ever.
    pub timeout: Duration,
    /// From the deadline of a request to the end of its worker, if the thread does not come free.
    pub timeout_grace: Duration,
    /// Longest time from fork to serving; zero: for ever.
    pub boot_timeout: Duration,
    /// Longest time a worker may drain.
    pub graceful_timeout: Duration,
    /// Resident bytes from which a worker is replaced; zero: any.
    pub max_worker_memory: u64,
    /// Age from which a worker is replaced; zero: any.
    pub max_worker_age: Duration,
    /// Up to so much is added to the age, per worker.
    pub max_worker_age_jitter: Duration,
    /// Where the process id is written.
    pub pidfile: Option<PathBuf>,
    /// Workers run as this user id.
    pub user: Option<u32>,
    /// Workers run as this group id.
    pub group: Option<u32>,
    /// Workers take on the user's supplementary groups.
    pub initgroups: bool,
    /// Mask for the mode of unix sockets.
    pub umask: u32,
    /// Leave the terminal.
    pub daemon: bool,
    /// Keep standard streams that are no terminals when leaving it.
    pub stdio_inheritance: bool,
    /// Every worker binds and listens for itself (SO_REUSEPORT).
    pub reuse_port: bool,
    /// The kernel holds TCP connections back until they say something.
    pub defer_accept: bool,
    /// Shown by ps, as in `rwsgi: master [NAME]`.
    pub proc_name: String,
    /// The command line an upgrade (USR2) executes.
    pub reexec: Reexec,
    /// Reopens the master's log files (USR1).
    pub reopen_logs: Hook,
    /// Who is told how many workers there are, whenever that changes.
    pub count_workers: Option<Count>,
    /// Who is told each second how many connections wait.
    pub count_backlog: Option<Count>,
    /// Called in the master when these settings come into force: at the start, and when a
    /// reload has proved itself.
    pub in_force: Hook,
}

impl MasterSettings {
    /// The part of the settings that decisions are made from.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            workers: self.workers,
            surge: self.surge.max(1),
            timeout: self.timeout,
            timeout_grace: self.timeout_grace,
            boot_timeout: self.boot_timeout,
            graceful_timeout: self.graceful_timeout,
            max_worker_age: self.max_worker_age,
            max_worker_age_jitter: self.max_worker_age_jitter,
            max_worker_memory: self.max_worker_memory,
            preload: self.preload.is_some(),
            status: !self.status_binds.is_empty(),
        }
    }
}

/// How this program was started, for an upgrade.
#[derive(Debug, Clone, Default)]
pub struct Reexec {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Directory it was started in.
    pub directory: PathBuf,
    /// Its environment then.
    pub environment: Vec<(OsString, OsString)>,
}

/// Something the composition root does on the master's behalf.
#[derive(Clone)]
pub struct Hook(pub Rc<dyn Fn()>);

/// Takes a figure.
#[derive(Clone)]
pub struct Count(pub Rc<dyn Fn(u64)>);

impl std::fmt::Debug for Count {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Count")
    }
}

impl Default for Hook {
    fn default() -> Hook {
        Hook(Rc::new(|| {}))
    }
}

impl std::fmt::Debug for WorkerLife {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("WorkerLife")
    }
}

impl std::fmt::Debug for Preload {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Preload")
    }
}

impl std::fmt::Debug for StatusLife {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("StatusLife")
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hook")
    }
}
