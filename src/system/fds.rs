//! How are descriptors made, copied and prepared for an exec?
//!
//! Must not know what travels through them. Invariant: everything made here is close-on-exec;
//! only [`inheritable`] makes a copy that survives an exec.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};

/// A pipe, both ends non-blocking and close-on-exec: (read end, write end).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?)
}

/// A second descriptor for the same open file, close-on-exec.
pub fn duplicate(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// A second descriptor for the same open file that survives an exec.
pub fn inheritable(fd: impl AsFd) -> io::Result<OwnedFd> {
    let copy = duplicate(fd)?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(copy)
}

/// The most descriptors [`make_room`] makes room for: eight bytes of the kernel's memory each.
const ROOM: usize = 1 << 16;

/// Has the kernel make its table of this process's descriptors large enough for `count` of them.
/// Whenever the table grows in a process with several threads, the thread that needs the room waits
/// until every processor has come by (`expand_files`, fs/file.c): tens of milliseconds. So this is for a
/// process that has one thread and is going to open many. As far as the limit allows.
pub fn make_room(count: usize, any: impl AsFd) {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft.saturating_sub(1));
    let number = count.min(ROOM).min(usize::try_from(most).unwrap_or(ROOM));
    let number = i32::try_from(number).unwrap_or(0);
    if let Ok(highest) = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(number)) {
        let _ = nix::unistd::close(highest);
    }
}

/// Sets whether calls on the open file wait.
pub fn set_nonblocking(fd: impl AsFd, nonblocking: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(&fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Points standard input, output and error at /dev/null.
pub fn silence_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Points standard input, and what else of the three is a terminal, at /dev/null.
pub fn silence_terminals() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    if io::stdout().is_terminal() {
        nix::unistd::dup2_stdout(&null)?;
    }
    if io::stderr().is_terminal() {
        nix::unistd::dup2_stderr(&null)?;
    }
    Ok(())
}

/// Sends up to `count` bytes of `file` from `*offset` to `out` without copying them through
/// this process, and moves the offset on. Zero: the file ended early.
pub fn send_file(out: impl AsFd, file: impl AsFd, offset: &mut u64, count: usize) -> io::Result<usize> {
    let mut position = i64::try_from(*offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let sent = nix::sys::sendfile::sendfile(out, file, Some(&mut position), count)?;
    *offset = position.unsigned_abs();
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn pipes_do_not_wait_and_close_on_exec() {
        let (read, write) = pipe().unwrap();
        let error = File::from(read.try_clone().unwrap()).read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        for fd in [&read, &write] {
            assert_eq!(fcntl(fd, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
        }
        assert_eq!(fcntl(inheritable(&read).unwrap(), FcntlArg::F_GETFD).unwrap(), 0);
    }

    #[test]
    fn send_file_moves_the_offset() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let (out, mut peer) = UnixStream::pair().unwrap();
        let mut offset = 4;
        assert_eq!(send_file(&out, &file, &mut offset, 100).unwrap(), 6);
        assert_eq!(offset, 10);
        assert_eq!(send_file(&out, &file, &mut offset, 100).unwrap(), 0);
        drop(out);
        let mut seen = String::new();
        peer.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "456789");
    }
}
