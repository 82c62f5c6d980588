//! How do threads and connections leave a crew?
//!
//! Must not know: why.
//!
//! Invariant: a connection is dropped outside of the lock; dropping one can run the application.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Crew, PATIENCE_MS, Slot, report};
use crate::system::clock::now_ms;
use crate::worker::conn::{Conn, Stage};
use crate::worker::threads;

impl Crew {
    /// Marks a thread's index as free.
    pub fn dismiss(&self, index: usize) {
        let mut state = self.state();
        if let Some(taken) = state.taken.get_mut(index) {
            *taken = false;
        }
        drop(state);
        self.follow.notify_all();
    }

    /// The same for a thread that has gone by itself. Between its last look and now it could
    /// neither be woken nor be replaced: if nobody polls because of that, somebody is hired now.
    pub fn depart(self: &Arc<Self>, index: usize) {
        self.dismiss(index);
        let mut state = self.state();
        if !state.quit
            && !state.leading
            && !state.followers.are_there()
            && let Some(index) = state.hire()
        {
            drop(state);
            threads::start(self, index);
        }
    }

    /// Takes the connection that is least missed if it is closed, if there is one.
    pub fn take_idlest(&self) -> Option<(usize, Box<Conn>)> {
        let mut state = self.state();
        let token = state.idlest()?;
        Some((token, state.check_out(token)?))
    }

    /// Takes the connections in their slots that `wanted` says.
    pub fn take_where(&self, wanted: impl Fn(&Conn) -> bool) -> Vec<(usize, Box<Conn>)> {
        let mut state = self.state();
        let found = state.slots.iter().filter_map(|(token, slot)| match slot {
            Slot::Here(conn) if wanted(conn) => Some(token),
            _ => None,
        });
        let tokens: Vec<usize> = found.collect();
        tokens.into_iter().filter_map(|token| Some((token, state.check_out(token)?))).collect()
    }

    /// Closes a connection that is in no slot any more.
    pub(super) fn let_go(&self, mut conn: Box<Conn>) {
        if conn.handed_over {
            // A handle of the application's would keep the registration alive, if there is one.
            let result = conn.stream.deregister(&self.registry);
            report(result.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }));
        }
    }

    /// Closes every connection that is in its slot, for the end.
    pub fn close_all(&self) {
        let conns: Vec<Box<Conn>> = {
            let mut state = self.state();
            let tokens: Vec<usize> = state.slots.iter().map(|(token, _)| token).collect();
            tokens.into_iter().filter_map(|token| state.check_out(token)).collect()
        };
        for mut conn in conns {
            if matches!(conn.stage, Stage::Held(_)) {
                // It had nothing to wait for but company.
                let _ = conn.output.flush(&conn.stream);
            }
            if conn.reply.ends_by_closing() {
                conn.stream.abort_on_close();
            }
        }
    }

    /// Waits until the calling thread is the last one, or no longer if the drain is out of time.
    pub fn wait_for_threads(&self) {
        let patience = now_ms() + PATIENCE_MS;
        let mut state = self.state();
        let until = state.drain_deadline.min(patience).max(now_ms() + 100);
        self.follow.notify_all();
        while state.taken.iter().skip(1).any(|taken| *taken) && now_ms() < until {
            let pause = Duration::from_millis(50);
            state = self.follow.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
