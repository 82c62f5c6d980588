//! How does a new generation take over?
//!
//! A reload is gated on readiness: read the configuration, boot one worker of the new
//! generation, and only when that one serves replace the rest. Whatever fails before that
//! leaves the running generation untouched. Must not know what a configuration holds.

use super::molds::Retry;
use super::{Action, Note, Plan, Policy};
use crate::master::slots::Worker;
use crate::system::clock::Moment;
use crate::system::systemd::Report;

/// How far a reload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reloading {
    /// None runs.
    Idle,
    /// Entered by HUP; the configuration is being read. Leaves when it is loaded or rejected.
    Loading {
        /// The generation it will be.
        generation: u32,
        /// HUP came again meanwhile.
        again: bool,
    },
    /// Entered with a good configuration; its mold, where it has one, and its first worker are to
    /// boot, or boot. Leaves when it
    /// serves or fails. Deadline: the worker's `boot_timeout`.
    Proving {
        /// The generation.
        generation: u32,
        /// What it wants.
        policy: Policy,
        /// Its first worker, once there was room to fork it.
        first: Option<usize>,
        /// HUP came again meanwhile.
        again: bool,
    },
    /// Entered when the first worker serves; older workers are replaced. Leaves when none of
    /// them takes connections any more. HUP begins anew at once.
    Rolling,
}

impl Plan {
    pub(super) fn hang_up(&mut self) {
        match &mut self.reloading {
            Reloading::Loading { again, .. } | Reloading::Proving { again, .. } => {
                *again = true;
                self.log(Note::ReloadQueued);
            }
            Reloading::Idle | Reloading::Rolling => self.begin_reload(),
        }
    }

    fn begin_reload(&mut self) {
        self.newest += 1;
        self.reloading = Reloading::Loading { generation: self.newest, again: false };
        self.log(Note::HangUp);
        self.out.push(Action::Notify(Report::Reloading));
        self.out.push(Action::Load { generation: self.newest });
    }

    pub(super) fn loaded(&mut self, policy: Policy) {
        match self.reloading {
            Reloading::Loading { generation, again } if self.stopping.is_none() => {
                self.reloading = Reloading::Proving { generation, policy, first: None, again };
            }
            // The server began to stop meanwhile.
            _ => self.out.push(Action::Discard),
        }
    }

    pub(super) fn rejected(&mut self) {
        self.log(Note::ReloadRejected);
        self.end_reload();
    }

    /// Forks the first worker of the new generation as soon as there is room.
    pub(super) fn settle_reload(&mut self, now: Moment) {
        let Reloading::Proving { generation, policy, first: None, .. } = self.reloading else { return };
        if policy.workers == 0 {
            return self.adopt();
        }
        if !self.is_supplied(generation) {
            return;
        }
        // After WINCH nobody is wanted, but the new generation is.
        if self.room(self.target.max(policy.workers)) > 0 {
            let slot = self.spawn(now, generation, 0);
            if let Reloading::Proving { first, .. } = &mut self.reloading {
                *first = Some(slot);
            }
        }
    }

    /// Whether a new generation is being tried out.
    pub(super) fn is_proving(&self) -> bool {
        matches!(self.reloading, Reloading::Proving { .. })
    }

    /// Whether this is the worker a running reload waits for.
    pub(super) fn is_first_of_reload(&self, worker: &Worker) -> bool {
        matches!(self.reloading, Reloading::Proving { generation, first, .. }
            if first == Some(worker.slot) && generation == worker.generation)
    }

    /// The policy a worker of that generation boots under.
    pub(super) fn boot_policy(&self, of: u32) -> &Policy {
        match &self.reloading {
            Reloading::Proving { generation, policy, .. } if *generation == of => policy,
            _ => &self.policy,
        }
    }

    pub(super) fn first_of_reload_booted(&mut self, slot: usize) {
        let is_first = self.slots.get(slot).is_some_and(|worker| self.is_first_of_reload(worker));
        if is_first && self.stopping.is_none() {
            self.adopt();
        }
    }

    fn adopt(&mut self) {
        let Reloading::Proving { generation, policy, again, .. } = self.reloading else { return };
        self.stable = generation;
        self.policy = policy;
        self.vacancies.clear();
        self.mold_retry = Retry::default();
        self.reloading = Reloading::Rolling;
        self.out.push(Action::Adopt);
        self.renew_aide();
        self.log(Note::ReloadAdopted { generation });
        self.want(policy.workers);
        if again {
            self.begin_reload();
        }
    }

    /// The first worker of the new generation did not come up.
    pub(super) fn fail_reload(&mut self) {
        if let Reloading::Proving { generation, .. } = self.reloading {
            self.log(Note::ReloadFailed { generation });
            self.out.push(Action::Discard);
            self.end_reload();
        }
    }

    /// Back to the running generation; or on, if HUP came again.
    fn end_reload(&mut self) {
        let again = matches!(
            self.reloading,
            Reloading::Loading { again: true, .. } | Reloading::Proving { again: true, .. }
        );
        // Workers of a generation before the running one may still be waiting to be replaced.
        self.reloading = if self.has_obsolete() { Reloading::Rolling } else { Reloading::Idle };
        if self.reloading == Reloading::Idle {
            self.out.push(Action::Notify(Report::Ready));
        }
        if again && self.stopping.is_none() {
            self.begin_reload();
        }
    }

    /// Notices that nobody of an older generation takes connections any more.
    pub(super) fn finish_rolling(&mut self) {
        if self.reloading == Reloading::Rolling && !self.has_obsolete() {
            self.reloading = Reloading::Idle;
            self.log(Note::ReloadComplete { generation: self.stable });
            self.out.push(Action::Notify(Report::Ready));
        }
    }

    fn has_obsolete(&self) -> bool {
        self.slots.iter().any(|worker| worker.is_staff() && worker.generation < self.stable)
    }
}
