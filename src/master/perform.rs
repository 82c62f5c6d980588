//! How are the plan's decisions carried out?
//!
//! The only place that kills and executes; `fork` forks for it. Must not decide anything: each
//! action is done, and what came of it goes back to the plan as an event.
//!
//! Invariants:
//! 1. Listeners, settings and worker life of a generation stay together ([`Era`]): a worker is
//!    never born half old, half new.
//! 2. Nothing here has an effect when dropped: children drop all of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use nix::unistd::Pid;

use super::Reload;
use super::listeners::{self, Files, Listeners};
use super::molds::Running;
use super::pidfile::{self, Pidfile};
use super::plan::{Action, Event, Level, Note};
use super::settings::MasterSettings;
use super::upgrade;
use crate::door::{Forks, HookRaised, MasterMoment};
use crate::metrics::ledger::Ledger;
use crate::metrics::scoreboard::Row;
use crate::metrics::seat::Lifeline;
use crate::system::proctitle;
use crate::system::signals::{Signal, Signals};
use crate::system::systemd::{Notifier, Report};

/// The settings and sockets of one generation.
#[derive(Debug, Clone)]
pub struct Era {
    /// Its number.
    pub generation: u32,
    /// Its settings.
    pub settings: Rc<MasterSettings>,
    /// Its listeners.
    pub listeners: Listeners,
    /// Where its status process answers.
    pub status: Listeners,
}

impl Era {
    /// Tells the kernel whether it keeps connections until they say something. Here and not in the
    /// workers: one that boots while the server stops would tell it otherwise again.
    fn defer_accept(&self) {
        let defer = self.settings.defer_accept;
        self.listeners.iter().for_each(|bound| bound.listener.defer_accept(defer));
    }
}

/// Everything the master holds on to.
pub struct Hands<'a> {
    /// The interpreter.
    pub runtime: &'a dyn Forks,
    /// Reads the configuration again.
    pub reload: &'a Reload<'a>,
    /// What is in force.
    pub era: Era,
    /// A new generation that has yet to prove itself.
    pub candidate: Option<Era>,
    /// The scoreboard, by slot.
    pub rows: Vec<Row>,
    /// The master's own page.
    pub ledger: Ledger,
    /// The status process, while it runs.
    pub aide: Option<i32>,
    /// Boot pipes, with their slots.
    pub bells: Vec<(usize, OwnedFd)>,
    /// The molds that live, and the lines to them.
    pub molds: Vec<Running>,
    /// What children watch.
    pub lifeline: Lifeline,
    /// What keeps the lifeline uncut.
    pub hold: Option<OwnedFd>,
    /// This process's signals.
    pub signals: Option<Signals>,
    /// The service manager.
    pub notifier: Notifier,
    /// The pidfile, if there is one.
    pub pidfile: Option<Pidfile>,
    /// The sockets belong to a service manager.
    pub foreign_sockets: bool,
    /// The master this one is to follow is still there.
    pub follows: bool,
    /// A master that is to follow this one is there.
    pub followed: bool,
    /// The number of workers hooks have been told of.
    pub wanted: usize,
    /// A hook raised where Gunicorn's master would end.
    pub broken: bool,
    /// The end, once it has come.
    pub exit: Option<i32>,
}

