//! What do the master and a mold say to each other?
//!
//! A mold is a process that has the application loaded and forks workers from itself. Between
//! it and the master runs a line: a socket pair that keeps messages apart (SOCK_SEQPACKET).
//! Every message is three words of 32 bits, in this machine's order:
//!
//! | From | Message | Words | Descriptors |
//! |---|---|---|---|
//! | master | order | [`ORDER`], slot, lines of the row | the bell, the row, the listeners |
//! | mold | ready | [`READY`], 0, 0 | |
//! | mold | forked | [`FORKED`], slot, process id | |
//! | mold | failed | [`FAILED`], slot, errno | |
//!
//! Each order is answered by "forked" or "failed", or by the mold's death. A worker does not
//! begin to live before "forked" was sent for it: nobody lives whom the master has not heard of.
//! The mold ends when the master closes its end.
//!
//! Must not know when a worker is ordered, nor how it is made.
//!
//! Invariants:
//! 1. Everything a worker is born with comes with its order. So the mold keeps no listener
//!    open, and rows and listeners may be made after it was born.
//! 2. Neither side is ever kept waiting by a send: a full line is an error.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

use crate::metrics::scoreboard::Row;
use crate::metrics::seat::Bell;
use crate::system::listener::Listener;
use crate::system::raw;

const ORDER: u32 = 1;
const READY: u32 = 2;
const FORKED: u32 = 3;
const FAILED: u32 = 4;
const BYTES: usize = 12;

/// One end of a line.
#[derive(Debug)]
pub struct Line(OwnedFd);

/// A worker to be forked.
#[derive(Debug)]
pub struct Order {
    /// For this slot.
    pub slot: usize,
    /// Its bell.
    pub bell: Bell,
    /// Its row on the scoreboard.
    pub row: Row,
    /// Its listening sockets, in the order of its generation's addresses.
    pub sockets: Vec<OwnedFd>,
}

/// What a mold reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The application is loaded: orders are taken.
    Ready,
    /// The worker ordered for this slot lives, as the master's child.
    Forked { slot: usize, pid: i32 },
    /// It could not be forked.
    Failed { slot: usize, errno: i32 },
}

/// What came over the line.
#[derive(Debug)]
pub enum Heard<T> {
    /// A message.
    Said(T),
    /// No more for now.
    Nothing,
    /// The other side is gone.
    Closed,
}

impl Line {
    /// Both ends.
    pub fn pair() -> io::Result<(Line, Line)> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        Ok((Line(one), Line(other)))
    }

    /// The master orders a worker.
    pub fn order(&self, slot: usize, row: &Row, bell: &Bell, listeners: &[Listener]) -> io::Result<()> {
        let row_file = row.file().ok_or(io::ErrorKind::Unsupported)?;
        let passed = [bell.as_fd().as_raw_fd(), row_file.as_raw_fd()].into_iter();
        let passed: Vec<RawFd> = passed.chain(listeners.iter().map(|at| at.as_fd().as_raw_fd())).collect();
        self.send([ORDER, number(slot)?, number(row.threads())?], &passed)
    }

    /// The mold reports.
    pub fn report(&self, report: Report) -> io::Result<()> {
        let words = match report {
            Report::Ready => [READY, 0, 0],
            Report::Forked { slot, pid } => [FORKED, number(slot)?, pid.cast_unsigned()],
            Report::Failed { slot, errno } => [FAILED, number(slot)?, errno.cast_unsigned()],
        };
        self.send(words, &[])
    }

    /// The mold takes an order.
    pub fn take_order(&self) -> io::Result<Heard<Order>> {
        let (words, passed) = match self.receive()? {
            Heard::Said(message) => message,
            Heard::Nothing => return Ok(Heard::Nothing),
            Heard::Closed => return Ok(Heard::Closed),
        };
        let mut passed = passed.into_iter();
        let ([ORDER, slot, lines], Some(bell), Some(row)) = (words, passed.next(), passed.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let row = Row::adopt(row, lines as usize)?;
        Ok(Heard::Said(Order {
            slot: slot as usize,
            bell: Bell::adopt(bell),
            row,
            sockets: passed.collect(),
        }))
    }

    /// The master takes a report.
    pub fn take_report(&self) -> io::Result<Heard<Report>> {
        let words = match self.receive()? {
            Heard::Said((words, _)) => words,
            Heard::Nothing => return Ok(Heard::Nothing),
            Heard::Closed => return Ok(Heard::Closed),
        };
        match words {
            [READY, ..] => Ok(Heard::Said(Report::Ready)),
            [FORKED, slot, pid] => {
                Ok(Heard::Said(Report::Forked { slot: slot as usize, pid: pid.cast_signed() }))
            }
            [FAILED, slot, errno] => {
                Ok(Heard::Said(Report::Failed { slot: slot as usize, errno: errno.cast_signed() }))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn send(&self, words: [u32; 3], passed: &[RawFd]) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let rights = [ControlMessage::ScmRights(passed)];
        let control = if passed.is_empty() { &rights[..0] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&bytes)], control, flags, None)?;
        Ok(())
    }

    fn receive(&self) -> io::Result<Heard<([u32; 3], Vec<OwnedFd>)>> {
        let mut bytes = [0; BYTES];
        let (length, passed) = loop {
            match raw::receive(self.0.as_fd(), &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Heard::Closed),
                received => break received?,
            }
        };
        match length {
            0 => Ok(Heard::Closed),
            BYTES => {
                let word =
                    |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
                Ok(Heard::Said(([word(0), word(4), word(8)], passed)))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn number(value: usize) -> io::Result<u32> {
    u32::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::seat::{Ring, hear};
    use crate::system::listener::Address;
    use std::net::TcpListener;

    #[test]
    fn an_order_brings_all_a_worker_is_born_with() {
        let (master, mold) = Line::pair().unwrap();
        assert!(matches!(mold.take_order().unwrap(), Heard::Nothing));
        let (hears, bell) = Bell::new().unwrap();
        let row = Row::new(3).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(socket.into(), Address::Tcp(address));
        master.order(7, &row, &bell, &[listener]).unwrap();
        drop(bell);
        let Heard::Said(order) = mold.take_order().unwrap() else { unreachable!("it was sent") };
        assert_eq!((order.slot, order.row.threads(), order.sockets.len()), (7, 3, 1));
        order.row.enter(4711);
        order.bell.booted().unwrap();
        assert_eq!(row.pid(), 4711);
        assert_eq!(hear(hears.as_fd()), Some(vec![Ring::Booted]));
        let passed = TcpListener::from(order.sockets.into_iter().next().unwrap());
        assert_eq!(passed.local_addr().unwrap(), address);
        drop(order.bell);
        assert_eq!(hear(hears.as_fd()), None);
    }

    #[test]
    fn reports_arrive_in_order_and_the_end_is_told() {
        let (master, mold) = Line::pair().unwrap();
        let said = [
            Report::Ready,
            Report::Forked { slot: 3, pid: 99 },
            Report::Failed { slot: 4, errno: libc::EAGAIN },
        ];
        for report in said {
            mold.report(report).unwrap();
        }
        drop(mold);
        for report in said {
            assert!(matches!(master.take_report().unwrap(), Heard::Said(heard) if heard == report));
        }
        assert!(matches!(master.take_report().unwrap(), Heard::Closed));
        let (_, bell) = Bell::new().unwrap();
        assert!(master.order(0, &Row::new(1).unwrap(), &bell, &[]).is_err());
    }
}
