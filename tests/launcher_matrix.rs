//! Does the one executable reach every interpreter there is on this machine, as that interpreter?
//!
//! The interpreters: those of pyenv, /usr/bin/python3, python3 on PATH, and the ones listed in
//! RWSGI_TEST_PYTHONS (separated by colons). Each is used bare and in a virtual environment,
//! executed and loaded where it can be, and compared with what plain `python` says of itself.

#![cfg(feature = "python")]
#![allow(clippy::expect_used, reason = "a failed expectation is a failed test, in its helpers too")]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RWSGI: &str = env!("CARGO_BIN_EXE_rwsgi");

/// An application that writes down where it finds itself. sys.path[0] is the server's to set.
const FACTS: &str = "
import ctypes, json, locale, os, sqlite3, ssl, sys, zlib
facts = dict(
    version=sys.version, executable=sys.executable, prefix=sys.prefix, base=sys.base_prefix,
    flags=str(sys.flags), path=[p for p in sys.path if p and p != os.getcwd()],
    encodings=[sys.getfilesystemencoding(), locale.getpreferredencoding(False), sys.stderr.encoding],
)
json.dump(facts, open(os.environ['FACTS'], 'w'), sort_keys=True)
def application(environ, start_response):
    start_response('200 OK', [])
    return []
";

/// Imports the application and ends.
const CHECK: &[&str] = &["--check-config", "facts:application"];

#[derive(Debug, Clone)]
struct Python {
    file: PathBuf,
    version: (u32, u32),
}

fn candidates() -> Vec<PathBuf> {
    let split = |name| env::var_os(name).map(|value| env::split_paths(&value).collect::<Vec<_>>());
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = pyenv.map(|entry| entry.path().join("bin/python")).collect();
    files.push("/usr/bin/python3".into());
    files.extend(split("PATH").unwrap_or_default().into_iter().map(|directory| directory.join("python3")));
    files.extend(split("RWSGI_TEST_PYTHONS").unwrap_or_default());
    files
}

