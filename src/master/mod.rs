//! Which processes should be alive, and what is done about it?
//!
//! The loop is wait -> events -> plan -> perform. `plan` is pure and decides; `perform` acts;
//! this file waits, and turns what woke it into events. Must not parse HTTP nor import the
//! application.
//!
//! Invariants:
//! 1. One thread. Nothing here starts another: a fork would leave its locks locked.
//! 2. The loop sleeps until something happens or the plan's next deadline: an idle master
//!    wakes once per `timeout`.
//! 3. What an action reports is handed to the plan before anything else is.

mod child;
mod fork;
mod gauges;
mod line;
mod listeners;
mod mold;
mod molds;
mod perform;
mod pidfile;
mod plan;
pub mod settings;
mod slots;
mod upgrade;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use crate::metrics::seat::Seat;
pub use settings::MasterSettings;

use crate::door::{Forks, MasterMoment};
use crate::log;
use crate::metrics::ledger::Ledger;
use crate::metrics::scoreboard::State;
use crate::metrics::seat::{self, Lifeline, Ring};
use crate::system::clock::{self, Moment};
use crate::system::daemon::{self, Streams};
use crate::system::raw::{self, Forked, Reaped};
use crate::system::signals::{Signal, Signals};
use crate::system::systemd::{self, Notifier};
use gauges::Gauges;
use listeners::Listeners;
use perform::{Era, Hands};
use pidfile::Pidfile;
use plan::{Action, Ended, Event, Load, Plan, RunningRequest};
use settings::exit;

/// Reads the configuration again, for HUP. The message says which file, line and setting.
pub type Reload<'a> = dyn Fn() -> Result<MasterSettings, String> + 'a;

/// The signals the master acts upon.
const SIGNALS: [Signal; 10] = [
    Signal::Hup,
    Signal::Int,
    Signal::Quit,
    Signal::Term,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Ttin,
    Signal::Ttou,
    Signal::Winch,
    Signal::Chld,
];
/// How often an address in use is tried, and how long apart.
const BIND_TRIES: usize = 5;
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// How often a new master looks whether the old one is still there.
const PARENT_LOOK: Duration = Duration::from_secs(1);

/// Runs the master until it is told to stop; returns the process's exit code.
pub fn run(settings: MasterSettings, runtime: &dyn Forks, reload: &Reload<'_>) -> i32 {
    match start(settings, runtime, reload) {
        Ok((mut hands, plan)) => {
            let code = supervise(&mut hands, plan);
            if let Some(pidfile) = hands.pidfile.take() {
                pidfile.remove();
            }
            match hands.hook(MasterMoment::Exiting) {
                _ if hands.broken => exit::BUG,
                Err(_) if code == exit::OK => exit::CONFIG,
                _ => code,
            }
        }
        Err(why) => {
            log::fatal(&why);
            exit::CONFIG
        }
    }
}

/// Everything up to the first fork.
fn start<'a>(
    settings: MasterSettings,
    runtime: &'a dyn Forks,
    reload: &'a Reload<'a>,
) -> Result<(Hands<'a>, Plan), String> {
    let inherited = upgrade::inherit();
    if settings.daemon && inherited.is_none() {
        let streams = if settings.stdio_inheritance { Streams::Keep } else { Streams::Silence };
        daemon::detach(streams, || bracketed_fork(runtime)).map_err(|error| format!("daemon: {error}"))?;
    }
    tracing::info!(target: "rwsgi", "Starting rwsgi {}", env!("CARGO_PKG_VERSION"));
    let signals = Signals::install(&SIGNALS).map_err(|error| format!("signals: {error}"))?;
    let (lifeline, hold) = Lifeline::new().map_err(|error| format!("pipe: {error}"))?;
    let parent = inherited.as_ref().map(|from| from.parent);
    let wanted = settings.workers;
    let era = Era { generation: 1, settings: Rc::new(settings), listeners: Vec::new(), status: Vec::new() };
    let mut hands = Hands {
        runtime,
        reload,
        era,
        candidate: None,
        rows: Vec::new(),
        ledger: Ledger::new(Moment::now(), clock::unix_ms()).map_err(|error| format!("mmap: {error}"))?,
        aide: None,
        bells: Vec::new(),
        molds: Vec::new(),
        lifeline,
        hold: Some(hold),
        signals: Some(signals),
        notifier: Notifier::from_env(),
        pidfile: None,
        foreign_sockets: inherited.as_ref().is_some_and(|from| from.foreign),
        follows: parent.is_some(),
        followed: false,
        wanted,
        broken: false,
        exit: None,
    };
    let first = MasterMoment::WorkersChanged { new: wanted, old: None };
    hands.hook(first).map_err(|error| error.to_string())?;
    if let Some(path) = hands.pidfile_path() {
        let pid = nix::unistd::getpid().as_raw();
        hands.pidfile = Some(Pidfile::create(&path, pid).map_err(|error| error.to_string())?);
    }
    if let Err(why) = begin(&mut hands, inherited) {
        if let Some(pidfile) = hands.pidfile.take() {
            pidfile.remove();
        }
        return Err(why);
    }
    let plan = first_plan(&hands, parent);
    Ok((hands, plan))
}

