//! What does a thread do with one connection? Everything from the first byte of a request to the
//! last of its reply, as far as it goes without waiting.
//!
//! The straight path of a small request is one read, one parse, one call, one write: the head is
//! parsed where it was read, the reply leaves from a buffer the thread lends.
//!
//! Must not know: which other connections there are, how threads take turns (the crew does).
//!
//! Invariants:
//! 1. No call here waits for a peer. Whoever waits is a connection in a stage with a deadline.
//! 2. The application is entered only with the crew's leave, and never from inside parsing.
//! 3. When [`Hand::advance`] returns, the connection's stage says what it waits for.

use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

use super::conn::{After, Conn, Stage};
use super::context::Context;
use super::courier::Parcel;
use super::crew::{Company, Crew};
use super::deadlines;
use super::intake::{Intake, Piece};
use super::marks::IdMaker;
use super::output::{Flushed, Spares};
use super::pace::Pace;
use super::refuse;
use super::stamp::Stamp;
use crate::door::Proxied;
use crate::http::connection::Received;
use crate::http::encode::CONTINUE;
use crate::http::error::Refusal;
use crate::http::head::BodyLength;
use crate::http::proxy_protocol::{self, Source};

/// Requests served in a row from one connection before others get their turn.
const TURNS: usize = 16;

/// A thread's tools.
pub struct Hand<'a> {
    /// The worker's.
    pub context: &'a Context,
    /// Which thread this is.
    pub index: usize,
    /// Its clock.
    pub stamp: Stamp,
    /// The buffers it lends to replies.
    pub spare: Spares,
    /// Makes ids of requests.
    pub ids: IdMaker,
    /// What its reply gives to the courier.
    pub parcel: Arc<Parcel>,
    /// Who else waits for a turn.
    pub company: Company,
    /// Somebody should look after replies that do not leave at once.
    pub wants_keeper: bool,
    /// The connection is one of several that are served together.
    pub in_row: bool,
    /// How fast the application is.
    pub pace: Pace,
    /// What all its connections are read into.
    pub intake: Intake,
}

/// Whether a stage has run out of things to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits: for the socket, a deadline, or the crew.
    Wait,
    /// The stage has changed: look again.
    Again,
    /// There is more to do, but others come first.
    Yield,
}

impl<'a> Hand<'a> {
    /// The tools of thread `index`.
    pub fn new(context: &'a Context, index: usize) -> Self {
        Hand {
            context,
            index,
            stamp: Stamp::new(),
            spare: Spares::default(),
            ids: IdMaker::new(index),
            parcel: context.courier.parcel(),
            company: Company::default(),
            wants_keeper: false,
            in_row: false,
            pace: Pace::new(),
            intake: Intake::new(),
        }
    }

    /// Takes the connection as far as it goes. True: it wants another turn.
    pub fn advance(&mut self, conn: &mut Conn, crew: &Arc<Crew>) -> bool {
        self.stamp.tick();
        self.go_through(conn, crew)
    }

    /// The same, as of the last reading of the clock.
    pub fn go_through(&mut self, conn: &mut Conn, crew: &Arc<Crew>) -> bool {
        let served = conn.requests;
        let mut release = true;
        loop {
            let turn = match conn.stage {
                Stage::Announcing => self.announced(conn),
                Stage::Receiving => self.receive(conn, crew),
                Stage::Ready => self.start(conn, crew),
                Stage::Replying(_) => self.go_on(conn, crew),
                Stage::Flushing(after) => self.flush(conn, after),
                Stage::Held(after) if release => self.release(conn, after),
                Stage::Held(_) => Turn::Wait,
                Stage::Lingering => self.linger(conn),
                Stage::Closed => Turn::Wait,
            };
            // What this turn holds back another one lets go.
            release = false;
            match turn {
                Turn::Again
                    if conn.requests - served >= TURNS as u64 && !matches!(conn.stage, Stage::Held(_)) =>
                {
                    return true;
                }
                Turn::Again => {}
                Turn::Yield => return true,
                Turn::Wait => {
                    self.rest(conn);
                    return false;
                }
            }
        }
    }

    /// The connection waits: its deadline is set.
    #[inline]
    fn rest(&self, conn: &mut Conn) {
        deadlines::set(conn, &self.context.settings, self.stamp.now_ms);
        if self.context.is_draining() {
            deadlines::hasten(conn, self.stamp.now_ms);
        }
    }

    /// Sends a held reply, as of the last reading of the clock, and does no more: others wait for theirs.
    /// True: the connection wants another turn.
    pub fn send_held(&mut self, conn: &mut Conn) -> bool {
        let Stage::Held(after) = conn.stage else { return true };
        let done = self.release(conn, after) == Turn::Wait
            || matches!(conn.stage, Stage::Receiving) && !conn.readable && !conn.undigested && !conn.ended
            || matches!(conn.stage, Stage::Closed);
        if done {
            self.rest(conn);
        }
        !done
    }

