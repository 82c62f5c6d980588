//! Which process is the master, for those who look in a file?
//!
//! Gunicorn's rules: a live process behind an existing file is respected, anything else is
//! overwritten. Must not know when it is written.
//!
//! Invariants: the file appears whole (written aside, then renamed), and it is removed or
//! renamed only while it still holds this process's id.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A pidfile of this process.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    pid: i32,
}

/// Why there is none.
#[derive(Debug)]
pub enum PidfileError {
    /// Another server runs.
    Running { pid: i32, path: PathBuf },
    /// The file cannot be written.
    Os { path: PathBuf, source: io::Error },
}

impl fmt::Display for PidfileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PidfileError::Running { pid, path } => {
                write!(out, "Already running on PID {pid} (or pid file '{}' is stale)", path.display())
            }
            PidfileError::Os { path, source } => write!(out, "pid file '{}': {source}", path.display()),
        }
    }
}

impl std::error::Error for PidfileError {}

impl Pidfile {
    /// Writes the file for process `pid`.
    pub fn create(path: &Path, pid: i32) -> Result<Pidfile, PidfileError> {
        if let Some(other) = holder(path)
            && other != pid
            && is_alive(other)
        {
            return Err(PidfileError::Running { pid: other, path: path.to_owned() });
        }
        write(path, pid).map_err(|source| PidfileError::Os { path: path.to_owned(), source })?;
        Ok(Pidfile { path: path.to_owned(), pid })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, if it is still ours.
    pub fn remove(self) {
        if holder(&self.path) == Some(self.pid) {
            // Gone already, or the directory is: nothing to clean up then.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives it another name.
    pub fn rename(self, path: &Path) -> Result<Pidfile, PidfileError> {
        let renamed = Pidfile::create(path, self.pid)?;
        self.remove();
        Ok(renamed)
    }
}

/// The name used while an older master still holds the first one.
pub fn upgraded(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".2");
    PathBuf::from(name)
}

fn holder(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

fn is_alive(pid: i32) -> bool {
    matches!(kill(Pid::from_raw(pid), None), Ok(()) | Err(Errno::EPERM))
}

fn write(path: &Path, pid: i32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    writeln!(file, "{pid}")?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_renamed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let own = std::process::id() as i32;
        let pidfile = Pidfile::create(&path, own).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{own}\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let second = upgraded(&path);
        assert_eq!(second.file_name().unwrap(), "a.pid.2");
        let pidfile = pidfile.rename(&second).unwrap();
        assert!(!path.exists() && second.exists());
        pidfile.remove();
        assert!(!second.exists());
    }

    #[test]
    fn the_living_are_respected_and_the_rest_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let own = std::process::id() as i32;
        for content in ["1\n", "1"] {
            fs::write(&path, content).unwrap();
            let error = Pidfile::create(&path, own).unwrap_err();
            assert!(error.to_string().starts_with("Already running on PID 1 (or pid file '"), "{error}");
        }
        for content in ["", "rubbish", "-1", "0", "2147483647\n"] {
            fs::write(&path, content).unwrap();
            Pidfile::create(&path, own).unwrap();
        }
    }

    #[test]
    fn a_file_taken_over_by_another_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let pidfile = Pidfile::create(&path, std::process::id() as i32).unwrap();
        fs::write(&path, "1\n").unwrap();
        pidfile.remove();
        assert!(path.exists());
    }
}
