//! How is a child forked, and what of the master does it take along?
//!
//! The only place of the master's that forks, with `molds`. Must not decide when, nor know what a child does.
//!
//! Invariants:
//! 1. Every fork is bracketed by the interpreter's own hooks and happens with signals held.
//! 2. A child holds no handle of the master's but what it is given: a socket left open would
//!    listen on in a process that serves nobody.

use std::rc::Rc;

use super::child::{self, Role};
use super::listeners::Listeners;
use super::perform::{Era, Hands, send};
use super::settings::MasterSettings;
use super::upgrade;
use crate::door::{Hooks, MasterMoment};
use crate::metrics::scoreboard::Row;
use crate::metrics::seat::{Bell, Desk, Seat};
use crate::system::clock::Moment;
use crate::system::raw::{self, Forked};
use crate::system::signals::{Held, Signal};
use crate::system::systemd::Notifier;

impl Hands<'_> {
    /// Forks a worker of `era` into this slot.
    pub(super) fn fork_worker(&mut self, slot: usize, era: Era) -> std::io::Result<i32> {
        self.seat_rows(&era.settings)?;
        let row = self.seat_row(slot, era.settings.threads)?;
        row.occupy(era.generation, era.settings.threads, Moment::now());
        let (hear, bell) = Bell::new()?;
        let master = nix::unistd::getpid().as_raw();
        let held = Held::all()?;
        self.runtime.before_fork();
        match raw::fork() {
            Ok(Forked::Child) => {
                let runtime = self.runtime;
                let settings = Rc::clone(&era.settings);
                let seat = move || {
                    let generation = era.generation;
                    let listeners = own_sockets(&era)?;
                    let others = others(&self.rows, slot);
                    // A handle left open would keep the sockets listening in a worker that
                    // drains, and swallow connections nobody serves.
                    drop(era);
                    self.let_go();
                    let lifeline = self.lifeline.duplicate()?;
                    Ok(Seat { slot, generation, listeners, row, others, bell, lifeline, master })
                };
                let role = Role { name: "worker", master, slot: Some(slot) };
                child::live(runtime, &settings, held, role, seat, |seat| child::work(&settings.worker, seat))
            }
            Ok(Forked::Parent(pid)) => {
                self.runtime.after_fork_parent();
                self.bells.retain(|(other, _)| *other != slot);
                self.bells.push((slot, hear));
                Ok(pid)
            }
            Err(error) => {
                self.runtime.after_fork_parent();
                row.vacate();
                Err(error)
            }
        }
    }

    /// Forks the status process.
    pub(super) fn fork_status(&mut self) -> std::io::Result<i32> {
        let settings = Rc::clone(&self.era.settings);
        self.seat_rows(&settings)?;
        let master = nix::unistd::getpid().as_raw();
        let held = Held::all()?;
        self.runtime.before_fork();
        match raw::fork() {
            Ok(Forked::Child) => {
                let runtime = self.runtime;
                let desk = || {
                    let (rows, ledger) = (self.rows.clone(), self.ledger.clone());
                    let (listeners, watched) = (handles(&self.era.status)?, handles(&self.era.listeners)?);
                    self.let_go();
                    let lifeline = self.lifeline.duplicate()?;
                    Ok(Desk { listeners, watched, rows, ledger, lifeline, master })
                };
                let life = |desk| (settings.status.0)(desk);
                child::live(runtime, &settings, held, Role { name: "status", master, slot: None }, desk, life)
            }
            Ok(Forked::Parent(pid)) => {
                self.runtime.after_fork_parent();
                Ok(pid)
            }
            Err(error) => {
                self.runtime.after_fork_parent();
                Err(error)
            }
        }
    }

    /// Rows for all slots these settings fill: a mapping made after a fork is not seen in the child.
    pub(super) fn seat_rows(&mut self, settings: &MasterSettings) -> std::io::Result<()> {
        (0..settings.workers + settings.surge)
            .try_for_each(|slot| self.seat_row(slot, settings.threads).map(drop))
    }

    /// The slot's row, made anew if it has too few lines.
    pub(super) fn seat_row(&mut self, slot: usize, threads: usize) -> std::io::Result<Row> {
        let mut mapped = false;
        while self.rows.len() <= slot {
            self.rows.push(Row::new(threads)?);
            mapped = true;
        }
        let Some(row) = self.rows.get_mut(slot) else { return Row::new(threads) };
        if row.threads() < threads.min(crate::metrics::scoreboard::MAX_THREADS) {
            *row = row.grown(threads)?;
            mapped = true;
        }
        let row = row.clone();
        // It would not see what was mapped after its birth: its successor does.
        if let Some(aide) = self.aide.filter(|_| mapped) {
            send(aide, Signal::Term);
        }
        Ok(row)
    }

    /// As [`upgrade::launch`], with a hook that is called in the child.
    pub(super) fn reexec_with(&self, hooks: &dyn Hooks) -> std::io::Result<i32> {
        let settings = &self.era.settings;
        let mut upgrade = upgrade::prepare(&settings.reexec, self.sockets(), self.foreign_sockets)?;
        let held = Held::all()?;
        self.runtime.before_fork();
        match raw::fork() {
            Ok(Forked::Child) => child::become_master(self.runtime, held, || {
                hooks.in_master(MasterMoment::Executing).map_err(std::io::Error::other)?;
                Err(upgrade.exec())
            }),
            forked => {
                self.runtime.after_fork_parent();
                match forked? {
                    Forked::Parent(pid) => Ok(pid),
                    Forked::Child => Ok(0),
                }
            }
        }
    }

    /// In a child: closes all that is the master's.
    pub(super) fn let_go(&mut self) {
        self.signals = None;
        self.hold = None;
        self.bells.clear();
        self.molds.clear();
        self.rows.clear();
        self.era.listeners.clear();
        self.era.status.clear();
        self.candidate = None;
        self.notifier = Notifier::default();
        self.pidfile = None;
    }
}

/// The rows of all slots but this one.
pub(super) fn others(rows: &[Row], slot: usize) -> Vec<Row> {
    rows.iter().enumerate().filter(|(index, _)| *index != slot).map(|(_, row)| row.clone()).collect()
}

/// A worker's sockets.
pub(super) fn own_sockets(era: &Era) -> std::io::Result<Vec<crate::system::listener::Listener>> {
    era.listeners.iter().map(|bound| bound.for_worker(era.settings.backlog)).collect()
}

/// This process's own handles.
fn handles(listeners: &Listeners) -> std::io::Result<Vec<crate::system::listener::Listener>> {
    listeners.iter().map(|bound| bound.listener.duplicate()).collect()
}
