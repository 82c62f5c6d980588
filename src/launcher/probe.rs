//! What kind of interpreter is it?
//!
//! An executable that is called as CPython installs it, `python3.12`, is one that can be executed:
//! it need not be asked, which takes as long as starting it. Anything else is asked by running it:
//! what sysconfig says about linkage is wrong often enough (Debian's static python3 calls itself
//! shared), its own memory map is not.
//!
//! Must not know: how the interpreter was found, how it is started for good.
//!
//! Invariants:
//! 1. The question is understood by every Python from 2.7 on, so that an old one is named as such
//!    and not as a syntax error.
//! 2. Nothing of the user's is imported while probing (`-S`, `-s`).

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::LaunchError;
use super::locate::{Found, Origin};

/// Fields separated by NUL: implementation, major, minor, ABI flags, executable, libpython, version.
const QUESTION: &str = r#"
import sys
i = getattr(sys, 'implementation', None)
v = sys.version_info
lib = b''
try:
    for line in open('/proc/self/maps', 'rb'):
        part = line.split(None, 5)
        name = part[5].strip() if len(part) > 5 else b''
        if name.rsplit(b'/', 1)[-1].startswith(('libpython%d.%d' % v[:2]).encode()) and b'.so' in name:
            lib = name
            break
except EnvironmentError:
    pass
exe = sys.executable or ''
if v[0] > 2:
    exe = exe.encode(sys.getfilesystemencoding(), 'surrogateescape')
fields = [i.name if i else 'cpython', str(v[0]), str(v[1]), getattr(sys, 'abiflags', '')]
fields = [f.encode() for f in fields] + [exe, lib, sys.version.encode()]
getattr(sys.stdout, 'buffer', sys.stdout).write(b'\0'.join(fields))
"#;

/// The oldest minor version of Python 3 the core can be loaded by.
const OLDEST_MINOR: u32 = 10;

/// A usable interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// What it calls itself (`sys.executable`): a shim on PATH is not the interpreter.
    pub executable: PathBuf,
    /// Who named it.
    pub origin: Origin,
    /// The libpython it is linked to; none when it is statically linked.
    pub libpython: Option<PathBuf>,
    /// `sys.version`, to recognise the right libpython by.
    pub version: OsString,
}

/// The interpreter, if its file says what it is: a program (no script that leads somewhere else) by
/// the name of a supported version. A free-threaded build has a `t` behind that.
pub fn recognise(found: &Found) -> Option<Interpreter> {
    let file = fs::canonicalize(&found.python).ok()?;
    let name = file.file_name()?.to_str()?;
    let minor: u32 = name.strip_prefix("python3.")?.parse().ok()?;
    (minor >= OLDEST_MINOR && is_program(&file)).then(|| Interpreter {
        executable: found.python.clone(),
        origin: found.origin,
        libpython: None,
        version: OsString::new(),
    })
}

fn is_program(file: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

/// Asks the interpreter what it is.
pub fn probe(found: &Found) -> Result<Interpreter, LaunchError> {
    let output = Command::new(&found.python)
        .args(["-s", "-S", "-c", QUESTION])
        // Would make it go on interactively after its answer.
        .env_remove("PYTHONINSPECT")
        // Not null: a bare chroot has no /dev/null.
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| LaunchError::NotRunnable {
            python: found.python.clone(),
            origin: found.origin,
            error,
        })?;
    understand(found, &output)
}

fn understand(found: &Found, output: &Output) -> Result<Interpreter, LaunchError> {
    let fields: Vec<&[u8]> = output.stdout.splitn(7, |byte| *byte == 0).collect();
    let [implementation, major, minor, flags, executable, libpython, version] = fields[..] else {
        return Err(LaunchError::NoAnswer {
            python: found.python.clone(),
            origin: found.origin,
            complaint: complaint(output),
        });
    };
    let unsupported =
        |is| Err(LaunchError::Unsupported { python: found.python.clone(), origin: found.origin, is });
    let text = String::from_utf8_lossy;
    if implementation != b"cpython" {
        return unsupported(format!("{}, another implementation of Python", text(implementation)));
    }
    let number = |field| text(field).parse::<u32>().unwrap_or(0);
    if (number(major), number(minor)) < (3, OLDEST_MINOR) {
        return unsupported(format!("Python {}.{}, which is too old", text(major), text(minor)));
    }
    if flags.contains(&b't') {
        return unsupported(format!("a free-threaded build of Python {}.{}", text(major), text(minor)));
    }
    let path = |field: &[u8]| (!field.is_empty()).then(|| PathBuf::from(OsString::from_vec(field.to_vec())));
    Ok(Interpreter {
        executable: path(executable).unwrap_or_else(|| found.python.clone()),
        origin: found.origin,
        libpython: path(libpython),
        version: OsStr::from_bytes(version).to_os_string(),
    })
}

/// What to tell about an interpreter that gave no answer: its last words, or its end.
fn complaint(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    match words.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => line.escape_debug().to_string(),
        None => output.status.to_string(),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
