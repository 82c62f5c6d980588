//! How does the master get workers from a mold?
//!
//! Forks molds, sends them orders, hears their reports. Must not decide when: `plan` does.
//!
//! Invariants:
//! 1. A mold holds none of the master's descriptors but its line and the lifeline: no listener
//!    stays open for its sake.
//! 2. A report is read before the death of the worker it is about is told: see
//!    [`Hands::hear_molds`].

use std::io;

use nix::sys::prctl::set_child_subreaper;
use nix::unistd::Pid;

use super::fork::own_sockets;
use super::line::{Heard, Line, Report};
use super::mold::{self, Birth};
use super::perform::{Era, Hands, send};
use super::plan::Event;
use crate::door::MasterMoment;
use crate::metrics::seat::Bell;
use crate::system::clock::Moment;
use crate::system::raw::{self, Forked};
use crate::system::signals::{Held, Signal};

/// A mold that has not been reaped.
#[derive(Debug)]
pub struct Running {
    /// The generation it is of.
    generation: u32,
    /// Its process id.
    pid: i32,
    /// The line to it, until it is told to end.
    pub line: Option<Line>,
}

impl Hands<'_> {
    /// Forks a mold of that generation.
    pub fn fork_mold(&mut self, generation: u32) -> Event {
        let era = self.era_of(generation);
        match self.try_fork_mold(era) {
            Ok(pid) => Event::MoldForked { generation, pid },
            Err(error) => {
                tracing::error!(target: "rwsgi", "fork of a mold: {error}");
                Event::MoldFailed { generation }
            }
        }
    }

    fn try_fork_mold(&mut self, era: Era) -> io::Result<i32> {
        // Workers are given to the next subreaper above the mold.
        set_child_subreaper(true)?;
        let generation = era.generation;
        self.seat_rows(&era.settings)?;
        let (line, end) = Line::pair()?;
        let master = nix::unistd::getpid().as_raw();
        let held = Held::all()?;
        self.runtime.before_fork();
        match raw::fork() {
            Ok(Forked::Child) => {
                let runtime = self.runtime;
                mold::live(runtime, held, move || {
                    drop(line);
                    let settings = era.settings;
                    let addresses =
                        era.listeners.iter().map(|bound| bound.listener.address().clone()).collect();
                    drop((era.listeners, era.status));
                    let rows = self.rows.clone();
                    self.let_go();
                    let lifeline = self.lifeline.duplicate()?;
                    Ok(Birth { generation, settings, addresses, rows, line: end, lifeline, master })
                })
            }
            Ok(Forked::Parent(pid)) => {
                self.runtime.after_fork_parent();
                self.molds.push(Running { generation, pid, line: Some(line) });
                Ok(pid)
            }
            Err(error) => {
                self.runtime.after_fork_parent();
                Err(error)
            }
        }
    }

    /// Has the generation's mold fork a worker.
    pub fn order_worker(&mut self, slot: usize, era: &Era) -> io::Result<()> {
        let row = self.seat_row(slot, era.settings.threads)?;
        row.occupy(era.generation, era.settings.threads, Moment::now());
        let (hear, bell) = Bell::new()?;
        let listeners = own_sockets(era)?;
        let line = self.molds.iter().filter(|mold| mold.generation == era.generation);
        let line = line.filter_map(|mold| mold.line.as_ref()).next_back();
        match line
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
            .and_then(|line| line.order(slot, &row, &bell, &listeners))
        {
            // It has just died: its exit, which is on the way, says what becomes of its orders.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                row.vacate();
                return Err(error);
            }
            Ok(()) => {}
        }
        self.bells.retain(|(other, _)| *other != slot);
        self.bells.push((slot, hear));
        Ok(())
    }

    /// Tells a mold to end: one that imports by the signal, one that serves by its line's end.
    pub fn end_mold(&mut self, pid: i32) {
        if let Some(mold) = self.molds.iter_mut().find(|mold| mold.pid == pid) {
            mold.line = None;
        }
        send(pid, Signal::Term);
    }

    /// What the molds report; `reaped` are the children found dead right before.
    ///
    /// Read after the reaping, a report is there for every reaped worker that ever lived. One
    /// about a worker that is neither among them nor alive is about one that was killed at its
    /// gate and reaped before.
    pub fn hear_molds(&mut self, reaped: &[i32]) -> Vec<Event> {
        let mut events = Vec::new();
        for mold in &self.molds {
            let Some(line) = &mold.line else { continue };
            loop {
                match line.take_report() {
                    Ok(Heard::Said(report)) => events.push(self.event(mold, report, reaped)),
                    // Its exit tells the rest.
                    Ok(Heard::Nothing | Heard::Closed) => break,
                    Err(error) => {
                        tracing::error!(target: "rwsgi", "Mold (pid:{}): {error}", mold.pid);
                        break;
                    }
                }
            }
        }
        self.molds.retain(|mold| !reaped.contains(&mold.pid));
        events
    }

    fn event(&self, mold: &Running, report: Report, reaped: &[i32]) -> Event {
        let slot = match report {
            Report::Ready => return Event::MoldReady { generation: mold.generation },
            Report::Forked { slot, pid } if reaped.contains(&pid) || is_ours(pid) => {
                // Only noted down: nothing of the operator's runs, so nothing can raise.
                let hooks = self.era_of(mold.generation).settings.hooks.clone();
                let _ = hooks.map(|hooks| hooks.in_master(MasterMoment::Forked { slot, pid }));
                return Event::Spawned { slot, pid };
            }
            Report::Forked { slot, .. } => slot,
            Report::Failed { slot, errno } => {
                let error = io::Error::from_raw_os_error(errno);
                tracing::error!(target: "rwsgi", "fork in the mold (pid:{}): {error}", mold.pid);
                slot
            }
        };
        self.rows.get(slot).inspect(|row| row.vacate());
        Event::SpawnFailed { slot }
    }
}

/// Whether the process is there: alive, or dead and not yet reaped.
fn is_ours(pid: i32) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
