//! How does a process leave its terminal?
//!
//! Must not know about pidfiles or logs. The forks are the caller's, because an embedded
//! interpreter wants to be told about each of them.

use std::io;

use nix::sys::stat::{Mode, umask};

use super::fds;
use super::raw::{Forked, exit_now};

/// Becomes a daemon: the calling process and an intermediate session leader end at once with
/// code 0, the grandchild returns with standard input on /dev/null. (The session leader goes
/// so that the daemon can never acquire a controlling terminal.)
pub fn detach(streams: Streams, mut fork: impl FnMut() -> io::Result<Forked>) -> io::Result<()> {
    if let Forked::Parent(_) = fork()? {
        exit_now(0);
    }
    nix::unistd::setsid()?;
    if let Forked::Parent(_) = fork()? {
        exit_now(0);
    }
    set_umask();
    match streams {
        Streams::Silence => fds::silence_standard_streams(),
        Streams::Keep => fds::silence_terminals(),
    }
}

/// Has files be made as a daemon's: readable by everybody, writable by their owner.
pub fn set_umask() {
    umask(Mode::from_bits_truncate(0o022));
}

/// What becomes of standard output and error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// They go to /dev/null.
    Silence,
    /// They stay as they are, unless they are terminals.
    Keep,
}
