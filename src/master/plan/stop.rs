//! How does the server end?
//!
//! Gracefully (TERM), quickly (INT, QUIT), or because nothing could boot. A later, harsher
//! request shortens what is left. Must not know how listeners or files are closed.

use std::time::Duration;

use super::{Action, Ended, Note, Plan};
use crate::master::settings::exit;
use crate::master::slots::{Reason, Stage};
use crate::system::clock::Moment;
use crate::system::signals::Signal;
use crate::system::systemd::Report;

/// What a quick stop leaves the workers.
const QUICK: Duration = Duration::from_secs(2);
/// After KILL a process may still hang in the kernel (a dead disk); the master does not wait
/// for it longer than this.
const UNKILLABLE: Duration = Duration::from_secs(5);

/// A stop under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopping {
    /// What the master will exit with.
    code: i32,
    quick: bool,
    /// When the workers are killed.
    deadline: Moment,
    done: bool,
}

impl Stopping {
    /// When the workers are killed.
    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether the master has been told to end.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// When the master ends whether its workers are gone or not.
    pub(super) fn give_up_at(&self) -> Moment {
        self.deadline + UNKILLABLE
    }
}

impl Plan {
    pub(super) fn stop_gracefully(&mut self, now: Moment) {
        if self.stopping.is_some() {
            // Supervisors repeat TERM; it must not cut requests short.
            return self.log(Note::SignalIgnored(Signal::Term, "The server is stopping."));
        }
        self.begin_stop(now, exit::OK, Signal::Term, self.policy.graceful_timeout);
    }

    pub(super) fn stop_quickly(&mut self, now: Moment) {
        match self.stopping {
            None => self.begin_stop(now, exit::OK, Signal::Quit, QUICK.min(self.policy.graceful_timeout)),
            Some(Stopping { quick: false, deadline, code, .. }) => {
                self.log(Note::QuickShutdown);
                let deadline = deadline.min(now + QUICK);
                self.stopping = Some(Stopping { code, quick: true, deadline, done: false });
                self.send_away(Signal::Quit, deadline);
            }
            Some(stopping) => {
                self.stopping = Some(Stopping { deadline: now, ..stopping });
                self.send_away(Signal::Quit, now);
            }
        }
    }

    /// No worker could boot: there is nothing to keep running.
    pub(super) fn halt(&mut self, now: Moment, ended: Ended) {
        let app = ended == Ended::Code(exit::APP);
        self.log(Note::BootFailed { app });
        self.begin_stop(now, if app { exit::APP } else { exit::BOOT }, Signal::Quit, QUICK);
    }

    fn begin_stop(&mut self, now: Moment, code: i32, signal: Signal, within: Duration) {
        let deadline = now + within;
        self.stopping = Some(Stopping { code, quick: signal == Signal::Quit, deadline, done: false });
        self.vacancies.clear();
        if let Some(pid) = self.upgrade {
            // Else the service manager takes the end of this process for the end of the service.
            self.out.push(Action::Notify(Report::MainPid(pid)));
        } else {
            self.out.push(Action::Notify(Report::Stopping));
            // A master that stays goes on with these very sockets.
            if signal == Signal::Term && !self.has_parent {
                self.out.push(Action::AcceptAtOnce);
            }
        }
        self.out.push(Action::CloseListeners);
        self.send_away(signal, deadline);
        self.stop_booting_molds(deadline);
    }

    /// What a worker is told to go with.
    pub(super) fn parting_signal(&self) -> Signal {
        if self.stopping.is_some_and(|stopping| stopping.quick) { Signal::Quit } else { Signal::Term }
    }

    fn send_away(&mut self, signal: Signal, by: Moment) {
        let slots: Vec<usize> = self.slots.iter().map(|worker| worker.slot).collect();
        for slot in slots {
            let Some(worker) = self.slots.get_mut(slot) else { continue };
            match &mut worker.stage {
                Stage::Ending { .. } => {}
                Stage::Retiring { deadline, .. } => {
                    *deadline = (*deadline).min(by);
                    if signal == Signal::Quit {
                        self.signal(slot, signal);
                    }
                }
                Stage::Booting { .. } | Stage::Serving { .. } => {
                    self.retire(slot, Reason::Stop, signal, by);
                }
            }
        }
    }

    /// Ends the master once its workers are gone, or cannot be made to go.
    pub(super) fn settle_stop(&mut self, now: Moment) {
        let Some(Stopping { deadline, done: false, code, .. }) = self.stopping else { return };
        self.settle_molds_in_stop(now, deadline);
        let nobody = self.slots.is_empty() && self.molds.is_empty();
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| nobody || now >= stopping.give_up_at())
        else {
            return;
        };
        stopping.done = true;
        self.kill_molds();
        self.renew_aide();
        self.log(Note::ShuttingDown { code });
        self.out.push(Action::Exit(code));
    }
}
