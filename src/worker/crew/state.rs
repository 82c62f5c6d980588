//! What does a crew know? Where each connection is, what is to be done, and who does it.
//!
//! Must not know: I/O, the application. Everything here is done under the crew's lock.
//!
//! Invariants:
//! 1. A connection is in its slot or with exactly one thread; what happens to it meanwhile is noted.

use std::collections::VecDeque;

use mio::Token;
use slab::Slab;

use super::follow::Followers;
use super::held::Held;
use super::newcomers::Newcomers;
use super::{LIFELINE, LISTENERS, SIGNALS, WAKE};
use crate::worker::conn::Conn;
use crate::worker::deadlines::is_idle;
use crate::worker::listeners::Listeners;
use crate::worker::tally::Tally;
use crate::worker::timers::Timers;

/// So many connections at once are a flood: the allocator keeps what they took, spread over pages
/// it would share with what comes next, unless it is told otherwise.
const FLOOD: usize = 256;

/// Most timer entries dealt with before the kernel is asked again; the rest is due at once.
const EXPIRIES: usize = 8;

pub(super) enum Slot {
    Here(Box<Conn>),
    /// With a thread; what was noted meanwhile.
    Out(Noted),
}

/// What happened to a connection while a thread had it.
#[derive(Default)]
pub(super) struct Noted {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) hung_up: bool,
    /// Its timer entry was used up.
    pub(super) disarmed: bool,
    /// Its place in the queue for the application was used up.
    pub(super) dequeued: bool,
}

impl Noted {
    /// Tells the connection, which comes back. Whether it wants another turn because of that.
    pub(super) fn tell(&self, conn: &mut Conn) -> bool {
        conn.readable |= self.readable;
        conn.hung_up |= self.hung_up;
        if self.writable {
            conn.output.unblock();
        }
        if self.disarmed {
            conn.armed = 0;
        }
        conn.queued &= !self.dequeued;
        self.readable || self.writable
    }
}

pub(super) enum Item {
    Conn(usize),
    Expired(usize),
    Accept(usize),
    Signals,
    Lifeline,
}

/// What the crew knows; see the invariants.
pub struct State {
    pub(super) slots: Slab<Slot>,
    pub(super) pending: VecDeque<Item>,
    /// Connections that had their turn and want another: after whatever the kernel has to say.
    pub(super) later: Vec<usize>,
    /// Connections whose requests wait for a thread that may enter the application.
    pub(super) waiting: VecDeque<usize>,
    /// Replies that leave together.
    pub(super) held: Held,
    /// Who waits in the kernel.
    pub(super) newcomers: Newcomers,
    pub(super) timers: Timers,
    pub(super) tally: Tally,
    /// Threads inside the application.
    pub(super) inside: usize,
    pub(super) leading: bool,
    /// Who waits for a turn.
    pub(super) followers: Followers,
    /// Which thread indices are taken; the main thread's is 0.
    pub taken: Vec<bool>,
    /// When the polling thread will wake by itself.
    pub(super) wakes_at: u64,
    /// The accepting side.
    pub listeners: Listeners,
    /// Most connections since memory was last given back.
    pub(super) flood: usize,
    /// Finish what is here, then end.
    pub draining: bool,
    /// End now.
    pub quit: bool,
    /// When draining has taken long enough.
    pub drain_deadline: u64,
}

impl State {
    /// Takes the index of a new thread, if there may be another.
    pub(super) fn hire(&mut self) -> Option<usize> {
        let index = self.taken.iter().position(|taken| !taken)?;
        self.taken[index] = true;
        Some(index)
    }

    /// Whether a flood of connections has run off: what it took is to be given back then, once.
    pub(super) fn ebbed(&mut self) -> bool {
        let ebbed = self.flood >= FLOOD && self.slots.len() <= self.flood / 8;
        if ebbed {
            self.slots.shrink_to_fit();
            self.flood = self.slots.len();
        }
        ebbed
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.slots.len()
    }

    /// The connection that could be closed without taking anything from anybody: of those kept
    /// alive the one that has waited longest, then of those that never said anything.
    pub fn idlest(&self) -> Option<usize> {
        let idle = self.slots.iter().filter_map(|(token, slot)| match slot {
            Slot::Here(conn) if is_idle(conn) => Some((conn.requests == 0, conn.deadline, token)),
            _ => None,
        });
        idle.min().map(|(_, _, token)| token)
    }

    /// Whether the connection is there, and a request is expected of it.
    pub(super) fn is_expected(&self, token: usize) -> bool {
        matches!(self.slots.get(token), Some(Slot::Here(conn)) if conn.is_expected())
    }

    pub(super) fn check_out(&mut self, token: usize) -> Option<Box<Conn>> {
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

    pub(super) fn note(&mut self, event: &mio::event::Event) {
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

    /// Moves entries that are due to the pending work, or to where they belong now; a few at a time,
    /// so that those that come in a crowd do not stand before a request that comes meanwhile.
    pub(super) fn expire(&mut self, now: u64) {
        for _ in 0..EXPIRIES {
            let Some((at, token)) = self.timers.take_due(now) else { return };
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
    pub(super) fn arm(&mut self, token: usize, conn: &mut Conn) -> bool {
        let due = conn.due();
        if due == 0 || conn.armed != 0 && conn.armed <= due {
            return false;
        }
        conn.armed = due;
        self.timers.arm(due, token);
        due < self.wakes_at
    }
}
