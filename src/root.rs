//! How do the rooms come together? The composition root: from arguments to a running master.
//!
//! Each room is handed the few values it needs, translated here from the configuration. No policy.
//!
//! Invariant: whatever ends the program before it serves is said on standard error, once, with
//! what was wrong, where it was said, and what would be right.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::{self, Invocation, Loaded, Readers};
use crate::config::{Config, ConfigError, exit};
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
    match load(&invocation, &*runtime) {
        Err(error) => {
            complain(&error.report());
            i32::from(error.exit)
        }
        Ok(Loaded::Print { text, code }) => {
            say(&text);
            i32::from(code)
        }
        Ok(Loaded::Run(config)) => start(invocation, *config, executable, runtime),
    }
}

fn load(invocation: &Invocation, runtime: &dyn Runtime) -> Result<Loaded, ConfigError> {
    let python = |name: &str, module| runtime.read_configuration(name, &invocation.directory, module);
    cli::load(invocation, &Readers::of_process(&python))
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
    started.runtime.provide_gunicorn(config.gunicorn_module);
    if let Err(error) = wiring::Surroundings::of(&config, &started).enter() {
        complain(&format!("rwsgi: {error}"));
        return i32::from(exit::CONFIGURATION);
    }
    warn(&config);
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
    match load(&started.invocation, &*started.runtime) {
        Ok(Loaded::Run(config)) => {
            warn(&config);
            wiring::master(&config, started)
        }
        Ok(Loaded::Print { .. }) => Err("the configuration asks to print something".to_owned()),
        Err(error) => {
            if let Some(traceback) = &error.traceback {
                tracing::error!("{traceback}");
            }
            Err(error.to_string())
        }
    }
}

fn warn(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
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
