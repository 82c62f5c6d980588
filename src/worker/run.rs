//! How does one complete request become a reply, and what follows it?
//!
//! Must not know: how the request was received, how threads take turns.
//!
//! Invariants:
//! 1. Every request that began ends in exactly one of `conclude` and `lost`: one access line, one count.
//! 2. The scoreboard shows a request as running exactly while the application has it.

use std::io;
use std::mem;

use super::access;
use super::body::BodyStore;
use super::conn::{After, Conn, Stage, Waiting};
use super::courier::Express;
use super::hand::{Hand, Turn};
use super::output::Flushed;
use super::pace::BRISK_NS;
use super::refuse;
use super::reply::{self, Ending, REQUEST_ID, Reply, ReplySink};
use super::trust;
use crate::door::{Exchange, Resumed, Step};
use crate::http::head::Head;
use crate::http::response::{RequestFacts, insert_field};

/// Most bytes of a reply that is held back.
const HELD_MOST: usize = 16 * 1024;

impl Hand<'_> {
    /// Runs the application for the complete request in `conn`, whose head is `bytes`; `passed` is
    /// its body, where that was not stored.
    pub(super) fn run(&mut self, conn: &mut Conn, bytes: &[u8], passed: &[u8]) {
        self.clock_in(conn);
        if !self.admits(conn, bytes) {
            return;
        }
        conn.output.lend(&mut self.spare);
        let closing = self.closing(conn);
        let head = conn.http.head();
        let source = head.source(bytes);
        let body = match conn.body.hand_over(passed) {
            Ok(body) => body,
            Err(error) => return self.unreadable(conn, bytes, &error),
        };
        let mut exchange = Exchange {
            head,
            bytes: source,
            endpoint: &conn.endpoint,
            body,
            request_id: &conn.marks.id,
            queued: conn.marks.queued,
            closing,
            number: conn.requests,
            thread: self.index,
            memo: &mut conn.memo,
        };
        let mut sink = ReplySink {
            stream: &conn.stream,
            output: &mut conn.output,
            express: Express::new(&self.context.courier, &self.parcel),
            reply: &mut conn.reply,
            facts: RequestFacts::of(head),
            request_id: &conn.marks.id,
            closing,
            context: self.context,
            stamp: &mut self.stamp,
            thread: self.index,
            until: if self.company.kept { conn.started + BRISK_NS } else { 0 },
        };
        self.context.row.begin(self.index, sink.stamp.now_ms, request_line(head, source));
        let step = self.context.app.call(&mut exchange, &mut sink);
        self.context.row.end(self.index);
        sink.stamp.tick();
        self.pace.note(sink.stamp.now_ns.saturating_sub(conn.started));
        conn.marks.app_ns = self.context.spent_since(conn.started);
        match step {
            Step::Done => {
                let ending = sink.finish();
                self.settle(conn, ending, bytes);
            }
            Step::Failed => {
                sink.give_up();
                self.failed(conn, bytes);
            }
            Step::Parked(reply) => {
                sink.park();
                conn.head = bytes.to_vec();
                conn.stage = Stage::Replying(reply);
            }
        }
    }

    /// The request begins: the turn did a moment ago, or the request before has just ended. Only where
    /// a body came first that took its time is the clock read again.
    fn clock_in(&mut self, conn: &mut Conn) {
        if !matches!(conn.body, BodyStore::Empty | BodyStore::Passing(_)) {
            self.stamp.tick();
        }
        conn.started = self.stamp.now_ns;
    }

    /// Whether the request may enter the application; if not, its peer was told.
    fn admits(&mut self, conn: &mut Conn, bytes: &[u8]) -> bool {
        let decided = trust::decide(&self.context.settings, conn, bytes);
        self.mark(conn, bytes);
        if let Err(refusal) = &decided {
            conn.head = bytes.to_vec();
            refuse::peer(self, conn, refusal);
        }
        decided.is_ok()
    }

    fn unreadable(&mut self, conn: &mut Conn, bytes: &[u8], error: &io::Error) {
        tracing::error!("Cannot read back a request body: {error}");
        conn.head = bytes.to_vec();
        refuse::with_page(self, conn, 500, "The server cannot read the request body");
    }

    /// Lets a parked reply go on.
    pub(super) fn resume(&mut self, conn: &mut Conn) {
        let Stage::Replying(mut parked) = mem::replace(&mut conn.stage, Stage::Closed) else { return };
        let closing = self.closing(conn);
        self.stamp.tick();
        let entered = self.stamp.now_ns;
        let head = conn.http.head();
        let mut sink = ReplySink {
            stream: &conn.stream,
            output: &mut conn.output,
            express: Express::new(&self.context.courier, &self.parcel),
            reply: &mut conn.reply,
            facts: RequestFacts::of(head),
            request_id: &conn.marks.id,
            closing,
            context: self.context,
            stamp: &mut self.stamp,
            thread: self.index,
            until: 0,
        };
        let since = self.context.clock_ns();
        let line = request_line(head, head.source(&conn.head));
        self.context.row.begin(self.index, sink.stamp.now_ms, line);
        let resumed = parked.resume(self.index, &mut sink);
        self.context.row.end(self.index);
        sink.stamp.tick();
        self.pace.note(sink.stamp.now_ns.saturating_sub(entered));
        conn.marks.app_ns += self.context.spent_since(since);
        match resumed {
            Resumed::Parked => {
                sink.park();
                conn.stage = Stage::Replying(parked);
            }
            Resumed::Done => {
                let ending = sink.finish();
                let bytes = mem::take(&mut conn.head);
                self.settle(conn, ending, &bytes);
            }
            Resumed::Failed => {
                sink.give_up();
                let bytes = mem::take(&mut conn.head);
                self.failed(conn, &bytes);
            }
        }
    }

    /// Notes what is wanted of the request before the application sees it.
    fn mark(&mut self, conn: &mut Conn, bytes: &[u8]) {
        let head = conn.http.head();
        let source = head.source(bytes);
        if conn.trusted {
            conn.marks.note_queue(head, source);
        }
        if self.context.settings.request_id {
            conn.marks.identify(&mut self.ids, conn.trusted, head, source);
        }
    }

    /// Whether the connection is closed after this reply, whatever the client wishes.
    fn closing(&self, conn: &Conn) -> bool {
        let settings = &self.context.settings;
        conn.ended
            || settings.keepalive.is_none()
            || settings.keepalive_requests.is_some_and(|most| conn.requests >= most)
            || self.context.is_draining()
    }

    fn settle(&mut self, conn: &mut Conn, ending: Ending, bytes: &[u8]) {
        conn.handed_over |= conn.reply.taken;
        let after = match ending {
            Ending::Surrendered => return self.surrender(conn, bytes),
            Ending::Gone => {
                conn.head = bytes.to_vec();
                return self.lost(conn);
            }
            Ending::Reuse => After::Reuse,
            Ending::Close if conn.input.is_empty() && !conn.undigested && !conn.readable => After::Close,
            Ending::Close => After::Linger,
            Ending::Short { missing } => {
                tracing::error!(
                    "The reply to {} is {missing} bytes shorter than its Content-Length",
                    name(conn.http.head(), bytes)
                );
                After::Abort
            }
        };
        if conn.reply.overrun {
            tracing::warn!(
                "The reply to {} is longer than its Content-Length: cut",
                name(conn.http.head(), bytes)
            );
        }
        self.leave(conn, after, bytes);
    }

    /// The application had the connection, and is done with it: there is nothing left to say.
    fn surrender(&mut self, conn: &mut Conn, bytes: &[u8]) {
        if conn.reply.status == 0 {
            conn.reply.status = 101;
        }
        self.stamp.tick();
        self.account(conn, bytes);
        conn.stage = Stage::Closed;
    }

    /// The application failed; it is logged already.
    fn failed(&mut self, conn: &mut Conn, bytes: &[u8]) {
        conn.handed_over |= conn.reply.taken;
        let upgrade = conn.http.head().upgrade;
        if conn.reply.taken && !reply::reclaim(&conn.stream, &conn.reply, upgrade) {
            return self.surrender(conn, bytes);
        }
        if conn.reply.begun() {
            if conn.reply.ends_by_closing() {
                conn.stream.abort_on_close();
            }
            return self.leave(conn, After::Abort, bytes);
        }
        let overdue = self.context.row.was_raised(self.index);
        self.page(conn, if overdue { 504 } else { 500 }, "");
        self.leave(conn, After::Linger, bytes);
    }

    /// Sends what is left now if the socket takes it: the straight path ends here. The clock was read
    /// when the reply was complete.
    pub(super) fn leave(&mut self, conn: &mut Conn, after: After, bytes: &[u8]) {
        let spent = self.stamp.now_ns.saturating_sub(conn.started);
        if spent <= BRISK_NS && self.company.others && self.waits(conn, after) {
            self.account(conn, bytes);
            conn.stage = Stage::Held(after);
            return;
        }
        // A small reply is gone before the clock has moved by much: it is not read again.
        let small = conn.output.is_buffered() && conn.output.pending() <= HELD_MOST;
        match conn.output.flush(&conn.stream) {
            Ok(Flushed::Drained) => {
                if !small {
                    self.stamp.tick();
                }
                self.account(conn, bytes);
                self.follow(conn, after);
            }
            Ok(Flushed::Blocked | Flushed::Yielded) => {
                conn.head = bytes.to_vec();
                conn.stage = Stage::Flushing(after);
            }
            Err(error) => {
                tracing::debug!("Client {} went away: {error}", conn.peer_name());
                conn.head = bytes.to_vec();
                self.lost(conn);
            }
        }
    }

    /// Whether a reply is better sent together with the next ones. Each one sent by itself wakes its
    /// receiver, which goes back to sleep before the next is made: that costs more than the sending.
    /// Not where the application is so fast that the receiver stays awake, unless all are served in a
    /// row; nor where it is so slow that nobody can tell when the next reply is made.
    fn waits(&mut self, conn: &Conn, after: After) -> bool {
        // The keeper, which needs no interpreter, could not encrypt it.
        let together = if self.in_row { self.pace.row() > 1 } else { self.pace.is_drowsy() };
        if !together || !conn.stream.is_plain() {
            return false;
        }
        self.wants_keeper = !self.company.kept;
        let sound = after != After::Abort && !conn.handed_over && !conn.undigested;
        sound
            && self.company.kept
            && conn.output.is_buffered()
            && (1..=HELD_MOST).contains(&conn.output.pending())
            && !self.context.is_draining()
    }

    /// Lets a held reply leave.
    pub(super) fn release(&mut self, conn: &mut Conn, after: After) -> Turn {
        match conn.output.flush(&conn.stream) {
            Ok(Flushed::Blocked | Flushed::Yielded) => return Turn::Wait,
            Ok(Flushed::Drained) => self.follow(conn, after),
            Err(error) => {
                tracing::debug!("Client {} went away: {error}", conn.peer_name());
                conn.stage = Stage::Closed;
            }
        }
        Turn::Again
    }

    /// The reply is with the kernel.
    pub(super) fn conclude(&mut self, conn: &mut Conn, after: After, bytes: &[u8]) {
        self.stamp.tick();
        self.account(conn, bytes);
        self.follow(conn, after);
    }

    fn follow(&mut self, conn: &mut Conn, after: After) {
        conn.waiting = Waiting::Nothing;
        conn.stage = match after {
            After::Reuse => Stage::Receiving,
            After::Close if conn.stream.leave() => Stage::Closed,
            After::Close => Stage::Lingering,
            After::Abort => Stage::Closed,
            After::Linger => match conn.stream.finish() {
                Ok(()) => Stage::Lingering,
                Err(_) => Stage::Closed,
            },
        };
        if matches!(conn.stage, Stage::Receiving) {
            conn.http.next();
        } else {
            conn.http.close();
            conn.input = Vec::new();
        }
        conn.output.reclaim(&mut self.spare);
    }

    /// The client went away before its reply was complete.
    pub(super) fn lost(&mut self, conn: &mut Conn) {
        if matches!(conn.stage, Stage::Held(_)) {
            conn.stage = Stage::Closed;
            return;
        }
        if let Stage::Replying(reply) = mem::replace(&mut conn.stage, Stage::Closed) {
            reply.abandon();
        }
        let bytes = mem::take(&mut conn.head);
        self.stamp.tick();
        self.account(conn, &bytes);
    }

    /// The exchange is over, as of the last reading of the clock.
    fn account(&mut self, conn: &mut Conn, bytes: &[u8]) {
        access::record(self.context, &mut self.stamp, self.index, conn, bytes);
        conn.reply = Reply::default();
        conn.marks.clear();
        conn.started = 0;
        conn.body = BodyStore::Empty;
        self.context.count_request();
    }

    /// Puts out an error page in place of a reply.
    pub(super) fn page(&mut self, conn: &mut Conn, status: u16, text: &str) {
        self.stamp.refresh();
        conn.output.lend(&mut self.spare);
        let server = &self.context.settings.server_header;
        let is_head = conn.http.head().is_head;
        let buffer = conn.output.buffer();
        let start = buffer.len();
        crate::http::response::refusal(buffer, status, text, self.stamp.date(), server, is_head);
        if !conn.marks.id.is_empty() {
            insert_field(buffer, start, REQUEST_ID, conn.marks.id.as_bytes());
        }
        conn.reply.status = status;
    }
}

/// Method and target as they stand in the head.
fn request_line<'b>(head: &Head, bytes: &'b [u8]) -> &'b [u8] {
    bytes.get(head.method.start as usize..head.target.end()).unwrap_or_default()
}

/// The request for a log line.
fn name(head: &Head, bytes: &[u8]) -> String {
    crate::log::escape(request_line(head, head.source(bytes))).to_string()
}