fn pythons() -> Vec<Python> {
    let mut seen = Vec::new();
    let mut pythons = Vec::new();
    for file in candidates() {
        let question = "import sys; print('%d %d %s' % (sys.version_info[:2] + (sys.executable,)))";
        let Ok(answer) = Command::new(&file).args(["-c", question]).output() else { continue };
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        let [major, minor, executable] = answer.trim().splitn(3, ' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let real = fs::canonicalize(executable).expect("an interpreter knows its own file");
        if !seen.contains(&real) {
            seen.push(real);
            let number = |word: &str| word.parse().expect("a version number");
            pythons.push(Python { file: executable.into(), version: (number(major), number(minor)) });
        }
    }
    pythons.sort_by_key(|python| python.version);
    pythons
}

fn supported() -> Vec<Python> {
    let found: Vec<Python> = pythons().into_iter().filter(|python| python.version >= (3, 10)).collect();
    assert!(!found.is_empty(), "there is no Python 3.10 or later on this machine");
    found
}

/// The executable in an environment that names no interpreter.
fn rwsgi(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    for name in ["RWSGI_PYTHON", "RWSGI_VENV", "VIRTUAL_ENV", "CONDA_PREFIX", "RWSGI_LAUNCH"] {
        command.env_remove(name);
    }
    command.env("PATH", "/nowhere").current_dir(directory);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn one_line(output: &Output, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("rwsgi: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

/// A directory with the application in it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("facts.py"), FACTS).expect("a file");
        Place { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn venv(&self, python: &Python) -> PathBuf {
        let free = (0..).map(|number| self.path().join(format!("venv{number}"))).find(|at| !at.exists());
        let at = free.expect("a name");
        let made = Command::new(&python.file).args(["-m", "venv", "--without-pip"]).arg(&at).status();
        assert!(made.expect("the interpreter runs").success());
        at
    }

    /// What the application sees under this command.
    #[track_caller]
    fn facts(&self, command: &mut Command) -> String {
        let file = self.path().join("facts.json");
        let output = command.env("FACTS", &file).output().expect("it starts");
        assert!(output.status.success(), "{command:?}: {}", said(&output));
        let facts = fs::read_to_string(&file).expect("the application was imported");
        fs::remove_file(&file).expect("it was there");
        facts
    }

    /// What it sees under the interpreter itself.
    #[track_caller]
    fn plain(&self, python: &Path, locale: &str) -> String {
        let mut command = rwsgi(python, self.path());
        self.facts(command.env("LC_ALL", locale).args(["-c", "import facts"]))
    }
}

#[test]
fn every_interpreter_is_itself_bare_and_in_a_virtual_environment() {
    let place = Place::new();
    for python in supported() {
        let venv = place.venv(&python);
        for python in [python.file.clone(), venv.join("bin/python3"), venv.join("bin/python")] {
            for locale in ["C", "C.UTF-8"] {
                let plain = place.plain(&python, locale);
                for launch in ["", "exec"] {
                    let mut command = rwsgi(RWSGI, place.path());
                    command.env("LC_ALL", locale).env("RWSGI_LAUNCH", launch).arg("--python").arg(&python);
                    assert_eq!(place.facts(command.args(CHECK)), plain, "{} {launch}", python.display());
                }
            }
        }
    }
}

#[test]
fn environments_are_found_by_flag_variable_and_place() {
    let place = Place::new();
    for python in supported() {
        let venv = place.venv(&python);
        let bin = venv.join("bin");
        let plain = place.plain(&bin.join("python3"), "C.UTF-8");
        let installed = bin.join("rwsgi");
        symlink(RWSGI, &installed).expect("a link");
        let linked = venv.with_extension("link");
        symlink(&installed, &linked).expect("a link");
        let start = |program: &Path, name: &str, value: &Path| {
            let mut command = rwsgi(program, place.path());
            command.env(name, value);
            command
        };
        let executable = Path::new(RWSGI);
        let mut by_flag = rwsgi(executable, place.path());
        by_flag.arg("--venv").arg(&venv);
        for mut command in [
            by_flag,
            start(executable, "RWSGI_VENV", &venv),
            start(executable, "VIRTUAL_ENV", &venv),
            start(executable, "CONDA_PREFIX", &venv),
            start(executable, "PATH", &bin),
            start("rwsgi".as_ref(), "PATH", &bin),
            rwsgi(&installed, place.path()),
            rwsgi(&linked, place.path()),
        ] {
            assert_eq!(place.facts(command.env("LC_ALL", "C.UTF-8").args(CHECK)), plain, "{command:?}");
        }
    }
}

#[test]
fn the_version_is_told_through_every_interpreter() {
    let place = Place::new();
    for name in ["importlib.py", "rwsgi_core.py", "rwsgi.py", "_frozen_importlib.py", "sysconfig.py"] {
        fs::write(place.path().join(name), "raise SystemExit('a file of the user was taken for ours')")
            .expect("a file");
    }
    for python in supported() {
        let mut command = rwsgi(RWSGI, place.path());
        let output = command.arg("--python").arg(&python.file).arg("--version").output().expect("it starts");
        assert!(output.status.success(), "{}", said(&output));
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
}

#[test]
fn an_old_interpreter_is_refused_in_one_line() {
    for python in pythons().into_iter().filter(|python| python.version < (3, 10)) {
        let output = rwsgi(RWSGI, Path::new("/")).arg("--python").arg(&python.file).arg("app").output();
        let is = format!("is Python {}.{}, which is too old", python.version.0, python.version.1);
        one_line(&output.expect("it starts"), &[python.file.to_str().expect("text"), &is, "--python"]);
    }
}

#[test]
fn what_is_not_there_or_no_interpreter_is_said_in_one_line() {
    let start = |args: &[&str]| rwsgi(RWSGI, Path::new("/")).args(args).output().expect("it starts");
    one_line(&start(&["app"]), &["found no Python interpreter", "--venv DIR"]);
    one_line(&start(&["--venv", "/none", "app"]), &["/none", "--venv"]);
    one_line(&start(&["--python", "/bin/false"]), &["/bin/false", "does not answer"]);
    one_line(&start(&["--python", "/bin/sh"]), &["/bin/sh", "does not answer"]);
    let place = Place::new();
    let broken = place.path().join("python3");
    fs::write(&broken, "#!/none/python\n").expect("a file");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("its mode");
    let broken = broken.to_str().expect("text");
    one_line(&start(&["--python", broken]), &["cannot run", broken]);
}

#[test]
fn a_core_that_is_missing_or_broken_is_said_in_one_line() {
    let place = Place::new();
    let python = &supported()[0].file;
    let start = |program: &Path, core: &Path| {
        let mut command = rwsgi(program, place.path());
        command.env("RWSGI_CORE", core).env("RWSGI_PYTHON", python).output().expect("it starts")
    };
    one_line(&start(RWSGI.as_ref(), Path::new("/none.so")), &["RWSGI_CORE", "/none.so"]);
    let broken = place.path().join("broken.so");
    fs::write(&broken, "no library").expect("a file");
    let named = python.to_str().expect("text");
    one_line(&start(RWSGI.as_ref(), &broken), &["cannot load the core", named]);
    // A copy with nothing beside it looks in the interpreter's packages.
    let alone = place.path().join("rwsgi");
    fs::copy(RWSGI, &alone).expect("a copy");
    one_line(&start(&alone, Path::new("")), &["found no core", named, "RWSGI_CORE"]);
}

#[test]
fn an_unknown_way_of_launching_is_refused() {
    let output = rwsgi(RWSGI, Path::new("/")).env("RWSGI_LAUNCH", "fork").output().expect("it starts");
    one_line(&output, &["RWSGI_LAUNCH", "'fork'", "'exec' or 'dlopen'"]);
}
