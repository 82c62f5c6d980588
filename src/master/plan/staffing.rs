//! How many workers are missing, how many are too many, and which one goes first?
//!
//! Replace before retire: a marked worker goes on serving until enough others do. Must not
//! know why the number or the generation changed.

use std::time::Duration;

use super::{Action, Ended, Note, Plan, deadline};
use crate::master::slots::{Reason, Stage, Worker};
use crate::system::clock::Moment;
use crate::system::signals::Signal;

/// A worker that dies sooner than this after it began to serve died young.
pub(super) const YOUNG: Duration = Duration::from_secs(5);
/// Waits before the successor of the first, second, third... in a row to die young.
const BACK_OFF: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The place of a worker that died and has not been replaced yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vacancy {
    /// When it may be filled.
    pub(super) due: Moment,
    /// How many in a row died young in it.
    pub(super) failures: u32,
}

/// What is waited before the successor of so many in a row that died young.
pub(super) fn back_off(failures: u32) -> Duration {
    let last = BACK_OFF.len() - 1;
    let index = usize::try_from(failures).unwrap_or(last).saturating_sub(1).min(last);
    BACK_OFF.get(index).copied().unwrap_or_default()
}

impl Plan {
    /// Forks what is missing and sends away what is too much.
    pub(super) fn settle_staff(&mut self, now: Moment) {
        self.dismiss_boots(now);
        self.spawn_missing(now);
        while self.slots.count(Worker::is_serving) > self.target {
            let Some((slot, reason)) = self.next_to_go() else { break };
            self.retire(slot, reason, Signal::Term, now + self.policy.graceful_timeout);
        }
        self.finish_rolling();
    }

    /// Whether a worker is to be replaced.
    fn marked(&self, worker: &Worker) -> Option<Reason> {
        let obsolete = worker.generation < self.stable;
        worker.marked.or(obsolete.then_some(Reason::OldGeneration))
    }

    fn is_fresh(&self, worker: &Worker) -> bool {
        worker.is_staff() && !self.is_first_of_reload(worker) && self.marked(worker).is_none()
    }

    /// Sends away workers that serve nobody yet and will not be needed: those of an older
    /// generation, and the newest of those too many.
    fn dismiss_boots(&mut self, now: Moment) {
        let mut excess = self.slots.count(|worker| self.is_fresh(worker)).saturating_sub(self.target);
        let by = now + self.policy.graceful_timeout;
        let booting = |worker: &&Worker| worker.is_booting() && !self.is_first_of_reload(worker);
        let mut boots: Vec<(usize, u32)> =
            self.slots.iter().filter(booting).map(|worker| (worker.slot, worker.generation)).collect();
        boots.reverse();
        for (slot, generation) in boots {
            if generation < self.stable {
                self.retire(slot, Reason::OldGeneration, Signal::Term, by);
            } else if excess > 0 {
                excess -= 1;
                self.retire(slot, Reason::Surplus, Signal::Term, by);
            }
        }
    }

    fn spawn_missing(&mut self, now: Moment) {
        if !self.is_supplied(self.stable) {
            return;
        }
        let fresh = self.slots.count(|worker| self.is_fresh(worker));
        let staff = self.slots.count(|worker| worker.is_staff() && !self.is_first_of_reload(worker));
        // While a new generation proves itself only real gaps are filled: the surge is its.
        let present = if self.is_proving() { staff } else { fresh };
        let missing = self.target.saturating_sub(present).min(self.room(self.target));
        self.trim_vacancies(self.target.saturating_sub(fresh));
        let waiting = self.vacancies.iter().filter(|vacancy| vacancy.due > now).count();
        for _ in waiting..missing {
            let due = self.vacancies.iter().position(|vacancy| vacancy.due <= now);
            let failures = due.map_or(0, |index| self.vacancies.remove(index).failures);
            self.spawn(now, self.stable, failures);
        }
    }

    /// How many more may be forked where `wanted` are to serve. Of those retiring only `surge` count: replacements wait for
    /// them, but a gap is never left open because long downloads are being finished elsewhere.
    pub(super) fn room(&self, wanted: usize) -> usize {
        let surge = self.policy.surge.max(1);
        let retiring = self.slots.count(Worker::is_retiring).min(surge);
        (wanted + surge).saturating_sub(self.slots.count(Worker::is_staff) + retiring)
    }

    /// Forgets the vacancies nobody wants filled any more; the longest waits go first.
    fn trim_vacancies(&mut self, gaps: usize) {
        self.vacancies.sort_by_key(|vacancy| vacancy.due);
        self.vacancies.truncate(gaps);
    }

    pub(super) fn spawn(&mut self, now: Moment, generation: u32, failures: u32) -> usize {
        let slot = self.slots.vacant();
        self.slots.add(Worker {
            slot,
            pid: None,
            generation,
            spawned: now,
            stage: Stage::Booting { deadline: deadline(now, self.boot_policy(generation).boot_timeout) },
            marked: None,
            failures,
            age_limit: None,
            overdue: Vec::new(),
            reopened: self.reopened,
        });
        self.out.push(Action::Spawn { slot, generation });
        slot
    }

