//! Who sends what an application yields while it makes the next block already?
//!
//! A block that comes microseconds after the one before is dear as a system call of its own. PEP
//! 3333 ("Buffering and Streaming") lets a server go on with the application if another thread
//! goes on with the transmission: the courier. It is given such blocks at once and sends without
//! waiting for more of them; those that come before it gets to run leave together.
//!
//! Must not know: HTTP, the interpreter: it needs neither, so no application can hold it up.
//!
//! Invariants:
//! 1. No block waits for another block: what was handed over is sent even if nothing follows.
//!    The last one of a reply may wait a moment for its application to come to an end (see
//!    [`Express::leave`]); if that takes long, it is sent all the same.
//! 2. A socket is used by the courier only between [`Express::carry`] and [`Express::regain`];
//!    whoever regains (or drops the [`Express`]) knows that it is not in use any more.
//! 3. Bytes leave in the order in which they came.
//! 4. The thread lives while there is work for it. An idle worker has none.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::socket::{MsgFlags, send};

use super::output::{Flushed, Output};
use super::transport::Stream;
use crate::system::clock::now_ns;
use crate::system::raw;

/// A block that comes so soon after another, in nanoseconds, is handed over.
const SOON_NS: u64 = 50_000;
/// Most bytes that wait with the courier for one reply; then the application's thread sends, and
/// sees what the client takes.
const MOST: usize = 64 * 1024;
/// How long a socket that took nothing is left alone.
const RETRY: Duration = Duration::from_millis(5);
/// How long the end of a reply waits for the application's, in nanoseconds.
const PATIENCE_NS: u64 = 500_000;
/// A courier with nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);

/// What [`Courier::rescue`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescued {
    /// Nothing was left.
    None,
    /// What was left is sent.
    All,
    /// Something was left too short a time ago.
    Waits,
}

/// A worker's courier.
#[derive(Debug, Default)]
pub struct Courier {
    round: Mutex<Round>,
    bell: Condvar,
    /// One for each thread.
    parcels: Mutex<Vec<Weak<Parcel>>>,
    /// Somebody calls [`Courier::rescue`]. Asked under a parcel's lock before something is left there.
    watched: AtomicBool,
}

#[derive(Debug, Default)]
struct Round {
    parcels: VecDeque<Arc<Parcel>>,
    /// There is a thread.
    at_work: bool,
    /// It waits to be called.
    waiting: bool,
}

/// What one thread's reply has handed over. Used again and again.
#[derive(Debug, Default)]
pub struct Parcel(Mutex<Load>);

#[derive(Debug, Default)]
struct Load {
    socket: RawFd,
    bytes: Vec<u8>,
    sent: usize,
    /// Bytes sent since the load was opened.
    total: u64,
    /// The socket took less than it was offered.
    blocked: bool,
    /// The courier has it on its round.
    queued: bool,
    /// Since when it waits for the application's end, in nanoseconds; 0: it does not.
    left_at: u64,
    failed: Option<io::Error>,
}

impl Load {
    fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends what the socket takes.
    fn send(&mut self) {
        self.blocked = false;
        while self.pending() > 0 && self.failed.is_none() {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket, &self.bytes[self.sent..], flags) {
                Ok(count) => {
                    self.sent += count;
                    self.total += count as u64;
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    self.blocked = true;
                    return;
                }
                Err(errno) => self.failed = Some(errno.into()),
            }
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        (self.sent, self.total, self.left_at) = (0, 0, 0);
        (self.blocked, self.failed) = (false, None);
    }
}

impl Parcel {
    fn load(&self) -> MutexGuard<'_, Load> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Courier {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new thread's parcel.
    pub fn parcel(&self) -> Arc<Parcel> {
        let parcel = Arc::default();
        let mut parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        parcels.retain(|known| known.strong_count() > 0);
        parcels.push(Arc::downgrade(&parcel));
        parcel
    }

