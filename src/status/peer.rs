//! What has one client sent and taken so far?
//!
//! One request, one answer, and the end: whoever asks again in fifteen seconds does not need the
//! connection until then.
//!
//! Must not know: other clients, what a page says.
//!
//! Invariants:
//! 1. Every stage has a deadline, set when it is entered and not moved by what the peer does.
//! 2. After the answer nothing is read as a request; it is only thrown away, so that the client
//!    reads our last words instead of a reset.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use socket2::Socket;

use super::answer::{self, Page};
use super::gather;
use crate::http::connection::{Connection, Received};
use crate::http::date;
use crate::http::encode;
use crate::http::limits::{Limits, Policy};
use crate::metrics::seat::Desk;
use crate::system::clock::{self, Moment};

/// For a whole request.
const ASKING: Duration = Duration::from_secs(5);
/// For a whole answer.
const TELLING: Duration = Duration::from_secs(5);
/// For the client's end of the connection.
const LEAVING: Duration = Duration::from_secs(1);
/// The value of the Server header.
const SERVER: &[u8] = b"rwsgi";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Entered on accept; leaves with a complete request or its refusal.
    Asking,
    /// Entered with an answer; leaves when the socket has taken it.
    Telling,
    /// Entered when our side is finished; leaves with the client's.
    Leaving,
    /// To be dropped.
    Over,
}

/// A client.
#[derive(Debug)]
pub struct Peer {
    socket: Socket,
    http: Connection,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    stage: Stage,
    deadline: Moment,
}

impl Peer {
    /// A client that was just accepted.
    pub fn new(socket: Socket, now: Moment) -> Peer {
        Peer {
            socket,
            http: Connection::new(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            stage: Stage::Asking,
            deadline: now + ASKING,
        }
    }

    /// What it waits for.
    pub fn interest(&self) -> PollFlags {
        match self.stage {
            Stage::Telling => PollFlags::POLLOUT,
            Stage::Asking | Stage::Leaving | Stage::Over => PollFlags::POLLIN,
        }
    }

    /// When it has waited long enough.
    pub fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether it is to be dropped.
    pub fn is_over(&self, now: Moment) -> bool {
        self.stage == Stage::Over || now >= self.deadline
    }

    /// Takes it as far as it goes without waiting.
    pub fn serve(&mut self, desk: &Desk, limits: &Limits, now: Moment) {
        if self.stage == Stage::Asking {
            self.ask(desk, limits, now);
        }
        if self.stage == Stage::Telling {
            self.tell(now);
        }
        if self.stage == Stage::Leaving {
            self.leave();
        }
    }

    /// Reads what is there; what a head may be at most bounds what is kept.
    fn ask(&mut self, desk: &Desk, limits: &Limits, now: Moment) {
        let mut buffer = [0; 4096];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return self.stage = Stage::Over,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return self.stage = Stage::Over,
            }
            if self.receive(desk, limits) {
                self.stage = Stage::Telling;
                self.deadline = now + TELLING;
                return;
            }
        }
    }

    /// True: there is an answer.
    fn receive(&mut self, desk: &Desk, limits: &Limits) -> bool {
        let mut used = 0;
        let mut head = 0;
        loop {
            match self.http.receive(&self.input[used..], limits, &Policy::default(), false) {
                Received::NeedMore if head > 0 => {
                    // No page takes a body, and a peer that wants to send one is not waited for.
                    self.refuse(413, "A request here has no body");
                    return true;
                }
                Received::NeedMore => return false,
                Received::Head { consumed } => {
                    used += consumed;
                    head = consumed;
                }
                Received::Body { consumed, .. } => used += consumed,
                Received::Complete { .. } => {
                    self.answer(desk, head);
                    return true;
                }
                Received::Reject(refusal) => {
                    self.refuse(refusal.status, &refusal.to_string());
                    return true;
                }
            }
        }
    }

    fn answer(&mut self, desk: &Desk, length: usize) {
        let bytes = self.input.get(..length).unwrap_or_default();
        let head = self.http.head();
        let page = Page::of(head, head.source(bytes));
        let answer = answer::answer(page, &|| gather::report(desk));
        let now = date::format(clock::unix_ms() / 1_000);
        answer.encode(&mut self.output, head, &now, SERVER);
        self.http.close();
    }

    fn refuse(&mut self, status: u16, text: &str) {
        let now = date::format(clock::unix_ms() / 1_000);
        let is_head = self.http.head().is_head;
        encode::refusal(&mut self.output, status, text, &now, SERVER, is_head);
        self.http.close();
    }

    fn tell(&mut self, now: Moment) {
        while self.sent < self.output.len() {
            match (&self.socket).write(&self.output[self.sent..]) {
                Ok(0) => return self.stage = Stage::Over,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.stage = Stage::Over,
            }
        }
        self.output = Vec::new();
        self.stage = match self.socket.shutdown(Shutdown::Write) {
            Ok(()) => Stage::Leaving,
            Err(_) => Stage::Over,
        };
        self.deadline = now + LEAVING;
    }

    fn leave(&mut self) {
        let mut buffer = [0; 4096];
        // Bounded: who sends without end does so until the deadline, in turns.
        for _ in 0..16 {
            match (&self.socket).read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return self.stage = Stage::Over,
            }
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
