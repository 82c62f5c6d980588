//! What crosses between the server and Python: traits and plain types, no logic.
//!
//! Must not know: pyo3, sockets, tokens, timers. The worker holds `dyn App` and `dyn Reply`
//! and never a Python object; the Python room is given a `dyn Sink` and never a connection.
//! `--no-default-features` builds the server with a Rust application behind this door.
//!
//! Invariants:
//! 1. One exchange is one call of [`App::call`], then zero or more calls of [`Reply::resume`]
//!    with the same sink, then it is over: `close()` of the application's iterable has run
//!    exactly once when [`Step::Done`] or [`Step::Failed`] comes back or [`Reply::abandon`] returns.
//! 2. The interpreter lock is taken and given back inside each of those calls, never across them.
//! 3. After [`Flow::Full`] the next block offered is the rest of the same block.

mod endpoint;
mod hooks;
mod tls;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use endpoint::{Endpoint, Proxied, Refused};
pub use hooks::{HookRaised, HookSpec, Hooks, LoggerSpec, MasterMoment, WorkerMoment, WrongHook};
pub use tls::{Next, Opened, Secure, Session};

use crate::config::ConfigError;
use crate::config::raw::Object;
use crate::config::sources::Variables;
use crate::config::types::GunicornModule;
use crate::http::head::Head;
use crate::http::response::{HeadError, ResponseHead};

/// The interpreter as a process that forks sees it.
pub trait Forks: Send + Sync {
    /// Right before `fork`: PyOS_BeforeFork. The calling thread holds the interpreter.
    fn before_fork(&self);
    /// Right after `fork` in the parent, also when it failed: PyOS_AfterFork_Parent.
    fn after_fork_parent(&self);
    /// Right after `fork` in the child: PyOS_AfterFork_Child.
    fn after_fork_child(&self);
    /// Right before a fork whose child is to share what was [preloaded](Runtime::preload): it is put
    /// out of the garbage collector's reach.
    fn freeze(&self);
    /// In such a child: the garbage collector looks after what is made from now on.
    fn resume_collecting(&self);
    /// Runs `work` with the interpreter given back, so that the application's own threads run.
    fn released(&self, work: &mut (dyn FnMut() + Send));
    /// Runs `work` with the interpreter taken, so that no call in it has to take it by itself.
    fn entered(&self, work: &mut dyn FnMut());
}

/// The interpreter as the configuration sees it.
pub trait Configures: Send + Sync {
    /// Sets or (with `None`) removes an environment variable, for Python code and for the process.
    fn set_env(&self, name: &str, value: Option<&OsStr>);
    /// Runs a Python configuration file, as Gunicorn does: a path seen from `start`, `file:PATH` or
    /// `python:MODULE`.
    fn read_configuration(
        &self,
        name: &str,
        start: &Path,
        module: GunicornModule,
    ) -> Result<Variables, ConfigError>;
    /// Makes a module `gunicorn` importable, or not.
    fn provide_gunicorn(&self, when: GunicornModule);
    /// Makes the operator's hooks callable. Imports those that are named.
    fn hooks(&self, spec: &HookSpec) -> Result<Arc<dyn Hooks>, WrongHook>;
    /// What a program of the operator's has set; `again`: it is to make up its mind anew.
    fn settings_of(&self, application: &Object, again: bool) -> Result<Variables, ConfigError>;
    /// Runs a Python program as `python FILE ARGUMENTS` does; returns its exit code.
    fn run_script(&self, file: &str, arguments: &[String]) -> i32;
    /// Has a Python logger write the error log from now on, and access lines; without one, lends
    /// the server's own log to applications, at this level. An error is one line.
    fn choose_logger(&self, spec: Option<&Arc<LoggerSpec>>, level: &str) -> Result<(), String>;
}

/// Everything at once, for those who bring the rooms together.
pub trait Interpreter: Runtime + Configures {}

impl<T: Runtime + Configures> Interpreter for T {}

