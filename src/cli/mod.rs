//! How is the configuration said, on a command line and around it?
//!
//! Wiring, no policy: clap is built from the settings table, files and variables are fetched
//! here and understood in [`crate::config`].
//!
//! Invariants:
//! 1. Nothing is printed and no process is ended here: [`load`] returns what to say and with which code.
//! 2. Stronger first: command line, `RWSGI_` variables, `GUNICORN_CMD_ARGS`, one configuration file,
//!    variables other programs know (`PORT`...), built-in defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::raw::Raw;
use crate::config::sheet::Sheet;
use crate::config::sources::{self, Commented, Given, Source, Variables};
use crate::config::table;
use crate::config::types::GunicornModule;
use crate::config::value::Value;
use crate::config::{Config, ConfigError, Origin, exit, toml_file};

pub mod command;
pub mod man;
pub mod prefixes;
pub mod print;
pub mod reference;
pub mod words;

pub use print::{check_config, print_config};

use command::{Said, Speaker};

/// The configuration files that need no naming; the first that is there is read.
const DEFAULT_FILES: [&str; 2] = ["rwsgi.toml", "gunicorn.conf.py"];

/// How the program was started. Kept, so that a reload reads the same things again.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The environment as it was before anything changed it.
    pub env: BTreeMap<String, String>,
    /// The directory it was started in, from which the configuration file's path counts. Kept
    /// because `chdir` leaves it before a reload; empty: wherever the process is.
    pub directory: PathBuf,
}

impl Invocation {
    /// These arguments (without the program's name) in this process's environment and directory.
    pub fn of_process(args: impl IntoIterator<Item = OsString>) -> Self {
        let text = |s: OsString| s.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        // A directory that is gone has no configuration file either; relative paths fail as they should.
        let directory = std::env::current_dir().unwrap_or_default();
        Self { args: args.into_iter().map(text).collect(), env, directory }
    }
}

/// What [`load`] came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Loaded {
    /// Serve (or check, or print and check) this.
    Run(Box<Config>),
    /// Print this to stdout and end.
    Print {
        /// The text, with its line ends.
        text: String,
        /// The exit code.
        code: u8,
    },
}

impl Loaded {
    fn text(text: String) -> Self {
        Loaded::Print { text, code: exit::OK }
    }
}

/// Reads a text file.
pub type ReadText<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;
/// Runs a Python configuration file, named as Gunicorn names it (a path, `file:PATH` or
/// `python:MODULE`), and returns its variables.
pub type RunPython<'a> = dyn Fn(&str, GunicornModule) -> Result<Variables, ConfigError> + 'a;

/// How files are read. Paths have been joined to [`Invocation::directory`], but for Python's.
pub struct Readers<'a> {
    /// Text files.
    pub text: &'a ReadText<'a>,
    /// Python configuration files. `None`: there is nobody who could run them.
    pub python: Option<&'a RunPython<'a>>,
}

impl<'a> Readers<'a> {
    /// The file system, and somebody who runs Python.
    pub fn of_process(python: &'a RunPython<'a>) -> Self {
        Readers { text: &|path| std::fs::read_to_string(path), python: Some(python) }
    }
}

/// Everything from arguments, environment and files to a typed configuration.
pub fn load(invocation: &Invocation, readers: &Readers<'_>) -> Result<Loaded, ConfigError> {
    resolve(invocation, Source::new(), readers)
}

fn resolve(invocation: &Invocation, program: Source, readers: &Readers<'_>) -> Result<Loaded, ConfigError> {
    let said = match command::parse(&invocation.args, Speaker::CommandLine)? {
        Said::Values(source) => source,
        Said::Text(text) => return Ok(Loaded::text(text)),
    };
    let gunicorn = match gunicorn_cmd_args(&invocation.env)? {
        Said::Values(source) => source,
        Said::Text(text) => return Ok(Loaded::text(text)),
    };
    let ours = sources::environment(&invocation.env)?;
    let named = [&said, &ours, &gunicorn].into_iter().find_map(command::named_file);
    let module = [&said, &ours, &gunicorn].into_iter().find_map(command::gunicorn_module);
    let (file, warnings) = file(named, module.unwrap_or_default(), &invocation.directory, readers)?;
    let surroundings = sources::surroundings(&invocation.env);
    let sheet = Sheet::of([surroundings, program, file, gunicorn, ours, said])?;
    if is_on(&sheet, "print_config") && !names_app(&sheet) {
        return Ok(Loaded::text(print_config(sheet.lines())));
    }
    let mut config = Config::new(sheet)?;
    config.warnings = warnings;
    Ok(Loaded::Run(Box::new(config)))
}

