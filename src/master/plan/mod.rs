//! Which processes should be alive, and what has to be done now so that they are?
//!
//! Pure: `(state, Event) -> Vec<Action>`, with the time as a parameter. No fork, no clock, no
//! descriptor; `perform` carries the actions out and reports what came of them as events.
//!
//! Every event is first noted down (a stage changes, a deadline is set), then [`Plan::settle`]
//! compares what is with what should be and asks for the difference. So an event in the middle
//! of any other transition needs no case of its own.
//!
//! Invariants (held by the simulation in `simulation.rs`):
//! 1. Staff (booting or serving, a reload's first worker included) plus the retiring, of which
//!    at most `surge` count, never exceed `workers + surge`.
//! 2. A serving worker is told to go only if `workers` others remain, or to stop the server.
//! 3. Every worker told to go has a deadline, and at the deadline it is killed.
//! 4. A step leaves no deadline behind that lies in the past: the loop cannot spin.

mod aide;
mod molds;
mod notes;
mod reload;
#[cfg(test)]
mod simulation;
mod staffing;
mod stop;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_aide;
#[cfg(test)]
mod tests_molds;
#[cfg(test)]
mod tests_watch;
mod watch;

use std::time::Duration;

use aide::Aide;
use molds::{Mold, Retry};
pub use notes::{Ended, Level, Note};
use reload::Reloading;
use staffing::Vacancy;
use stop::Stopping;
pub use watch::{Load, RunningRequest};

use super::slots::{Reason, Slots, Stage};
use crate::metrics::ledger::End;
use crate::system::clock::Moment;
use crate::system::signals::Signal;
use crate::system::systemd::Report;

/// What the configuration says about processes. Zero durations and sizes: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many workers serve.
    pub workers: usize,
    /// How many more may be alive while some are replaced.
    pub surge: usize,
    /// A request's longest time without progress.
    pub timeout: Duration,
    /// From there to the end of its worker.
    pub timeout_grace: Duration,
    /// Longest time from fork to serving.
    pub boot_timeout: Duration,
    /// Longest time to drain.
    pub graceful_timeout: Duration,
    /// Age from which a worker is replaced.
    pub max_worker_age: Duration,
    /// Up to so much is added to it.
    pub max_worker_age_jitter: Duration,
    /// Resident bytes from which a worker is replaced.
    pub max_worker_memory: u64,
    /// Workers are forked from a mold.
    pub preload: bool,
    /// A status process answers the operator.
    pub status: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The listeners are open: workers may be forked. First of all, and once.
    Started,
    /// A signal arrived.
    Signal(Signal),
    /// [`Action::Spawn`] worked.
    Spawned { slot: usize, pid: i32 },
    /// [`Action::Spawn`] did not.
    SpawnFailed { slot: usize },
    /// [`Action::ForkMold`] worked.
    MoldForked { generation: u32, pid: i32 },
    /// [`Action::ForkMold`] did not.
    MoldFailed { generation: u32 },
    /// The generation's mold has loaded the application.
    MoldReady { generation: u32 },
    /// The worker in this slot serves.
    Booted { slot: usize },
    /// The worker in this slot asks to be replaced.
    Asked { slot: usize },
    /// A child is gone.
    Exited { pid: i32, ended: Ended },
    /// [`Action::Load`] worked; the listeners of the new configuration are open.
    Loaded(Policy),
    /// [`Action::Load`] did not; everything is as it was.
    Rejected,
    /// What the workers are doing, as asked for by [`Plan::wants_look`].
    Observed(Vec<Load>),
    /// [`Action::Reexec`] worked.
    Reexeced { pid: i32 },
    /// [`Action::Reexec`] did not.
    ReexecFailed,
    /// [`Action::SpawnStatus`] worked, or (`None`) did not.
    StatusForked { pid: Option<i32> },
    /// The old master, which started this one to follow it, is gone.
    ParentGone,
    /// Time has passed.
    Tick,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fork a worker of this generation into this slot.
    Spawn { slot: usize, generation: u32 },
    /// Fork a mold of this generation.
    ForkMold { generation: u32 },
    /// Tell a mold to end.
    EndMold { pid: i32 },
    /// Fork the status process.
    SpawnStatus,
    /// Nobody sits in this slot any more.
    Vacate { slot: usize, end: End },
    /// Send a signal.
    Signal { pid: i32, signal: Signal },
    /// Reopen the logs.
    Reopen,
    /// Read the configuration again, as this generation, and open its new listeners.
    Load { generation: u32 },
    /// The loaded configuration is the one in force: close the listeners only the old one had.
    Adopt,
    /// Forget the loaded configuration and close the listeners only it had.
    Discard,
    /// Start a new master beside this one.
    Reexec,
    /// This is the only master now: take over the pidfile.
    Promote,
    /// Have the kernel hand out the connections it holds back: the end is near.
    AcceptAtOnce,
    /// Stop listening.
    CloseListeners,
    /// Tell the service manager.
    Notify(Report),
    /// Log what this thread runs, and wake the worker's watchdog to raise an exception in it.
    RaiseDeadline { slot: usize, pid: i32, thread: usize, sequence: u64, age: Duration },
    /// Write a line.
    Log(Note),
    /// End the master.
    Exit(i32),
}

