//! Is there a process with the application loaded, to fork workers from?
//!
//! Where the application is preloaded, each generation has a mold. A generation that is to
//! prove itself boots its mold first; one whose mold dies goes on with the workers it has while
//! another one boots, which loads what is on the disk then. Must not know how a mold forks.
//!
//! Invariants:
//! 1. A generation has at most one mold, the dying one included.
//! 2. A mold is told to end when nobody of its generation is left and none will follow: what it
//!    does at its end (`atexit`) may take things away that its workers use.
//! 3. A worker without a process id is one its mold has been asked for; it goes with the mold.

use std::time::Duration;

use super::reload::Reloading;
use super::staffing::{Vacancy, YOUNG, back_off};
use super::{Action, Ended, Note, Plan, deadline};
use crate::master::slots::Stage;
use crate::system::clock::Moment;
use crate::system::signals::Signal;

/// What a mold is left at the end of the server, at least.
const LAST: Duration = Duration::from_secs(1);

/// One mold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mold {
    /// The generation it is of.
    pub(super) generation: u32,
    /// Its process id; `None` between the decision to fork and the fork.
    pub(super) pid: Option<i32>,
    /// When it was forked.
    forked: Moment,
    /// How far it is.
    pub(super) stage: MoldStage,
    /// How many log reopenings it knows of.
    reopened: u32,
}

/// A mold's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoldStage {
    /// Entered at the fork; imports the application. Leaves for Ready when it says so, or for
    /// Leaving or Ending. Deadline: `boot_timeout`.
    Booting { deadline: Option<Moment> },
    /// Entered when the application is loaded; forks workers. No deadline.
    Ready { since: Moment },
    /// Entered when it was told to end. Leaves by its exit, or for Ending at the deadline.
    Leaving { deadline: Moment },
    /// Entered when it was sent KILL; leaves by its exit.
    Ending,
}

/// When the stable generation's mold may be forked again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retry {
    failures: u32,
    pub(super) due: Option<Moment>,
}

impl Plan {
    /// Whether a worker of that generation can be forked now.
    pub(super) fn is_supplied(&self, generation: u32) -> bool {
        let ready =
            |mold: &Mold| mold.generation == generation && matches!(mold.stage, MoldStage::Ready { .. });
        !self.boot_policy(generation).preload || self.molds.iter().any(ready)
    }

    /// Boots the molds that are needed, and ends those that are not.
    pub(super) fn settle_molds(&mut self, now: Moment) {
        self.dismiss_molds(now);
        if let Reloading::Proving { generation, policy, .. } = self.reloading
            && policy.preload
            && policy.workers > 0
        {
            self.ensure_mold(now, generation);
        }
        if self.policy.preload && self.target > 0 && self.mold_retry.due.is_none_or(|due| now >= due) {
            self.ensure_mold(now, self.stable);
        }
    }

    fn ensure_mold(&mut self, now: Moment, generation: u32) {
        if self.molds.iter().any(|mold| mold.generation == generation) {
            return;
        }
        let within = self.boot_policy(generation).boot_timeout;
        self.molds.push(Mold {
            generation,
            pid: None,
            forked: now,
            stage: MoldStage::Booting { deadline: deadline(now, within) },
            reopened: self.reopened,
        });
        self.out.push(Action::ForkMold { generation });
    }

    fn dismiss_molds(&mut self, now: Moment) {
        let proving = match self.reloading {
            Reloading::Proving { generation, .. } => Some(generation),
            _ => None,
        };
        let slots = &self.slots;
        let needed = |generation| {
            generation == self.stable
                || Some(generation) == proving
                || slots.iter().any(|worker| worker.generation == generation)
        };
        let idle: Vec<u32> =
            self.molds.iter().map(|mold| mold.generation).filter(|generation| !needed(*generation)).collect();
        let by = now + self.policy.graceful_timeout;
        idle.into_iter().for_each(|generation| self.leave_mold(generation, by));
    }

