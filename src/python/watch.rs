//! Where does a thread stand in Python, and how is it made to let go?
//!
//! Must not know: which request is overdue, what is done about it.
//!
//! Invariant: [`Watch::stack_by_force`] takes no lock and never waits for the interpreter.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use pyo3::prelude::*;

use super::support::Support;

/// Interrupts the main thread; the next one shows stacks. Real-time signals that no library and
/// no terminal uses.
pub(super) fn signal() -> i32 {
    libc::SIGRTMIN() + 7
}

/// Where stacks are written by force.
pub(super) struct Watch(Mutex<File>);

impl Watch {
    /// Registers the handlers. In the main thread.
    pub(super) fn new(py: Python<'_>, support: &Support, threads: usize) -> PyResult<Self> {
        let file = memfd_create("rwsgi-stacks", MFdFlags::MFD_CLOEXEC).map(File::from);
        let file = file.map_err(|error| pyo3::exceptions::PyOSError::new_err(error.to_string()))?;
        support.prepare_watchdog.bind(py).call1((signal(), file.as_raw_fd(), threads))?;
        Ok(Watch(Mutex::new(file)))
    }

    /// The stack of one thread, taken by a signal handler that reads the interpreter's memory.
    pub(super) fn stack_by_force(&self, ident: u64) -> Option<String> {
        let mut file = self.0.lock().ok()?;
        file.set_len(0).ok()?;
        file.seek(SeekFrom::Start(0)).ok()?;
        // SAFETY: the handler is registered, is written for any state of the interpreter, and
        // runs in this thread before the call returns.
        unsafe { libc::pthread_kill(libc::pthread_self(), signal() + 1) };
        let mut text = Vec::new();
        for _ in 0..20 {
            file.seek(SeekFrom::Start(0)).ok()?;
            file.read_to_end(&mut text).ok()?;
            if !text.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        section(&String::from_utf8_lossy(&text), ident)
    }
}

/// The part of a dump of all threads that is about `ident`.
fn section(dump: &str, ident: u64) -> Option<String> {
    let wanted = format!("0x{ident:016x}");
    let mut lines = dump.lines().skip_while(|line| !line.contains(&wanted));
    let head = lines.next()?;
    let rest: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
    Some(format!("{head}\n{}", rest.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn one_thread_is_cut_out_of_a_dump() {
        let dump = "Thread 0x0000000000000abc (most recent call first):\n  File \"a.py\", line 1 in f\n\n\
                    Current thread 0x0000000000000def (most recent call first):\n  File \"b.py\", line 2 in g\n  \
                    File \"b.py\", line 3 in h\n";
        let found = section(dump, 0xdef).expect("a section");
        assert!(found.contains("line 2 in g") && found.contains("line 3 in h") && !found.contains("a.py"));
        assert_eq!(section(dump, 0x123), None);
    }
}
