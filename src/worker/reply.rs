//! What has been said of the current reply, and where do its blocks go? The worker's end of the
//! door: head and chunks become bytes here, and leave.
//!
//! Must not know: Python, timers, other connections.
//!
//! Invariants:
//! 1. A block offered with `flush` is with the kernel, or with the courier, who goes on sending,
//!    when [`Flow::More`] comes back: the application is not asked for the next one while a part
//!    of it just waits here (PEP 3333, "Buffering and Streaming").
//! 2. Never more bytes than announced; fewer end the connection (RFC 9112 section 8).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::context::Context;
use super::courier::Express;
use super::output::{DIRECT, Flushed, Output};
use super::stamp::Stamp;
use super::transport::Stream;
use crate::door::{Flow, Session, Sink};
use crate::http::response::{
    BodyFraming, CHUNK_END, Disposition, HeadError, LAST_CHUNK, RequestFacts, ResponseHead, dispose,
    encode_chunk_start, encode_head, encode_interim, insert_field,
};
use crate::system::fds;

/// Names and values of response fields, kept for the access log.
pub type KeptFields = Vec<(Box<[u8]>, Box<[u8]>)>;

/// The field by which a client is told its request's id.
pub const REQUEST_ID: &[u8] = b"X-Request-Id";

/// One reply as far as it has come.
#[derive(Debug, Default)]
pub struct Reply {
    /// How it is framed; `None` before its head was made.
    pub disposition: Option<Disposition>,
    /// Its status; 0 before its head was made.
    pub status: u16,
    /// Bytes of its body handed out, without framing.
    pub body_sent: u64,
    /// Bytes still owed of an announced length.
    owed: u64,
    /// Bytes still owed of the chunk that was begun.
    chunk_left: usize,
    /// Its end was put out.
    ended: bool,
    /// The client is gone.
    pub gone: bool,
    /// The application talks to the client itself.
    pub taken: bool,
    /// The application yielded more than it announced.
    pub overrun: bool,
    /// Environ values for the access log.
    pub environ: Vec<Option<String>>,
    /// Response fields for the access log.
    pub fields: KeptFields,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Complete; the connection may be reused.
    Reuse,
    /// Complete; the connection is to be closed.
    Close,
    /// The body is shorter than announced: the client must see a broken connection.
    Short {
        /// Bytes that are missing.
        missing: u64,
    },
    /// The client is gone.
    Gone,
    /// The connection was the application's, to its end.
    Surrendered,
}

impl Reply {
    /// Whether anything of the final response was put out.
    pub fn begun(&self) -> bool {
        self.disposition.is_some()
    }

    /// Whether its end is told by the connection's end alone.
    pub fn ends_by_closing(&self) -> bool {
        self.disposition.is_some_and(|made| made.framing == BodyFraming::UntilClose)
    }
}

/// Where the application's blocks go during one call.
pub struct ReplySink<'a> {
    /// The connection's socket.
    pub stream: &'a Stream,
    /// Its queue.
    pub output: &'a mut Output,
    /// The way for blocks that come in quick succession.
    pub express: Express<'a>,
    /// Its reply.
    pub reply: &'a mut Reply,
    /// What the request asked for.
    pub facts: RequestFacts,
    /// The request's id, to be told to the client; empty: none.
    pub request_id: &'a str,
    /// Whether the connection is to be closed whatever the client wishes.
    pub closing: bool,
    /// The worker's.
    pub context: &'a Context,
    /// The thread's.
    pub stamp: &'a mut Stamp,
    /// The thread's line on the scoreboard.
    pub thread: usize,
    /// Other replies are about to be made, and up to this time, in nanoseconds, a complete one may
    /// wait for its application's end; 0: it may not.
    pub until: u64,
}

