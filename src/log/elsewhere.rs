//! Does somebody else write the error log? A logger of the operator's, while there is one.
//!
//! Must not know: who that is.
//!
//! Invariants:
//! 1. A line that cannot be handed over is not lost: it is written here.
//! 2. What the other logs while it writes a line is written here, so that nothing goes in circles.
//! 3. The lock is held to copy a pointer; a process forked at that moment goes without it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use super::level::Level;

/// How often a taken lock is looked at again.
const LOOKS: usize = 1000;

/// Whoever writes lines in our place.
pub trait Elsewhere: Send + Sync {
    /// Takes a line of the error log. False: it did not.
    fn line(&self, level: Level, message: &str) -> bool;
    /// Is told a figure, as Gunicorn's loggers are.
    fn figure(&self, figure: Figure, value: u64);
    /// Opens its files anew.
    fn reopen(&self);
}

/// What others than the error log want to know.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    /// How many workers there are.
    Workers,
    /// How many connections wait to be accepted.
    Backlog,
}

static DIVERTED: AtomicBool = AtomicBool::new(false);
static OTHER: RwLock<Option<Arc<dyn Elsewhere>>> = RwLock::new(None);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// From now on lines go there, or (with `None`) are written here.
pub fn divert(to: Option<Arc<dyn Elsewhere>>) {
    DIVERTED.store(to.is_some(), Relaxed);
    let before = {
        let mut other = OTHER.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *other, to)
    };
    drop(before);
}

fn other() -> Option<Arc<dyn Elsewhere>> {
    if !DIVERTED.load(Relaxed) {
        return None;
    }
    for _ in 0..LOOKS {
        if let Ok(other) = OTHER.try_read() {
            return other.clone();
        }
        thread::yield_now();
    }
    None
}

/// Hands a line over. False: it is to be written here.
pub(super) fn take(level: Level, message: &[u8]) -> bool {
    let Some(other) = other() else { return false };
    if INSIDE.replace(true) {
        return false;
    }
    let taken = other.line(level, &String::from_utf8_lossy(message));
    INSIDE.set(false);
    taken
}

/// Tells a figure to whoever writes lines in our place.
pub fn tell(figure: Figure, value: u64) {
    if let Some(other) = other() {
        other.figure(figure, value);
    }
}

/// Has its files opened anew.
pub(super) fn reopen() {
    if let Some(other) = other() {
        other.reopen();
    }
}