/// The state: who is there, and what is under way.
#[derive(Debug, Clone)]
pub struct Plan {
    policy: Policy,
    slots: Slots,
    /// Workers wanted now: the policy's number, moved by TTIN, TTOU and WINCH.
    target: usize,
    /// The generation workers are replaced with.
    stable: u32,
    /// The last number given to a generation.
    newest: u32,
    reloading: Reloading,
    stopping: Option<Stopping>,
    vacancies: Vec<Vacancy>,
    molds: Vec<Mold>,
    mold_retry: Retry,
    /// A worker has served at some time: from then on a failing boot no longer ends the server.
    ever_booted: bool,
    announced: bool,
    upgrade: Option<i32>,
    aide: Aide,
    /// The master that started this one is alive and has not let go.
    has_parent: bool,
    reopened: u32,
    next_look: Option<Moment>,
    watchdog: Option<(Duration, Moment)>,
    told: Option<String>,
    random: u64,
    out: Vec<Action>,
}

impl Plan {
    /// A plan with nobody there yet. `seed` is for jitter.
    pub fn new(policy: Policy, seed: u64) -> Plan {
        Plan {
            target: policy.workers,
            policy,
            slots: Slots::default(),
            stable: 1,
            newest: 1,
            reloading: Reloading::Idle,
            stopping: None,
            vacancies: Vec::new(),
            molds: Vec::new(),
            mold_retry: Retry::default(),
            ever_booted: false,
            announced: false,
            upgrade: None,
            aide: Aide::Absent,
            has_parent: false,
            reopened: 0,
            next_look: None,
            watchdog: None,
            told: None,
            random: seed | 1,
            out: Vec::new(),
        }
    }

    /// This master was started by another one, to follow it.
    pub fn with_parent(mut self) -> Plan {
        self.has_parent = true;
        self
    }

    /// The service manager wants a sign of life at least this often.
    pub fn with_watchdog(mut self, interval: Duration, now: Moment) -> Plan {
        // Half the interval, as sd_watchdog_enabled(3) recommends.
        self.watchdog = Some((interval / 2, now));
        self
    }

