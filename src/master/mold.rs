//! How does a process with the application loaded become many workers?
//!
//! The mold is forked from the master, imports the application once, and forks a worker from
//! itself for each order (see `line`). What it has loaded the workers share until they write
//! to it. Must not know how many workers there should be, nor what an application is.
//!
//! A worker has to be the master's child, so that the master learns how it ends and so that it
//! is untouched by the end of the mold. fork(2) makes it the mold's; so the mold forks a
//! go-between, which forks the worker and ends at once, and the kernel gives the worker to the
//! nearest subreaper above: the master. (clone(2) with CLONE_PARENT would do it in one step, but
//! behind the C library's back, which then believes to be another thread than it is.)
//!
//! The mold keeps the master's identity, as the worker's change of user has to come after the
//! fork; the application is imported before it, as with Gunicorn's `--preload`.
//!
//! Invariants:
//! 1. The mold never returns into the master's stack: it ends here, whatever happens.
//! 2. It dies with the master (PR_SET_PDEATHSIG: nobody waits for anything in it), also in the
//!    middle of an import. Its workers do not die with it: their tie is to the master.
//! 3. A worker waits at its gate until it is the master's child and has been reported.
//! 4. When told to end by TERM it goes only while it imports. Later the end of its line tells
//!    it: a signal sent to the whole process group must not end it before its workers.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

use super::child::{self, Role};
use super::fork::others;
use super::line::{Heard, Line, Order, Report};
use super::settings::{MasterSettings, Preloaded, exit};
use crate::door::{Forks, HookRaised, MasterMoment};
use crate::metrics::scoreboard::Row;
use crate::metrics::seat::{Lifeline, Seat};
use crate::system::listener::{Address, Listener};
use crate::system::orphans::{self, Tie};
use crate::system::raw::{self, Forked};
use crate::system::signals::{Held, Signal, Signals};
use crate::system::{proctitle, tasks};

/// What a mold is born with.
pub struct Birth {
    /// Which configuration and code it is of.
    pub generation: u32,
    /// Its settings.
    pub settings: Rc<MasterSettings>,
    /// Where its workers listen, in the order their sockets come.
    pub addresses: Vec<Address>,
    /// The scoreboard, for its workers to see each other.
    pub rows: Vec<Row>,
    /// Its end of the line.
    pub line: Line,
    /// The master's life.
    pub lifeline: Lifeline,
    /// The master's process id.
    pub master: i32,
}

/// Lives a mold's life, then ends the process.
pub fn live(runtime: &dyn Forks, held: Held, born: impl FnOnce() -> io::Result<Birth>) -> ! {
    let life = catch_unwind(AssertUnwindSafe(|| {
        runtime.after_fork_child();
        let born = born().and_then(|birth| take_up(&birth, held).map(|signals| (birth, signals)));
        match born {
            Ok((birth, signals)) => load(runtime, birth, signals),
            Err(error) => {
                tracing::error!(target: "rwsgi", "mold process failed to boot: {error}");
                exit::BOOT
            }
        }
    }));
    raw::exit_now(life.unwrap_or(exit::BUG))
}

fn take_up(birth: &Birth, held: Held) -> io::Result<Signals> {
    Signals::reset_in_child()?;
    orphans::end_with(Tie::Kill)?;
    if getppid() != Pid::from_raw(birth.master) {
        return Err(io::Error::other("the master is gone"));
    }
    // A terminal sends these to everybody; the master is who decides.
    let signals = Signals::install(&[Signal::Int, Signal::Quit])?;
    proctitle::set_title(&format!("rwsgi: mold [{}]", birth.settings.proc_name));
    held.release_all()?;
    Ok(signals)
}

/// Imports the application, then serves orders. Returns the exit code.
fn load(runtime: &dyn Forks, birth: Birth, signals: Signals) -> i32 {
    let pid = getpid();
    tracing::info!(target: "rwsgi", "Booting mold with pid: {pid}");
    let Some(preload) = birth.settings.preload.clone() else { return exit::BUG };
    let loaded = match (preload.0)() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let finish = loaded.finish.clone();
    // Whatever handlers the application has set, these are the master's.
    let signals = signals.renew(&[Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1]);
    let served = signals.map_err(End::from).and_then(|signals| {
        birth.line.report(Report::Ready)?;
        let Birth { generation, settings, addresses, rows, line, lifeline, master } = birth;
        let (line, signals) = (Some(line), Some(signals));
        Mold {
            runtime,
            generation,
            settings,
            addresses,
            rows,
            loaded,
            line,
            lifeline,
            master,
            signals,
            foreign_threads: 0,
        }
        .serve()
    });
    let code = match served {
        Ok(()) => exit::OK,
        // Its end is the master's to ask for, so a line that breaks is the master's end.
        Err(End::Line(error)) => {
            tracing::debug!(target: "rwsgi", "Mold (pid: {pid}): {error}");
            exit::OK
        }
        Err(End::Hook(error)) => {
            tracing::error!(target: "rwsgi", "Mold (pid: {pid}) ends: {error}");
            exit::BOOT
        }
    };
    (finish.0)();
    tracing::info!(target: "rwsgi", "Mold exiting (pid: {pid})");
    code
}

/// What ends a mold, other than the master's wish.
enum End {
    Line(io::Error),
    Hook(HookRaised),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Line(error)
    }
}

struct Mold<'a> {
    runtime: &'a dyn Forks,
    generation: u32,
    settings: Rc<MasterSettings>,
    addresses: Vec<Address>,
    rows: Vec<Row>,
    loaded: Preloaded,
    line: Option<Line>,
    lifeline: Lifeline,
    master: i32,
    signals: Option<Signals>,
    /// How many threads of the application the operator has been told about.
    foreign_threads: usize,
}

