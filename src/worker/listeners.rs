//! When are connections accepted? The listening sockets as this worker waits on them.
//!
//! Registered level-triggered and exclusive: a new connection wakes one idle worker, not all.
//!
//! Must not know: connections, threads.
//!
//! Invariant: registered with the poll exactly while not paused.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mio::Registry;

use super::crew::LISTENERS;
use super::transport::Acceptor;
use crate::metrics::scoreboard::{Row, State};
use crate::system::clock::now_ms;
use crate::system::listener::{Address, Listener};
use crate::system::raw;

/// Why nothing is accepted for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// All threads are inside the application.
    Busy,
    /// As many connections as allowed are open.
    Full,
    /// The kernel has no descriptors or memory; tried again at this time.
    Starved {
        /// Milliseconds of the monotonic clock.
        until: u64,
    },
}

/// One listening socket.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// The socket.
    pub acceptor: Arc<Acceptor>,
    /// What it is called.
    pub server: Server,
}

/// What a listener is called in environ.
#[derive(Debug, Clone)]
pub struct Server {
    /// SERVER_NAME. On a unix socket it has to come from Host; until a request is there it says
    /// the socket.
    pub name: Arc<str>,
    /// SERVER_PORT; empty for a unix socket.
    pub port: Arc<str>,
}

/// All of a worker's.
#[derive(Debug, Default)]
pub struct Listeners {
    entrances: Vec<Entrance>,
    paused: Option<Pause>,
    /// When it was last said that there is no room, in milliseconds; 0: never.
    said_full: u64,
    /// The other workers.
    others: Vec<Row>,
    /// Since when newcomers are left to them, in milliseconds.
    gave_way: u64,
    /// How many connections had then who had fewest.
    least: u64,
}

/// A worker that is full stays so for a while, or is again and again: said so often, in milliseconds.
const SAY_FULL_EVERY: u64 = 10_000;
/// So many more connections than another worker has are as good as the same.
const AS_MANY: u64 = 2;
/// So long a worker that has fewer is waited for, in milliseconds: on its way it should be here by then.
const GIVE_WAY: u64 = 10;
/// If it has not got more of them, it is held up, or its clients do not stay: it is waited for no more
/// until it has, or until that long after the beginning.
const GIVE_WAY_AGAIN: u64 = 100;

impl Listeners {
    /// Takes the sockets over; [`Listeners::open`] starts waiting on them. What is not acknowledged
    /// for `patience` ends a connection; `None`: when the kernel thinks so. `others` share them.
    pub fn new(listeners: Vec<Listener>, patience: Option<Duration>, others: Vec<Row>) -> Self {
        let entrances = listeners.into_iter().map(|listener| {
            listener.prepare_accepted(patience);
            let server = Server::of(listener.address());
            Entrance { acceptor: Arc::new(Acceptor::new(listener)), server }
        });
        Listeners {
            entrances: entrances.collect(),
            paused: None,
            said_full: 0,
            others,
            gave_way: 0,
            least: 0,
        }
    }

    /// Starts waiting for connections.
    pub fn open(&self, registry: &Registry) -> io::Result<()> {
        self.entrances.iter().enumerate().try_for_each(|(index, entrance)| {
            raw::epoll_add_exclusive(registry, entrance.acceptor.as_fd(), (LISTENERS + index) as u64)
        })
    }

    /// The socket with that index.
    pub fn get(&self, index: usize) -> Option<Entrance> {
        self.entrances.get(index).cloned()
    }

    /// Whether there are none (any more).
    pub fn is_empty(&self) -> bool {
        self.entrances.is_empty()
    }

    /// Stops waiting for connections; they queue in the kernel.
    pub fn pause(&mut self, why: Pause, registry: &Registry) -> io::Result<()> {
        if self.paused.replace(why).is_some() {
            return Ok(());
        }
        self.entrances.iter().try_for_each(|entrance| raw::epoll_del(registry, entrance.acceptor.as_fd()))
    }

    /// Whether it is for this reason that they are not waited for.
    pub fn is_paused(&self, why: Pause) -> bool {
        self.paused == Some(why)
    }

    /// Whether a worker with `open` connections, and enough to do, leaves newcomers to another one that
    /// clearly has fewer: a client that keeps its connection stays where it was accepted.
    pub fn gives_way(&mut self, open: usize, now: u64) -> bool {
        let Some(least) = self.shares().min().filter(|least| is_more(open as u64, *least)) else {
            return false;
        };
        if least > self.least || now >= self.gave_way + GIVE_WAY_AGAIN {
            (self.least, self.gave_way) = (least, now);
        }
        now < self.gave_way + GIVE_WAY
    }

    /// Whether another worker has clearly more than `open` connections.
    pub fn is_behind(&self, open: usize) -> bool {
        self.shares().max().is_some_and(|most| is_more(most, open as u64))
    }

    /// How many connections the others have.
    fn shares(&self) -> impl Iterator<Item = u64> {
        self.others.iter().filter(|row| row.state() == State::Serving).map(Row::connections)
    }

