//! Which thread does what next? Leader and followers: whoever polls runs what it finds, and wakes
//! another only if work is left or nobody polls.
//!
//! With one thread this is a plain event loop that calls the application inline; with N, up to N
//! are inside the application and one more keeps the sockets going. There is no queue between
//! threads that read and threads that run: handing a request over costs more than most requests.
//!
//! Must not know: HTTP, what a connection does in its turn.
//!
//! Invariants:
//! 1. A connection is either in its slot or with exactly one thread; readiness that arrives
//!    meanwhile is noted in the slot and brings it back.
//! 2. The state's lock is held for bookkeeping only: never across I/O, the application, or a drop.
//! 3. At most one thread polls. If work may come and a thread is free, one does.
//! 4. Connections are accepted only while a thread could serve them.

mod berth;
mod follow;
mod held;
mod lead;
mod leaving;
mod newcomers;
mod row;
mod state;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mio::{Events, Poll, Registry, Token, Waker};
use slab::Slab;

use super::conn::{Conn, Stage};
use super::context::Context;
use super::deadlines::is_idle;
use super::listeners::{Listeners, Pause};
use super::tally::Tally;
use super::threads;
use super::timers::Timers;
use crate::metrics::seat::Lifeline;
use crate::system::clock::now_ms;
use crate::system::raw;
use berth::Berth;
use follow::{Followed, Followers, Help};
use held::Held;
use newcomers::Newcomers;
use state::{Item, Noted, Slot, State};

pub use held::{Company, HOLD_NS};

/// Events taken from the kernel at once.
const EVENTS: usize = 64;
/// Tokens from here on are not connections.
pub const SPECIAL: usize = usize::MAX - 1024;
/// The waker's.
pub const WAKE: Token = Token(SPECIAL);
/// The signal pipe's.
pub const SIGNALS: Token = Token(SPECIAL + 1);
/// The master's lifeline.
pub const LIFELINE: Token = Token(SPECIAL + 2);
/// The first listener's.
pub const LISTENERS: usize = SPECIAL + 16;
/// How long the end of a worker waits for its other threads.
const PATIENCE_MS: u64 = 1000;

/// What a thread may be given to do.
pub enum Work {
    /// Something happened to this connection.
    Serve(usize, Box<Conn>, Company),
    /// Its deadline passed.
    Expire(usize, Box<Conn>),
    /// This listener has connections waiting.
    Accept(usize, Company),
    /// Signals arrived.
    Signals,
    /// The master is gone.
    Orphaned,
    /// Nothing, for long: the thread may go.
    Retire,
    /// The worker ends.
    Over,
}

/// The right to be inside the application; given back when dropped, also by a panic.
pub struct Permit<'a> {
    crew: Option<&'a Crew>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(crew) = self.crew {
            crew.leave();
        }
    }
}

/// The threads of a worker and what they share.
pub struct Crew {
    /// The worker's.
    pub context: Arc<Context>,
    /// Whether the master lives.
    pub lifeline: Lifeline,
    /// Where sockets are registered.
    pub registry: Registry,
    poller: Mutex<(Poll, Events)>,
    waker: Waker,
    /// When waiting access lines are to be written out; 0: none are known to wait.
    log_due: AtomicU64,
    state: Mutex<State>,
    follow: Condvar,
    berth: Berth,
    /// Rings when a reply is held back that somebody should look after.
    keep: Condvar,
}

