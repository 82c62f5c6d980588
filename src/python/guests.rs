//! Which threads are inside the application, and which of them is to be thrown out?
//!
//! An exception sent to a thread arrives when that thread next runs Python code, which may be
//! another request. So the server notes, with the interpreter attached, when a thread goes in and
//! comes out, and takes back on the way out what did not arrive.
//!
//! Must not know: deadlines, requests.
//!
//! Invariants:
//! 1. An entry changes only with the interpreter attached: whoever is attached sees it stand still.
//! 2. Between two exchanges a thread has no exception of ours pending.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::support::Support;

/// More threads than a worker may have.
const MOST: usize = 128;

struct Guest {
    /// What the interpreter calls the thread; 0: it is not inside.
    ident: AtomicU64,
    interrupted: AtomicBool,
}

static GUESTS: [Guest; MOST] =
    [const { Guest { ident: AtomicU64::new(0), interrupted: AtomicBool::new(false) } }; MOST];

/// The thread of this index goes in. Comes out when the guard is dropped, still attached.
pub(super) struct Inside<'py> {
    thread: usize,
    py: Python<'py>,
}

impl<'py> Inside<'py> {
    pub(super) fn enter(py: Python<'py>, thread: usize) -> Self {
        if let Some(guest) = GUESTS.get(thread) {
            guest.ident.store(nix::sys::pthread::pthread_self(), Ordering::Relaxed);
        }
        Inside { thread, py }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let _attached = self.py;
        let Some(guest) = GUESTS.get(self.thread) else { return };
        let ident = guest.ident.swap(0, Ordering::Relaxed);
        if guest.interrupted.swap(false, Ordering::Relaxed) {
            // SAFETY: attached; NULL takes a pending exception back.
            unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, std::ptr::null_mut()) };
        }
    }
}

/// `_interrupted()`: whether the request in the main thread (index 0) is to be interrupted.
/// True at most once.
#[pyfunction]
pub(super) fn interrupted() -> bool {
    GUESTS[0].ident.load(Ordering::Relaxed) != 0 && GUESTS[0].interrupted.swap(false, Ordering::Relaxed)
}

/// Sends an exception to the thread of this index if it is inside. The main thread gets a signal,
/// which also ends a blocking system call; Python runs signal handlers in no other thread.
pub(super) fn interrupt(_py: Python<'_>, support: &Support, thread: usize, signal: i32) -> bool {
    let Some(guest) = GUESTS.get(thread) else { return false };
    let ident = guest.ident.load(Ordering::Relaxed);
    if ident == 0 {
        return false;
    }
    guest.interrupted.store(true, Ordering::Relaxed);
    if thread == 0 {
        // SAFETY: the main thread lives as long as the process; the signal has a handler.
        return unsafe { libc::pthread_kill(ident as _, signal) } == 0;
    }
    // SAFETY: attached; the exception is a class that is kept alive by `support`.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, support.request_timeout.as_ptr()) == 1 }
}
