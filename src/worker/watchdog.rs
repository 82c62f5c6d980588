//! Which line does an overdue request hang on, and how is it ended? And who ends a worker whose
//! threads are all stuck, once nobody else is left to do it?
//!
//! A thread that sleeps until the master, which watches the scoreboard, pokes the worker. It
//! logs one entry for each overdue request, with the Python stack of its thread, then has an
//! exception raised there. If the stuck thread holds the interpreter the stack is taken without it.
//!
//! It also feels the lifeline: a worker drains out by itself when the master is gone, but a thread
//! that is stuck in the application neither sees that nor can be killed by a master any more.
//!
//! Must not know: what `timeout` is; the master judges.
//!
//! Invariants:
//! 1. It wakes only when poked, and when the master is gone.
//! 2. Where the worker can end by itself, it does: its end comes before this one.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::context::Context;
use crate::door::WorkerMoment;
use crate::log;
use crate::metrics::scoreboard::Running;
use crate::metrics::seat::Lifeline;
use crate::system::clock::Moment;
use crate::system::raw;

/// How long the interpreter may take to show a stack before it is taken by force.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a drain that has used up its time may take to come to an end.
const LAST: Duration = Duration::from_secs(2);
/// Exit code of a worker without a master: nobody of ours will read it.
const ORPHANED: i32 = 1;
/// It calls into Python.
const STACK: usize = 8 << 20;

/// Keeps the poke for the watchdog. Before the process has threads, which inherit it.
pub fn reserve_poke() -> io::Result<()> {
    Ok(poke().thread_block()?)
}

fn poke() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGURG);
    set
}

/// Starts the thread.
pub fn start(context: &Arc<Context>, lifeline: Lifeline) -> io::Result<()> {
    let context = Arc::clone(context);
    let pokes = SignalFd::with_flags(&poke(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let watch = move || {
        let mut handled = HashMap::new();
        let mut ends = None;
        while ends.is_none_or(|ends| Moment::now() < ends) {
            wait(&pokes, ends.is_none().then_some(&lifeline), ends);
            if matches!(pokes.read_signal(), Ok(Some(_))) {
                look(&context, &mut handled);
            }
            if ends.is_none() && lifeline.is_cut() {
                ends = Some(Moment::now() + context.settings.graceful_timeout + LAST);
            }
        }
        give_up(&context);
    };
    std::thread::Builder::new().name("rwsgi-watchdog".to_owned()).stack_size(STACK).spawn(watch).map(drop)
}

/// Until poked, or the lifeline (while it is not known to be cut) says something, or the end.
fn wait(pokes: &SignalFd, lifeline: Option<&Lifeline>, ends: Option<Moment>) {
    let fds = [Some(pokes.as_fd()), lifeline.map(AsFd::as_fd)];
    let mut fds: Vec<PollFd<'_>> =
        fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    let left = ends.map(|ends| ends.since(Moment::now()) + Duration::from_millis(1));
    let timeout =
        left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
    // Whatever it says: both are looked at.
    let _ = poll(&mut fds, timeout);
}

/// The master is gone, and the worker has not come to its end by itself.
fn give_up(context: &Context) -> ! {
    let running = (0..context.row.threads()).filter(|thread| context.row.running(*thread).is_some()).count();
    tracing::error!(
        "The master is gone and {running} requests do not end: Worker (pid: {}) ends without them",
        std::process::id()
    );
    if let Some(access) = &context.access {
        access.finish();
    }
    raw::exit_now(ORPHANED)
}

fn look(context: &Arc<Context>, handled: &mut HashMap<usize, u64>) {
    for thread in 0..context.row.threads() {
        let Some(running) = context.row.running(thread) else { continue };
        if running.raised && handled.insert(thread, running.sequence) != Some(running.sequence) {
            end(context, &running);
        }
    }
}

fn end(context: &Arc<Context>, running: &Running) {
    let (send, receive) = mpsc::channel();
    let (shared, ident, thread) = (Arc::clone(context), running.ident, running.thread);
    // Both need the interpreter, which the stuck thread may hold for ever: so in a thread that
    // can be left behind. An exception that comes late finds the request gone and does nothing.
    let ask = move || {
        let stack = shared.runtime.stack(ident);
        let _ = send.send(stack);
        if let Some(hooks) = &shared.settings.hooks {
            // What becomes of the request does not hang on it.
            let _ = hooks.in_worker(WorkerMoment::Aborted);
        }
        shared.runtime.interrupt(thread);
    };
    let asked = std::thread::Builder::new().stack_size(STACK).spawn(ask);
    let stack = match asked {
        Ok(_) => receive.recv_timeout(PATIENCE).ok().flatten(),
        Err(error) => {
            tracing::error!("Cannot start a thread to look at an overdue request: {error}");
            None
        }
    };
    let (how, stack) = match stack {
        Some(stack) => ("", stack),
        None => by_force(context, running.ident),
    };
    let age = Moment::now().since(running.started).as_secs_f32();
    let stuck = Moment::now().since(running.progress).as_secs_f32();
    tracing::error!(
        "WORKER TIMEOUT (pid:{}) \"{}\" in thread {} (tid:{}) for {age:.1} s, without progress for {stuck:.1} s{how}\n{stack}",
        std::process::id(),
        log::escape(&running.line),
        running.thread,
        running.thread_id,
    );
}

fn by_force(context: &Context, ident: u64) -> (&'static str, String) {
    let how = "; the interpreter does not answer, so a thread in C code holds it";
    let stack = context.runtime.stack_by_force(ident);
    (how, stack.unwrap_or_else(|| "  (its stack cannot be shown)".to_owned()))
}
