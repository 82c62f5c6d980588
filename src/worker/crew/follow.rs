//! When does a thread that waits step in?
//!
//! Waking a follower for each request costs more than most requests. So while work goes on one
//! follower, the sentinel, looks once in a while whether it does: only when nothing has moved and
//! nobody polls is a thread held up inside the application, and another one needed. An application
//! that does that once will do it again, so from then on followers are woken at once, for longer
//! each time. When nothing is to be done, nobody looks: an idle worker never wakes.
//!
//! Must not know: connections, sockets, what the work is.
//!
//! Invariants:
//! 1. While a thread is inside the application and nobody polls, a sentinel looks or a follower is
//!    on its way.
//! 2. At most one follower is the sentinel.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Crew;
use super::state::State;

/// How often the sentinel looks.
const LOOK: Duration = Duration::from_millis(1);
/// So many looks in a row that see nothing move mean that nothing moves. One is not enough: on a
/// busy machine the whole process may have been off the CPU.
const STILL: u32 = 2;
/// After so many looks without being needed, the application is taken for one that does not block.
const CALM: u32 = 1000;
/// Requests for which followers are woken at once after the sentinel had to step in: at first, and
/// at most.
const EAGER: (u32, u32) = (64, 1 << 20);
/// A follower with nothing to do for so long ends.
const IDLE_THREAD: Duration = Duration::from_secs(10);

/// Who looks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// Nobody: there is nothing to look after.
    #[default]
    Off,
    /// The next follower that wakes or comes.
    Wanted,
    /// A follower.
    On,
}

/// The threads that wait, and what is known about how long requests take.
#[derive(Debug, Default)]
pub struct Followers {
    /// How many wait.
    waiting: usize,
    /// How many of them were called and are not there yet.
    called: usize,
    /// Counts up whenever a request enters the application.
    pub(super) turns: u64,
    watch: Watch,
    /// Requests left for which followers are woken at once.
    eager: u32,
    /// How many that will be the next time; 0: as at first.
    eagerness: u32,
    /// Looks since the sentinel last stepped in.
    calm: u32,
    /// Threads that are to wait when they come back: work moves on without them.
    surplus: usize,
}

/// Who is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    /// Nobody: a sentinel looks.
    None,
    /// One of those who wait.
    Wake,
    /// Another thread, if there may be one.
    Hire,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// There may be something to do.
    Called,
    /// There was nothing for long.
    Retired,
}

/// What the sentinel saw.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Moving,
    Still,
    /// Work waits, and those who should do it are held up.
    Stuck,
    /// There is nothing to do.
    Quiet,
}

impl Followers {
    /// Work is unattended: who is needed for it.
    pub(super) fn call(&mut self) -> Help {
        let help = if self.are_there() { Help::Wake } else { Help::Hire };
        if self.eager > 0 {
            self.eager -= 1;
            self.called += usize::from(help == Help::Wake);
            return help;
        }
        if self.watch == Watch::Off {
            self.watch = Watch::Wanted;
            return help;
        }
        // Who was hired before to watch took work instead.
        if self.watch == Watch::Wanted && self.waiting == 0 { Help::Hire } else { Help::None }
    }

    /// Whether somebody waits who was not called.
    pub(super) fn are_there(&self) -> bool {
        self.waiting > self.called
    }

    /// Whether the thread that asks is one too many.
    pub(super) fn is_surplus(&mut self) -> bool {
        // Without a sentinel nobody would notice that it was not.
        let surplus = self.surplus > 0 && self.watch == Watch::On;
        self.surplus = self.surplus.saturating_sub(1);
        surplus
    }

    fn look(&mut self, moved: bool, unattended: bool, still: u32, threads: usize) -> Look {
        if moved {
            self.calm = (self.calm + 1).min(CALM);
            if self.calm == CALM {
                self.eagerness = EAGER.0;
            }
            if self.eager == 0 {
                self.surplus = threads.saturating_sub(self.waiting + 1);
            }
            return Look::Moving;
        }
        if !unattended {
            return Look::Quiet;
        }
        if still + 1 < STILL {
            return Look::Still;
        }
        self.eager = self.eagerness.max(EAGER.0);
        self.eagerness = self.eager.saturating_mul(2).min(EAGER.1);
        (self.calm, self.surplus) = (0, 0);
        Look::Stuck
    }
}