impl Hands<'_> {
    /// Does it, and says what came of it.
    pub fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { slot, generation } => return self.spawn(slot, generation),
            Action::ForkMold { generation } => return Some(self.fork_mold(generation)),
            Action::EndMold { pid } => self.end_mold(pid),
            Action::Load { generation } => return Some(self.load(generation)),
            Action::Reexec => return Some(self.reexec()),
            Action::SpawnStatus => return Some(self.spawn_status()),
            Action::Vacate { slot, end } => {
                self.ledger.count_end(end);
                self.rows.get(slot).inspect(|row| row.vacate());
            }
            Action::Signal { pid, signal } => send(pid, signal),
            Action::Reopen => (self.era.settings.reopen_logs.0)(),
            Action::Adopt => self.adopt(),
            Action::Discard => {
                self.ledger.count_reload(false);
                self.discard();
                // Its workers may have wanted it otherwise.
                self.era.defer_accept();
            }
            Action::Promote => self.promote(),
            Action::AcceptAtOnce => self.accept_at_once(),
            Action::CloseListeners => self.close_listeners(),
            Action::Notify(report) => self.notify(&report),
            Action::RaiseDeadline { slot, pid, thread, sequence, age } => {
                self.raise_deadline(slot, pid, thread, sequence, age);
            }
            Action::Log(note) => log(&note),
            Action::Exit(code) => {
                listeners::close_gone(&self.era.status, &[], self.status_files());
                self.exit = Some(code);
            }
        }
        None
    }

    /// Calls a hook of the configuration in force. Without one this is nothing.
    pub fn hook(&self, moment: MasterMoment<'_>) -> Result<(), HookRaised> {
        self.era.settings.hooks.as_ref().map_or(Ok(()), |hooks| hooks.in_master(moment))
    }

    /// Calls a hook while the server runs: one that raises ends it, as in Gunicorn.
    pub fn hook_or_stop(&mut self, moment: MasterMoment<'_>) {
        if let Err(error) = self.hook(moment) {
            tracing::error!(target: "rwsgi", "Unhandled exception in main loop: {error}");
            self.broken = true;
        }
    }

    /// Tells hooks how many workers are wanted.
    pub fn count_workers(&mut self, new: usize) {
        let old = std::mem::replace(&mut self.wanted, new);
        self.hook_or_stop(MasterMoment::WorkersChanged { new, old: Some(old) });
    }

    /// The settings and sockets of a generation that is in force, or has yet to prove itself.
    pub fn era_of(&self, generation: u32) -> Era {
        match &self.candidate {
            Some(candidate) if candidate.generation == generation => candidate.clone(),
            _ => self.era.clone(),
        }
    }

    /// Forks a worker, or has it forked: then what comes of it is reported later.
    fn spawn(&mut self, slot: usize, generation: u32) -> Option<Event> {
        let era = self.era_of(generation);
        era.defer_accept();
        if era.settings.preload.is_some() {
            return self.order_worker(slot, &era).err().map(|error| {
                tracing::error!(target: "rwsgi", "ordering a worker: {error}");
                Event::SpawnFailed { slot }
            });
        }
        let hooks = era.settings.hooks.clone();
        if let Some(Err(error)) = hooks.as_ref().map(|hooks| hooks.in_master(MasterMoment::Forking { slot }))
        {
            tracing::error!(target: "rwsgi", "Unhandled exception in main loop: {error}");
            self.broken = true;
            return Some(Event::SpawnFailed { slot });
        }
        Some(match self.fork_worker(slot, era) {
            Ok(pid) => {
                // Only noted down: nothing of the operator's runs, so nothing can raise.
                let _ = hooks.map(|hooks| hooks.in_master(MasterMoment::Forked { slot, pid }));
                Event::Spawned { slot, pid }
            }
            Err(error) => {
                tracing::error!(target: "rwsgi", "fork: {error}");
                Event::SpawnFailed { slot }
            }
        })
    }

    fn spawn_status(&mut self) -> Event {
        let forked = self.fork_status();
        if let Err(error) = &forked {
            tracing::error!(target: "rwsgi", "fork of the status process: {error}");
        }
        Event::StatusForked { pid: forked.ok() }
    }

    fn load(&mut self, generation: u32) -> Event {
        let loaded = (self.reload)().and_then(|settings| {
            let current = (&self.era.listeners[..], &self.era.status[..]);
            let opened = listeners::open_all(&settings, current).map_err(|error| error.to_string())?;
            if let Some(hooks) = &settings.hooks
                && let Err(error) = hooks.in_master(MasterMoment::Reloading)
            {
                listeners::close_gone(&opened.0, current.0, Files::Remove);
                listeners::close_gone(&opened.1, current.1, Files::Remove);
                return Err(error.to_string());
            }
            Ok((settings, opened))
        });
        match loaded {
            Ok((settings, (listeners, status))) => {
                let policy = settings.policy();
                self.candidate = Some(Era { generation, settings: Rc::new(settings), listeners, status });
                Event::Loaded(policy)
            }
            Err(why) => {
                self.ledger.count_reload(false);
                tracing::error!(target: "rwsgi", "Reload: {why}");
                Event::Rejected
            }
        }
    }

    fn adopt(&mut self) {
        let Some(era) = self.candidate.take() else { return };
        let before = std::mem::replace(&mut self.era, era);
        self.ledger.count_reload(true);
        if !self.follows && !self.followed {
            // As at a stop: nobody goes on with these.
            let gone = listeners::gone(&before.listeners, &self.era.listeners);
            gone.for_each(|bound| bound.listener.defer_accept(false));
        }
        listeners::close_gone(&before.listeners, &self.era.listeners, self.files());
        listeners::close_gone(&before.status, &self.era.status, self.status_files());
        (self.era.settings.in_force.0)();
        self.count_workers(self.era.settings.workers);
        let shown = |era: &Era| {
            (listeners::show(&era.listeners, era.settings.secured), listeners::show(&era.status, false))
        };
        if shown(&before) != shown(&self.era) {
            self.log_listening();
        }
        if before.settings.pidfile != self.era.settings.pidfile {
            self.move_pidfile();
        }
        self.show_title();
    }

    fn discard(&mut self) {
        if let Some(era) = self.candidate.take() {
            listeners::close_gone(&era.listeners, &self.era.listeners, Files::Remove);
            listeners::close_gone(&era.status, &self.era.status, Files::Remove);
        }
    }

    /// Says where the server listens.
    pub fn log_listening(&self) {
        let shown = listeners::show(&self.era.listeners, self.era.settings.secured);
        tracing::info!(target: "rwsgi", "Listening at: {shown} ({})", nix::unistd::getpid());
        if !self.era.status.is_empty() {
            tracing::info!(target: "rwsgi", "Status at: {}", listeners::show(&self.era.status, false));
        }
    }

    /// Shows what this process is.
    pub fn show_title(&self) {
        proctitle::set_title(&format!("rwsgi: master [{}]", self.era.settings.proc_name));
    }

    fn move_pidfile(&mut self) {
        let before = self.pidfile.take();
        let Some(path) = self.pidfile_path() else {
            if let Some(pidfile) = before {
                pidfile.remove();
            }
            return;
        };
        match Pidfile::create(&path, nix::unistd::getpid().as_raw()) {
            Ok(pidfile) => {
                self.pidfile = Some(pidfile);
                if let Some(before) = before {
                    before.remove();
                }
            }
            Err(error) => {
                tracing::error!(target: "rwsgi", "{error}");
                self.pidfile = before;
            }
        }
    }

    /// Where the pidfile belongs now.
    pub fn pidfile_path(&self) -> Option<PathBuf> {
        let path = self.era.settings.pidfile.as_ref()?;
        Some(if self.follows { pidfile::upgraded(path) } else { path.clone() })
    }

    fn promote(&mut self) {
        if let Some(pidfile) = self.pidfile.take() {
            let first = self.era.settings.pidfile.clone().unwrap_or_else(|| pidfile.path().to_owned());
            match pidfile.rename(&first) {
                Ok(pidfile) => self.pidfile = Some(pidfile),
                Err(error) => tracing::error!(target: "rwsgi", "{error}"),
            }
        }
        self.notify(&Report::MainPid(nix::unistd::getpid().as_raw()));
    }

    fn reexec(&mut self) -> Event {
        let settings = &self.era.settings;
        let hooks = settings.hooks.as_ref();
        let launched = match hooks.filter(|hooks| hooks.has("pre_exec")) {
            None => upgrade::launch(&settings.reexec, self.sockets(), self.foreign_sockets),
            Some(hooks) => self.reexec_with(&**hooks),
        };
        match launched {
            Ok(pid) => {
                // No hook of its own: others can see it.
                let _ = hooks.map(|hooks| hooks.in_master(MasterMoment::Upgrading { pid }));
                Event::Reexeced { pid }
            }
            Err(error) => {
                tracing::error!(target: "rwsgi", "exec of {:?}: {error}", settings.reexec.command.first());
                Event::ReexecFailed
            }
        }
    }

    pub(super) fn sockets(&self) -> upgrade::Sockets<'_> {
        (&self.era.listeners, &self.era.status)
    }

    /// Whether the socket files go with the sockets.
    fn files(&self) -> Files {
        if self.follows || self.followed || self.foreign_sockets { Files::Keep } else { Files::Remove }
    }

    /// The same for the status process's, which are never a service manager's.
    fn status_files(&self) -> Files {
        if self.follows || self.followed { Files::Keep } else { Files::Remove }
    }

    /// So that the workers' last look at the queue misses nobody who is connected.
    fn accept_at_once(&self) {
        if self.era.settings.defer_accept {
            self.era.listeners.iter().for_each(|bound| bound.listener.defer_accept(false));
        }
    }

    fn close_listeners(&mut self) {
        self.ledger.stop();
        self.discard();
        // Its handles would keep the sockets listening, and swallow connections nobody serves.
        if let Some(aide) = self.aide {
            send(aide, Signal::Usr2);
        }
        // The files go first: who finds none is told at once, instead of waiting in a queue
        // that nobody empties.
        listeners::close_gone(&self.era.listeners, &[], self.files());
        self.era.listeners.clear();
    }

    fn notify(&self, report: &Report) {
        if let Err(error) = self.notifier.send(report) {
            tracing::debug!(target: "rwsgi", "notifying the service manager: {error}");
        }
    }

    fn raise_deadline(&self, slot: usize, pid: i32, thread: usize, sequence: u64, age: std::time::Duration) {
        let Some(row) = self.rows.get(slot) else { return };
        // The worker's watchdog logs it, with the stack that only it can see.
        tracing::debug!(target: "rwsgi", "Thread {thread} of worker (pid:{pid}) got no further for {age:?}");
        row.raise_deadline(thread, sequence);
        self.ledger.count_overdue();
        send(pid, Signal::Urg);
    }
}

pub(super) fn send(pid: i32, signal: Signal) {
    let number = nix::sys::signal::Signal::try_from(signal.number());
    if let Ok(number) = number
        && let Err(error) = nix::sys::signal::kill(Pid::from_raw(pid), number)
    {
        // It has just died: its exit is on the way.
        tracing::debug!(target: "rwsgi", "signalling {pid}: {error}");
    }
}

fn log(note: &Note) {
    match note.level() {
        Level::Debug => tracing::debug!(target: "rwsgi", "{note}"),
        Level::Info => tracing::info!(target: "rwsgi", "{note}"),
        Level::Warn => tracing::warn!(target: "rwsgi", "{note}"),
        Level::Error => tracing::error!(target: "rwsgi", "{note}"),
    }
}