impl Mold<'_> {
    /// Until the master wants no more.
    fn serve(&mut self) -> Result<(), End> {
        loop {
            self.wait();
            let told = self.signals.as_ref().map(Signals::drain).unwrap_or_default();
            if told.contains(&Signal::Usr1) {
                (self.settings.reopen_logs.0)();
            }
            (self.loaded.woken.0)();
            loop {
                let Some(line) = &self.line else { return Ok(()) };
                match line.take_order()? {
                    Heard::Said(order) => self.fulfil(order)?,
                    Heard::Nothing if self.lifeline.is_cut() => return Ok(()),
                    Heard::Nothing => break,
                    Heard::Closed => return Ok(()),
                }
            }
        }
    }

    /// With the interpreter given back: the application may have threads of its own here.
    fn wait(&self) {
        let fds = self.signals.iter().map(AsFd::as_fd).chain(self.line.iter().map(AsFd::as_fd));
        let fds: Vec<BorrowedFd<'_>> = fds.chain([self.lifeline.as_fd()]).collect();
        let mut watched: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        self.runtime.released(&mut || {
            // Interrupted or not: what arrived is found by draining.
            let _ = poll(&mut watched, PollTimeout::NONE);
        });
    }

    fn fulfil(&mut self, order: Order) -> Result<(), End> {
        let slot = order.slot;
        // Where the application is: what the hook looks at are the objects workers will have.
        if let Some(hooks) = &self.settings.hooks {
            hooks.in_master(MasterMoment::Forking { slot }).map_err(End::Hook)?;
        }
        let (report, gate) = match self.fork_worker(order) {
            Ok((pid, gate)) => {
                // For the next one's pre_fork. No hook of its own, nothing can raise.
                let hooks = self.settings.hooks.as_ref();
                let _ = hooks.map(|hooks| hooks.in_master(MasterMoment::Forked { slot, pid }));
                (Report::Forked { slot, pid }, Some(gate))
            }
            Err(error) => (Report::Failed { slot, errno: error.raw_os_error().unwrap_or(libc::EIO) }, None),
        };
        let Some(line) = &self.line else { return Ok(()) };
        line.report(report)?;
        if let Some(mut gate) = gate {
            // A worker that was killed at its gate is missed by nobody here: the master reaps it.
            let _ = gate.write_all(&[1]);
        }
        Ok(())
    }

    /// The worker's process id, and what opens its gate.
    fn fork_worker(&mut self, order: Order) -> io::Result<(i32, PipeWriter)> {
        self.warn_of_threads();
        let (gate, opener) = io::pipe()?;
        let row = order.row.clone();
        let held = Held::all()?;
        self.runtime.freeze();
        self.runtime.before_fork();
        match raw::fork() {
            Ok(Forked::Child) => match raw::fork() {
                Ok(Forked::Child) => {
                    drop(opener);
                    self.become_worker(order, held, gate)
                }
                Ok(Forked::Parent(pid)) => {
                    order.row.enter(pid);
                    raw::exit_now(0)
                }
                Err(error) => raw::exit_now(error.raw_os_error().unwrap_or(libc::EIO)),
            },
            Ok(Forked::Parent(between)) => {
                self.runtime.after_fork_parent();
                let errno = wait_for(between);
                match row.pid() {
                    0 => Err(io::Error::from_raw_os_error(errno)),
                    pid => Ok((pid, opener)),
                }
            }
            Err(error) => {
                self.runtime.after_fork_parent();
                Err(error)
            }
        }
    }

    /// In the worker.
    fn become_worker(&mut self, order: Order, held: Held, gate: PipeReader) -> ! {
        let runtime = self.runtime;
        let (settings, worker) = (Rc::clone(&self.settings), self.loaded.worker.clone());
        let role = Role { name: "worker", master: self.master, slot: Some(order.slot) };
        let seat = || {
            self.line = None;
            self.signals = None;
            pass(gate)?;
            runtime.resume_collecting();
            let Order { slot, bell, row, sockets } = order;
            let addresses = self.addresses.iter().cloned();
            let listeners =
                sockets.into_iter().zip(addresses).map(|(fd, at)| Listener::new(fd, at)).collect();
            let lifeline = self.lifeline.duplicate()?;
            let others = others(&self.rows, slot);
            let (generation, master) = (self.generation, self.master);
            Ok(Seat { slot, generation, listeners, row, others, bell, lifeline, master })
        };
        child::live(runtime, &settings, held, role, seat, |seat| child::work(&worker, seat))
    }

    /// Threads are not forked: what one of them held is held for ever in the worker, and what
    /// it was to do is not done there.
    fn warn_of_threads(&mut self) {
        let threads = tasks::count().saturating_sub(1);
        if threads > std::mem::replace(&mut self.foreign_threads, threads) {
            let (runs, do_not) =
                if threads == 1 { ("thread runs", "it does not") } else { ("threads run", "they do not") };
            tracing::warn!(
                target: "rwsgi",
                "preload_app: {threads} {runs} in the application that was loaded before the fork; \
                 {do_not} exist in the workers, and locks held by it may stay locked there. \
                 Start threads after the fork: with the first request, or in post_fork"
            );
        }
    }
}

/// Waits until the worker is the master's child and has been reported.
fn pass(mut gate: PipeReader) -> io::Result<()> {
    gate.read_exact(&mut [0]).map_err(|_| io::Error::other("the mold is gone"))
}

/// Waits for the end of the go-between; what went wrong in it.
fn wait_for(between: i32) -> i32 {
    loop {
        match waitpid(Pid::from_raw(between), None) {
            Err(nix::Error::EINTR) => {}
            Ok(WaitStatus::Exited(_, errno)) if errno != 0 => return errno,
            _ => return libc::EIO,
        }
    }
}