impl Crew {
    /// A crew of one, over these listeners.
    pub fn new(context: Arc<Context>, listeners: Listeners, lifeline: Lifeline) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKE)?;
        let threads = context.settings.threads;
        // The extra one keeps the sockets going while the others are inside.
        let most = if threads > 1 { threads + 1 } else { 1 };
        let mut taken = vec![false; most];
        taken[0] = true;
        let state = State {
            slots: Slab::new(),
            pending: VecDeque::new(),
            later: Vec::new(),
            waiting: VecDeque::new(),
            held: Held::default(),
            newcomers: Newcomers::default(),
            timers: Timers::default(),
            tally: Tally::new(context.row.clone()),
            inside: 0,
            leading: false,
            followers: Followers::default(),
            taken,
            wakes_at: u64::MAX,
            listeners,
            flood: 0,
            draining: false,
            quit: false,
            drain_deadline: u64::MAX,
        };
        let poller = Mutex::new((poll, Events::with_capacity(EVENTS)));
        let log_due = AtomicU64::new(0);
        let (state, follow, keep) = (Mutex::new(state), Condvar::new(), Condvar::new());
        let berth = Berth::default();
        Ok(Crew { context, lifeline, registry, poller, waker, log_due, state, follow, berth, keep })
    }

    /// The shared state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the application is only ever entered by one thread.
    pub fn is_one(&self) -> bool {
        self.context.settings.threads == 1
    }

    /// Asks to enter the application. `None`: all threads that may are inside; the connection is
    /// taken up again when one comes out.
    pub fn enter(self: &Arc<Self>) -> Option<Permit<'_>> {
        if self.is_one() {
            return Some(Permit { crew: None });
        }
        let mut state = self.state();
        if state.inside >= self.context.settings.threads {
            return None;
        }
        state.inside += 1;
        state.followers.turns += 1;
        let unattended = !state.leading || !state.pending.is_empty();
        let help = if unattended { state.followers.call() } else { Help::None };
        match help {
            Help::None => {}
            Help::Wake => self.follow.notify_one(),
            Help::Hire => {
                if let Some(index) = state.hire() {
                    drop(state);
                    threads::start(self, index);
                }
            }
        }
        Some(Permit { crew: Some(self) })
    }

    fn leave(&self) {
        let mut state = self.state();
        state.inside -= 1;
        // Else this thread, or the one after it, has newcomers in turn with those that wait.
        if state.waiting.is_empty() {
            report(state.listeners.resume(Pause::Busy, &self.registry));
        }
    }

    /// The next thing for thread `index` to do. Blocks while there is nothing.
    pub fn next(&self, index: usize) -> Work {
        self.next_in(self.state(), index)
    }

    /// Brings a connection back and takes the next thing to do, under one lock.
    pub fn next_after(self: &Arc<Self>, index: usize, token: usize, conn: Box<Conn>, again: bool) -> Work {
        let state = self.bring_back(self.state(), token, conn, again).unwrap_or_else(|| self.state());
        self.next_in(state, index)
    }

    fn next_in<'a>(&'a self, mut state: MutexGuard<'a, State>, index: usize) -> Work {
        // Who has just queued a request has to look whether a thread came out meanwhile: that one
        // has looked already, and polls. Who holds replies has to let them go.
        let mut surplus = state.followers.is_surplus() && state.waiting.is_empty() && state.held.is_empty();
        loop {
            if state.quit || state.draining && self.drained(&mut state) {
                state.quit = true;
                self.follow.notify_all();
                self.keep.notify_all();
                return Work::Over;
            }
            if !surplus {
                if let Some(work) = self.take(&mut state) {
                    return work;
                }
                if !state.leading {
                    state.leading = true;
                    state.wakes_at = self.wake_time(&state);
                    let wakes_at = state.wakes_at;
                    drop(state);
                    state = self.lead(wakes_at);
                    continue;
                }
            }
            surplus = false;
            let (guard, followed) = self.wait(state, index);
            state = guard;
            if followed == Followed::Retired {
                return Work::Retire;
            }
        }
    }

    /// Whether a drain is over: by itself, or because it took too long.
    fn drained(&self, state: &mut State) -> bool {
        state.slots.is_empty() && state.listeners.is_empty() || now_ms() >= state.drain_deadline
    }

    fn take(&self, state: &mut State) -> Option<Work> {
        state.release_held();
        match self.take_next(state) {
            None if state.give_up_held() => self.take_next(state),
            taken => taken,
        }
    }

    fn take_next(&self, state: &mut State) -> Option<Work> {
        if let Some((token, conn)) = state.next_leaving() {
            return Some(Work::Serve(token, conn, state.company()));
        }
        if let Some(index) = self.next_newcomer(state, false) {
            return Some(Work::Accept(index, state.company()));
        }
        // All that wait, not one: an entry whose connection has gone meanwhile must not make this
        // thread poll while others could enter.
        while state.inside < self.context.settings.threads
            && let Some(token) = state.waiting.pop_front()
        {
            if let Some(mut conn) = state.check_out(token) {
                conn.queued = false;
                return Some(Work::Serve(token, conn, state.company()));
            }
            if let Some(Slot::Out(noted)) = state.slots.get_mut(token) {
                noted.dequeued = true;
            }
        }
        while let Some(item) = state.pending.pop_front() {
            match item {
                Item::Conn(token) => {
                    if let Some(conn) = state.check_out(token) {
                        return Some(Work::Serve(token, conn, state.company()));
                    }
                }
                Item::Expired(token) => {
                    if let Some(conn) = state.check_out(token) {
                        return Some(Work::Expire(token, conn));
                    }
                }
                Item::Accept(index) if state.inside >= self.context.settings.threads => {
                    report(state.listeners.pause(Pause::Busy, &self.registry));
                    state.newcomers.expect(index);
                }
                Item::Accept(index) => return Some(Work::Accept(index, state.company())),
                Item::Signals => return Some(Work::Signals),
                Item::Lifeline => return Some(Work::Orphaned),
            }
        }
        let index = self.next_newcomer(state, true)?;
        Some(Work::Accept(index, state.company()))
    }

    /// The listener from which somebody is let in now. `whole`: nobody else waits.
    fn next_newcomer(&self, state: &mut State, whole: bool) -> Option<usize> {
        if state.inside >= self.context.settings.threads {
            return None;
        }
        if whole && !state.listeners.is_paused(Pause::Busy) {
            // Not before those are asked who are in already: the kernel tells of all of them.
            state.newcomers.forget();
        }
        state.newcomers.next(whole)
    }

    /// Takes a slot for a new connection, as being with the calling thread.
    pub fn admit(&self) -> usize {
        let mut state = self.state();
        let token = state.slots.insert(Slot::Out(Noted::default()));
        state.flood = state.flood.max(state.slots.len());
        self.context.row.set_connections(state.slots.len());
        token
    }

    /// Has the kernel tell what happens to an admitted connection; what is there already, too. Not
    /// done for one that was served and closed in its first turn.
    pub fn watch(&self, token: usize, conn: &mut Conn) -> io::Result<()> {
        // Without the lock: what happens at once finds the slot.
        conn.stream.register(&self.registry, Token(token))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state().open()
    }

    /// Brings a connection back after its turn. `again`: it wants another one soon.
    pub fn put_back(self: &Arc<Self>, token: usize, conn: Box<Conn>, again: bool) {
        drop(self.bring_back(self.state(), token, conn, again));
    }

    /// The same; `None` where the lock had to be given up.
    fn bring_back<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        token: usize,
        mut conn: Box<Conn>,
        again: bool,
    ) -> Option<MutexGuard<'a, State>> {
        if state.quit && matches!(conn.stage, Stage::Held(_)) {
            // Whoever sends what is held at the end may have been here already.
            drop(state);
            let _ = conn.output.flush(&conn.stream);
            state = self.state();
        }
        if matches!(conn.stage, Stage::Closed) {
            self.remove(state, token, conn);
            return None;
        }
        let noted = match state.slots.get(token) {
            Some(Slot::Out(noted)) => noted.tell(&mut conn),
            _ => false,
        };
        // Whoever is idle can make room for those that wait in the kernel.
        if is_idle(&conn) {
            report(state.listeners.resume(Pause::Full, &self.registry));
        }
        let ready = conn.wants_in && !conn.queued;
        conn.queued |= ready;
        let holds = !again && matches!(conn.stage, Stage::Held(_)) && conn.output.is_buffered();
        let sooner = state.arm(token, &mut conn);
        state.tally.put_away(&conn);
        if let Some(slot) = state.slots.get_mut(token) {
            *slot = Slot::Here(conn);
        }
        if ready {
            state.waiting.push_back(token);
        } else if noted {
            state.pending.push_back(Item::Conn(token));
        } else if again {
            state.later.push(token);
        }
        if holds {
            state.held.push(token);
            state = self.see_to_held(state);
        }
        if state.leading && (sooner || again) {
            drop(state);
            self.wake();
            return None;
        }
        Some(state)
    }

    /// A connection is over.
    fn remove(&self, mut state: MutexGuard<'_, State>, token: usize, conn: Box<Conn>) {
        state.slots.try_remove(token);
        report(state.listeners.resume(Pause::Full, &self.registry));
        self.context.row.set_connections(state.slots.len());
        let over = state.draining && state.slots.is_empty();
        let ebbed = state.ebbed();
        drop(state);
        self.let_go(conn);
        if ebbed {
            raw::give_memory_back();
        }
        if over {
            self.wake();
        }
    }

    /// Makes the polling thread look at the state again.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!("Cannot wake the polling thread: {error}");
        }
    }
}

/// A failure to talk to the kernel about a listener is logged, and costs nothing else.
fn report(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!("Cannot change what a listener waits for: {error}");
    }
}