    /// Tells a generation's mold to end.
    fn leave_mold(&mut self, generation: u32, deadline: Moment) {
        let Some(mold) = self.molds.iter_mut().find(|mold| mold.generation == generation) else { return };
        let (MoldStage::Booting { .. } | MoldStage::Ready { .. }, Some(pid)) = (mold.stage, mold.pid) else {
            return;
        };
        mold.stage = MoldStage::Leaving { deadline };
        self.out.push(Action::EndMold { pid });
    }

    fn kill_mold(&mut self, generation: u32) {
        let Some(mold) = self.molds.iter_mut().find(|mold| mold.generation == generation) else { return };
        if mold.stage != MoldStage::Ending {
            mold.stage = MoldStage::Ending;
            let signal = Signal::Kill;
            self.out.extend(mold.pid.map(|pid| Action::Signal { pid, signal }));
        }
    }

    /// Whoever is left at the very end.
    pub(super) fn kill_molds(&mut self) {
        for generation in self.molds.iter().map(|mold| mold.generation).collect::<Vec<_>>() {
            self.kill_mold(generation);
        }
    }

    pub(super) fn mold_forked(&mut self, generation: u32, pid: i32) {
        if let Some(mold) = self.molds.iter_mut().find(|mold| mold.generation == generation) {
            mold.pid = Some(pid);
            self.log(Note::MoldForked { pid, generation });
        }
    }

    pub(super) fn mold_fork_failed(&mut self, now: Moment, generation: u32) {
        self.molds.retain(|mold| mold.generation != generation);
        self.log(Note::ForkFailed);
        if self.is_proving_generation(generation) {
            self.fail_reload();
        } else {
            self.retry_mold(now, self.mold_retry.failures + 1);
        }
    }

    pub(super) fn mold_ready(&mut self, now: Moment, generation: u32) {
        let reopened = self.reopened;
        let Some(mold) = self.molds.iter_mut().find(|mold| mold.generation == generation) else { return };
        if !matches!(mold.stage, MoldStage::Booting { .. }) {
            return;
        }
        mold.stage = MoldStage::Ready { since: now };
        let missed = std::mem::replace(&mut mold.reopened, reopened) != reopened;
        let Some(pid) = mold.pid else { return };
        if missed {
            self.out.push(Action::Signal { pid, signal: Signal::Usr1 });
        }
        self.log(Note::MoldReady { pid, generation });
    }

    /// Has the molds that can reopen their logs, too.
    pub(super) fn reopen_in_molds(&mut self) {
        let reopened = self.reopened;
        let ready = self.molds.iter_mut().filter(|mold| matches!(mold.stage, MoldStage::Ready { .. }));
        let pids = ready.filter_map(|mold| {
            mold.reopened = reopened;
            mold.pid
        });
        self.out.extend(pids.map(|pid| Action::Signal { pid, signal: Signal::Usr1 }));
    }

    /// True: it was a mold that ended.
    pub(super) fn mold_exited(&mut self, now: Moment, pid: i32, ended: Ended) -> bool {
        let Some(at) = self.molds.iter().position(|mold| mold.pid == Some(pid)) else { return false };
        let mold = self.molds.remove(at);
        match mold.stage {
            MoldStage::Booting { .. } => {
                self.log(Note::MoldDied { pid, ended, booting: true });
                self.mold_failed(now, mold.generation, ended);
            }
            MoldStage::Ready { since } => {
                self.log(Note::MoldDied { pid, ended, booting: false });
                if now.since(since) >= YOUNG {
                    self.mold_retry = Retry::default();
                }
                self.mold_failed(now, mold.generation, ended);
            }
            MoldStage::Leaving { .. } | MoldStage::Ending => self.log(Note::MoldGone { pid, ended }),
        }
        self.drop_orders(now, mold.generation);
        true
    }