/// As [`load`], for a program that is its own configuration. Its values stand where a
/// configuration file's would; a command line counts if it leaves one to us.
pub fn load_program(
    invocation: &Invocation,
    name: &str,
    variables: Variables,
    understands_arguments: bool,
    readers: &Readers<'_>,
) -> Result<Loaded, ConfigError> {
    let path = Path::new(name);
    let (mut program, warnings) = sources::python_file(path, variables)?;
    if let Some(setting) = table::find("wsgi_app")
        && program.iter().all(|given| given.setting != setting)
    {
        let origin = Origin::File { path: path.to_owned(), line: None };
        program.push(Given { setting, raw: Raw::from(name), origin });
    }
    if understands_arguments {
        return resolve(invocation, program, readers);
    }
    let surroundings = sources::surroundings(&invocation.env);
    let ours = sources::environment(&invocation.env)?;
    let mut config = Config::new(Sheet::of([surroundings, program, ours])?)?;
    config.warnings = warnings;
    Ok(Loaded::Run(Box::new(config)))
}

fn is_on(sheet: &Sheet, name: &str) -> bool {
    sheet.line(name).is_some_and(|line| line.value == Value::Flag(true))
}

fn names_app(sheet: &Sheet) -> bool {
    let says = |name: &str, nothing: Value| sheet.line(name).is_some_and(|line| line.value != nothing);
    says("wsgi_app", Value::App(None)) || says("paste", Value::Text(String::new()))
}

fn gunicorn_cmd_args(env: &BTreeMap<String, String>) -> Result<Said, ConfigError> {
    const VARIABLE: &str = "GUNICORN_CMD_ARGS";
    let line = env.get(VARIABLE).map_or("", String::as_str);
    let words = words::split(line).ok_or_else(|| {
        let origin = Origin::Environment(VARIABLE.to_owned());
        ConfigError::usage(origin, "a quote or backslash has no end").hint("quote as in a shell")
    })?;
    command::parse(&words, Speaker::GunicornCmdArgs)
}

/// What the one configuration file says: the named one, or one that needs no naming.
fn file(
    named: Option<(&str, &Origin)>,
    module: GunicornModule,
    start: &Path,
    readers: &Readers<'_>,
) -> Result<Commented, ConfigError> {
    if let Some((name, origin)) = named.filter(|(name, _)| !name.is_empty()) {
        return read_file(name, origin, module, start, readers);
    }
    let there = |name: &&str| {
        let read = (readers.text)(&start.join(name));
        !read.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let mut found = DEFAULT_FILES.into_iter().filter(there);
    let Some(name) = found.next() else { return Ok(Commented::default()) };
    let (source, mut warnings) = read_file(name, &Origin::Default, module, start, readers)?;
    warnings.extend(found.map(|other| {
        format!("There are {name} and {other}: only {name} is read. Name the other with -c, or remove it.")
    }));
    Ok((source, warnings))
}

fn read_file(
    name: &str,
    origin: &Origin,
    module: GunicornModule,
    start: &Path,
    readers: &Readers<'_>,
) -> Result<Commented, ConfigError> {
    if is_python(name) {
        return python_file(name, origin, module, readers);
    }
    let path = PathBuf::from(name.strip_prefix("file:").unwrap_or(name));
    let text = (readers.text)(&start.join(&path)).map_err(|error| {
        let complaint = ConfigError::about("config", origin.clone(), format!("cannot be read: {error}"));
        ConfigError { value: Some(Raw::from(name).to_string().into()), ..complaint }
    })?;
    Ok((toml_file::parse(&path, &text)?, Vec::new()))
}

/// Everything but `.toml` is Python to Gunicorn.
fn is_python(name: &str) -> bool {
    name.starts_with("python:")
        || !Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

fn python_file(
    name: &str,
    origin: &Origin,
    module: GunicornModule,
    readers: &Readers<'_>,
) -> Result<Commented, ConfigError> {
    let Some(run) = readers.python else {
        let error = ConfigError::about("config", origin.clone(), "there is no Python to run it");
        return Err(ConfigError { value: Some(Raw::from(name).to_string().into()), ..error }
            .hint("put the settings into a rwsgi.toml; its keys are Gunicorn's names"));
    };
    let path = name.strip_prefix("file:").unwrap_or(name);
    sources::python_file(Path::new(path), run(name, module)?)
}

#[cfg(test)]
mod tests;