/// The interpreter as a worker sees it.
pub trait Runtime: Forks {
    /// Imports the application. Runs its import-time code.
    fn load(&self, spec: &AppSpec) -> Result<Arc<dyn App>, LoadFailure>;
    /// The source files of the loaded code, and those that these names and patterns mean.
    fn sources(&self, extra: &[String]) -> Vec<PathBuf>;
    /// As `load`, in a process whose children are to share what it loads: the garbage collector
    /// rests, because it writes to every object it looks at.
    fn preload(&self, spec: &AppSpec) -> Result<Arc<dyn App>, LoadFailure>;
    /// Has a byte written to `end` when a signal arrives that the application handles, so that
    /// the one who waits calls `check_signals`. Called once, in the main thread.
    fn wake_by(&self, _end: BorrowedFd<'_>) {}
    /// Runs handlers the application installed with `signal.signal`, after an interrupted wait.
    /// True: a handler raised SystemExit or KeyboardInterrupt, the process is asked to end.
    fn check_signals(&self) -> bool;
    /// Gets ready to interrupt and to show threads; called once, in the main thread, before the
    /// application is loaded. `threads`: how many may be inside the application at once.
    fn prepare_watchdog(&self, threads: usize);
    /// The Python stack of the thread the interpreter knows as `ident`. Waits for the interpreter.
    fn stack(&self, ident: u64) -> Option<String>;
    /// The same without the interpreter's leave, for when a thread does not give it back.
    fn stack_by_force(&self, ident: u64) -> Option<String>;
    /// Raises an exception in the exchange that `thread` (an index) has in hand, if it still has
    /// one. Waits for the interpreter.
    fn interrupt(&self, thread: usize) -> bool;
    /// Runs the application's exit handlers and flushes its streams, at the end of a worker.
    fn finish(&self);
}

/// A Python program that is its own configuration: it has derived a class from Gunicorn's
/// `BaseApplication` and asks to be served.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its object, for [`Configures::settings_of`].
    pub application: Object,
    /// What makes the WSGI application.
    pub loader: Object,
    /// MODULE:CLASS, for titles.
    pub name: String,
    /// What starts it again.
    pub command: Vec<OsString>,
    /// Its command line, where it leaves that to us.
    pub arguments: Option<Vec<OsString>>,
}

/// Which application to load, and how its requests are to look.
#[derive(Debug, Clone, Default)]
pub struct AppSpec {
    /// `MODULE[:NAME]`, dotted attributes, or `MODULE:factory(literal arguments)`.
    pub target: String,
    /// The PasteDeploy file the application is in, in place of `target`.
    pub paste: Option<Paste>,
    /// Lines are printed as they are run.
    pub spew: bool,
    /// Makes the application; `target` is only shown then.
    pub loader: Option<Object>,
    /// Directories put first in `sys.path`, in this order.
    pub search: Vec<String>,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// Environ keys the access log wants to see after the request, in the order of its atoms.
    pub log_environ: Vec<String>,
    /// Whether `wsgi.file_wrapper` bodies may leave by sendfile.
    pub sendfile: bool,
}

/// An application in a PasteDeploy file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paste {
    /// `FILE` or `FILE#SECTION`, with an absolute path.
    pub file: String,
    /// Defaults for the file.
    pub defaults: Vec<(String, String)>,
}

/// Why an application could not be loaded.
#[derive(Debug)]
pub struct LoadFailure {
    /// Who is to blame; decides the exit code.
    pub kind: LoadFailureKind,
    /// One line: what was wrong and what to check.
    pub message: String,
    /// The traceback, empty when there is none.
    pub traceback: String,
    /// The files that stand in it.
    pub files: Vec<PathBuf>,
}

/// The kinds of [`LoadFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadFailureKind {
    /// The module, the object or the import is at fault (exit code 4).
    App,
    /// Anything else while booting (exit code 3).
    Boot,
}