    pub(super) fn spawned(&mut self, slot: usize, pid: i32) {
        let Some(worker) = self.slots.get_mut(slot).filter(|worker| worker.pid.is_none()) else {
            // Nobody's worker must not live.
            return self.out.push(Action::Signal { pid, signal: Signal::Kill });
        };
        worker.pid = Some(pid);
        let (generation, stage) = (worker.generation, worker.stage);
        self.log(Note::Forked { pid, slot, generation });
        // A mold takes its time: what was decided about the worker meanwhile is told it now.
        match stage {
            Stage::Retiring { .. } => self.signal(slot, self.parting_signal()),
            Stage::Ending { .. } => self.signal(slot, Signal::Kill),
            Stage::Booting { .. } | Stage::Serving { .. } => {}
        }
    }

    pub(super) fn spawn_failed(&mut self, now: Moment, slot: usize) {
        let Some(worker) = self.slots.remove_slot(slot) else { return };
        self.log(Note::ForkFailed);
        if self.is_first_of_reload(&worker) {
            self.fail_reload();
        } else {
            self.vacate(now, worker.failures + 1);
        }
    }

    pub(super) fn booted(&mut self, now: Moment, slot: usize) {
        let age = self.policy.max_worker_age;
        let age_limit = deadline(now, age).map(|due| due + self.jitter(self.policy.max_worker_age_jitter));
        let reopened = self.reopened;
        let Some(worker) = self.slots.get_mut(slot).filter(|worker| worker.is_booting()) else { return };
        worker.stage = Stage::Serving { since: now };
        worker.age_limit = age_limit;
        // A reopening while it booted passed it by: signals are ignored until it can take them.
        let missed = std::mem::replace(&mut worker.reopened, reopened) != reopened;
        if missed {
            self.signal(slot, Signal::Usr1);
        }
        self.ever_booted = true;
        self.look_soon(now);
        self.first_of_reload_booted(slot);
    }

    pub(super) fn exited(&mut self, now: Moment, pid: i32, ended: Ended) {
        if self.upgrade == Some(pid) {
            self.upgrade = None;
            return self.log(Note::UpgradeEnded { pid, ended });
        }
        if self.aide_exited(now, pid, ended) || self.mold_exited(now, pid, ended) {
            return;
        }
        let Some(worker) = self.slots.remove_pid(pid) else { return self.log(Note::Foreign { pid }) };
        self.out.push(Action::Vacate { slot: worker.slot, end: worker.stage.end() });
        match worker.stage {
            Stage::Booting { .. } => {
                self.log(Note::Died { pid, ended, booting: true });
                self.boot_failed(now, &worker, ended);
            }
            Stage::Serving { since } => {
                self.log(Note::Died { pid, ended, booting: false });
                let young = now.since(since) < YOUNG;
                self.vacate(now, if young { worker.failures + 1 } else { 0 });
            }
            Stage::Retiring { .. } => self.log(Note::Gone { pid, ended, killed: None }),
            Stage::Ending { reason } => self.log(Note::Gone { pid, ended, killed: Some(reason) }),
        }
    }

    pub(super) fn boot_failed(&mut self, now: Moment, worker: &Worker, ended: Ended) {
        if self.stopping.is_some() || worker.generation < self.stable {
            // It was on its way out, or superseded.
        } else if self.is_first_of_reload(worker) {
            self.fail_reload();
        } else if worker.generation > self.stable {
            // The first of a reload that has been given up already.
        } else if self.ever_booted {
            self.vacate(now, worker.failures + 1);
        } else {
            self.halt(now, ended);
        }
    }

    /// Opens the place of a dead worker again, later if its kind keeps dying.
    fn vacate(&mut self, now: Moment, failures: u32) {
        let wait = back_off(failures);
        self.vacancies.push(Vacancy { due: now + wait, failures });
        if !wait.is_zero() && self.stopping.is_none() {
            self.log(Note::BackingOff { failures, wait });
        }
    }

    /// Who goes first when too many serve: the marked before the others, the worst reason
    /// before milder ones, the oldest of equals.
    fn next_to_go(&self) -> Option<(usize, Reason)> {
        self.slots
            .iter()
            .filter(|worker| worker.is_serving())
            .map(|worker| (worker, self.marked(worker).unwrap_or(Reason::Surplus)))
            .min_by_key(|(worker, reason)| (*reason, worker.spawned, worker.slot))
            .map(|(worker, reason)| (worker.slot, reason))
    }

    pub(super) fn mark(&mut self, slot: usize, reason: Reason) {
        let Some(worker) = self.slots.get_mut(slot) else { return };
        if worker.marked.is_none() && worker.is_serving() {
            worker.marked = Some(reason);
            if let Some(pid) = worker.pid {
                self.log(Note::Replacing { pid, reason });
            }
        }
    }

    /// Tells a worker to go, and by when.
    pub(super) fn retire(&mut self, slot: usize, reason: Reason, signal: Signal, deadline: Moment) {
        let Some(worker) = self.slots.get_mut(slot) else { return };
        worker.stage = Stage::Retiring { reason, deadline };
        if let Some(pid) = worker.pid {
            self.log(Note::Retiring { pid, reason });
        }
        self.signal(slot, signal);
    }

    /// Ends a worker at once.
    pub(super) fn kill(&mut self, slot: usize, reason: Reason) {
        if let Some(worker) = self.slots.get_mut(slot) {
            worker.stage = Stage::Ending { reason };
            worker.overdue.clear();
        }
        self.signal(slot, Signal::Kill);
    }

    /// Changes the number of workers wanted.
    pub(super) fn want(&mut self, target: usize) {
        let before = std::mem::replace(&mut self.target, target);
        if before != target {
            self.log(Note::Wanted { before, now: target });
        }
    }
}
