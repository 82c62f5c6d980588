//! What does the master want of this worker?
//!
//! | Signal | Meaning |
//! |---|---|
//! | TERM | serve what is here, then end |
//! | INT, QUIT | end now |
//! | USR1 | reopen the logs |
//!
//! Must not know: why the master wants it.
//!
//! Invariant: a drain is begun once; a second order can only shorten it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::accept;
use super::conn::Stage;
use super::crew::Crew;
use super::deadlines;
use super::hand::Hand;
use crate::door::WorkerMoment;
use crate::log;
use crate::metrics::scoreboard::State;
use crate::system::clock::{Moment, now_ms};
use crate::system::signals::Signal;

/// Does what the signals that arrived say.
pub fn obey(hand: &mut Hand<'_>, crew: &Arc<Crew>) {
    for signal in crew.context.signals.drain() {
        match signal {
            Signal::Term => {
                // For hooks, code that has changed is an interruption.
                if hand.context.outdated.swap(false, Ordering::Relaxed) {
                    interrupted(hand);
                }
                // The master has told the kernel to hold nobody back: no one accepts here after us.
                if crew.state().listeners.come_at_once() {
                    await_speakers(hand, crew);
                }
                drain(hand, crew);
            }
            Signal::Int | Signal::Quit => {
                interrupted(hand);
                crew.state().quit = true;
                crew.wake();
            }
            Signal::Usr1 => reopen(crew),
            _ => {}
        }
    }
    if hand.context.runtime.check_signals() {
        crew.state().quit = true;
    }
}

fn interrupted(hand: &Hand<'_>) {
    if let Some(hooks) = &hand.context.settings.hooks {
        // It ends in any case.
        let _ = hooks.in_worker(WorkerMoment::Interrupted);
    }
}

/// The master is gone without a word: nobody will watch or replace this worker.
pub fn orphaned(hand: &mut Hand<'_>, crew: &Arc<Crew>) {
    if !crew.state().draining {
        tracing::warn!("The master is gone, shutting down: Worker (pid: {})", std::process::id());
    }
    // Whoever else served here is as orphaned: these may be the last looks at the queues.
    await_speakers(hand, crew);
    drain(hand, crew);
}

/// So long a client may take from connecting to its first bytes.
const ABOUT_TO_SPEAK: Duration = Duration::from_millis(10);

/// A client that is connected counts on being served, and the kernel hands it out once it speaks.
fn await_speakers(hand: &Hand<'_>, crew: &Crew) {
    if hand.context.settings.defer_accept && !crew.state().draining {
        std::thread::sleep(ABOUT_TO_SPEAK);
    }
}

/// Takes what is queued out of the kernel and accepts no more; ends when all is served.
fn drain(hand: &mut Hand<'_>, crew: &Arc<Crew>) {
    let graceful = hand.context.settings.graceful_timeout.as_millis() as u64;
    let entrances = {
        let mut state = crew.state();
        if state.draining || state.listeners.is_empty() {
            return;
        }
        state.drain_deadline = now_ms().saturating_add(graceful);
        state.listeners.close(&crew.registry)
    };
    match entrances {
        Ok(entrances) => entrances.iter().for_each(|entrance| accept::sweep(hand, crew, entrance)),
        Err(error) => tracing::error!("Cannot stop waiting on a listener: {error}"),
    }
    // Not before: whoever reads it takes what is open now for all there will be.
    crew.state().draining = true;
    hand.context.row.set_state(State::Draining, Moment::now());
    hand.context.draining.store(true, Ordering::Relaxed);
    for (token, mut conn) in crew.take_where(deadlines::is_silent) {
        deadlines::hasten(&mut conn, hand.stamp.tick());
        crew.put_back(token, conn, false);
    }
    if hand.context.settings.reload.is_some() {
        // Whoever changed the code wants to see the new one, not a connection that was kept. (New
        // connections have their first request on its way.)
        for (token, mut conn) in crew.take_where(|conn| conn.requests > 0 && deadlines::is_idle(conn)) {
            conn.stage = Stage::Closed;
            crew.put_back(token, conn, false);
        }
    }
    crew.wake();
}

fn reopen(crew: &Crew) {
    if let Err(error) = log::reopen() {
        tracing::error!("Cannot reopen the error log: {error}");
    }
    if let Some(access) = &crew.context.access
        && let Err(error) = access.reopen()
    {
        tracing::error!("Cannot reopen the access log: {error}");
    }
}
