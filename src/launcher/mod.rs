//! How does a start reach the interpreter? Locate it, probe it, find the core, hand over.
//!
//! Must not know: settings, beyond the two that name an interpreter. The core parses the whole
//! command line again, with the same two flags in it.
//!
//! Invariants:
//! 1. The interpreter that was recognised or probed is the one that is handed over to.
//! 2. No step changes anything outside this process.

mod core_file;
mod error;
mod handover;
mod locate;
mod probe;

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;

use error::LaunchError;
use handover::{Handover, Mode};
use locate::{Executable, Search};

/// Becomes the interpreter. Returns only to say why not.
pub fn run() -> Result<Infallible, LaunchError> {
    let mut args = env::args_os();
    let typed = args.next();
    let args: Vec<OsString> = args.collect();
    let mode = Mode::from_env(env::var_os("RWSGI_LAUNCH"))?;
    let executable = Executable::find(typed, env::var_os("PATH"), env::current_exe().ok());
    let search = Search::new(&args, &executable, |name| env::var_os(name));
    let found = search.locate()?;
    let known = if mode == Mode::Dlopen { None } else { probe::recognise(&found) };
    let probed = known.map_or_else(|| probe::probe(&found), Ok)?;
    let core = core_file::find(env::var_os("RWSGI_CORE"), executable.resolved.as_deref())?;
    Err(Handover { interpreter: probed, core, executable: executable.path(), args }.perform(mode))
}
