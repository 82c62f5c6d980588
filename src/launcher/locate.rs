//! Which interpreter does the user mean?
//!
//! The order: `--python` or `--venv` (the later one of them), RWSGI_PYTHON, RWSGI_VENV, the virtual
//! environment this executable sits in, VIRTUAL_ENV, CONDA_PREFIX, a python3 beside the executable,
//! PATH.
//!
//! Must not know: whether what it finds is a usable interpreter (`probe`), what other options mean.
//!
//! Invariants:
//! 1. What the user named is used or complained about, never silently passed over. Only what
//!    merely happens to be there (a conda prefix without Python, the executable's directory) may be
//!    passed over.
//! 2. Symbolic links to an interpreter are kept as they are: a virtual environment is recognised by
//!    the path its interpreter is called by.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{self, Path, PathBuf};

use super::error::LaunchError;

/// More links than this are a loop; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Who named an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--python`.
    PythonFlag,
    /// `--venv`.
    VenvFlag,
    /// The environment variable RWSGI_PYTHON.
    PythonVariable,
    /// The environment variable RWSGI_VENV.
    VenvVariable,
    /// The virtual environment this executable is installed in.
    OwnVenv,
    /// An activated virtual environment.
    VirtualEnv,
    /// An activated conda environment.
    Conda,
    /// The directory this executable is in.
    Beside,
    /// PATH.
    Path,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::PythonFlag => "--python",
            Origin::VenvFlag => "--venv",
            Origin::PythonVariable => "RWSGI_PYTHON",
            Origin::VenvVariable => "RWSGI_VENV",
            Origin::OwnVenv => "the virtual environment rwsgi is installed in",
            Origin::VirtualEnv => "VIRTUAL_ENV",
            Origin::Conda => "CONDA_PREFIX",
            Origin::Beside => "the directory of rwsgi",
            Origin::Path => "PATH",
        })
    }
}

/// An interpreter, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file to run.
    pub python: PathBuf,
    /// Who named it.
    pub origin: Origin,
}

/// The paths this executable goes by.
#[derive(Debug, Default)]
pub struct Executable {
    /// As it was called, made absolute, and after each symbolic link on the way to the file.
    pub names: Vec<PathBuf>,
    /// The file itself.
    pub resolved: Option<PathBuf>,
}

impl Executable {
    /// From the first argument, PATH and what the kernel says.
    pub fn find(typed: Option<OsString>, path: Option<OsString>, resolved: Option<PathBuf>) -> Executable {
        let typed = typed.map(PathBuf::from).and_then(|typed| match typed.parent() {
            // Called by a bare name: the shell found it on PATH.
            Some(parent) if parent.as_os_str().is_empty() => on_path(path.as_deref(), typed.as_os_str()),
            _ => Some(typed),
        });
        let resolved = resolved.map(without_deleted_mark);
        let mut names = Vec::new();
        let mut next = typed.and_then(|typed| path::absolute(typed).ok()).filter(|typed| typed.is_file());
        while let Some(name) = next.take() {
            next = fs::read_link(&name).ok().map(|to| name.parent().unwrap_or(&name).join(to));
            names.push(name);
            if names.len() > MAX_LINKS {
                break;
            }
        }
        // argv[0] is whatever the caller put there: believed only if it leads to this file.
        if !same_file(names.first(), resolved.as_ref()) {
            names.clear();
        }
        names.extend(resolved.clone());
        Executable { names, resolved }
    }

    /// The path to start again from: with its links, so that an upgrade that turns a link is seen.
    pub fn path(&self) -> Option<PathBuf> {
        self.names.first().cloned()
    }
}

fn same_file(a: Option<&PathBuf>, b: Option<&PathBuf>) -> bool {
    match (a.map(fs::canonicalize), b.map(fs::canonicalize)) {
        (Some(Ok(a)), Some(Ok(b))) => a == b,
        // Without /proc, or with the file replaced since: nothing speaks against the name.
        _ => true,
    }
}

/// Linux marks the link in /proc when the file was replaced under the running process.
fn without_deleted_mark(path: PathBuf) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(bytes) if !path.exists() => PathBuf::from(OsString::from_vec(bytes.to_vec())),
        _ => path,
    }
}

/// Everything the search looks at.
#[derive(Debug, Default)]
pub struct Search<'a> {
    flag: Option<Named>,
    variables: Vec<Named>,
    executables: &'a [PathBuf],
    virtual_env: Option<PathBuf>,
    conda_prefix: Option<PathBuf>,
    path: Option<OsString>,
}

