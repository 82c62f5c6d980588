//! Whose time is up?
//!
//! Boot, drain, age, memory, and the deadline of every single request. Must not know how the
//! figures are read: they come as [`Load`]s. An idle or half-sent connection appears in none of
//! them, so it is never a reason to kill a worker.

use std::time::Duration;

use super::{Action, Ended, Note, Plan};
use crate::master::slots::{Overdue, Reason, Stage, Worker};
use crate::system::clock::Moment;
use crate::system::signals::Signal;

/// How often memory is looked at, and a worker that is being given up.
const OFTEN: Duration = Duration::from_secs(1);
/// Looks are at least this far apart.
const SELDOM: Duration = Duration::from_millis(50);

/// What one worker is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    /// Which worker.
    pub slot: usize,
    /// How many requests it can run at a time.
    pub threads: usize,
    /// Resident bytes; 0: not known.
    pub resident: u64,
    /// Connections it has open.
    pub connections: u64,
    /// It has closed its door: no more connections come.
    pub draining: bool,
    /// The requests it runs.
    pub running: Vec<RunningRequest>,
}

/// One request inside the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningRequest {
    /// The thread.
    pub thread: usize,
    /// Which request of that thread.
    pub sequence: u64,
    /// When it last got on.
    pub progress: Moment,
    /// No deadline applies.
    pub exempt: bool,
}

impl Plan {
    /// Ends what is past its deadline.
    pub(super) fn expire(&mut self, now: Moment) {
        self.expire_molds(now);
        let workers: Vec<(usize, Stage)> =
            self.slots.iter().map(|worker| (worker.slot, worker.stage)).collect();
        for (slot, stage) in workers {
            match stage {
                Stage::Booting { deadline: Some(deadline) } if now >= deadline => self.expire_boot(now, slot),
                Stage::Retiring { deadline, reason } if now >= deadline => {
                    if let Some(pid) = self.slots.get(slot).and_then(|worker| worker.pid) {
                        self.log(Note::Outlived { pid });
                    }
                    self.kill(slot, reason);
                }
                Stage::Serving { .. } => self.expire_serving(now, slot),
                _ => {}
            }
        }
    }

    fn expire_boot(&mut self, now: Moment, slot: usize) {
        let Some(worker) = self.slots.get(slot).cloned() else { return };
        match worker.pid {
            Some(pid) => self.log(Note::BootTimeout { pid, after: now.since(worker.spawned) }),
            None => self.mold_is_silent(worker.generation),
        }
        self.kill(slot, Reason::BootTimeout);
        self.boot_failed(now, &worker, Ended::Signal(Signal::Kill.number()));
    }

    fn expire_serving(&mut self, now: Moment, slot: usize) {
        let Some(worker) = self.slots.get_mut(slot) else { return };
        if worker.age_limit.is_some_and(|limit| now >= limit) {
            worker.age_limit = None;
            self.mark(slot, Reason::Age);
        }
    }

    /// Whether this worker ends because it has got no further for too long.
    pub fn has_given_up(&self, pid: i32) -> bool {
        let given_up = |worker: &Worker| {
            let killed =
                matches!(worker.stage, Stage::Ending { reason: Reason::Stuck | Reason::BootTimeout });
            killed || is_given_up(worker)
        };
        self.slots.iter().any(|worker| worker.pid == Some(pid) && given_up(worker))
    }

    /// Whether the workers should be looked at now. Idle, that is once per `timeout`: a request
    /// that begins right after a look is seen in time by the next.
    pub fn wants_look(&self, now: Moment) -> bool {
        let mut overdue = self.slots.iter().flat_map(|worker| &worker.overdue);
        self.next_look.is_some_and(|look| now >= look) || overdue.any(|over| now >= over.deadline)
    }

    /// A worker began to serve: from now on there is something to look at.
    pub(super) fn look_soon(&mut self, now: Moment) {
        self.plan_look(now, self.policy.timeout);
    }

