//! Where do the replies of a row wait for its end?
//!
//! Not in their slots: the row has them back in microseconds. Yet the keeper finds them here if
//! the row comes to a halt.
//!
//! Must not know: what is sent, who keeps.
//!
//! Invariant: what is here is seen by the keeper. It says so before it looks, and takes that back
//! only when nothing is here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::system::clock::now_ns;
use crate::worker::conn::Conn;

/// Connections whose replies are complete.
#[derive(Default)]
pub(super) struct Berth(Mutex<Moored>);

#[derive(Default)]
struct Moored {
    /// The keeper looks.
    watched: bool,
    /// Since when the first one waits, in nanoseconds.
    since: u64,
    conns: Vec<(usize, Box<Conn>)>,
}

impl Berth {
    fn moored(&self) -> MutexGuard<'_, Moored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more. It comes back if nobody would see it.
    pub(super) fn moor(&self, token: usize, conn: Box<Conn>) -> Option<Box<Conn>> {
        let mut moored = self.moored();
        if !moored.watched {
            return Some(conn);
        }
        if moored.conns.is_empty() {
            moored.since = now_ns();
        }
        moored.conns.push((token, conn));
        None
    }

    /// All of them leave, for an empty `row`.
    pub(super) fn cast_off(&self, row: &mut Vec<(usize, Box<Conn>)>) {
        std::mem::swap(&mut self.moored().conns, row);
    }

    /// Those that have waited for `patience` nanoseconds leave, with all that came after them.
    pub(super) fn overdue(&self, now: u64, patience: u64) -> Vec<(usize, Box<Conn>)> {
        let mut moored = self.moored();
        if moored.conns.is_empty() || now.saturating_sub(moored.since) < patience {
            return Vec::new();
        }
        std::mem::take(&mut moored.conns)
    }

    /// Somebody looks from now on, or nobody does any more. False: not while somebody waits here.
    pub(super) fn watch(&self, watched: bool) -> bool {
        let mut moored = self.moored();
        if !watched && !moored.conns.is_empty() {
            return false;
        }
        moored.watched = watched;
        true
    }
}
