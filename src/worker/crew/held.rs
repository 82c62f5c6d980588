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
//! 1. A reply is held for at most [`HOLD_NS`] while requests come and go. Then it leaves, before any
//!    request is taken. Until it does the keeper sees it: if a request holds up whoever was to send
//!    it, the keeper does, within [`HOLD_NS`] and two looks ([`SELDOM_MS`], or [`OFTEN_MS`] where that
//!    happens).
//! 2. Whoever has held a reply lets go what is held before it waits, for the kernel or for a turn, and
//!    before it obeys a signal. (With threads, one may wait for the kernel while others hold replies.)
//! 3. The keeper lives while replies are held now and then. An idle worker has none.

use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::SigSet;

use super::state::{Item, State};
use super::{Crew, Slot};
use crate::system::clock::now_ns;
use crate::worker::conn::{Conn, Stage};
use crate::worker::courier::Rescued;

/// How long replies are held at most, in nanoseconds.
pub const HOLD_NS: u64 = 1_000_000;
/// How often the keeper looks where it was needed lately, in milliseconds.
const OFTEN_MS: u32 = 1;
/// How often it looks where all leaves in time without it: each look costs as much as a few replies.
const SELDOM_MS: u32 = 5;
/// For so long it looks often, in milliseconds.
const WARY_MS: u32 = 100;
/// After so long with nothing to look after the keeper waits to be called, in milliseconds.
const CALM_MS: u32 = 100;
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
    /// It is on its way.
    Coming,
    /// It waits to be called.
    Waiting,
    /// It looks once in a while.
    Looking,
}

/// Connections whose replies are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// They wait for more to be made.
    tokens: Vec<usize>,
    /// Since when the oldest does, in nanoseconds.
    since: u64,
    /// Their time has come: before all other work, one after the other.
    leaving: VecDeque<usize>,
    /// Since when.
    leaving_since: u64,
    keeper: Keeper,
    /// Since when no reply was, or could have been, held, in milliseconds of looking.
    calm: u32,
    /// For how long the keeper looks often, in milliseconds.
    wary: u32,
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

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.leaving.is_empty()
    }

    /// No more is waited for.
    fn let_go(&mut self, now: u64) {
        if self.leaving.is_empty() {
            self.leaving_since = now;
        }
        self.leaving.extend(self.tokens.drain(..));
    }

    /// How long until the keeper looks again, in milliseconds.
    fn span(&self) -> u32 {
        if self.wary > 0 { OFTEN_MS } else { SELDOM_MS }
    }

    /// Whether somebody was to let them go, or to send them, and has not come to it.
    fn is_overdue(&self, now: u64) -> bool {
        let late = |since: u64| now.saturating_sub(since) >= HOLD_NS;
        !self.tokens.is_empty() && late(self.since) || !self.leaving.is_empty() && late(self.leaving_since)
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

    /// Lets held replies go, if it is time.
    pub(super) fn release_held(&mut self) {
        if self.held.tokens.is_empty() {
            return;
        }
        let next = self.waiting.is_empty().then(|| self.pending.front());
        let request_follows = matches!(next, None | Some(Some(Item::Conn(_))));
        let now = now_ns();
        if !request_follows || self.held.is_overdue(now) {
            self.held.let_go(now);
        }
    }

    /// Does it at once. Whether there were any.
    pub(super) fn give_up_held(&mut self) -> bool {
        let any = !self.held.tokens.is_empty();
        if any {
            self.held.let_go(now_ns());
        }
        any
    }

    /// The next one whose time has come. The others stay where the keeper sees them.
    pub(super) fn next_leaving(&mut self) -> Option<(usize, Box<Conn>)> {
        while let Some(token) = self.held.leaving.pop_front() {
            // It may have been taken up for another reason.
            if let Some(Slot::Here(conn)) = self.slots.get(token)
                && matches!(conn.stage, Stage::Held(_))
            {
                return self.check_out(token).map(|conn| (token, conn));
            }
        }
        None
    }
}

