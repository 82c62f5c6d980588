//! Which line does an overdue request hang on, and how is it ended?
//!
//! A thread that sleeps until the master, which watches the scoreboard, pokes the worker. It
//! logs one entry for each overdue request, with the Python stack of its thread, then has an
//! exception raised there. If the stuck thread holds the interpreter the stack is taken without it.
//!
//! Must not know: what `timeout` is; the master judges.
//!
//! Invariant: it wakes only when poked.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::context::Context;
use crate::door::WorkerMoment;
use crate::log;
use crate::metrics::scoreboard::Running;
use crate::system::clock::Moment;

/// How long the interpreter may take to show a stack before it is taken by force.
const PATIENCE: Duration = Duration::from_secs(1);
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
pub fn start(context: &Arc<Context>) -> io::Result<()> {
    let context = Arc::clone(context);
    let watch = move || {
        let mut handled = HashMap::new();
        while poke().wait().is_ok() {
            look(&context, &mut handled);
        }
    };
    std::thread::Builder::new().name("rwsgi-watchdog".to_owned()).stack_size(STACK).spawn(watch).map(drop)
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
