//! The launcher: which interpreter does the user mean, and how does it get the server to run?
//!
//! Must not know: the core. Nothing of `rwsgi_core` is linked here, so that this executable has
//! no Python symbol in it and serves every interpreter; the core is loaded by that interpreter.
//!
//! Invariants:
//! 1. Either the process becomes the interpreter that runs the core, or it says why not in one
//!    line on standard error and ends with 1.

mod launcher;

use std::process::ExitCode;

/// Configuration errors end with this code, here as in the core.
const EXIT_CONFIGURATION: u8 = 1;

#[allow(clippy::print_stderr, reason = "there is no log yet: the one line about a failed start goes here")]
fn main() -> ExitCode {
    let Err(error) = launcher::run();
    eprintln!("rwsgi: {error}");
    ExitCode::from(EXIT_CONFIGURATION)
}