impl Crew {
    /// Waits for a turn.
    pub(super) fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        index: usize,
    ) -> (MutexGuard<'a, State>, Followed) {
        let (mut sentinel, mut still) = (false, 0);
        loop {
            if !sentinel && state.followers.watch == Watch::Wanted {
                state.followers.watch = Watch::On;
                (sentinel, still) = (true, 0);
            }
            let seen = state.followers.turns;
            state.followers.waiting += 1;
            let timed_out;
            (state, timed_out) = self.sleep(state, if sentinel { Some(LOOK) } else { span(index) });
            state.followers.waiting -= 1;
            let called = state.followers.called > 0;
            state.followers.called -= usize::from(called);
            if called || state.quit || state.draining {
                if sentinel {
                    state.followers.watch = Watch::Off;
                }
                return (state, Followed::Called);
            }
            let queued = !state.waiting.is_empty() && state.inside < self.context.settings.threads;
            let unattended = !state.leading || !state.pending.is_empty() || queued;
            if !sentinel {
                if timed_out && !unattended && state.followers.watch != Watch::Wanted {
                    return (state, Followed::Retired);
                }
                continue;
            }
            if !timed_out {
                continue;
            }
            let moved = state.followers.turns != seen;
            let threads = state.taken.iter().filter(|taken| **taken).count();
            // This thread counts as one that waits.
            state.followers.waiting += 1;
            let looked = state.followers.look(moved, unattended, still, threads);
            state.followers.waiting -= 1;
            match looked {
                Look::Moving => still = 0,
                Look::Still => still += 1,
                Look::Quiet => {
                    state.followers.watch = Watch::Off;
                    sentinel = false;
                }
                Look::Stuck => {
                    state.followers.watch = Watch::Off;
                    return (state, Followed::Called);
                }
            }
        }
    }

    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        span: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        match span {
            Some(span) => {
                let woken = self.follow.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner);
                (woken.0, woken.1.timed_out())
            }
            None => (self.follow.wait(state).unwrap_or_else(PoisonError::into_inner), false),
        }
    }
}

/// How long thread `index` waits before it ends. The main thread never does: it would only wake.
fn span(index: usize) -> Option<Duration> {
    (index > 0).then_some(IDLE_THREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_is_called_once_and_followers_only_after_it_was_needed() {
        let mut followers = Followers { waiting: 3, ..Followers::default() };
        assert_eq!(followers.call(), Help::Wake, "somebody has to watch");
        followers.watch = Watch::On;
        assert_eq!(followers.call(), Help::None);
        assert_eq!(followers.look(true, true, 0, 4), Look::Moving);
        assert_eq!(followers.look(false, true, 0, 4), Look::Still);
        assert_eq!(followers.look(false, true, 1, 4), Look::Stuck);
        for _ in 0..EAGER.0 {
            assert_eq!(followers.call(), Help::Wake);
            followers.called = 0;
        }
        assert_eq!(followers.call(), Help::None);
    }

    #[test]
    fn whoever_was_called_is_not_counted_on_twice() {
        let mut followers = Followers { waiting: 1, eager: 3, ..Followers::default() };
        assert_eq!([(); 2].map(|()| followers.call()), [Help::Wake, Help::Hire]);
    }

    #[test]
    fn an_application_that_blocks_again_and_again_is_believed_for_longer() {
        let mut followers = Followers::default();
        let mut last = 0;
        for _ in 0..10 {
            followers.look(false, true, STILL, 4);
            assert!(followers.eager > last);
            last = followers.eager;
        }
        for _ in 0..CALM {
            followers.look(true, true, 0, 4);
        }
        followers.look(false, true, STILL, 4);
        assert_eq!(followers.eager, EAGER.0);
    }

    #[test]
    fn threads_that_are_too_many_wait_when_they_come_back() {
        let mut followers = Followers { waiting: 1, watch: Watch::On, ..Followers::default() };
        followers.look(true, true, 0, 4);
        assert_eq!([(); 3].map(|()| followers.is_surplus()), [true, true, false]);
        followers.eager = 5;
        followers.look(true, true, 0, 4);
        assert!(!followers.is_surplus());
    }

    #[test]
    fn nobody_looks_when_there_is_nothing_to_do() {
        let mut followers = Followers::default();
        assert_eq!(followers.look(false, false, 0, 4), Look::Quiet);
    }
}