/// From the pidfile to the open listeners.
fn begin(hands: &mut Hands<'_>, inherited: Option<upgrade::Inheritance>) -> Result<(), String> {
    hands.hook(MasterMoment::Starting).map_err(|error| error.to_string())?;
    listen(hands, inherited)?;
    hands.show_title();
    (hands.era.settings.in_force.0)();
    hands.log_listening();
    let addresses = listeners::addresses(&hands.era.listeners, hands.era.settings.secured);
    hands.hook(MasterMoment::Ready { addresses: &addresses }).map_err(|error| error.to_string())
}

fn first_plan(hands: &Hands<'_>, parent: Option<i32>) -> Plan {
    let mut plan = Plan::new(hands.era.settings.policy(), clock::now_ns() ^ u64::from(std::process::id()));
    if parent.is_some() {
        plan = plan.with_parent();
    }
    match hands.notifier.watchdog() {
        Some(interval) => plan.with_watchdog(interval, Moment::now()),
        None => plan,
    }
}

/// Opens the listeners: inherited from an older master, passed by a service manager, or bound.
fn listen(hands: &mut Hands<'_>, inherited: Option<upgrade::Inheritance>) -> Result<(), String> {
    if let Some(from) = inherited {
        let adopted = match from.foreign {
            true => listeners::adopt_foreign(from.sockets),
            false => listeners::adopt_own(from.sockets, &hands.era.settings),
        };
        hands.era.listeners = adopted.map_err(|error| error.to_string())?;
        let status = listeners::adopt_status(from.status, &hands.era.settings);
        hands.era.status = status.map_err(|error| error.to_string())?;
        return Ok(());
    }
    let passed = systemd::take_listen_fds().map_err(|error| format!("LISTEN_FDS: {error}"))?;
    if !passed.is_empty() {
        hands.foreign_sockets = true;
        hands.era.listeners = listeners::adopt_foreign(passed).map_err(|error| error.to_string())?;
    }
    (hands.era.listeners, hands.era.status) = bind_patiently(hands)?;
    Ok(())
}

/// A predecessor may need a moment to let go of its address.
fn bind_patiently(hands: &Hands<'_>) -> Result<(Listeners, Listeners), String> {
    let mut tries = BIND_TRIES;
    loop {
        tries -= 1;
        match listeners::open_all(&hands.era.settings, (&hands.era.listeners, &[])) {
            Ok(opened) => return Ok(opened),
            Err(error) if error.is_passing() && tries > 0 => {
                tracing::error!(target: "rwsgi", "{error}");
                tracing::debug!(target: "rwsgi", "Retrying in {} second.", BIND_PAUSE.as_secs());
                if told_to_stop_within(hands, BIND_PAUSE) {
                    return Err("told to stop while waiting for an address".to_owned());
                }
            }
            Err(error) => {
                tracing::error!(target: "rwsgi", "{error}");
                return Err(format!("Can't connect to {}", error.address));
            }
        }
    }
}