/// A loaded WSGI application.
pub trait App: Send + Sync {
    /// Called once in the process that is to serve it, before the first call: it may have been
    /// loaded in another one.
    fn settle(&self) -> Result<(), LoadFailure> {
        Ok(())
    }
    /// Calls the application for one complete request and takes blocks from it until it is
    /// exhausted, the sink is full, or the client is gone. A failure has been logged, with
    /// traceback, method and path, when it is returned.
    fn call(&self, exchange: &mut Exchange<'_>, out: &mut dyn Sink) -> Step;
    /// A request was answered without it. For those who watch requests; called when the answer was made
    /// and offered to the client, for whom some of it may still be waiting.
    fn refused(&self, _refused: &Refused<'_>) {}
}

/// A reply whose next block has to wait until the client has taken more.
pub trait Reply: Send {
    /// Goes on where [`Flow::Full`] stopped it, in the thread of this index.
    fn resume(&mut self, thread: usize, out: &mut dyn Sink) -> Resumed;
    /// The client is gone or out of time: closes the iterable. Failures of `close()` are logged.
    fn abandon(self: Box<Self>);
}

/// How [`App::call`] ended.
pub enum Step {
    /// The whole body was handed over and the iterable is closed.
    Done,
    /// The sink was full; the rest is in the reply.
    Parked(Box<dyn Reply>),
    /// The application raised, or broke PEP 3333. The iterable is closed.
    Failed,
}

/// How [`Reply::resume`] ended; as [`Step`], but the reply stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// As [`Step::Done`].
    Done,
    /// Still more to come.
    Parked,
    /// As [`Step::Failed`].
    Failed,
}

/// One request on its way to the application: everything environ is made of.
pub struct Exchange<'a> {
    /// The parsed head. Its spans index `bytes`.
    pub head: &'a Head,
    /// The bytes the head was parsed from.
    pub bytes: &'a [u8],
    /// Who talks to whom, after trust has been decided.
    pub endpoint: &'a Endpoint,
    /// The decoded request body; taken by the application side.
    pub body: Body<'a>,
    /// Its id, visible ASCII; empty where ids are not wanted.
    pub request_id: &'a str,
    /// How long it had waited before it reached this server, where a trusted peer said so.
    pub queued: Option<Duration>,
    /// True when the server will not read another request from this connection.
    pub closing: bool,
    /// Which request of its connection this is, from 1.
    pub number: u64,
    /// Index of the thread that runs it.
    pub thread: usize,
    /// A word the application side keeps on the connection from one request to the next. The
    /// server sets it to 0 at first, and whenever the field lines are not those of the request before.
    pub memo: &'a mut u64,
}

/// A complete, decoded request body.
#[derive(Debug, Default)]
pub enum Body<'a> {
    /// No body, or an empty one.
    #[default]
    Empty,
    /// In memory.
    Memory(&'a [u8]),
    /// Spilled to an unlinked temporary file, positioned at its start.
    File {
        /// The file.
        file: File,
        /// Its length in bytes.
        len: u64,
    },
}

impl Body<'_> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Memory(bytes) => bytes.len() as u64,
            Body::File { len, .. } => *len,
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Taken whole; go on.
    More,
    /// So many bytes were taken, then the high-water mark was reached: park, and offer the rest later.
    Full {
        /// Bytes of the offered block that were taken; may be all of them.
        taken: usize,
    },
    /// The client is gone, or the announced Content-Length is used up and nothing more is wanted.
    Gone,
}

/// Where a reply goes. The worker's end of the door.
pub trait Sink: Send {
    /// Fixes status and header fields. Called once, right before the first non-empty block or
    /// at the end; `length` is the body's whole length where the application side knows it.
    /// An error is the application's: nothing was sent.
    fn head(&mut self, head: &ResponseHead, length: Option<u64>) -> Result<(), HeadError>;
    /// Whether [`Sink::head`] was called.
    fn head_sent(&self) -> bool;
    /// Offers a non-empty block. With `flush` it is on its way to the client when this returns;
    /// without, more follows at once (or the reply ends) and it may wait for that.
    fn block(&mut self, bytes: &[u8], flush: bool) -> Flow;
    /// The body is complete; called before the iterable's `close()`, so that a slow one does not
    /// hold back the end of the reply. Optional: [`Step::Done`] implies it.
    fn end(&mut self);
    /// The same when the iterable is closed and the reply is to be on its way before anybody is told
    /// of it.
    fn deliver(&mut self) {
        self.end();
    }
    /// Takes a whole block for `write()`, which cannot be parked. False: the client is gone.
    fn write(&mut self, bytes: &[u8]) -> bool;
    /// Takes a region of a file as the whole body; leaves by sendfile. `file` is the sink's own.
    fn file(&mut self, file: OwnedFd, offset: u64, len: u64);
    /// An interim response (103) with these header fields, already validated.
    fn interim(&mut self, head: &ResponseHead);
    /// A handle of the client's connection, for the application to look at.
    fn connection(&mut self) -> io::Result<OwnedFd>;
    /// The TLS session of that connection, if it has one.
    fn session(&self) -> Option<Arc<dyn Session>> {
        None
    }
    /// The application talks to the client itself from now on; the connection ends with this exchange.
    fn take_over(&mut self);
    /// The environ values asked for by [`AppSpec::log_environ`], in that order; `None`: not there.
    fn logged_environ(&mut self, values: Vec<Option<String>>);
}
