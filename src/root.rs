//! How do the rooms come together? The composition root: from arguments to a running master.
//!
//! Each room is handed the few values it needs, translated here from the configuration. No policy.
//!
//! Invariant: whatever ends the program before it serves is said on standard error, once, with
//! what was wrong, where it was said, and what would be right.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::cli::{self, Invocation, Loaded, Readers};
use crate::config::types::GunicornModule;
use crate::config::{Config, ConfigError, Origin, exit};
use crate::door::{Interpreter, Program};
use crate::log;
use crate::master::{self, MasterSettings};
use crate::system::daemon;
use crate::wiring::{self, Started, Surroundings, variables};

/// The variable by which the launcher says where it is.
const EXECUTABLE: &str = "RWSGI_EXECUTABLE";

/// The option that runs a Python program which asks to be served.
const SCRIPT: &str = "--script";

/// The whole program. Returns the exit code.
pub fn main(args: Vec<OsString>, runtime: Arc<dyn Interpreter>) -> i32 {
    if args.first().is_some_and(|first| first == SCRIPT) {
        return script(&args[1..], &*runtime);
    }
    let executable = take_executable(&*runtime);
    let started = Started { invocation: Invocation::of_process(args), executable, runtime, program: None };
    begin(started)
}

/// Serves a program that asks for it. Returns the exit code.
pub fn serve(program: Program, runtime: Arc<dyn Interpreter>) -> i32 {
    let executable = take_executable(&*runtime);
    let invocation = Invocation::of_process(program.arguments.clone().unwrap_or_default());
    begin(Started { invocation, executable, runtime, program: Some(program) })
}

/// The launcher, if there is one, without taking note.
pub fn executable() -> Option<PathBuf> {
    std::env::var_os(EXECUTABLE).map(PathBuf::from)
}

fn take_executable(runtime: &dyn Interpreter) -> Option<PathBuf> {
    let executable = executable();
    runtime.set_env(EXECUTABLE, None);
    executable
}

fn script(args: &[OsString], runtime: &dyn Interpreter) -> i32 {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let Some((file, arguments)) = args.split_first() else {
        complain("rwsgi: --script: a value is missing; name a Python file, e.g. --script serve.py");
        return i32::from(exit::USAGE);
    };
    runtime.provide_gunicorn(GunicornModule::Always);
    runtime.run_script(file, arguments)
}

fn begin(started: Started) -> i32 {
    match load(&started, Reading::First) {
        Err(error) => {
            complain(&error.report());
            i32::from(error.exit)
        }
        Ok(Loaded::Print { text, code }) => {
            say(&text);
            i32::from(code)
        }
        Ok(Loaded::Run(config)) => match elsewhere(&config, &started) {
            Some(error) => {
                complain(&error);
                i32::from(exit::CONFIGURATION)
            }
            None => start(*config, started),
        },
    }
}

/// An interpreter that rwsgi.toml names: the launcher, which reads no files, is asked again.
/// Returns only if that is not needed, or failed.
fn elsewhere(config: &Config, started: &Started) -> Option<String> {
    let invocation = &started.invocation;
    let choices = [("python", "RWSGI_PYTHON", &config.python), ("venv", "RWSGI_VENV", &config.venv)];
    let (variable, path, origin) = choices.into_iter().find_map(|(setting, variable, chosen)| {
        let origin = config.origin(setting);
        let in_toml =
            matches!(origin, Origin::File { path, .. } if path.extension().is_some_and(|end| end == "toml"));
        let path = chosen.as_ref().filter(|_| in_toml)?;
        Some((variable, invocation.directory.join(path), origin))
    })?;
    let Some(executable) = &started.executable else {
        return Some(format!(
            "rwsgi: {} ({origin}) cannot be followed: this server was started from Python; start `rwsgi`",
            path.display()
        ));
    };
    // The variable is stronger than the file: the next time round this is settled.
    let error = Command::new(executable).args(&invocation.args).env(variable, &path).exec();
    Some(format!("rwsgi: cannot start {} for {}: {error}", executable.display(), path.display()))
}

/// Which time it is that the configuration is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    First,
    Again,
}

fn load(started: &Started, reading: Reading) -> Result<Loaded, ConfigError> {
    let (invocation, runtime) = (&started.invocation, &started.runtime);
    let python = |name: &str, module| runtime.read_configuration(name, &invocation.directory, module);
    let readers = Readers::of_process(&python);
    let Some(program) = &started.program else { return cli::load(invocation, &readers) };
    let variables = runtime.settings_of(&program.application, reading == Reading::Again)?;
    cli::load_program(invocation, &program.name, variables, program.arguments.is_some(), &readers)
}

fn start(config: Config, started: Started) -> i32 {
    if config.print_config {
        say(&cli::print_config(config.rows()));
    }
    if started.program.is_none() {
        started.runtime.provide_gunicorn(config.gunicorn_module);
    }
    let surroundings = Surroundings::of(&config, &started);
    if config.daemon {
        // Before there are any files: what a daemon makes does not depend on who has started it.
        daemon::set_umask();
    }
    if let Err(error) = surroundings.enter() {
        complain(&format!("rwsgi: {error}"));
        return i32::from(exit::CONFIGURATION);
    }
    warn(&config);
    let settings = match wiring::master(&config, &started, surroundings) {
        Ok(settings) => settings,
        Err(error) => {
            log::fatal(&error);
            return i32::from(exit::CONFIGURATION);
        }
    };
    if config.print_config || config.check_config {
        return check(&config, &started);
    }
    master::run(settings, &*started.runtime, &|| reload(&started))
}

/// Reads the configuration again, for HUP.
fn reload(started: &Started) -> Result<MasterSettings, String> {
    variables::without(&*started.runtime, || read_again(started))
}

fn read_again(started: &Started) -> Result<MasterSettings, String> {
    match load(started, Reading::Again) {
        Ok(Loaded::Run(config)) => {
            warn(&config);
            let surroundings = Surroundings::of(&config, started);
            wiring::master(&config, started, surroundings)
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
fn check(config: &Config, started: &Started) -> i32 {
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
