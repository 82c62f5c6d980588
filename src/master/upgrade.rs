//! How does a new master take over from an old one (USR2)?
//!
//! The old one starts the new program with its listening sockets and says so in the
//! environment. Must not know when, nor what becomes of either.
//!
//! Invariants: the new program gets the environment the old one was started with, not what
//! configuration or application made of it; no other descriptor survives the exec.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use super::listeners::Bound;
use super::settings::Reexec;
use crate::system::{fds, raw};

/// Process id of the old master.
const PARENT: &str = "RWSGI_UPGRADE_PID";
/// Descriptors of its listeners, separated by commas.
const SOCKETS: &str = "RWSGI_UPGRADE_FD";
/// How many of them, the last, are the status process's.
const STATUS: &str = "RWSGI_UPGRADE_STATUS";
/// Set when the sockets belong to a service manager, so that their files are not ours to remove.
const FOREIGN: &str = "RWSGI_UPGRADE_FOREIGN";
/// Meant for one process only: not passed on.
const PERSONAL: [&str; 7] = [PARENT, SOCKETS, STATUS, FOREIGN, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What an old master has left to this process.
#[derive(Debug)]
pub struct Inheritance {
    /// The old master.
    pub parent: i32,
    /// Its listening sockets.
    pub sockets: Vec<OwnedFd>,
    /// Those of its status process.
    pub status: Vec<OwnedFd>,
    /// The former belong to a service manager.
    pub foreign: bool,
}

/// Takes the inheritance, if this process was started by an old master. The variables reach
/// the application's children too, where they mean nothing: the parent must match, or be gone.
pub fn inherit() -> Option<Inheritance> {
    let parent: i32 = env::var(PARENT).ok()?.parse().ok()?;
    let sockets = env::var(SOCKETS).ok()?;
    let gone = || nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), None).is_err();
    if nix::unistd::getppid().as_raw() != parent && !gone() {
        return None;
    }
    let mut sockets: Vec<OwnedFd> = sockets
        .split(',')
        .filter_map(|number| number.parse().ok())
        .map(raw::adopt_fd)
        .collect::<io::Result<_>>()
        .ok()?;
    let count = env::var(STATUS).ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    let status = sockets.split_off(sockets.len().saturating_sub(count));
    let foreign = env::var_os(FOREIGN).is_some();
    (!sockets.is_empty()).then_some(Inheritance { parent, sockets, status, foreign })
}

/// The new program, ready to be started.
pub struct Upgrade {
    command: Command,
    /// The sockets, open until the program has them.
    _handed: Vec<OwnedFd>,
}

impl Upgrade {
    /// Becomes the new program, in a child. Returns only what went wrong.
    pub fn exec(&mut self) -> io::Error {
        self.command.env(PARENT, nix::unistd::getppid().to_string()).exec()
    }
}

/// The sockets a new master takes over: the workers', and the status process's.
pub type Sockets<'a> = (&'a [Arc<Bound>], &'a [Arc<Bound>]);

/// Makes the new program ready. `foreign`: the workers' sockets belong to a service manager.
pub fn prepare(reexec: &Reexec, sockets: Sockets<'_>, foreign: bool) -> io::Result<Upgrade> {
    let (listeners, status) = sockets;
    let (program, arguments) = reexec.command.split_first().ok_or(io::ErrorKind::NotFound)?;
    let all = listeners.iter().chain(status);
    let handed: Vec<OwnedFd> =
        all.map(|bound| fds::inheritable(bound.listener.as_fd())).collect::<io::Result<_>>()?;
    let numbers: Vec<String> = handed.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&reexec.directory);
    command.env_clear().envs(passed_on(&reexec.environment));
    command.env(PARENT, std::process::id().to_string()).env(SOCKETS, numbers.join(","));
    command.env(STATUS, status.len().to_string());
    if foreign {
        command.env(FOREIGN, "1");
    }
    Ok(Upgrade { command, _handed: handed })
}

/// Starts the new program beside this one; returns its process id.
///
/// No interpreter is told: between fork and exec the child runs none of our code.
pub fn launch(reexec: &Reexec, sockets: Sockets<'_>, foreign: bool) -> io::Result<i32> {
    // Not waited for here: the master reaps all its children in one place.
    let child = prepare(reexec, sockets, foreign)?.command.spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

fn passed_on(environment: &[(OsString, OsString)]) -> impl Iterator<Item = (&OsString, &OsString)> {
    let personal = |name: &OsString| PERSONAL.iter().any(|other| name == other);
    environment.iter().filter(move |(name, _)| !personal(name)).map(|(name, value)| (name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_variables_are_not_passed_on() {
        let environment: Vec<(OsString, OsString)> =
            ["PATH", "LISTEN_FDS", PARENT, "HOME", SOCKETS].map(|name| (name.into(), "x".into())).into();
        let kept: Vec<&OsString> = passed_on(&environment).map(|(name, _)| name).collect();
        assert_eq!(kept, ["PATH", "HOME"]);
    }
}