    /// The workers the dead mold was asked for will not come.
    fn drop_orders(&mut self, now: Moment, generation: u32) {
        let ordered =
            self.slots.iter().filter(|worker| worker.generation == generation && worker.pid.is_none());
        let ordered: Vec<usize> = ordered.map(|worker| worker.slot).collect();
        for slot in ordered {
            let Some(worker) = self.slots.remove_slot(slot) else { continue };
            self.out.push(Action::Vacate { slot, end: worker.stage.end() });
            if matches!(worker.stage, Stage::Booting { .. }) && generation == self.stable {
                self.vacancies.push(Vacancy { due: now, failures: worker.failures });
            }
        }
    }

    /// A generation's mold did not come up, or died.
    fn mold_failed(&mut self, now: Moment, generation: u32, ended: Ended) {
        if self.stopping.is_some() {
            // No worker is needed any more.
        } else if self.is_proving_generation(generation) {
            self.fail_reload();
        } else if generation != self.stable {
            // Superseded, or of a reload that has been given up.
        } else if self.ever_booted {
            self.retry_mold(now, self.mold_retry.failures + 1);
        } else {
            self.halt(now, ended);
        }
    }

    fn retry_mold(&mut self, now: Moment, failures: u32) {
        let wait = back_off(failures);
        self.mold_retry = Retry { failures, due: Some(now + wait) };
        if !wait.is_zero() {
            self.log(Note::MoldBackingOff { failures, wait });
        }
    }

    fn is_proving_generation(&self, of: u32) -> bool {
        matches!(self.reloading, Reloading::Proving { generation, .. } if generation == of)
    }

    /// Ends the molds that are past their deadline.
    pub(super) fn expire_molds(&mut self, now: Moment) {
        let late = self.molds.iter().filter(|mold| match mold.stage {
            MoldStage::Booting { deadline } => deadline.is_some_and(|at| now >= at),
            MoldStage::Leaving { deadline } => now >= deadline,
            MoldStage::Ready { .. } | MoldStage::Ending => false,
        });
        for Mold { generation, pid, forked, stage, .. } in late.cloned().collect::<Vec<_>>() {
            self.kill_mold(generation);
            if matches!(stage, MoldStage::Booting { .. }) {
                if let Some(pid) = pid {
                    self.log(Note::MoldBootTimeout { pid, after: now.since(forked) });
                }
                self.mold_failed(now, generation, Ended::Signal(Signal::Kill.number()));
            }
        }
    }

    /// A worker its mold was asked for did not come in time.
    pub(super) fn mold_is_silent(&mut self, generation: u32) {
        if let Some(pid) =
            self.molds.iter().find(|mold| mold.generation == generation).and_then(|mold| mold.pid)
        {
            self.log(Note::MoldSilent { pid });
        }
        self.kill_mold(generation);
    }

    /// The server stops: who still imports is not waited for.
    pub(super) fn stop_booting_molds(&mut self, by: Moment) {
        let booting = self.molds.iter().filter(|mold| matches!(mold.stage, MoldStage::Booting { .. }));
        let booting: Vec<u32> = booting.map(|mold| mold.generation).collect();
        booting.into_iter().for_each(|generation| self.leave_mold(generation, by));
    }

    /// Ends the molds once their workers are gone; at the deadline, those that owe a worker too,
    /// as only their end says that it will not come.
    pub(super) fn settle_molds_in_stop(&mut self, now: Moment, by: Moment) {
        for generation in self.molds.iter().map(|mold| mold.generation).collect::<Vec<_>>() {
            let owes = |plan: &Plan| {
                plan.slots.iter().any(|worker| worker.generation == generation && worker.pid.is_none())
            };
            if self.slots.is_empty() {
                self.leave_mold(generation, by.max(now + LAST));
            } else if now >= by && owes(self) {
                self.kill_mold(generation);
            }
        }
    }

    /// When a mold is due for something.
    pub(super) fn molds_due(&self) -> impl Iterator<Item = Moment> + '_ {
        let stages = self.molds.iter().filter_map(|mold| match mold.stage {
            MoldStage::Booting { deadline } => deadline,
            MoldStage::Leaving { deadline } => Some(deadline),
            MoldStage::Ready { .. } | MoldStage::Ending => None,
        });
        stages.chain(self.mold_retry.due.filter(|_| self.stopping.is_none()))
    }
}
