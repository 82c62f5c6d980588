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

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mio::{Events, Poll, Registry, Token, Waker};
use slab::Slab;

use super::conn::Conn;
use super::context::Context;
use super::listeners::{Listeners, Pause};
use super::tally::Tally;
use super::threads;
use super::timers::Timers;
use crate::metrics::seat::Lifeline;
use crate::system::clock::now_ms;
use crate::system::raw;

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
/// A follower with nothing to do for so long ends.
const IDLE_THREAD: Duration = Duration::from_secs(10);
/// How long the end of a worker waits for its other threads.
const PATIENCE_MS: u64 = 1000;
/// Access lines wait at most so long for company.
const LOG_DELAY_MS: u64 = 50;

/// So many connections at once are a flood: the allocator keeps what they took, spread over pages
/// it would share with what comes next, unless it is told otherwise.
const FLOOD: usize = 256;

/// What a thread may be given to do.
pub enum Work {
    /// Something happened to this connection.
    Serve(usize, Box<Conn>),
    /// Its deadline passed.
    Expire(usize, Box<Conn>),
    /// This listener has connections waiting.
    Accept(usize),
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

enum Slot {
    Here(Box<Conn>),
    /// With a thread; what was noted meanwhile.
    Out(Noted),
}

/// What happened to a connection while a thread had it.
#[derive(Default)]
struct Noted {
    readable: bool,
    writable: bool,
    hung_up: bool,
    /// Its timer entry was used up.
    disarmed: bool,
    /// Its place in the queue for the application was used up.
    dequeued: bool,
}

enum Item {
    Conn(usize),
    Expired(usize),
    Accept(usize),
    Signals,
    Lifeline,
}

/// What the crew knows; see the invariants.
pub struct State {
    slots: Slab<Slot>,
    pending: VecDeque<Item>,
    /// Connections that had their turn and want another: after whatever the kernel has to say.
    later: Vec<usize>,
    /// Connections whose requests wait for a thread that may enter the application.
    waiting: VecDeque<usize>,
    timers: Timers,
    tally: Tally,
    /// Threads inside the application.
    inside: usize,
    leading: bool,
    /// Followers waiting.
    idle: usize,
    /// Which thread indices are taken; the main thread's is 0.
    pub taken: Vec<bool>,
    /// When the polling thread will wake by itself.
    wakes_at: u64,
    /// The accepting side.
    pub listeners: Listeners,
    /// Most connections since memory was last given back.
    flood: usize,
    /// Finish what is here, then end.
    pub draining: bool,
    /// End now.
    pub quit: bool,
    /// When draining has taken long enough.
    pub drain_deadline: u64,
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
            timers: Timers::default(),
            tally: Tally::new(context.row.clone()),
            inside: 0,
            leading: false,
            idle: 0,
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
        let (state, follow) = (Mutex::new(state), Condvar::new());
        Ok(Crew { context, lifeline, registry, poller, waker, log_due, state, follow })
    }

