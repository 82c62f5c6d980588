//! Which signals have arrived?
//!
//! A self-pipe: the handler writes the signal's number, the loop polls the read end and drains
//! it. Must not know what a signal means.
//!
//! Invariants:
//! 1. Deliveries are reported in order; what the pipe has no room for is counted and reported
//!    after the rest. (The kernel itself merges a signal that is still pending.)
//! 2. A process has one [`Signals`] at a time. A forked child calls [`Signals::reset_in_child`]
//!    while signals are still [`Held`], before anything can be reported into its parent's pipe.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use super::fds;
use super::raw::{self, Disposition};

/// The signals the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Term,
    /// SIGKILL: can be sent, never received.
    Kill,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
    /// SIGTTIN.
    Ttin,
    /// SIGTTOU.
    Ttou,
    /// SIGWINCH.
    Winch,
    /// SIGCHLD.
    Chld,
    /// SIGURG. Harmless to a process that does not expect it: the kernel's default is to ignore it.
    Urg,
}

impl Signal {
    /// Every signal that can be received.
    pub const RECEIVABLE: [Signal; 11] = [
        Signal::Hup,
        Signal::Int,
        Signal::Quit,
        Signal::Term,
        Signal::Usr1,
        Signal::Usr2,
        Signal::Ttin,
        Signal::Ttou,
        Signal::Winch,
        Signal::Chld,
        Signal::Urg,
    ];

    /// Its number.
    pub fn number(self) -> i32 {
        match self {
            Signal::Hup => libc::SIGHUP,
            Signal::Int => libc::SIGINT,
            Signal::Quit => libc::SIGQUIT,
            Signal::Term => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
            Signal::Usr1 => libc::SIGUSR1,
            Signal::Usr2 => libc::SIGUSR2,
            Signal::Ttin => libc::SIGTTIN,
            Signal::Ttou => libc::SIGTTOU,
            Signal::Winch => libc::SIGWINCH,
            Signal::Chld => libc::SIGCHLD,
            Signal::Urg => libc::SIGURG,
        }
    }

    /// The signal of that number, if it is one of these.
    pub fn from_number(number: i32) -> Option<Signal> {
        Signal::RECEIVABLE.into_iter().chain([Signal::Kill]).find(|signal| signal.number() == number)
    }
}

/// Lower case and without SIG, as Gunicorn's log has it.
impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Signal::Hup => "hup",
            Signal::Int => "int",
            Signal::Quit => "quit",
            Signal::Term => "term",
            Signal::Kill => "kill",
            Signal::Usr1 => "usr1",
            Signal::Usr2 => "usr2",
            Signal::Ttin => "ttin",
            Signal::Ttou => "ttou",
            Signal::Winch => "winch",
            Signal::Chld => "chld",
            Signal::Urg => "urg",
        })
    }
}

/// The name of any signal number, with SIG.
pub fn signal_name(number: i32) -> String {
    match signal_hook::low_level::signal_name(number) {
        Some(name) => name.to_owned(),
        None => format!("signal {number}"),
    }
}

/// The receiving end of this process's signals.
#[derive(Debug)]
pub struct Signals {
    read: OwnedFd,
    write: OwnedFd,
}

impl Signals {
    /// Reports `wanted` from now on, instead of whatever handlers stood there (CPython installs
    /// its own for SIGINT), and ignores SIGPIPE.
    pub fn install(wanted: &[Signal]) -> io::Result<Signals> {
        let (read, write) = fds::pipe()?;
        raw::forget_signals();
        raw::set_signal_pipe(Some(write.as_fd()));
        for signal in wanted {
            raw::dispose(signal.number(), Disposition::Reported)?;
        }
        raw::dispose(libc::SIGPIPE, Disposition::Ignored)?;
        Ok(Signals { read, write })
    }

    /// Reports `wanted` again, in case somebody else took one of them over meanwhile.
    pub fn renew(self, wanted: &[Signal]) -> io::Result<Signals> {
        for signal in wanted {
            raw::dispose(signal.number(), Disposition::Reported)?;
        }
        Ok(self)
    }

    /// In a forked child: forgets the parent's pipe. TERM, INT, QUIT and CHLD get their default
    /// action and the rest is ignored until the child installs its own.
    pub fn reset_in_child() -> io::Result<()> {
        raw::set_signal_pipe(None);
        for signal in Signal::RECEIVABLE {
            let disposition = match signal {
                Signal::Term | Signal::Int | Signal::Quit | Signal::Chld | Signal::Urg => {
                    Disposition::Default
                }
                // A terminal or a `pkill -HUP` also reaches a child that is still booting.
                _ => Disposition::Ignored,
            };
            raw::dispose(signal.number(), disposition)?;
        }
        Ok(())
    }

    /// Whether `signal` has arrived since these were installed, drained or not.
    pub fn has_arrived(&self, signal: Signal) -> bool {
        raw::has_arrived(signal.number())
    }

    /// Where others may write a byte without the highest bit, to have the loop look up.
    pub fn wake_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Takes everything that has arrived, in order of arrival.
    pub fn drain(&self) -> Vec<Signal> {
        let mut arrived = Vec::new();
        let mut buffer = [0u8; 128];
        while let Ok(count @ 1..) = nix::unistd::read(&self.read, &mut buffer) {
            let ours = buffer.iter().take(count).filter(|byte| **byte & raw::OURS != 0);
            let numbers = ours.map(|byte| i32::from(*byte & !raw::OURS));
            arrived.extend(numbers.filter_map(Signal::from_number));
        }
        for signal in Signal::RECEIVABLE {
            arrived.extend((0..raw::take_overflowed(signal.number())).map(|_| signal));
        }
        arrived
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // The handlers stay, and report nowhere: a late TERM must not kill a process that is
        // just about to return its exit code.
        raw::set_signal_pipe(None);
    }
}

/// Signals held back in the calling thread until this is dropped. Around a fork: the child must
/// not report into its parent's pipe, nor lose what arrives before it is ready.
#[derive(Debug)]
pub struct Held {
    before: SigSet,
}

impl Held {
    /// Holds back everything.
    pub fn all() -> io::Result<Held> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        Ok(Held { before })
    }

    /// Lets everything through, also what was held back before: for a child, whose mask must
    /// not depend on what its parent's parent blocked.
    pub fn release_all(self) -> io::Result<()> {
        let result = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
        std::mem::forget(self);
        Ok(result?)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Cannot fail: the mask came from the kernel.
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}
