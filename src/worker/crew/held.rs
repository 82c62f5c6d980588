//! When do replies leave that were held back to leave together?
//!
//! A reply that is sent wakes its receiver. While the application makes the next one the receiver
//! goes to sleep again, and where both are on one machine, as behind a proxy, waking it costs more
//! than sending. So while connections queue for their turn, complete replies are held back for a
//! moment and leave in a row.
//!
//! Whoever made them lets them go, between two requests. A thread of its own, the keeper, does it
//! when the application does not return in time: no request can hold up another one's reply.
//!
//! Must not know: HTTP, the application; the keeper needs no interpreter.
//!
//! Invariants:
//! 1. A reply is held for at most [`HOLD_NS`] while requests come and go, and for two
//!    [`LOOK`]s if the next one is held up.
//! 2. Nothing is held while the kernel is waited for, and nothing when signals are obeyed.
//! 3. The keeper lives while replies are held now and then. An idle worker has none.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::SigSet;

use super::state::{Item, State};
use super::{Crew, Slot};
use crate::system::clock::now_ns;
use crate::worker::conn::Stage;

/// How long replies are held at most, in nanoseconds.
pub const HOLD_NS: u64 = 1_000_000;
/// How often the keeper looks.
const LOOK: Duration = Duration::from_millis(1);
/// After so many looks at nothing the keeper waits to be called.
const CALM: u32 = 100;
/// After so long without a call it ends.
const IDLE: Duration = Duration::from_secs(10);

/// Whether somebody looks after held replies.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// There is none.
    #[default]
    Absent,
    /// None could be started: nothing is held in this worker.
    Refused,
    /// It waits to be called.
    Waiting,
    /// It looks once in a while.
    Looking,
}

/// Connections whose replies are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    tokens: Vec<usize>,
    /// Since when the oldest is, in nanoseconds.
    since: u64,
    keeper: Keeper,
    /// Looks since a reply was, or could have been, held.
    calm: u32,
}

/// Who else is there while a connection has its turn?
#[derive(Debug, Default, Clone, Copy)]
pub struct Company {
    /// Other connections wait for theirs.
    pub others: bool,
    /// They do, and the keeper looks: replies may be held.
    pub kept: bool,
}

impl Held {
    /// One more.
    pub(super) fn push(&mut self, token: usize) {
        if self.tokens.is_empty() {
            self.since = now_ns();
        }
        self.tokens.push(token);
    }

    fn is_overdue(&self) -> bool {
        !self.tokens.is_empty() && now_ns().saturating_sub(self.since) >= HOLD_NS
    }
}

impl State {
    /// Says so to a thread that takes a connection. The keeper stays for its sake.
    pub(super) fn company(&mut self) -> Company {
        let others = !self.pending.is_empty() || !self.waiting.is_empty();
        let kept = others && self.held.keeper == Keeper::Looking;
        if kept {
            self.held.calm = 0;
        }
        Company { others, kept }
    }

    /// Puts held replies before all other work, if it is time.
    pub(super) fn release_held(&mut self) {
        if self.held.tokens.is_empty() {
            return;
        }
        let next = self.waiting.is_empty().then(|| self.pending.front());
        let request_follows = matches!(next, None | Some(Some(Item::Conn(_))));
        if !request_follows || self.held.is_overdue() {
            self.give_up_held();
        }
    }

    /// Does it at once. Whether there were any.
    pub(super) fn give_up_held(&mut self) -> bool {
        let any = !self.held.tokens.is_empty();
        while let Some(token) = self.held.tokens.pop() {
            self.pending.push_front(Item::Conn(token));
        }
        any
    }
}

impl Crew {
    /// Makes sure that somebody looks after the replies that are held.
    pub(super) fn see_to_held<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        match state.held.keeper {
            Keeper::Looking => {}
            Keeper::Refused => {
                state.give_up_held();
            }
            Keeper::Waiting => {
                state.held.calm = 0;
                state.held.keeper = Keeper::Looking;
                self.context.courier.watch(true);
                self.keep.notify_one();
            }
            Keeper::Absent => {
                let crew = Arc::clone(self);
                let thread = std::thread::Builder::new().name("rwsgi-keeper".to_owned());
                let started = thread.spawn(move || crew.keep()).is_ok();
                state.held.keeper = if started { Keeper::Looking } else { Keeper::Refused };
                if !started {
                    state.give_up_held();
                }
            }
        }
        state
    }

    /// Has the keeper look, from now on.
    pub fn call_keeper(self: &Arc<Self>) {
        drop(self.see_to_held(self.state()));
    }

    /// The keeper's life.
    fn keep(self: &Arc<Self>) {
        // Signals are for threads that can do something about them.
        if let Err(errno) = SigSet::all().thread_block() {
            tracing::debug!("The keeper takes signals, too: {errno}");
        }
        let mut state = self.state();
        self.context.courier.watch(true);
        while !state.quit {
            let waiting = state.held.keeper == Keeper::Waiting;
            let span = if waiting { IDLE } else { LOOK };
            let (guard, timeout) =
                self.keep.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if state.held.keeper == Keeper::Looking {
                state = self.look(state);
            } else if timeout.timed_out() {
                state.held.keeper = Keeper::Absent;
                return;
            }
        }
        drop(state);
        self.context.courier.watch(false);
        self.context.courier.rescue_all();
    }

    /// Sees to what has waited long enough. When there was nothing for long, the keeper waits to be
    /// called, and nothing is left with the courier from before then.
    fn look<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let courier = &self.context.courier;
        state.held.calm = if state.held.tokens.is_empty() { state.held.calm + 1 } else { 0 };
        let tired = state.held.calm >= CALM;
        drop(state);
        if tired {
            courier.watch(false);
        }
        let left = courier.rescue();
        state = self.state();
        if tired && !left && state.held.calm >= CALM && state.held.tokens.is_empty() {
            state.held.keeper = Keeper::Waiting;
            return state;
        }
        if tired {
            courier.watch(true);
        }
        if state.held.is_overdue() {
            state = self.let_leave(state);
        }
        state
    }

    /// Sends what is held. What follows a reply is done by whoever takes the connection up next.
    fn let_leave<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        for token in std::mem::take(&mut state.held.tokens) {
            let held = matches!(state.slots.get(token), Some(Slot::Here(conn)) if matches!(conn.stage, Stage::Held(_)));
            let Some(mut conn) = held.then(|| state.check_out(token)).flatten() else { continue };
            drop(state);
            // What goes wrong here goes wrong again when the connection is taken up.
            let again = conn.output.flush(&conn.stream).is_err() || conn.output.is_drained();
            self.put_back(token, conn, again);
            state = self.state();
        }
        state
    }
}