impl Crew {
    /// Makes sure that somebody looks after the replies that are held.
    pub(super) fn see_to_held<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        match state.held.keeper {
            Keeper::Coming | Keeper::Looking => {}
            Keeper::Refused => {
                state.give_up_held();
            }
            Keeper::Waiting => {
                state.held.calm = 0;
                state.held.keeper = Keeper::Looking;
                self.keep_watch(true);
                self.keep.notify_one();
            }
            Keeper::Absent => {
                state.held.keeper = Keeper::Coming;
                drop(state);
                let crew = Arc::clone(self);
                let thread = std::thread::Builder::new().name("rwsgi-keeper".to_owned());
                let started = thread.spawn(move || crew.keep()).is_ok();
                state = self.state();
                if !started {
                    state.held.keeper = Keeper::Refused;
                    state.give_up_held();
                }
            }
        }
        state
    }

    /// Has the keeper look from now on, if it is wanted.
    pub fn call_keeper_if(self: &Arc<Self>, wanted: &mut bool) {
        if std::mem::take(wanted) {
            drop(self.see_to_held(self.state()));
        }
    }

    /// The keeper's life.
    fn keep(self: &Arc<Self>) {
        // Signals are for threads that can do something about them.
        if let Err(errno) = SigSet::all().thread_block() {
            tracing::debug!("The keeper takes signals, too: {errno}");
        }
        let mut state = self.state();
        state.held.keeper = Keeper::Looking;
        state.held.calm = 0;
        self.keep_watch(true);
        while !state.quit {
            let waiting = state.held.keeper == Keeper::Waiting;
            let look = Duration::from_millis(state.held.span().into());
            let span = if waiting { IDLE } else { look };
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
        while !self.keep_watch(false) {
            self.send_overdue(0);
        }
        self.context.courier.rescue_all();
    }

    /// Whether replies may be left where only the keeper finds them. False: there are some.
    fn keep_watch(&self, watched: bool) -> bool {
        self.context.courier.watch(watched);
        self.berth.watch(watched)
    }

    /// Sees to what has waited long enough. When there was nothing for long, the keeper waits to be
    /// called, and nothing is left with the courier from before then.
    fn look<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let span = state.held.span();
        state.held.calm = if state.held.is_empty() { state.held.calm + span } else { 0 };
        state.held.wary = state.held.wary.saturating_sub(span);
        let tired = state.held.calm >= CALM_MS;
        drop(state);
        let tired = tired && self.keep_watch(false);
        let rescued = self.context.courier.rescue();
        let late = self.send_overdue(HOLD_NS);
        state = self.state();
        if late || rescued == Rescued::All {
            state.held.wary = WARY_MS;
        }
        if tired && rescued != Rescued::Waits && state.held.calm >= CALM_MS && state.held.is_empty() {
            state.held.keeper = Keeper::Waiting;
            return state;
        }
        self.keep_watch(true);
        let now = now_ns();
        if state.held.is_overdue(now) {
            state.held.wary = WARY_MS;
            state.held.let_go(now);
            state = self.let_leave(state);
        }
        state
    }

    /// Sends the replies of a row that has come to a halt. Whether there were any.
    fn send_overdue(self: &Arc<Self>, patience: u64) -> bool {
        let overdue = self.berth.overdue(now_ns(), patience);
        let any = !overdue.is_empty();
        for (token, mut conn) in overdue {
            let _ = conn.output.flush(&conn.stream);
            self.put_back(token, conn, true);
        }
        any
    }

    /// Sends what is held. What follows a reply is done by whoever takes the connection up next.
    fn let_leave<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        for _ in 0..state.held.leaving.len() {
            let Some((token, mut conn)) = state.next_leaving() else { break };
            drop(state);
            // What goes wrong here goes wrong again when the connection is taken up, and a client that
            // takes nothing gets its deadline then.
            let _ = conn.output.flush(&conn.stream);
            self.put_back(token, conn, true);
            state = self.state();
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_is_seen_until_it_has_left() {
        let mut held = Held::default();
        [1, 2, 3].into_iter().for_each(|token| held.push(token));
        let since = held.since;
        assert!(!held.is_overdue(since + HOLD_NS - 1) && held.is_overdue(since + HOLD_NS));
        held.let_go(since + HOLD_NS);
        held.push(4);
        held.since = since + HOLD_NS;
        assert_eq!(held.leaving, [1, 2, 3]);
        assert!(!held.is_overdue(since + HOLD_NS), "somebody has just begun to send them");
        held.leaving.pop_front();
        assert!(held.is_overdue(since + 2 * HOLD_NS), "and does not get on with it");
        held.let_go(since + 2 * HOLD_NS);
        assert_eq!((&held.leaving, held.leaving_since), (&VecDeque::from([2, 3, 4]), since + HOLD_NS));
        held.leaving.clear();
        assert!(held.is_empty() && !held.is_overdue(u64::MAX));
    }
}