    /// Reads what is there. Where it is in the buffer, empty at the end; `None`: nothing new.
    fn fill(&mut self, conn: &mut Conn) -> io::Result<Option<Range<usize>>> {
        if !conn.readable && !conn.stream.catch_up() {
            return Ok(None);
        }
        match self.intake.read(&conn.stream) {
            Ok(Piece { range, .. }) if range.is_empty() => {
                conn.readable = false;
                conn.ended = true;
                Ok(Some(range))
            }
            Ok(Piece { range, more }) => {
                conn.readable = more || conn.hung_up;
                Ok(Some(range))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.readable = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self, conn: &mut Conn, crew: &Arc<Crew>) -> Turn {
        if !conn.input.is_empty() && conn.undigested {
            conn.undigested = false;
            let input = mem::take(&mut conn.input);
            let (used, turn) = self.digest(conn, &input, crew);
            keep(conn, input, used);
            if turn != Turn::Wait {
                return turn;
            }
        }
        if conn.ended {
            return refuse::ended(self, conn);
        }
        match self.fill(conn) {
            Ok(None) => Turn::Wait,
            Ok(Some(range)) if range.is_empty() => Turn::Again,
            Ok(Some(range)) if conn.input.is_empty() => {
                let lent = self.intake.buffer();
                let buffer = lent.borrow();
                let data = &buffer[range];
                let (used, turn) = self.digest(conn, data, crew);
                if used < data.len() && !matches!(conn.stage, Stage::Closed | Stage::Lingering) {
                    conn.input.extend_from_slice(&data[used..]);
                    conn.undigested = turn != Turn::Wait;
                }
                if turn == Turn::Wait && conn.readable { Turn::Again } else { turn }
            }
            Ok(Some(range)) => {
                conn.input.extend_from_slice(&self.intake.buffer().borrow()[range]);
                conn.undigested = true;
                Turn::Again
            }
            Err(error) => {
                refuse::broken(self, conn, &error);
                Turn::Again
            }
        }
    }

    /// Gives bytes to the protocol. Returns how many were used, and `Wait` when it needs more.
    fn digest(&mut self, conn: &mut Conn, data: &[u8], crew: &Arc<Crew>) -> (usize, Turn) {
        let settings = &self.context.settings;
        let mut used = 0;
        let mut head: Option<Range<usize>> = None;
        let mut body = 0..0;
        loop {
            let input = &data[used..];
            match conn.http.receive(input, &settings.limits, &settings.policy, conn.trusted) {
                Received::NeedMore => {
                    if let Some(head) = head {
                        conn.head = data[head].to_vec();
                    }
                    return (used, Turn::Wait);
                }
                Received::Head { consumed } => {
                    head = Some(used..used + consumed);
                    used += consumed;
                    if let Err(turn) = self.begin(conn, data.len() > used) {
                        return (data.len(), turn);
                    }
                }
                Received::Body { consumed, data: range } => {
                    let piece = used + range.start..used + range.end;
                    used += consumed;
                    if let Err(turn) = self.keep_body(conn, data, &piece) {
                        return (data.len(), turn);
                    }
                    body = piece;
                }
                Received::Complete { consumed } => {
                    used += consumed;
                    let bytes = match head {
                        Some(head) => &data[head],
                        None => &mem::take(&mut conn.head),
                    };
                    let body = data.get(body).unwrap_or_default();
                    let Some(_permit) = crew.enter() else {
                        conn.head = bytes.to_vec();
                        conn.body.store(body);
                        conn.marks.ready_ms = self.stamp.now_ms;
                        conn.stage = Stage::Ready;
                        return (used, Turn::Again);
                    };
                    // What follows this request is kept before the reply can ask whether it is there.
                    let more = data.len() > used;
                    conn.undigested |= more;
                    self.run(conn, bytes, body);
                    return (used, Turn::Again);
                }
                Received::Reject(refusal) => {
                    match head {
                        Some(head) => conn.head = data[head].to_vec(),
                        None => conn.input = conn.http.head().so_far(input).to_vec(),
                    }
                    refuse::peer(self, conn, &refusal);
                    return (data.len(), Turn::Again);
                }
            }
        }
    }

    /// A head is complete: the request begins.
    fn begin(&mut self, conn: &mut Conn, more: bool) -> Result<(), Turn> {
        conn.requests += 1;
        conn.body_began = self.stamp.now_ms;
        let head = conn.http.head();
        if !head.same_fields {
            conn.memo = 0;
        }
        if head.expects_continue && !more {
            conn.output.lend(&mut self.spare);
            conn.output.buffer().extend_from_slice(CONTINUE);
            if conn.output.flush(&conn.stream).is_err() {
                conn.stage = Stage::Closed;
                return Err(Turn::Again);
            }
        }
        Ok(())
    }

    /// Keeps a piece of a body; or leaves it where it is, if it is all of it.
    fn keep_body(&mut self, conn: &mut Conn, data: &[u8], piece: &Range<usize>) -> Result<(), Turn> {
        let settings = &self.context.settings;
        let expected = match conn.http.head().body {
            BodyLength::Length(length) => Some(length),
            _ => None,
        };
        let piece = data.get(piece.clone()).unwrap_or_default();
        if conn.body.pass(piece, expected, settings.spool_threshold) {
            return Ok(());
        }
        let kept = conn.body.push(piece, expected, settings.spool_threshold, &self.context.spool);
        kept.map_err(|error| {
            refuse::no_room(self, conn, &error);
            Turn::Again
        })
    }

    /// A stored request may enter the application.
    fn start(&mut self, conn: &mut Conn, crew: &Arc<Crew>) -> Turn {
        let Some(_permit) = crew.enter() else {
            conn.wants_in = true;
            return Turn::Wait;
        };
        conn.wants_in = false;
        let bytes = mem::take(&mut conn.head);
        self.run(conn, &bytes, &[]);
        Turn::Again
    }

    /// Sends what waits, then lets the application go on.
    fn go_on(&mut self, conn: &mut Conn, crew: &Arc<Crew>) -> Turn {
        if conn.output.yields() {
            return Turn::Yield;
        }
        match conn.output.flush(&conn.stream) {
            Ok(Flushed::Blocked) => return Turn::Wait,
            Ok(Flushed::Yielded) => return Turn::Yield,
            Ok(Flushed::Drained) => {}
            Err(error) => {
                tracing::debug!("Client {} went away: {error}", conn.peer_name());
                self.lost(conn);
                return Turn::Again;
            }
        }
        let Some(_permit) = crew.enter() else {
            conn.wants_in = true;
            return Turn::Wait;
        };
        conn.wants_in = false;
        self.resume(conn);
        Turn::Again
    }

    fn flush(&mut self, conn: &mut Conn, after: After) -> Turn {
        match conn.output.flush(&conn.stream) {
            Ok(Flushed::Blocked) => Turn::Wait,
            Ok(Flushed::Yielded) => Turn::Yield,
            Ok(Flushed::Drained) => {
                let bytes = mem::take(&mut conn.head);
                self.conclude(conn, after, &bytes);
                Turn::Again
            }
            Err(error) => {
                tracing::debug!("Client {} went away: {error}", conn.peer_name());
                self.lost(conn);
                Turn::Again
            }
        }
    }

    /// Throws away what a client that was told the end still sends.
    fn linger(&mut self, conn: &mut Conn) -> Turn {
        match self.fill(conn) {
            Ok(None) => Turn::Wait,
            Ok(Some(range)) if !range.is_empty() => Turn::Yield,
            Ok(Some(_)) | Err(_) => {
                conn.stage = Stage::Closed;
                Turn::Again
            }
        }
    }

    /// Reads the PROXY header.
    fn announced(&mut self, conn: &mut Conn) -> Turn {
        let Some(mode) = self.context.settings.proxy else {
            conn.stage = Stage::Receiving;
            return Turn::Again;
        };
        match self.fill(conn) {
            Ok(None) => return Turn::Wait,
            Ok(Some(range)) => conn.input.extend_from_slice(&self.intake.buffer().borrow()[range]),
            Err(_) => {
                conn.stage = Stage::Closed;
                return Turn::Again;
            }
        }
        match proxy_protocol::parse(&conn.input, mode) {
            Ok(None) if conn.ended => conn.stage = Stage::Closed,
            Ok(None) => return if conn.readable { Turn::Again } else { Turn::Wait },
            Ok(Some((source, consumed))) => self.believe(conn, source, consumed),
            Err(refusal) => refuse::peer(self, conn, &refusal),
        }
        Turn::Again
    }

    fn believe(&mut self, conn: &mut Conn, source: Source, consumed: usize) {
        let allowed = self.context.settings.proxy_allowed.trusts(conn.peer);
        if source != Source::Absent && !allowed {
            let refusal = Refusal::new(crate::http::error::RefusalKind::ProxyForbidden);
            return refuse::peer(self, conn, &refusal);
        }
        let proxied = match source {
            Source::Absent => None,
            Source::Peer(protocol) => Some(Proxied { protocol, destination: None }),
            Source::Client { source, destination } => {
                conn.endpoint.remote_addr = source.ip().to_canonical().to_string().into();
                conn.endpoint.remote_port = Some(source.port());
                let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                Some(Proxied { protocol, destination: Some(destination) })
            }
        };
        conn.endpoint.proxied = proxied.map(Box::new);
        conn.input.drain(..consumed);
        if conn.stream.begin_tls(&conn.input) {
            conn.input = Vec::new();
            // What the session was given is read from it before anything else.
            conn.readable = true;
        }
        conn.undigested = !conn.input.is_empty();
        conn.stage = Stage::Receiving;
    }
}

/// Keeps what was not used of `input`.
fn keep(conn: &mut Conn, mut input: Vec<u8>, used: usize) {
    if used >= input.len() {
        return;
    }
    input.drain(..used);
    conn.undigested = conn.undigested || used > 0;
    conn.input = input;
}