impl ReplySink<'_> {
    /// Puts out what ends the reply, and says how it ended.
    pub fn finish(mut self) -> Ending {
        self.regain();
        if self.reply.taken && !reclaim(self.stream, self.reply, self.facts.upgrade) {
            return Ending::Surrendered;
        }
        self.put_end();
        let Some(made) = self.reply.disposition else { return Ending::Gone };
        if self.reply.gone {
            return Ending::Gone;
        }
        match made.framing {
            BodyFraming::Length(_) if self.reply.owed > 0 => Ending::Short { missing: self.reply.owed },
            BodyFraming::UntilClose => Ending::Close,
            _ if made.keep_alive && !self.reply.taken => Ending::Reuse,
            _ => Ending::Close,
        }
    }

    fn put_end(&mut self) {
        if self.reply.ended || self.reply.gone {
            return;
        }
        self.reply.ended = true;
        let chunked = self.reply.disposition.is_some_and(|made| made.framing == BodyFraming::Chunked);
        if chunked && self.reply.chunk_left == 0 {
            self.put(LAST_CHUNK);
        }
    }

    /// The rest of the reply has to wait for the client.
    pub fn park(mut self) {
        self.regain();
        if self.reply.taken {
            self.reply.gone |= !reclaim(self.stream, self.reply, self.facts.upgrade);
        }
    }

    /// The application failed.
    pub fn give_up(mut self) {
        self.regain();
    }

    /// The connection speaks another protocol now: nothing of ours may get in between.
    fn is_surrendered(&self) -> bool {
        self.reply.taken && self.facts.upgrade
    }

    /// Whether all that was announced is here.
    fn is_whole(&self) -> bool {
        let length = self.reply.disposition.map(|made| made.framing);
        matches!(length, Some(BodyFraming::Length(_))) && self.reply.owed == 0
    }

    /// Appends bytes of ours.
    fn put(&mut self, bytes: &[u8]) {
        let pushed = self.output.push(bytes, usize::MAX, &self.context.spool);
        if let Err(error) = pushed {
            self.lose(&error);
        }
    }

    /// Takes back what the courier has: when the application is done or parked, and before
    /// anything but another block is sent.
    fn regain(&mut self) {
        if let Err(error) = self.express.regain(self.output) {
            self.lose(&error);
        }
    }

    fn lose(&mut self, error: &std::io::Error) {
        tracing::debug!("Client went away: {error}");
        self.reply.gone = true;
    }

    /// How many of `len` bytes may still be sent.
    fn allowance(&mut self, len: usize) -> usize {
        match self.reply.disposition.map(|made| made.framing) {
            Some(BodyFraming::Length(_)) => {
                let allowed = self.reply.owed.min(len as u64) as usize;
                self.reply.overrun |= allowed < len;
                allowed
            }
            Some(BodyFraming::Empty) | None => 0,
            Some(BodyFraming::Chunked | BodyFraming::UntilClose) => len,
        }
    }

    fn begin_chunk(&mut self, len: usize) {
        let chunked = self.reply.disposition.is_some_and(|made| made.framing == BodyFraming::Chunked);
        if chunked && self.reply.chunk_left == 0 {
            encode_chunk_start(self.output.buffer(), len);
            self.reply.chunk_left = len;
        }
    }

    fn account(&mut self, taken: usize) {
        self.reply.body_sent += taken as u64;
        self.reply.owed = self.reply.owed.saturating_sub(taken as u64);
        self.reply.chunk_left = self.reply.chunk_left.saturating_sub(taken);
    }

    fn chunk_end(&self) -> &'static [u8] {
        match self.reply.chunk_left {
            0 => b"",
            _ => CHUNK_END,
        }
    }

    /// A block that is written from where it is.
    fn direct(&mut self, bytes: &[u8]) -> Flow {
        self.regain();
        if self.reply.gone {
            return Flow::Gone;
        }
        let after = self.chunk_end();
        let taken = match self.output.write_through(self.stream, bytes, after) {
            Ok(taken) => taken,
            Err(error) => {
                self.lose(&error);
                return Flow::Gone;
            }
        };
        self.account(taken);
        match taken == bytes.len() && self.output.is_drained() {
            true => Flow::More,
            false => Flow::Full { taken },
        }
    }

    /// A block that is copied, to leave with what is around it.
    fn copied(&mut self, bytes: &[u8], flush: bool) -> Flow {
        let after = self.chunk_end();
        let buffer = self.output.buffer();
        buffer.extend_from_slice(bytes);
        buffer.extend_from_slice(after);
        self.account(bytes.len());
        if !flush && self.output.pending() < self.context.settings.high_water {
            return Flow::More;
        }
        // The reply is whole: it may leave with those made next, once the application has ended.
        if self.until > 0 && self.is_whole() && self.express.leave(self.stream, self.output, self.until) {
            return Flow::More;
        }
        match self.express.send(self.stream, self.output) {
            Ok(Flushed::Drained) => Flow::More,
            Ok(_) => Flow::Full { taken: bytes.len() },
            Err(error) => {
                self.lose(&error);
                Flow::Gone
            }
        }
    }
}

/// Takes a connection back that the application had taken over, to finish the reply it has begun
/// all the same. False: the connection is the application's, and over with it.
pub fn reclaim(stream: &Stream, reply: &Reply, upgrade: bool) -> bool {
    !upgrade && reply.begun() && fds::set_nonblocking(stream, true).is_ok()
}