    fn plan_look(&mut self, now: Moment, until_next_deadline: Duration) {
        let deadline = (!self.policy.timeout.is_zero()).then(|| now + until_next_deadline.max(SELDOM));
        let closely = self.policy.max_worker_memory > 0 || self.slots.iter().any(is_given_up);
        let memory = closely.then(|| now + OFTEN);
        self.next_look = deadline.into_iter().chain(memory).min();
    }

    /// Judges every running request, and every worker's memory.
    pub(super) fn observed(&mut self, now: Moment, loads: &[Load]) {
        let mut oldest = Duration::ZERO;
        for load in loads {
            for request in load.running.iter().filter(|request| !request.exempt) {
                let age = now.since(request.progress);
                if age < self.policy.timeout {
                    oldest = oldest.max(age);
                }
            }
            self.judge(now, load);
        }
        if self.slots.iter().any(|worker| worker.is_serving() || worker.is_retiring()) {
            self.plan_look(now, self.policy.timeout.saturating_sub(oldest));
        } else {
            self.next_look = None;
        }
    }

    fn judge(&mut self, now: Moment, load: &Load) {
        let limit = self.policy.max_worker_memory;
        if limit > 0 && load.resident > limit {
            self.mark(load.slot, Reason::Memory);
        }
        if self.policy.timeout.is_zero() {
            return;
        }
        self.acquit(load);
        for request in load.running.iter().filter(|request| !request.exempt) {
            if now.since(request.progress) >= self.policy.timeout {
                self.accuse(now, load.slot, request);
            }
        }
        self.give_up(now, load);
    }

    /// Drops the requests that have ended or got on since they were found overdue.
    fn acquit(&mut self, load: &Load) {
        let Some(worker) = self.slots.get_mut(load.slot) else { return };
        worker.overdue.retain(|over| {
            load.running.iter().any(|request| {
                !request.exempt
                    && (request.thread, request.sequence, request.progress)
                        == (over.thread, over.sequence, over.progress)
            })
        });
    }

    /// Notes a request as overdue and has an exception raised in it, once.
    fn accuse(&mut self, now: Moment, slot: usize, request: &RunningRequest) {
        let deadline = now + self.policy.timeout_grace;
        let Some(worker) = self.slots.get_mut(slot) else { return };
        let RunningRequest { thread, sequence, progress, .. } = *request;
        let (Some(pid), false) = (worker.pid, matches!(worker.stage, Stage::Ending { .. })) else { return };
        if worker.overdue.iter().any(|over| over.thread == thread) {
            return;
        }
        worker.overdue.push(Overdue { thread, sequence, progress, deadline });
        let age = now.since(progress);
        self.out.push(Action::RaiseDeadline { slot, pid, thread, sequence, age });
    }

    /// Gives up a worker whose overdue request did not come free. If every thread is stuck it
    /// serves nobody and is killed now; otherwise it is replaced, and killed once nothing but stuck
    /// requests is left in it, or what is left has had its grace: a request on a connection just
    /// accepted is in no thread yet.
    fn give_up(&mut self, now: Moment, load: &Load) {
        let Some(worker) = self.slots.get(load.slot) else { return };
        let Some(over) = worker.overdue.iter().find(|over| now >= over.deadline).copied() else { return };
        let stuck = worker.overdue.iter().filter(|over| now >= over.deadline).count();
        let only_stuck = stuck >= load.running.len();
        let lonely = load.draining && load.connections <= stuck as u64;
        let useless = match worker.stage {
            Stage::Serving { .. } => stuck >= load.threads,
            Stage::Retiring { deadline, .. } => {
                let grace_is_over =
                    now + self.policy.graceful_timeout >= deadline + self.policy.timeout_grace;
                only_stuck && (lonely || grace_is_over)
            }
            Stage::Booting { .. } | Stage::Ending { .. } => false,
        };
        if useless {
            if let Some(pid) = worker.pid {
                self.log(Note::GivenUp { pid, thread: over.thread });
            }
            self.kill(load.slot, Reason::Stuck);
        } else {
            self.mark(load.slot, Reason::Stuck);
        }
    }
}

fn is_given_up(worker: &Worker) -> bool {
    let stuck = worker.marked == Some(Reason::Stuck);
    stuck || matches!(worker.stage, Stage::Retiring { reason: Reason::Stuck, .. })
}
