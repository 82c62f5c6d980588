//! What is a worker born with, and what the status process?
//!
//! Everything that crosses from the master to a new child, and the two pipes between them.
//! Must not know what either side does with it. There is no other protocol between processes
//! but signals and exit codes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ledger::Ledger;
use super::scoreboard::Row;
use crate::system::fds;
use crate::system::listener::Listener;

/// A worker's place in the server: handed to it in the forked child, by value.
#[derive(Debug)]
pub struct Seat {
    /// Which slot of the master's table.
    pub slot: usize,
    /// Which configuration and code it was born under.
    pub generation: u32,
    /// The listening sockets, this process's own handles.
    pub listeners: Vec<Listener>,
    /// Its row on the scoreboard.
    pub row: Row,
    /// Those of the other slots, as far as they were there when it was born.
    pub others: Vec<Row>,
    /// One way to the master: "I serve", "look at my row".
    pub bell: Bell,
    /// The master's life.
    pub lifeline: Lifeline,
    /// The master's process id.
    pub master: i32,
}

/// The status process's place: handed to it in the forked child, by value.
#[derive(Debug)]
pub struct Desk {
    /// Where it answers.
    pub listeners: Vec<Listener>,
    /// The workers' sockets, whose queues it watches. Given up when the master says so: a handle
    /// left open would keep them listening.
    pub watched: Vec<Listener>,
    /// The scoreboard.
    pub rows: Vec<Row>,
    /// The master's page.
    pub ledger: Ledger,
    /// The master's life.
    pub lifeline: Lifeline,
    /// The master's process id.
    pub master: i32,
}

/// The worker's end of the boot pipe.
#[derive(Debug)]
pub struct Bell(OwnedFd);

/// What a [`Bell`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// The application is loaded and the loop takes connections.
    Booted,
    /// Something in the row wants the master's attention ([`Row::set_wants_retire`]).
    Look,
}

impl Bell {
    /// A pipe: the master's read end and the worker's bell.
    pub fn new() -> io::Result<(OwnedFd, Bell)> {
        let (read, write) = fds::pipe()?;
        Ok((read, Bell(write)))
    }

    /// The bell that was made in another process.
    pub fn adopt(fd: OwnedFd) -> Bell {
        Bell(fd)
    }

    /// Tells the master that this worker serves.
    pub fn booted(&self) -> io::Result<()> {
        self.ring(b'B')
    }

    /// Asks the master to look at the row.
    pub fn look(&self) -> io::Result<()> {
        self.ring(b'L')
    }

    fn ring(&self, byte: u8) -> io::Result<()> {
        match nix::unistd::write(&self.0, &[byte]) {
            // A full pipe means the master has plenty to read already.
            Ok(_) | Err(nix::Error::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads what was rung; empty when nothing was. `None`: the worker's end is closed for good.
pub fn hear(pipe: BorrowedFd<'_>) -> Option<Vec<Ring>> {
    let mut heard = Vec::new();
    let mut buffer = [0u8; 64];
    loop {
        match nix::unistd::read(pipe, &mut buffer) {
            Ok(0) => return (!heard.is_empty()).then_some(heard),
            Ok(count) => heard.extend(buffer.iter().take(count).filter_map(|byte| match byte {
                b'B' => Some(Ring::Booted),
                b'L' => Some(Ring::Look),
                _ => None,
            })),
            Err(nix::Error::EINTR) => {}
            Err(_) => return Some(heard),
        }
    }
}

/// A descriptor that becomes readable (end of file) when the master is gone, however it went.
/// Nothing is ever written: register it for reading and drain out when it fires.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

impl Lifeline {
    /// A pipe: the lifeline and the end the master holds as long as it lives.
    pub fn new() -> io::Result<(Lifeline, OwnedFd)> {
        let (read, write) = fds::pipe()?;
        Ok((Lifeline(read), write))
    }

    /// A second handle.
    pub fn duplicate(&self) -> io::Result<Lifeline> {
        Ok(Lifeline(fds::duplicate(&self.0)?))
    }

    /// Whether the master is gone.
    pub fn is_cut(&self) -> bool {
        matches!(nix::unistd::read(&self.0, &mut [0; 1]), Ok(0))
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bells_are_heard_in_order_and_closing_is_told_apart() {
        let (read, bell) = Bell::new().unwrap();
        assert_eq!(hear(read.as_fd()), Some(vec![]));
        bell.booted().unwrap();
        bell.look().unwrap();
        assert_eq!(hear(read.as_fd()), Some(vec![Ring::Booted, Ring::Look]));
        bell.look().unwrap();
        drop(bell);
        assert_eq!(hear(read.as_fd()), Some(vec![Ring::Look]));
        assert_eq!(hear(read.as_fd()), None);
    }

    #[test]
    fn a_lifeline_is_cut_when_the_master_lets_go() {
        let (lifeline, held) = Lifeline::new().unwrap();
        let second = lifeline.duplicate().unwrap();
        assert!(!lifeline.is_cut());
        drop(held);
        assert!(lifeline.is_cut() && second.is_cut());
    }
}