    /// The shared state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to enter the application. `None`: all threads that may are inside; the connection is
    /// taken up again when one comes out.
    pub fn enter(self: &Arc<Self>) -> Option<Permit<'_>> {
        if self.context.settings.threads == 1 {
            return Some(Permit { crew: None });
        }
        let mut state = self.state();
        if state.inside >= self.context.settings.threads {
            return None;
        }
        state.inside += 1;
        if !state.leading || !state.pending.is_empty() {
            if state.idle > 0 {
                self.follow.notify_one();
            } else if let Some(index) = state.hire() {
                drop(state);
                threads::start(self, index);
            }
        }
        Some(Permit { crew: Some(self) })
    }

    fn leave(&self) {
        let mut state = self.state();
        state.inside -= 1;
        let result = state.listeners.resume(Pause::Busy, &self.registry);
        drop(state);
        report(result);
    }

    /// The next thing to do. Blocks while there is nothing.
    pub fn next(&self) -> Work {
        let mut state = self.state();
        loop {
            if state.quit || state.draining && self.drained(&mut state) {
                state.quit = true;
                self.follow.notify_all();
                return Work::Over;
            }
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
            state.idle += 1;
            let (guard, timeout) =
                self.follow.wait_timeout(state, IDLE_THREAD).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.leading && state.pending.is_empty() {
                return Work::Retire;
            }
        }
    }

    /// Whether a drain is over: by itself, or because it took too long.
    fn drained(&self, state: &mut State) -> bool {
        state.slots.is_empty() && state.listeners.is_empty() || now_ms() >= state.drain_deadline
    }

    fn take(&self, state: &mut State) -> Option<Work> {
        // All that wait, not one: an entry whose connection has gone meanwhile must not make this
        // thread poll while others could enter.
        while state.inside < self.context.settings.threads
            && let Some(token) = state.waiting.pop_front()
        {
            if let Some(mut conn) = state.check_out(token) {
                conn.queued = false;
                return Some(Work::Serve(token, conn));
            }
            if let Some(Slot::Out(noted)) = state.slots.get_mut(token) {
                noted.dequeued = true;
            }
        }
        while let Some(item) = state.pending.pop_front() {
            match item {
                Item::Conn(token) => {
                    if let Some(conn) = state.check_out(token) {
                        return Some(Work::Serve(token, conn));
                    }
                }
                Item::Expired(token) => {
                    if let Some(conn) = state.check_out(token) {
                        return Some(Work::Expire(token, conn));
                    }
                }
                Item::Accept(_) if state.inside >= self.context.settings.threads => {
                    report(state.listeners.pause(Pause::Busy, &self.registry));
                }
                Item::Accept(index) => return Some(Work::Accept(index)),
                Item::Signals => return Some(Work::Signals),
                Item::Lifeline => return Some(Work::Orphaned),
            }
        }
        None
    }

    /// When the polling thread has to wake even if nothing happens.
    fn wake_time(&self, state: &State) -> u64 {
        if !state.later.is_empty() {
            return 0;
        }
        let mut at = state.timers.next().unwrap_or(u64::MAX).min(state.listeners.resume_at());
        if state.draining {
            at = at.min(state.drain_deadline);
        }
        if self.context.access.as_ref().is_some_and(|access| access.pending()) {
            let due = self.log_due.load(Ordering::Relaxed).max(1);
            let due = if due == 1 { now_ms() + LOG_DELAY_MS } else { due };
            self.log_due.store(due, Ordering::Relaxed);
            at = at.min(due);
        }
        at
    }

    /// Access lines leave when nothing else is to be done, at latest after a moment.
    fn flush_log(&self, now: u64, idle: bool) {
        let due = self.log_due.load(Ordering::Relaxed);
        if due != 0
            && (idle || now >= due)
            && let Some(access) = &self.context.access
        {
            self.log_due.store(0, Ordering::Relaxed);
            access.flush();
        }
    }

    /// Polls, as the only thread that does, and puts what happened into the state.
    fn lead(&self, wakes_at: u64) -> MutexGuard<'_, State> {
        let mut poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner);
        let (poll, events) = &mut *poller;
        let timeout = match wakes_at {
            u64::MAX => None,
            at => Some(Duration::from_millis(at.saturating_sub(now_ms()))),
        };
        let polled = poll.poll(events, timeout);
        let interrupted = matches!(&polled, Err(error) if error.kind() == io::ErrorKind::Interrupted);
        if interrupted {
            events.clear();
            self.handle_interrupt();
        } else if let Err(error) = polled {
            events.clear();
            tracing::error!("Cannot wait for events: {error}");
        }
        let now = now_ms();
        self.flush_log(now, events.is_empty());
        let mut state = self.state();
        state.leading = false;
        for event in events.iter() {
            state.note(event);
        }
        let later = std::mem::take(&mut state.later);
        state.pending.extend(later.into_iter().map(Item::Conn));
        drop(poller);
        state.expire(now);
        report(state.listeners.resume_if_due(now, &self.registry));
        state
    }

    fn handle_interrupt(&self) {
        if self.context.runtime.check_signals() {
            let mut state = self.state();
            state.quit = true;
        }
    }

    /// Puts a new connection into a slot, as being with the calling thread.
    pub fn admit(&self, conn: &mut Conn) -> io::Result<usize> {
        let token = {
            let mut state = self.state();
            let token = state.slots.insert(Slot::Out(Noted::default()));
            state.flood = state.flood.max(state.slots.len());
            self.context.row.set_connections(state.slots.len());
            token
        };
        // Registered outside of the lock; events that come first find the slot.
        match conn.stream.register(&self.registry, Token(token)) {
            Ok(()) => Ok(token),
            Err(error) => {
                let mut state = self.state();
                state.slots.try_remove(token);
                self.context.row.set_connections(state.slots.len());
                Err(error)
            }
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.state().slots.len()
    }

    /// Brings a connection back after its turn. `again`: it wants another one soon.
    pub fn put_back(&self, token: usize, mut conn: Box<Conn>, again: bool) {
        let mut state = self.state();
        if matches!(conn.stage, super::conn::Stage::Closed) {
            state.slots.try_remove(token);
            report(state.listeners.resume(Pause::Full, &self.registry));
            self.context.row.set_connections(state.slots.len());
            let over = state.draining && state.slots.is_empty();
            let ebbed = state.ebbed();
            drop(state);
            if conn.handed_over {
                // A handle of the application's would keep the registration alive.
                report(conn.stream.deregister(&self.registry));
            }
            drop(conn);
            if ebbed {
                raw::give_memory_back();
            }
            if over {
                self.wake();
            }
            return;
        }
        let noted = match state.slots.get(token) {
            Some(Slot::Out(noted)) => {
                conn.readable |= noted.readable;
                conn.hung_up |= noted.hung_up;
                if noted.writable {
                    conn.output.unblock();
                }
                if noted.disarmed {
                    conn.armed = 0;
                }
                conn.queued &= !noted.dequeued;
                noted.readable || noted.writable
            }
            _ => false,
        };
        let ready = conn.wants_in && !conn.queued;
        conn.queued |= ready;
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
        if state.leading && (sooner || again) {
            drop(state);
            self.wake();
        }
    }

    /// Makes the polling thread look at the state again.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!("Cannot wake the polling thread: {error}");
        }
    }

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
            && state.idle == 0
            && let Some(index) = state.hire()
        {
            drop(state);
            threads::start(self, index);
        }
    }

    /// Connections that could be closed without taking anything from anybody, at most `most`.
    pub fn take_idle(&self, most: usize) -> Vec<(usize, Box<Conn>)> {
        let mut state = self.state();
        let idle = state.slots.iter().filter_map(|(token, slot)| match slot {
            Slot::Here(conn) if super::deadlines::is_idle(conn) => Some(token),
            _ => None,
        });
        let tokens: Vec<usize> = idle.take(most).collect();
        tokens.into_iter().filter_map(|token| Some((token, state.check_out(token)?))).collect()
    }

    /// Closes every connection that is in its slot, for the end.
    pub fn close_all(&self) {
        let conns: Vec<Box<Conn>> = {
            let mut state = self.state();
            let tokens: Vec<usize> = state.slots.iter().map(|(token, _)| token).collect();
            tokens.into_iter().filter_map(|token| state.check_out(token)).collect()
        };
        for conn in conns {
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

impl State {
    /// Takes the index of a new thread, if there may be another.
    fn hire(&mut self) -> Option<usize> {
        let index = self.taken.iter().position(|taken| !taken)?;
        self.taken[index] = true;
        Some(index)
    }

    /// Whether a flood of connections has run off: what it took is to be given back then, once.
    fn ebbed(&mut self) -> bool {
        let ebbed = self.flood >= FLOOD && self.slots.len() <= self.flood / 8;
        if ebbed {
            self.slots.shrink_to_fit();
            self.flood = self.slots.len();
        }
        ebbed
    }

    fn check_out(&mut self, token: usize) -> Option<Box<Conn>> {
        let slot = self.slots.get_mut(token)?;
        match std::mem::replace(slot, Slot::Out(Noted::default())) {
            Slot::Here(conn) => {
                self.tally.take_up(&conn);
                Some(conn)
            }
            out => {
                *slot = out;
                None
            }
        }
    }

    fn note(&mut self, event: &mio::event::Event) {
        let item = match event.token() {
            WAKE => return,
            SIGNALS => Item::Signals,
            LIFELINE => Item::Lifeline,
            Token(token) if token >= LISTENERS => Item::Accept(token - LISTENERS),
            Token(token) => {
                let gone = event.is_read_closed() || event.is_error();
                let read = event.is_readable() || gone;
                match self.slots.get_mut(token) {
                    Some(Slot::Here(conn)) => {
                        conn.readable |= read;
                        conn.hung_up |= gone;
                        if event.is_writable() {
                            conn.output.unblock();
                        }
                        Item::Conn(token)
                    }
                    Some(Slot::Out(noted)) => {
                        noted.readable |= read;
                        noted.hung_up |= gone;
                        noted.writable |= event.is_writable();
                        return;
                    }
                    None => return,
                }
            }
        };
        self.pending.push_back(item);
    }

    /// Moves entries that are due to the pending work, or to where they belong now.
    fn expire(&mut self, now: u64) {
        while let Some((at, token)) = self.timers.take_due(now) {
            let conn = match self.slots.get_mut(token) {
                Some(Slot::Here(conn)) => conn,
                Some(Slot::Out(noted)) => {
                    noted.disarmed = true;
                    continue;
                }
                None => continue,
            };
            if conn.armed != at {
                continue;
            }
            conn.armed = 0;
            if conn.rest_at != 0 && conn.rest_at <= now {
                conn.rest_at = 0;
                conn.http.release();
            }
            match conn.due() {
                0 => {}
                _ if conn.deadline != 0 && conn.deadline <= now => {
                    self.pending.push_back(Item::Expired(token));
                }
                due => {
                    conn.armed = due;
                    self.timers.arm(due, token);
                }
            }
        }
    }

    /// Makes sure a timer runs for the connection. True: before the polling thread would wake.
    fn arm(&mut self, token: usize, conn: &mut Conn) -> bool {
        let due = conn.due();
        if due == 0 || conn.armed != 0 && conn.armed <= due {
            return false;
        }
        conn.armed = due;
        self.timers.arm(due, token);
        due < self.wakes_at
    }
}

/// A failure to talk to the kernel about a listener is logged, and costs nothing else.
fn report(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::error!("Cannot change what a listener waits for: {error}");
    }
}