fn told_to_stop_within(hands: &Hands<'_>, span: Duration) -> bool {
    let Some(signals) = &hands.signals else { return false };
    let until = Moment::now() + span;
    loop {
        let left = until.since(Moment::now());
        wait(hands, &[signals.as_fd()], Some(left));
        if signals.drain().iter().any(|signal| matches!(signal, Signal::Term | Signal::Int | Signal::Quit)) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

fn bracketed_fork(runtime: &dyn Forks) -> std::io::Result<Forked> {
    runtime.before_fork();
    let forked = raw::fork();
    match forked {
        Ok(Forked::Child) => runtime.after_fork_child(),
        _ => runtime.after_fork_parent(),
    }
    forked
}

/// wait -> events -> plan -> perform, until the plan says exit.
fn supervise(hands: &mut Hands<'_>, mut plan: Plan) -> i32 {
    let parent = nix::unistd::getppid();
    let mut now = Moment::now();
    let mut gauges = Gauges::default();
    feed(hands, &mut plan, now, Event::Started);
    loop {
        if let Some(code) = hands.exit {
            return code;
        }
        gauges.tell(hands, plan.slots().iter().count(), now);
        sleep(hands, &plan, now, gauges.due());
        now = Moment::now();
        for event in gather(hands, &plan, now, parent) {
            if let Event::Exited { pid, .. } = event {
                let overdue = plan.has_given_up(pid);
                hands.hook_or_stop(MasterMoment::Gone { pid, overdue });
            }
            feed(hands, &mut plan, now, event);
            if hands.exit.is_some() {
                break;
            }
        }
    }
}

/// Hands an event to the plan, and what its actions report right after it.
fn feed(hands: &mut Hands<'_>, plan: &mut Plan, now: Moment, event: Event) {
    let mut events = VecDeque::from([event]);
    while let Some(event) = events.pop_front() {
        let actions = plan.step(now, event);
        hands.aide = plan.aide_pid();
        // Before the forks that follow from it; a reload's number comes with its settings.
        if plan.wanted() != hands.wanted && !actions.contains(&Action::Adopt) {
            hands.count_workers(plan.wanted());
        }
        for action in actions {
            events.extend(hands.perform(action));
        }
        let (generation, wanted) = plan.in_force();
        hands.ledger.set_generation(generation, wanted);
        hands.follows = plan.has_parent();
        hands.followed = plan.upgrade_pid().is_some();
        if hands.broken && !plan.is_stopping() {
            events.push_back(Event::Signal(Signal::Quit));
        }
    }
}

fn sleep(hands: &Hands<'_>, plan: &Plan, now: Moment, gauges: Option<Moment>) {
    let due = plan.wake_at(now).into_iter().chain(gauges).min().map(|due| due.since(Moment::now()));
    let parent = plan.has_parent().then_some(PARENT_LOOK);
    let mut fds: Vec<BorrowedFd<'_>> = hands.signals.iter().map(Signals::as_fd).collect();
    fds.extend(hands.bells.iter().map(|(_, fd)| fd.as_fd()));
    fds.extend(hands.molds.iter().filter_map(|mold| mold.line.as_ref()).map(AsFd::as_fd));
    wait(hands, &fds, due.into_iter().chain(parent).min());
}

/// Waits for one of `fds`, with the interpreter given back: hooks may have started threads.
fn wait(hands: &Hands<'_>, fds: &[BorrowedFd<'_>], span: Option<Duration>) {
    // Rounded up: waking a little early would only mean sleeping again.
    let millis = span.map(|span| i32::try_from(span.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX));
    let timeout =
        millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX));
    let mut watched: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    hands.runtime.released(&mut || {
        // Interrupted or not: what arrived is found by draining.
        let _ = poll(&mut watched, timeout);
    });
}

/// What has happened since the last time. Bells come before deaths: a worker that served for a
/// moment and died did serve. What is read last is told first: whoever rang, or is dead, was
/// reported by its mold before.
fn gather(hands: &mut Hands<'_>, plan: &Plan, now: Moment, parent: nix::unistd::Pid) -> Vec<Event> {
    let signals = hands.signals.as_ref().map(Signals::drain).unwrap_or_default();
    let children = signals.contains(&Signal::Chld);
    let dead: Vec<Reaped> = std::iter::from_fn(|| children.then(raw::reap).flatten()).collect();
    let rings = hear_bells(hands);
    let reaped: Vec<i32> = dead.iter().map(|child| child.pid).collect();
    let mut events = hands.hear_molds(&reaped);
    events.extend(rings);
    events.extend(signals.into_iter().filter(|signal| *signal != Signal::Chld).map(Event::Signal));
    events.extend(dead.into_iter().map(|child| {
        let ended = child.ended.map_or_else(Ended::Signal, Ended::Code);
        Event::Exited { pid: child.pid, ended }
    }));
    if plan.has_parent() && nix::unistd::getppid() != parent {
        events.push(Event::ParentGone);
    }
    if plan.wants_look(now) {
        events.push(Event::Observed(look(hands, plan)));
    }
    events.push(Event::Tick);
    events
}

fn hear_bells(hands: &mut Hands<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    hands.bells.retain(|(slot, fd)| {
        let Some(rings) = seat::hear(fd.as_fd()) else { return false };
        events.extend(rings.into_iter().map(|ring| match ring {
            Ring::Booted => Event::Booted { slot: *slot },
            Ring::Look => Event::Asked { slot: *slot },
        }));
        true
    });
    events
}

/// What every worker is doing, read from the scoreboard and /proc without asking it.
fn look(hands: &Hands<'_>, plan: &Plan) -> Vec<Load> {
    let measured = hands.era.settings.max_worker_memory > 0;
    let workers = plan.slots().iter().filter(|worker| worker.is_serving() || worker.is_retiring());
    workers
        .filter_map(|worker| {
            let row = hands.rows.get(worker.slot)?;
            let running = (0..row.threads()).filter_map(|thread| row.running(thread));
            Some(Load {
                slot: worker.slot,
                threads: row.threads_in_use(),
                resident: worker.pid.filter(|_| measured).and_then(resident).unwrap_or(0),
                connections: row.connections(),
                draining: row.state() == State::Draining,
                running: running
                    .map(|request| RunningRequest {
                        thread: request.thread,
                        sequence: request.sequence,
                        progress: request.progress,
                        exempt: request.exempt,
                    })
                    .collect(),
            })
        })
        .collect()
}

/// Resident bytes of a process: the second field of statm (proc(5)).
fn resident(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * raw::page_size())
}
