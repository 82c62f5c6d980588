//! Is the status process there?
//!
//! One more child, which answers the operator. It serves no requests, so nothing waits for it
//! and its death costs nothing but a new one. Must not know what it does.

use std::time::Duration;

use super::{Action, Ended, Note, Plan};
use crate::system::clock::Moment;
use crate::system::signals::Signal;

/// The wait after one that died young, or could not be forked.
const PAUSE: Duration = Duration::from_secs(1);

/// The status process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Aide {
    /// There is none. Entered at the start, by its exit and by a fork that failed; leaves with
    /// a fork, from this moment on.
    #[default]
    Absent,
    /// There is none, and the next one waits a moment.
    Paused { due: Moment },
    /// To be forked by the action just given out. Leaves with its result.
    Forking,
    /// It runs.
    Present { pid: i32, since: Moment },
    /// It was told to go. Leaves by its exit; if it is still wanted, another follows.
    Leaving { pid: i32 },
}

impl Plan {
    /// Forks the status process, or sends it away.
    pub(super) fn settle_aide(&mut self, now: Moment) {
        match self.aide {
            Aide::Absent if self.wants_aide() => self.fork_aide(),
            Aide::Paused { due } if self.wants_aide() && now >= due => self.fork_aide(),
            Aide::Present { .. } if !self.wants_aide() => self.renew_aide(),
            _ => {}
        }
    }

    /// To the end of the server: it is asked most while something goes wrong. But where another
    /// master follows, that one's is to answer.
    fn wants_aide(&self) -> bool {
        let followed = self.stopping.is_some() && self.upgrade.is_some();
        let ended = self.stopping.as_ref().is_some_and(|stopping| stopping.is_done());
        self.policy.status && !followed && !ended
    }

    fn fork_aide(&mut self) {
        self.aide = Aide::Forking;
        self.out.push(Action::SpawnStatus);
    }

    /// Lets it go; where it is wanted, another one follows that lives by what is in force then.
    pub(super) fn renew_aide(&mut self) {
        if let Aide::Present { pid, .. } = self.aide {
            self.aide = Aide::Leaving { pid };
            self.out.push(Action::Signal { pid, signal: Signal::Term });
        }
    }

    pub(super) fn aide_forked(&mut self, now: Moment, pid: Option<i32>) {
        self.aide = match pid {
            Some(pid) => Aide::Present { pid, since: now },
            None => Aide::Paused { due: now + PAUSE },
        };
    }

    /// True: it was the status process that ended.
    pub(super) fn aide_exited(&mut self, now: Moment, pid: i32, ended: Ended) -> bool {
        self.aide = match self.aide {
            Aide::Leaving { pid: its } if its == pid => Aide::Absent,
            Aide::Present { pid: its, since } if its == pid => {
                self.log(Note::AideDied { pid, ended });
                let young = now.since(since) < PAUSE;
                if young { Aide::Paused { due: now + PAUSE } } else { Aide::Absent }
            }
            _ => return false,
        };
        true
    }

    /// When one may be forked again.
    pub(super) fn aide_due(&self) -> Option<Moment> {
        match self.aide {
            Aide::Paused { due } if self.wants_aide() => Some(due),
            _ => None,
        }
    }

    /// The status process, while it runs.
    pub fn aide_pid(&self) -> Option<i32> {
        match self.aide {
            Aide::Present { pid, .. } | Aide::Leaving { pid } => Some(pid),
            Aide::Absent | Aide::Paused { .. } | Aide::Forking => None,
        }
    }
}
