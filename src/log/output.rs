//! How are bytes handed to an open log target without ever blocking on it?
//!
//! A regular file is just written. A socket is asked per call (MSG_DONTWAIT). A pipe or terminal is
//! opened a second time, through /proc, because O_NONBLOCK on the description we inherited would
//! show up in every process that shares it; where that is not allowed, poll(2) is asked first and
//! no more is written than a pipe that polls writable takes.
//!
//! Must not know: lines, levels, how much is worth waiting for.
//!
//! Invariants:
//! 1. [`Output::write`] does not wait. (Only a pipe that could not be opened a second time, and
//!    that another process fills between poll and write, can make it.)
//! 2. SIGPIPE is ignored by the process (CPython sees to that): a reader that is gone is an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use super::{LogError, Target};

/// What a pipe takes in one piece, without other writers' bytes in between (pipe(7)).
const PIPE_BUF: usize = 4096;

/// An open log target.
#[derive(Debug)]
pub struct Output {
    file: File,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Takes everything, or has no room.
    Regular,
    Socket,
    /// A pipe or terminal with a non-blocking description of our own.
    NonBlocking,
    /// A pipe or terminal whose description is shared and may block.
    Shared,
}

impl Output {
    /// Opens a target. A file is created with the umask's permissions.
    pub fn open(target: &Target) -> Result<Output, LogError> {
        let opened = match target {
            Target::Stdout => io::stdout().as_fd().try_clone_to_owned().and_then(Output::inherited),
            Target::Stderr => io::stderr().as_fd().try_clone_to_owned().and_then(Output::inherited),
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                // A FIFO nobody reads must not stop the start, nor a terminal become ours.
                .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
                .open(path)
                .and_then(|file| Ok(Output { kind: Kind::of(&file, Kind::NonBlocking)?, file })),
        };
        opened.map_err(|error| LogError { target: target.clone(), error })
    }

    /// From a descriptor this process was started with.
    pub fn inherited(fd: OwnedFd) -> io::Result<Output> {
        let file = File::from(fd);
        let kind = Kind::of(&file, Kind::Shared)?;
        if kind != Kind::Shared {
            return Ok(Output { file, kind });
        }
        let again = OpenOptions::new()
            .append(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Ok(match again {
            Ok(file) => Output { file, kind: Kind::NonBlocking },
            Err(_) => Output { file, kind },
        })
    }

    /// Writes what the target takes now; `WouldBlock` if that is nothing.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let result = match self.kind {
                Kind::Regular | Kind::NonBlocking => (&self.file).write(bytes),
                Kind::Socket => {
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                    send(self.file.as_raw_fd(), bytes, flags).map_err(io::Error::from)
                }
                Kind::Shared if !self.wait(Duration::ZERO) => Err(io::ErrorKind::WouldBlock.into()),
                Kind::Shared => (&self.file).write(&bytes[..bytes.len().min(PIPE_BUF)]),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A write of nothing would be asked for again for ever.
                Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                other => return other,
            }
        }
    }

    /// Waits until the target takes bytes or reports an error; false when it did neither in time.
    pub fn wait(&self, patience: Duration) -> bool {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        // An interruption counts as "not in time": nobody waits longer for a log than they said.
        matches!(poll(&mut fds, timeout), Ok(ready) if ready > 0)
    }

    /// Changes the owner of a regular file, where that is allowed.
    pub fn give_to(&self, user: Option<u32>, group: Option<u32>) {
        if self.kind == Kind::Regular
            && let Err(error) = std::os::unix::fs::fchown(&self.file, user, group)
        {
            tracing::debug!("The owner of a log file stays as it is: {error}");
        }
    }

    /// Points standard output and error of this process at it.
    pub fn capture_streams(&self) -> io::Result<()> {
        nix::unistd::dup2_stdout(&self.file)?;
        nix::unistd::dup2_stderr(&self.file)?;
        Ok(())
    }

    /// The most that is to be offered at once so that writers sharing the target do not mix.
    pub fn piece(&self) -> usize {
        match self.kind {
            Kind::Regular => usize::MAX,
            Kind::Socket | Kind::NonBlocking | Kind::Shared => PIPE_BUF,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Kind {
    fn of(file: &File, stream: Kind) -> io::Result<Kind> {
        let kind = file.metadata()?.file_type();
        Ok(match () {
            () if kind.is_socket() => Kind::Socket,
            () if kind.is_fifo() || kind.is_char_device() => stream,
            () => Kind::Regular,
        })
    }
}

/// Where to cut `lines` so that a piece has at most `limit` bytes and ends with a line, or is the
/// first part of a line that is longer.
pub fn piece_end(lines: &[u8], limit: usize) -> usize {
    if lines.len() <= limit {
        return lines.len();
    }
    memchr::memrchr(b'\n', &lines[..limit]).map_or(limit, |at| at + 1)
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
