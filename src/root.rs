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
use crate::config::{Config, exit};
use crate::door::Runtime;
use crate::log;
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
        Ok(Loaded::Run(config)) => start(invocation, *config, executable, runtime),
    }
}

fn start(
    invocation: Invocation,
    config: Config,
    executable: Option<PathBuf>,
    runtime: Arc<dyn Runtime>,
) -> i32 {
    if let Some(directory) = &config.chdir
        && let Err(error) = std::env::set_current_dir(directory)
    {
        complain(&format!(
            "rwsgi: cannot change to {}: {error} ({})",
            directory.display(),
            config.origin("chdir")
        ));
        return i32::from(exit::CONFIGURATION);
    }
    for (name, value) in &config.raw_env {
        runtime.set_env(name, Some(value));
    }
    if config.print_config {
        say(&cli::print_config(config.rows()));
    }
    if config.print_config || config.check_config {
        return check(&config, &*runtime);
    }
    if let Err(error) = log::init(wiring::error_log(&config)) {
        complain(&format!("rwsgi: {error} ({})", config.origin("errorlog")));
        return i32::from(exit::CONFIGURATION);
    }
    let started = wiring::Started { invocation, executable, runtime };
    serve(config, started)
}

fn serve(config: Config, started: wiring::Started) -> i32 {
    tracing::info!("Starting rwsgi {}", env!("CARGO_PKG_VERSION"));
    let settings = match wiring::master(&config, &started) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!("{error}");
            return i32::from(exit::CONFIGURATION);
        }
    };
    let reload = || reload(&started);
    master::run(settings, &*started.runtime, &reload)
}

/// Reads the configuration again, for HUP.
fn reload(started: &wiring::Started) -> Result<MasterSettings, String> {
    let config = match cli::load(&started.invocation, &Readers::of_process()) {
        Ok(Loaded::Run(config)) => config,
        Ok(Loaded::Print { .. }) => return Err("the configuration asks to print something".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let directory = config.chdir.as_ref().unwrap_or(&started.invocation.directory);
    std::env::set_current_dir(directory)
        .map_err(|error| format!("cannot change to {}: {error}", directory.display()))?;
    let settings = wiring::master(&config, started)?;
    log::init(wiring::error_log(&config)).map_err(|error| error.to_string())?;
    for (name, value) in &config.raw_env {
        started.runtime.set_env(name, Some(value));
    }
    Ok(settings)
}

/// Loads the application in this process and says what is wrong with it.
fn check(config: &Config, runtime: &dyn Runtime) -> i32 {
    match runtime.load(&wiring::app(config)) {
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