    /// Takes note of an event and says what has to be done about it.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        match event {
            Event::Started | Event::Tick => {}
            Event::Signal(signal) => self.signalled(now, signal),
            Event::Spawned { slot, pid } => self.spawned(slot, pid),
            Event::SpawnFailed { slot } => self.spawn_failed(now, slot),
            Event::MoldForked { generation, pid } => self.mold_forked(generation, pid),
            Event::MoldFailed { generation } => self.mold_fork_failed(now, generation),
            Event::MoldReady { generation } => self.mold_ready(now, generation),
            Event::Booted { slot } => self.booted(now, slot),
            Event::Asked { slot } => self.mark(slot, Reason::Requests),
            Event::Exited { pid, ended } => self.exited(now, pid, ended),
            Event::Loaded(policy) => self.loaded(policy),
            Event::Rejected => self.rejected(),
            Event::Observed(loads) => self.observed(now, &loads),
            Event::Reexeced { pid } => self.reexeced(pid),
            Event::ReexecFailed => self.log(Note::UpgradeFailed),
            Event::StatusForked { pid } => self.aide_forked(now, pid),
            Event::ParentGone => self.promoted(),
        }
        self.settle(now);
        std::mem::take(&mut self.out)
    }

    /// Brings what is and what should be together.
    fn settle(&mut self, now: Moment) {
        self.expire(now);
        if self.stopping.is_some() {
            self.settle_stop(now);
        } else {
            self.settle_reload(now);
            self.settle_staff(now);
            self.settle_molds(now);
        }
        // A graceful_timeout of zero: who was told to go just now is already late.
        self.expire(now);
        self.settle_aide(now);
        self.report(now);
    }

    fn signalled(&mut self, now: Moment, signal: Signal) {
        if signal != Signal::Chld {
            self.log(Note::Handling(signal));
        }
        match signal {
            Signal::Term => self.stop_gracefully(now),
            Signal::Int | Signal::Quit => self.stop_quickly(now),
            Signal::Usr1 => self.reopen(),
            Signal::Chld | Signal::Kill | Signal::Urg => {}
            _ if self.stopping.is_some() => {
                self.log(Note::SignalIgnored(signal, "The server is stopping."));
            }
            Signal::Hup => self.hang_up(),
            Signal::Ttin => self.want(self.target.saturating_add(1)),
            // WINCH may have asked for none at all, which one less does not change.
            Signal::Ttou => self.want(self.target.saturating_sub(1).max(self.target.min(1))),
            Signal::Winch => {
                self.log(Note::StoppingWorkers);
                self.want(0);
            }
            Signal::Usr2 => self.upgrade(),
        }
    }

    fn reopen(&mut self) {
        self.reopened = self.reopened.wrapping_add(1);
        self.out.push(Action::Reopen);
        let reopened = self.reopened;
        for worker in self.slots.iter_mut().filter(|worker| !worker.is_booting()) {
            worker.reopened = reopened;
            let Some(pid) = worker.pid else { continue };
            self.out.push(Action::Signal { pid, signal: Signal::Usr1 });
        }
        self.reopen_in_molds();
    }

    fn upgrade(&mut self) {
        if self.upgrade.is_some() {
            self.log(Note::SignalIgnored(Signal::Usr2, "Child exists."));
        } else if self.has_parent {
            self.log(Note::SignalIgnored(Signal::Usr2, "Parent exists."));
        } else {
            self.out.push(Action::Reexec);
        }
    }

    fn reexeced(&mut self, pid: i32) {
        self.upgrade = Some(pid);
        self.log(Note::Upgrading { pid });
    }

    fn promoted(&mut self) {
        if std::mem::take(&mut self.has_parent) {
            self.log(Note::Promoted);
            self.out.push(Action::Promote);
        }
    }

    /// Tells the service manager what changed, and that the loop is alive.
    fn report(&mut self, now: Moment) {
        if !self.announced && self.stopping.is_none() && (self.ever_booted || self.target == 0) {
            self.announced = true;
            self.out.push(Action::Notify(Report::Ready));
        }
        let serving = self.slots.count(|worker| worker.is_serving());
        let booting = self.slots.count(|worker| worker.is_booting());
        let leaving = self.slots.iter().count() - serving - booting;
        let status = format!(
            "{serving} of {} workers serving, {booting} booting, {leaving} leaving; generation {}",
            self.target, self.stable
        );
        if self.told.as_ref() != Some(&status) {
            self.out.push(Action::Notify(Report::Status(status.clone())));
            self.told = Some(status);
        }
        if let Some((interval, due)) = &mut self.watchdog
            && now >= *due
        {
            *due = now + *interval;
            self.out.push(Action::Notify(Report::Watchdog));
        }
    }

    /// When the next step is due if nothing happens before. `now` is the last step's time:
    /// what was due then has been seen to, so only later moments count.
    pub fn wake_at(&self, now: Moment) -> Option<Moment> {
        let stages = self.slots.iter().filter_map(|worker| match worker.stage {
            Stage::Booting { deadline } => deadline,
            Stage::Serving { .. } => worker.age_limit,
            Stage::Retiring { deadline, .. } => Some(deadline),
            Stage::Ending { .. } => None,
        });
        let overdue = self.slots.iter().flat_map(|worker| worker.overdue.iter().map(|over| over.deadline));
        let stop = self.stopping.iter().flat_map(|stop| [stop.deadline(), stop.give_up_at()]);
        stages
            .chain(overdue)
            .chain(self.vacancies.iter().map(|vacancy| vacancy.due))
            .chain(self.next_look)
            .chain(self.molds_due())
            .chain(stop)
            .chain(self.aide_due())
            .chain(self.watchdog.map(|(_, due)| due))
            .filter(|due| *due > now)
            .min()
    }

    /// The workers.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The generation in force, and how many workers are wanted of it.
    pub fn in_force(&self) -> (u32, usize) {
        (self.stable, self.target)
    }

    /// The new master started by [`Action::Reexec`], while it lives.
    pub fn upgrade_pid(&self) -> Option<i32> {
        self.upgrade
    }

    /// How many workers are wanted.
    pub fn wanted(&self) -> usize {
        self.target
    }

    /// Whether the server is on its way out.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whether the master that started this one has to be watched for.
    pub fn has_parent(&self) -> bool {
        self.has_parent
    }

    fn log(&mut self, note: Note) {
        self.out.push(Action::Log(note));
    }

    fn signal(&mut self, slot: usize, signal: Signal) {
        if let Some(pid) = self.slots.get(slot).and_then(|worker| worker.pid) {
            self.out.push(Action::Signal { pid, signal });
        }
    }

    /// A span between zero and `most` (xorshift64*: quality does not matter, replays do).
    fn jitter(&mut self, most: Duration) -> Duration {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let range = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        Duration::from_millis((self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % range)
    }
}

/// `now + span`, where a zero span means never.
fn deadline(now: Moment, span: Duration) -> Option<Moment> {
    (!span.is_zero()).then(|| now + span)
}