    /// Whether replies may be left from now on. Whoever says so calls [`Courier::rescue`] again and
    /// again; whoever says no, until it finds nothing: what was left before has to leave.
    pub fn watch(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    /// Sends what was left behind by applications that do not come to an end.
    pub fn rescue(self: &Arc<Self>) -> Rescued {
        self.send_left(PATIENCE_NS)
    }

    /// The same for all that was left. It is not waited for any longer.
    pub fn rescue_all(self: &Arc<Self>) {
        self.send_left(0);
    }

    fn send_left(self: &Arc<Self>, patience: u64) -> Rescued {
        let (now, mut more) = (now_ns(), false);
        let parcels = self.parcels.lock().unwrap_or_else(PoisonError::into_inner);
        let overdue = |parcel: &Arc<Parcel>| {
            let mut load = parcel.load();
            if load.left_at == 0 {
                return false;
            }
            if now.saturating_sub(load.left_at) < patience {
                more = true;
                return false;
            }
            load.left_at = 0;
            load.queued = true;
            true
        };
        let found: Vec<Arc<Parcel>> = parcels.iter().filter_map(Weak::upgrade).filter(overdue).collect();
        drop(parcels);
        let rescued = match (more, found.is_empty()) {
            (true, _) => Rescued::Waits,
            (false, false) => Rescued::All,
            (false, true) => Rescued::None,
        };
        for parcel in found {
            if !self.take(&parcel) {
                let mut load = parcel.load();
                load.queued = false;
                load.send();
            }
        }
        rescued
    }

    /// Puts a parcel on the round. False: there is no courier, and none could be started.
    fn take(self: &Arc<Self>, parcel: &Arc<Parcel>) -> bool {
        let mut round = self.round();
        if !round.at_work {
            let courier = Arc::clone(self);
            let thread = std::thread::Builder::new().name("rwsgi-courier".to_owned());
            if thread.spawn(move || courier.work()).is_err() {
                return false;
            }
            round.at_work = true;
        }
        round.parcels.push_back(Arc::clone(parcel));
        let waiting = std::mem::replace(&mut round.waiting, false);
        drop(round);
        if waiting {
            self.bell.notify_one();
        }
        true
    }

    fn work(&self) {
        // Signals are for threads that can do something about them.
        if let Err(errno) = SigSet::all().thread_block() {
            tracing::debug!("The courier takes signals, too: {errno}");
        }
        raw::do_not_preempt();
        let mut blocked: Vec<Arc<Parcel>> = Vec::new();
        while let Some(next) = self.next(!blocked.is_empty()) {
            blocked.extend(next);
            blocked.retain(|parcel| {
                let mut load = parcel.load();
                load.send();
                load.queued = load.blocked;
                load.blocked
            });
        }
    }

    /// What is to be sent: `Some(None)` is what was blocked before. `None`: nothing, for long.
    fn next(&self, retry: bool) -> Option<Option<Arc<Parcel>>> {
        let mut round = self.round();
        loop {
            if let Some(parcel) = round.parcels.pop_front() {
                return Some(Some(parcel));
            }
            round.waiting = true;
            let span = if retry { RETRY } else { IDLE };
            let (guard, timeout) =
                self.bell.wait_timeout(round, span).unwrap_or_else(PoisonError::into_inner);
            round = guard;
            round.waiting = false;
            if timeout.timed_out() && round.parcels.is_empty() {
                round.at_work = retry;
                return retry.then_some(None);
            }
        }
    }
}

/// Who is to see to what is handed over?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hope {
    /// The courier, at once.
    Courier,
    /// The application, by coming to its end.
    End,
}

/// A reply's way to the courier.
pub struct Express<'a> {
    courier: &'a Arc<Courier>,
    parcel: &'a Arc<Parcel>,
    /// Something was handed over and not regained.
    open: bool,
    /// When the block before was sent or carried; 0: there was none.
    last_ns: u64,
}

impl<'a> Express<'a> {
    /// For a thread's next reply.
    pub fn new(courier: &'a Arc<Courier>, parcel: &'a Arc<Parcel>) -> Self {
        Express { courier, parcel, open: false, last_ns: 0 }
    }

    /// Sends a block that is in `output`, by itself or by the courier.
    pub fn send(&mut self, stream: &Stream, output: &mut Output) -> io::Result<Flushed> {
        let now = now_ns();
        let soon = self.last_ns != 0 && now - self.last_ns < SOON_NS;
        self.last_ns = now;
        if soon && self.carry(stream, output) {
            return Ok(Flushed::Drained);
        }
        self.regain(output)?;
        output.flush(stream)
    }

    /// Leaves the end of a reply that is complete in `output` where it is found if the application
    /// does not come to its end. To be regained when it does. Only up to `until`, in nanoseconds, and
    /// while somebody calls [`Courier::rescue`]. False: its owner has to see to it.
    pub fn leave(&mut self, stream: &Stream, output: &mut Output, until: u64) -> bool {
        let now = now_ns();
        if now > until {
            return false;
        }
        let Some(mut load) = self.hand_over(stream, output, Hope::End) else { return false };
        if !load.queued {
            load.left_at = now;
        }
        true
    }

    /// Whether the whole reply was left so, and not regained.
    pub fn has_left(&self) -> bool {
        self.open && self.last_ns == 0
    }

    fn hand_over(
        &mut self,
        stream: &Stream,
        output: &mut Output,
        hope: Hope,
    ) -> Option<MutexGuard<'a, Load>> {
        // Whoever takes it over writes to the socket, past what encrypts.
        if !stream.is_plain() {
            return None;
        }
        let mut guard = self.parcel.load();
        let load = &mut *guard;
        let unfit = load.blocked || load.failed.is_some() || !output.is_buffered();
        // Asked with the lock: either this is seen by who looks for the last time, or that is seen here.
        let unfit = unfit || hope == Hope::End && !self.courier.watched.load(Ordering::Relaxed);
        if unfit || load.pending() + output.pending() > MOST {
            return None;
        }
        load.socket = stream.as_fd().as_raw_fd();
        output.hand_over(&mut load.bytes, &mut load.sent);
        self.open = true;
        Some(guard)
    }

    /// Hands over what waits in `output`. False: its owner has to see to it.
    fn carry(&mut self, stream: &Stream, output: &mut Output) -> bool {
        let Some(mut load) = self.hand_over(stream, output, Hope::Courier) else { return false };
        if load.queued {
            return true;
        }
        load.queued = true;
        drop(load);
        let taken = self.courier.take(self.parcel);
        if !taken {
            self.parcel.load().queued = false;
        }
        taken
    }

    /// Takes back what was not sent yet, in front of what is in `output`. An error is one of the
    /// socket's.
    pub fn regain(&mut self, output: &mut Output) -> io::Result<()> {
        if !self.open {
            return Ok(());
        }
        self.open = false;
        let mut load = self.parcel.load();
        let failed = load.failed.take();
        let (sent, blocked) = (load.sent, load.blocked);
        output.total += load.total;
        output.take_back(&mut load.bytes, sent, blocked);
        load.clear();
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for Express<'_> {
    fn drop(&mut self) {
        // After a panic: the socket is about to be closed.
        if self.open {
            self.parcel.load().clear();
        }
    }
}

#[cfg(test)]
#[path = "tests_courier.rs"]
mod tests;