impl Sink for ReplySink<'_> {
    fn head(&mut self, head: &ResponseHead, length: Option<u64>) -> Result<(), HeadError> {
        if self.is_surrendered() {
            self.reply.status = head.status();
            let framing = BodyFraming::Empty;
            self.reply.disposition = Some(Disposition { framing, announced: None, keep_alive: false });
            return Ok(());
        }
        head.permitted_for(&self.facts)?;
        // Asked again: the application may have taken long.
        let closing = self.closing || self.context.is_draining();
        let made = dispose(&self.facts, head, length, closing);
        self.stamp.refresh();
        let server = &self.context.settings.server_header;
        let start = self.output.buffer().len();
        encode_head(self.output.buffer(), self.facts.version, head, &made, self.stamp.date(), server);
        let named = |(name, _): (&[u8], &[u8])| name.eq_ignore_ascii_case(REQUEST_ID);
        if !self.request_id.is_empty() && !head.fields().any(named) {
            insert_field(self.output.buffer(), start, REQUEST_ID, self.request_id.as_bytes());
        }
        self.reply.status = head.status();
        if let BodyFraming::Length(length) = made.framing {
            self.reply.owed = length;
        }
        self.reply.disposition = Some(made);
        self.context.note_fields(head, &mut self.reply.fields);
        Ok(())
    }

    fn head_sent(&self) -> bool {
        self.reply.begun()
    }

    fn block(&mut self, bytes: &[u8], flush: bool) -> Flow {
        if self.reply.gone {
            return Flow::Gone;
        }
        if flush {
            self.context.progress(self.thread);
        }
        let allowed = self.allowance(bytes.len());
        if allowed == 0 {
            return Flow::Gone;
        }
        if self.output.has_overflow() {
            match self.output.flush(self.stream) {
                Ok(Flushed::Drained) => {}
                Ok(_) => return Flow::Full { taken: 0 },
                Err(error) => {
                    self.lose(&error);
                    return Flow::Gone;
                }
            }
        }
        self.begin_chunk(allowed);
        let wanted = &bytes[..allowed];
        let flow = if allowed >= DIRECT { self.direct(wanted) } else { self.copied(wanted, flush) };
        match flow {
            Flow::More if allowed < bytes.len() => Flow::Gone,
            Flow::More if self.output.is_enough(allowed) => Flow::Full { taken: allowed },
            other => other,
        }
    }

    fn end(&mut self) {
        if self.express.has_left() {
            self.reply.ended = true;
            return;
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        self.regain();
        self.put_end();
        if !self.reply.gone
            && let Err(error) = self.output.flush(self.stream)
        {
            self.lose(&error);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        if self.reply.gone || self.reply.ended {
            return false;
        }
        self.regain();
        self.context.progress(self.thread);
        let allowed = self.allowance(bytes.len());
        if allowed == 0 {
            return true;
        }
        let most = self.context.settings.high_water;
        let mut start = Vec::new();
        if self.reply.disposition.is_some_and(|made| made.framing == BodyFraming::Chunked) {
            encode_chunk_start(&mut start, allowed);
            self.reply.chunk_left = allowed;
        }
        let after = self.chunk_end();
        self.account(allowed);
        let pushed = [&start[..], &bytes[..allowed], after]
            .into_iter()
            .try_for_each(|part| self.output.push(part, most, &self.context.spool))
            .and_then(|()| self.output.flush(self.stream));
        if let Err(error) = pushed {
            self.lose(&error);
        }
        !self.reply.gone
    }

    fn file(&mut self, file: OwnedFd, offset: u64, len: u64) {
        self.regain();
        let len = self.allowance(usize::try_from(len).unwrap_or(usize::MAX)) as u64;
        if len > 0 {
            self.output.put_file(file, offset, len);
            self.account(len as usize);
        }
    }

    fn connection(&mut self) -> io::Result<OwnedFd> {
        fds::duplicate(self.stream)
    }

    fn session(&self) -> Option<Arc<dyn Session>> {
        self.stream.session()
    }

    fn take_over(&mut self) {
        self.regain();
        self.reply.taken = true;
        self.closing = true;
        self.context.row.exempt(self.thread);
        // The handle shares the open socket: Python expects calls on it to wait.
        let ours = fds::set_nonblocking(self.stream, false).and_then(|()| self.stream.hand_over());
        if let Err(error) = ours {
            self.lose(&error);
        }
    }

    fn interim(&mut self, head: &ResponseHead) {
        if self.is_surrendered()
            || self.reply.begun()
            || self.facts.version < crate::http::head::Version::Http11
        {
            return;
        }
        encode_interim(self.output.buffer(), head);
        if let Err(error) = self.output.flush(self.stream) {
            self.lose(&error);
        }
    }

    fn logged_environ(&mut self, values: Vec<Option<String>>) {
        self.reply.environ = values;
    }
}
