//! What does the thread that polls do?
//!
//! Must not know: who follows, what is done about what happened.
//!
//! Invariants:
//! 1. The crew's lock is not held while the kernel is waited for.
//! 2. What has to happen at a time is in the timeout: there are no ticks.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::state::{Item, State};
use super::{Crew, report};
use crate::system::clock::now_ms;

/// Access lines wait at most so long for company.
const LOG_DELAY_MS: u64 = 50;

impl Crew {
    /// When the polling thread has to wake even if nothing happens.
    pub(super) fn wake_time(&self, state: &State) -> u64 {
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
    pub(super) fn lead(&self, wakes_at: u64) -> MutexGuard<'_, State> {
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
}