    /// Whether it is time to say that there is no room.
    pub fn says_full(&mut self, now: u64) -> bool {
        let due = self.said_full == 0 || now >= self.said_full + SAY_FULL_EVERY;
        if due {
            self.said_full = now;
        }
        due
    }

    /// Waits again, if it was for this reason that it did not.
    pub fn resume(&mut self, why: Pause, registry: &Registry) -> io::Result<()> {
        if self.paused != Some(why) {
            return Ok(());
        }
        self.paused = None;
        self.open(registry)
    }

    /// Goes to the end of the queue of workers that wait for these sockets.
    pub fn step_back(&mut self, registry: &Registry) -> io::Result<()> {
        if self.paused.is_some() {
            return Ok(());
        }
        for entrance in &self.entrances {
            raw::epoll_del(registry, entrance.acceptor.as_fd())?;
        }
        self.open(registry)
    }

    /// When the kernel is to be asked again after it had nothing to give.
    pub fn resume_at(&self) -> u64 {
        match self.paused {
            Some(Pause::Starved { until }) => until,
            _ => u64::MAX,
        }
    }

    /// Asks the kernel again if it is time.
    pub fn resume_if_due(&mut self, now: u64, registry: &Registry) -> io::Result<()> {
        match self.paused {
            Some(why @ Pause::Starved { until }) if until <= now => self.resume(why, registry),
            _ => Ok(()),
        }
    }

    /// Whether the kernel hands connections of some TCP socket out at once.
    pub fn come_at_once(&self) -> bool {
        self.entrances.iter().any(|entrance| match &*entrance.acceptor {
            Acceptor::Tcp(socket) => raw::defers_accept(socket.as_fd()).is_ok_and(|defers| !defers),
            Acceptor::Unix(_) => false,
        })
    }

    /// Gives all sockets up, for a drain. They are closed when the last handle is dropped.
    pub fn close(&mut self, registry: &Registry) -> io::Result<Vec<Entrance>> {
        let result = match self.paused.take() {
            None => self
                .entrances
                .iter()
                .try_for_each(|entrance| raw::epoll_del(registry, entrance.acceptor.as_fd())),
            Some(_) => Ok(()),
        };
        let entrances = std::mem::take(&mut self.entrances);
        result.map(|()| entrances)
    }

    /// A pause for want of descriptors or memory.
    pub fn starved() -> Pause {
        Pause::Starved { until: now_ms() + 1000 }
    }
}

fn is_more(one: u64, other: u64) -> bool {
    one > other + other / 32 + AS_MANY
}

impl Server {
    fn of(address: &Address) -> Server {
        match address {
            Address::Tcp(at) => {
                Server { name: at.ip().to_canonical().to_string().into(), port: at.port().to_string().into() }
            }
            Address::Unix(path) => Server { name: path.to_string_lossy().into(), port: "".into() },
            Address::Abstract(name) => {
                Server { name: format!("@{}", name.escape_ascii()).into(), port: "".into() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::system::clock::Moment;

    #[test]
    fn only_what_the_kernel_holds_back_no_longer_comes_at_once() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(socket.local_addr().unwrap());
        let tcp = Listener::new(socket.into(), address);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let unix = UnixListener::bind(&path).unwrap();
        let unix = Listener::new(unix.into(), Address::Unix(path));
        tcp.defer_accept(true);
        let mut listeners = Listeners::new(vec![tcp.duplicate().unwrap(), unix], None, Vec::new());
        assert!(!listeners.come_at_once());
        tcp.defer_accept(false);
        assert!(listeners.come_at_once());
        listeners.entrances.remove(0);
        assert!(!listeners.come_at_once());
    }

    #[test]
    fn whoever_has_more_than_another_leaves_newcomers_to_it_for_a_moment() {
        let rows: Vec<Row> = (0..3).map(|_| Row::new(1).unwrap()).collect();
        rows.iter().for_each(|row| row.set_state(State::Serving, Moment(1)));
        rows[2].set_state(State::Draining, Moment(1));
        rows[0].set_connections(40);
        rows[1].set_connections(64);
        let mut listeners = Listeners::new(Vec::new(), None, rows.clone());
        assert!(!listeners.gives_way(43, 10_000), "as good as the same");
        assert!(listeners.gives_way(44, 10_000) && listeners.gives_way(44, 9_999 + GIVE_WAY));
        assert!(!listeners.gives_way(44, 10_000 + GIVE_WAY), "the other one does not come");
        assert!(!listeners.gives_way(90, 10_099));
        assert!(listeners.gives_way(44, 10_100));
        assert!(!listeners.gives_way(44, 10_100 + GIVE_WAY));
        rows[0].set_connections(41);
        assert!(!listeners.gives_way(44, 10_100 + GIVE_WAY));
        assert!(listeners.gives_way(45, 10_100 + GIVE_WAY), "it comes");
        assert!(listeners.is_behind(60) && !listeners.is_behind(62));
        rows[0].set_connections(64);
        assert!(!listeners.gives_way(44, 10_100 + GIVE_WAY));
        assert!(!Listeners::default().gives_way(1000, 10_000), "there is no other");
    }
}