#[derive(Debug, Clone)]
struct Named {
    origin: Origin,
    value: PathBuf,
}

impl<'a> Search<'a> {
    /// Collects from the arguments, the executable's names and the environment.
    pub fn new(
        args: &[OsString],
        executable: &'a Executable,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Search<'a> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named =
            |name, origin| set(name).map(|value: OsString| Named { origin, value: PathBuf::from(value) });
        Search {
            flag: flag(args),
            variables: [
                named("RWSGI_PYTHON", Origin::PythonVariable),
                named("RWSGI_VENV", Origin::VenvVariable),
            ]
            .into_iter()
            .flatten()
            .collect(),
            executables: &executable.names,
            virtual_env: set("VIRTUAL_ENV").map(PathBuf::from),
            conda_prefix: set("CONDA_PREFIX").map(PathBuf::from),
            path: set("PATH"),
        }
    }

    /// The interpreter the user means.
    pub fn locate(&self) -> Result<Found, LaunchError> {
        if let Some(named) = self.flag.as_ref().or(self.variables.first()) {
            return self.named(named);
        }
        if let Some(venv) = self.own_venv() {
            return required(in_prefix(&venv), Origin::OwnVenv, venv);
        }
        if let Some(venv) = &self.virtual_env {
            return required(in_prefix(venv), Origin::VirtualEnv, venv.clone());
        }
        // A conda environment need not hold Python.
        if let Some(python) = self.conda_prefix.as_deref().and_then(in_prefix) {
            return Ok(Found { python, origin: Origin::Conda });
        }
        let beside = self.executables.iter().filter_map(|name| name.parent());
        if let Some(python) = beside.map(|dir| dir.join("python3")).find(|python| is_executable(python)) {
            return Ok(Found { python, origin: Origin::Beside });
        }
        let path = self.path.as_deref();
        let python = on_path(path, OsStr::new("python3")).or_else(|| on_path(path, OsStr::new("python")));
        python.map(|python| Found { python, origin: Origin::Path }).ok_or(LaunchError::NoInterpreter)
    }

    fn named(&self, named: &Named) -> Result<Found, LaunchError> {
        let Named { origin, value } = named.clone();
        let python = match origin {
            Origin::VenvFlag | Origin::VenvVariable => in_prefix(&value),
            _ if value.is_dir() => in_prefix(&value).or_else(|| in_directory(&value)),
            _ if is_executable(&value) => Some(value.clone()),
            // A bare name, python3.12.
            _ if value.components().count() == 1 => on_path(self.path.as_deref(), value.as_os_str()),
            _ => None,
        };
        required(python, origin, value)
    }

    fn own_venv(&self) -> Option<PathBuf> {
        let prefixes = self.executables.iter().filter_map(|name| name.parent()?.parent());
        prefixes.filter(|prefix| prefix.join("pyvenv.cfg").is_file()).map(Path::to_path_buf).next()
    }
}

fn required(python: Option<PathBuf>, origin: Origin, named: PathBuf) -> Result<Found, LaunchError> {
    // Made absolute: the core may change directory before it starts itself again.
    match python.map(|python| path::absolute(&python).unwrap_or(python)) {
        Some(python) => Ok(Found { python, origin }),
        None => Err(LaunchError::NotThere { origin, named }),
    }
}

/// The last `--python` or `--venv`. The core's parser decides what is an error; this only looks.
fn flag(args: &[OsString]) -> Option<Named> {
    let mut last = None;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            break;
        }
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let origin = match name {
            b"--python" => Origin::PythonFlag,
            // The one abbreviation no other option shares.
            b"--venv" | b"--ven" => Origin::VenvFlag,
            _ => continue,
        };
        let value = value.or_else(|| args.next().map(OsString::as_os_str));
        last = value.map(|value| Named { origin, value: PathBuf::from(value) }).or(last);
    }
    last
}

/// The interpreter of an environment: PREFIX/bin/python3, or PREFIX/bin/python.
fn in_prefix(prefix: &Path) -> Option<PathBuf> {
    in_directory(&prefix.join("bin"))
}

fn in_directory(directory: &Path) -> Option<PathBuf> {
    ["python3", "python"].iter().map(|name| directory.join(name)).find(|python| is_executable(python))
}

fn on_path(path: Option<&OsStr>, name: &OsStr) -> Option<PathBuf> {
    let directories = env::split_paths(path?);
    directories
        // An empty entry means the current directory to the shell; a server does not follow it.
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
