//! When does it go on with connections that wait in the kernel, while others have requests?
//!
//! In turn with them. Who is connected and asks again at once would else keep all threads busy for
//! ever, and a newcomer outside; and behind a whole round of those that are in already, the last of
//! a crowd that comes together would be let in after half its square.
//!
//! Must not know: how a connection is accepted.
//!
//! Invariant: whoever waits at a listener is heard of. Either the kernel tells (the listener is
//! registered), or the listener stands here and a thread is inside the application, or about to take
//! its next piece of work.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Company, Crew, report};
use crate::system::clock::now_ms;
use crate::worker::listeners::Pause;

/// How long a worker takes to come that has been woken, or has a short request in hand.
const WAKING: Duration = Duration::from_micros(100);

/// Listeners at which somebody may wait.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    at: VecDeque<usize>,
    /// Others had their turn.
    first: bool,
}

impl Newcomers {
    /// Somebody may wait at this listener.
    pub(super) fn expect(&mut self, index: usize) {
        if !self.at.contains(&index) {
            self.at.push_back(index);
        }
    }

    /// The listener whose turn it is: every other time. `whole`: there is nobody else.
    pub(super) fn next(&mut self, whole: bool) -> Option<usize> {
        if self.at.is_empty() {
            return None;
        }
        self.first = !self.first;
        if self.first || whole { self.at.pop_front() } else { None }
    }

    /// The kernel tells.
    pub(super) fn forget(&mut self) {
        self.at.clear();
    }
}

impl Crew {
    /// There may be more at the listener than were accepted. A worker that is free is woken for them;
    /// this one takes them in turn with what else it has to do. With several threads, while all of them
    /// are inside the application; else whoever polls sees to it.
    pub fn expect_more(&self, index: usize) {
        let mut state = self.state();
        if self.is_one() || state.listeners.is_paused(Pause::Busy) {
            state.newcomers.expect(index);
        }
    }

    /// Whether newcomers are left to a worker that has fewer connections. One that has nothing else to
    /// do would come back for them at once, again and again: it gives that worker time to wake up.
    pub fn gives_way(&self, company: Company) -> bool {
        if !self.context.settings.app.multiprocess {
            return false;
        }
        let mut state = self.state();
        let open = state.open();
        let gives_way = state.listeners.gives_way(open, now_ms());
        drop(state);
        if gives_way && !company.others {
            std::thread::sleep(WAKING);
        }
        gives_way && company.others
    }

    /// Lets other workers go first the next time, unless it is this one's turn to catch up with them.
    pub fn step_back(&self) {
        let mut state = self.state();
        if !state.listeners.is_behind(state.open()) {
            report(state.listeners.step_back(&self.registry));
        }
    }

    /// Nobody is left at a listener: the kernel says when somebody comes.
    pub fn expect_nobody(&self) {
        let mut state = self.state();
        if state.newcomers.at.is_empty() {
            report(state.listeners.resume(Pause::Busy, &self.registry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_and_others_take_turns() {
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.next(true), None);
        let mut turns = Vec::new();
        for _ in 0..4 {
            newcomers.expect(3);
            newcomers.expect(3);
            turns.push(newcomers.next(false));
        }
        assert_eq!(turns, [Some(3), None, Some(3), None]);
        assert_eq!(newcomers.next(true), Some(3), "expected twice, there once");
        assert_eq!(newcomers.next(true), None);
    }

    #[test]
    fn several_listeners_come_one_after_the_other() {
        let mut newcomers = Newcomers::default();
        [0, 1].into_iter().for_each(|index| newcomers.expect(index));
        assert_eq!(newcomers.next(true), Some(0));
        newcomers.expect(0);
        assert_eq!([(); 3].map(|()| newcomers.next(true)), [Some(1), Some(0), None]);
        newcomers.expect(2);
        newcomers.forget();
        assert_eq!(newcomers.next(true), None);
    }
}
