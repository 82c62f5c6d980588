//! How does the operator ask the server how it is? A small server of its own, in a process of its own.
//!
//! [`run`] is that process's life: it answers `/healthz`, `/readyz`, `/metrics` and
//! `/status.json` from the scoreboard alone, so it does so when every worker is busy or stuck and
//! while the server stops. One thread, one poll; what a peer sends is read by the http room, as
//! strictly as any request.
//!
//! | File | Noun |
//! |---|---|
//! | [`answer`] | which request gets which page (pure) |
//! | [`document`] | /status.json (pure) |
//! | `gather` | the report: pages, /proc, sockets |
//! | `peer` | one connection |
//!
//! Must not know: workers' lives, Python, the configuration.
//!
//! Invariants:
//! 1. No call waits but the poll; every connection has a deadline, and there are at most
//!    `PEERS`: nobody can keep others from an answer for long.
//! 2. It ends with the master, whatever happened to it.

pub mod answer;
pub mod document;
mod gather;
mod peer;

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;

use crate::http::limits::Limits;
use crate::metrics::seat::Desk;
use crate::system::clock::Moment;
use crate::system::signals::{Signal, Signals};
use peer::Peer;

/// Connections open at a time; others wait in the accept queue.
const PEERS: usize = 64;
/// How long to wait when there is no descriptor for another connection.
const STARVED: Duration = Duration::from_secs(1);
/// The exit code of an end that was asked for.
const OK: i32 = 0;
/// Something the kernel should give was not to be had.
const FAILED: i32 = 3;

/// TERM ends the process, USR2 gives the workers' sockets up. The rest is for the master, but
/// reaches this process too when a terminal or a `pkill` sends it.
const WANTED: [Signal; 10] = [
    Signal::Term,
    Signal::Usr2,
    Signal::Int,
    Signal::Quit,
    Signal::Hup,
    Signal::Usr1,
    Signal::Ttin,
    Signal::Ttou,
    Signal::Winch,
    Signal::Chld,
];

/// The process's whole life. Returns its exit code.
pub fn run(desk: Desk) -> i32 {
    let signals = match Signals::install(&WANTED) {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!("Status process: cannot receive signals: {error}");
            return FAILED;
        }
    };
    let mut office = Office::new(desk);
    while !office.desk.lifeline.is_cut() {
        for signal in signals.drain() {
            match signal {
                Signal::Term => return OK,
                Signal::Usr2 => office.desk.watched.clear(),
                _ => {}
            }
        }
        office.turn(&signals);
    }
    OK
}

struct Office {
    desk: Desk,
    doors: Vec<Socket>,
    peers: Vec<Peer>,
    limits: Limits,
    /// No connection is accepted before this: the kernel has no descriptor or memory for one.
    starved_until: Moment,
}

impl Office {
    fn new(mut desk: Desk) -> Office {
        let doors = desk.listeners.drain(..).map(|listener| Socket::from(listener.into_fd())).collect();
        // What a request to a page without parameters may cost.
        let limits = Limits { head: 16 * 1024, body: Some(0), ..Limits::default() };
        Office { desk, doors, peers: Vec::new(), limits, starved_until: Moment::default() }
    }

    /// Waits until something happens or a peer is out of time, and sees to it.
    fn turn(&mut self, signals: &Signals) {
        let now = Moment::now();
        let starved = now < self.starved_until;
        let accepting = self.peers.len() < PEERS && !starved;
        let due = self.peers.iter().map(Peer::deadline).chain(starved.then_some(self.starved_until)).min();
        let mut fds = vec![readable(signals), readable(&self.desk.lifeline)];
        fds.extend(self.doors.iter().filter(|_| accepting).map(readable));
        let first = fds.len();
        fds.extend(self.peers.iter().map(|peer| PollFd::new(peer.as_fd(), peer.interest())));
        // Interrupted or not: what happened is found by looking.
        let _ = poll(&mut fds, timeout(due, now));
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let now = Moment::now();
        for (peer, _) in self.peers.iter_mut().zip(&ready[first..]).filter(|(_, ready)| **ready) {
            peer.serve(&self.desk, &self.limits, now);
        }
        self.peers.retain(|peer| !peer.is_over(now));
        if accepting {
            self.accept(now);
        }
    }

    fn accept(&mut self, now: Moment) {
        for door in &self.doors {
            while self.peers.len() < PEERS {
                let accepted = door.accept().and_then(|(socket, _)| {
                    socket.set_nonblocking(true)?;
                    Ok(socket)
                });
                match accepted {
                    Ok(socket) => {
                        let mut peer = Peer::new(socket, now);
                        // What it wants is mostly here already.
                        peer.serve(&self.desk, &self.limits, now);
                        self.peers.push(peer);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Gone before it was accepted.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::error!("Status process: cannot accept connections: {error}");
                        self.starved_until = now + STARVED;
                        return;
                    }
                }
            }
        }
        self.peers.retain(|peer| !peer.is_over(now));
    }
}

fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

fn timeout(due: Option<Moment>, now: Moment) -> PollTimeout {
    // Rounded up: waking a little early would only mean sleeping again.
    let millis = due.map(|due| due.since(now).as_millis() + 1);
    millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))
}
