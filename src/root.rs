//! How do the rooms come together? The composition root: from arguments to a running master.
//!
//! Each room is handed the few values it needs, translated here from the configuration. No policy.
//!
//! Invariant: whatever ends the program before it serves is said on standard error, once, with
//! what was wrong, where it was said, and what would be right.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::cli::{self, Invocation, Loaded, Readers};
use crate::config::{Config, Origin, exit};
use crate::door::Runtime;
use crate::master::{self, MasterSettings};
use crate::wiring;

/// The variable by which the launcher says where it is.
const EXECUTABLE: &str = "RWSGI_EXECUTABLE";

/// The whole program. Returns the exit code.
pub fn main(args: Vec<OsString>, runtime: Arc<dyn Runtime>) -> i32 {
    let executable = std::env::var_os(EXECUTABLE).map(PathBuf::from);
    runtime.set_env(EXECUTABLE, None);
    let invocation = Invocation::of_process(args);
    match cli::load(&invocation, &Readers::of_process()) {
        Err(error) => {
            complain(&error.report());
            i32::from(error.exit)
        }
        Ok(Loaded::Print { text, code }) => {
            say(&text);
            i32::from(code)
        }
        Ok(Loaded::Run(config)) => match elsewhere(&config, &invocation, executable.as_deref()) {
            Some(error) => {
                complain(&error);
                i32::from(exit::CONFIGURATION)
            }
            None => start(invocation, *config, executable, runtime),
        },
    }
}

/// An interpreter that the configuration file names: the launcher, which reads no files, is asked
/// again. Returns only if that is not needed, or failed.
fn elsewhere(config: &Config, invocation: &Invocation, executable: Option<&Path>) -> Option<String> {
    let choices = [("python", "RWSGI_PYTHON", &config.python), ("venv", "RWSGI_VENV", &config.venv)];
    let named = choices.into_iter().find_map(|(setting, variable, path)| {
        let origin = config.origin(setting);
        let path = path.as_ref().filter(|_| matches!(origin, Origin::File { .. }))?;
        Some((variable, invocation.directory.join(path), origin))
    });
    let (variable, path, origin) = named?;
    let Some(executable) = executable else {
        return Some(format!(
            "rwsgi: {} ({origin}) cannot be followed: this server was started from Python; start `rwsgi`",
            path.display()
        ));
    };
    // The variable is stronger than the file: the next time round this is settled.
    let error = Command::new(executable).args(&invocation.args).env(variable, &path).exec();
    Some(format!("rwsgi: cannot start {} for {}: {error}", executable.display(), path.display()))
}

fn start(
    invocation: Invocation,
    config: Config,
    executable: Option<PathBuf>,
    runtime: Arc<dyn Runtime>,
) -> i32 {
    if config.print_config {
        say(&cli::print_config(config.rows()));
    }
    let started = wiring::Started { invocation, executable, runtime };
    if let Err(error) = wiring::Surroundings::of(&config, &started).enter() {
        complain(&format!("rwsgi: {error}"));
        return i32::from(exit::CONFIGURATION);
    }
    if config.print_config || config.check_config {
        return check(&config, &started);
    }
    let settings = match wiring::master(&config, &started) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error}");
            return i32::from(exit::CONFIGURATION);
        }
    };
    master::run(settings, &*started.runtime, &|| reload(&started))
}

/// Reads the configuration again, for HUP.
fn reload(started: &wiring::Started) -> Result<MasterSettings, String> {
    match cli::load(&started.invocation, &Readers::of_process()) {
        Ok(Loaded::Run(config)) => wiring::master(&config, started),
        Ok(Loaded::Print { .. }) => Err("the configuration asks to print something".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Loads the application in this process and says what is wrong with it.
fn check(config: &Config, started: &wiring::Started) -> i32 {
    match started.runtime.load(&wiring::app(config, started)) {
        Ok(_) => {
            say(&cli::check_config(config));
            i32::from(exit::OK)
        }
        Err(failure) => {
            if !failure.traceback.is_empty() {
                complain(&failure.traceback);
            }
            complain(&format!("rwsgi: {}", failure.message));
            i32::from(exit::APP)
        }
    }
}

/// To standard output. A reader that is gone has nothing to be told.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// To standard error, as a line.
fn complain(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{}", text.trim_end());
}
