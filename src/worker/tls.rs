//! How does a connection carry TLS? A socket, a session that encrypts, and the ciphertext that the
//! socket has not taken yet.
//!
//! Must not know: HTTP, who encrypts, certificates.
//!
//! Invariants:
//! 1. No call waits. The handshake is a part of reading.
//! 2. While ciphertext waits for the socket nothing is encrypted and nothing is read: what a
//!    connection holds is bounded by [`RECORDS`] and what the session itself buffers.
//! 3. Plaintext counts as written when its last byte of ciphertext is with the kernel. Until then
//!    what was encrypted is owed: whoever writes offers it again, as after any short write.
//! 4. The end of the socket is told from the end of the session, and an abort is never made to look
//!    like either.
//! 5. Leave is taken once, behind everything that was said. After [`Tls::finish`] and [`Tls::leave`] it
//!    waits for room as anything else does. A `Tls` that is dropped without either takes it if the
//!    socket has room at that moment: else the peer sees a connection that ends without it.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::transport::{Stream, Taken};
use crate::door::{Next, Opened, Secure, Session};

/// Most plaintext that is encrypted before the socket has taken it: four full records.
const RECORDS: usize = 64 * 1024;
/// Most ciphertext taken from a peer in which there is no data. A handshake with the longest chain of
/// certificates OpenSSL accepts (100 KB) fits.
const FRUITLESS: usize = 256 * 1024;
/// The first byte of a handshake's first record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Why nothing can be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The peer speaks plain HTTP. It can be answered: what is written from here on is not encrypted.
    Plain,
    /// There was no agreement.
    Handshake(String),
    /// There was one, and the peer broke it.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Plain => write!(out, "plain HTTP where TLS is spoken"),
            Trouble::Handshake(reason) => write!(out, "the TLS handshake failed: {reason}"),
            Trouble::Broken(reason) => write!(out, "the TLS session failed: {reason}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// TLS over a socket.
#[derive(Debug)]
pub struct Tls {
    socket: Stream,
    state: Mutex<State>,
}

/// What is said on the socket.
#[derive(Debug)]
enum Speaks {
    /// Bytes as they are: before the session, or to somebody who knows no TLS.
    Clear,
    /// A session's, which is made when the peer has sent something.
    Tls(Option<Arc<dyn Session>>),
    /// Nothing more of ours. What comes is not looked at.
    Nothing,
}

#[derive(Debug)]
struct State {
    speaks: Speaks,
    secure: Arc<dyn Secure>,
    /// A socket's end is a session's end.
    ragged: bool,
    /// Ciphertext that came before it was asked for.
    early: Vec<u8>,
    /// Ciphertext on its way out, and how much of it is gone.
    out: Vec<u8>,
    sent: usize,
    /// Bytes of plaintext that are in `out` and were not said to be written.
    owed: usize,
    /// The session may have plaintext.
    more: bool,
    /// Reading stopped because the socket takes nothing.
    stalled: bool,
    /// Ciphertext taken since there was plaintext.
    fruitless: usize,
    ended: bool,
    failed: Option<Trouble>,
    /// Leave is in `out`; the socket's own end follows it.
    leaving: bool,
    /// Whoever has the connection now takes leave, or nobody does.
    silent: bool,
}

impl Tls {
    /// Nothing is encrypted yet: see [`Tls::begin`].
    pub fn new(socket: Stream, secure: &Arc<dyn Secure>, ragged: bool) -> Self {
        let state = State {
            speaks: Speaks::Clear,
            secure: Arc::clone(secure),
            ragged,
            early: Vec::new(),
            out: Vec::new(),
            sent: 0,
            owed: 0,
            more: false,
            stalled: false,
            fruitless: 0,
            ended: false,
            failed: None,
            leaving: false,
            silent: false,
        };
        Tls { socket, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket.
    pub fn socket(&self) -> &Stream {
        &self.socket
    }

    /// The socket, to be registered.
    pub fn socket_mut(&mut self) -> &mut Stream {
        &mut self.socket
    }

    /// The session begins. `first` is what the peer has sent of it already.
    pub fn begin(&self, first: &[u8]) {
        let mut state = self.state();
        state.speaks = Speaks::Tls(None);
        state.early = first.to_vec();
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<Arc<dyn Session>> {
        match &self.state().speaks {
            Speaks::Tls(session) => session.clone(),
            Speaks::Clear | Speaks::Nothing => None,
        }
    }

    /// Reads plaintext.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Taken> {
        let mut state = self.state();
        if !state.leave(&self.socket) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match state.speaks {
            Speaks::Clear | Speaks::Nothing => self.socket.read(buffer),
            Speaks::Tls(_) => state.read(&self.socket, buffer),
        }
    }

    /// Writes plaintext.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        match &state.speaks {
            Speaks::Clear => self.socket.write(slices),
            Speaks::Tls(Some(session)) => {
                let session = Arc::clone(session);
                state.write(&self.socket, &*session, slices)
            }
            Speaks::Tls(None) | Speaks::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// As [`Stream::send_file`]: a piece of the file is read and encrypted.
    pub fn send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        let mut piece = vec![0; count.min(RECORDS)];
        let read = file.read_at(&mut piece, *offset)?;
        if read == 0 {
            return Ok(0);
        }
        let sent = self.write(&[IoSlice::new(&piece[..read])])?;
        *offset += sent as u64;
        Ok(sent)
    }

    /// Sends what waits after reading had to stop for it. True: reading may go on.
    pub fn catch_up(&self) -> bool {
        let mut state = self.state();
        if state.leaving {
            return state.leave(&self.socket);
        }
        // What is wrong with the socket is said by the read that follows.
        state.stalled && state.push(&self.socket).unwrap_or(true)
    }

    /// Takes leave of the peer, and sends no more. If there is no room for it, reading goes on with it.
    pub fn finish(&self) -> io::Result<()> {
        let mut state = self.state();
        state.leaving = !state.close(&self.socket);
        if state.leaving { Ok(()) } else { self.socket.finish() }
    }

    /// Takes leave of the peer. False: that waits for room, and goes on when it is read.
    pub fn leave(&self) -> bool {
        // What is wrong with the socket does not matter any more.
        let _ = self.finish();
        !self.state().leaving
    }

    /// The connection is to be closed without a word.
    pub fn be_silent(&self) {
        self.state().silent = true;
    }

    /// Somebody else uses the session from now on. The socket waits: what is left leaves here.
    pub fn hand_over(&self) -> io::Result<()> {
        let mut state = self.state();
        state.silent = true;
        state.push(&self.socket).map(drop)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !state.silent {
            state.close(&self.socket);
        }
    }
}

impl State {
    fn read(&mut self, socket: &Stream, buffer: &mut [u8]) -> io::Result<Taken> {
        if let Some(trouble) = self.failed.take() {
            return Err(io::Error::other(trouble));
        }
        if self.ended {
            return Ok(Taken { count: 0, more: false });
        }
        self.stalled = !self.push(socket)?;
        while !self.stalled {
            let Some(Came { count, more }) = self.fetch(socket, buffer)? else { return self.torn() };
            let session = self.session(&buffer[..count])?;
            let Opened { plaintext, next } = session.open(buffer, count, &mut self.out);
            self.fruitless = if plaintext > 0 { 0 } else { self.fruitless + count };
            // An alert that cannot be sent changes nothing.
            self.stalled = !self.push(socket).unwrap_or(true);
            self.more = next == Next::More;
            let over = !matches!(next, Next::More | Next::Wants) || self.fruitless > FRUITLESS;
            let wants_more = self.more || more;
            if over {
                self.end(next);
            }
            match self.failed.take() {
                Some(trouble) if plaintext == 0 => return Err(io::Error::other(trouble)),
                failed => self.failed = failed,
            }
            if plaintext > 0 || self.ended {
                return Ok(Taken { count: plaintext, more: wants_more || over || self.stalled });
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// The socket has ended, and the peer has not taken its leave.
    fn torn(&mut self) -> io::Result<Taken> {
        if self.ragged || matches!(self.speaks, Speaks::Tls(None)) {
            self.ended = true;
            return Ok(Taken { count: 0, more: false });
        }
        self.silent = true;
        let reason = "the connection ended without a word of TLS's".to_owned();
        Err(io::Error::other(Trouble::Broken(reason)))
    }

    /// Nothing more is to be read after what was.
    fn end(&mut self, next: Next) {
        self.failed = match next {
            Next::Ended => None,
            Next::Failed { handshake: true, reason } => Some(Trouble::Handshake(reason)),
            Next::Failed { handshake: false, reason } => Some(Trouble::Broken(reason)),
            Next::More | Next::Wants => {
                Some(Trouble::Broken(format!("{FRUITLESS} bytes came without any data in them")))
            }
        };
        self.ended = self.failed.is_none();
        self.silent |= !self.ended;
    }

    /// Ciphertext for the session, into `buffer`; none while it has plaintext. `None`: it has ended.
    fn fetch(&mut self, socket: &Stream, buffer: &mut [u8]) -> io::Result<Option<Came>> {
        if self.more {
            return Ok(Some(Came { count: 0, more: true }));
        }
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.early[..count]);
            self.early.drain(..count);
            return Ok(Some(Came { count, more: true }));
        }
        let Taken { count, more } = socket.read(buffer)?;
        Ok((count > 0).then_some(Came { count, more }))
    }

    /// The session, made now if `first` is the first that came.
    fn session(&mut self, first: &[u8]) -> io::Result<Arc<dyn Session>> {
        if let Speaks::Tls(Some(session)) = &self.speaks {
            return Ok(Arc::clone(session));
        }
        if first.first().is_some_and(|byte| *byte != HANDSHAKE && is_text(*byte)) {
            self.speaks = Speaks::Clear;
            return Err(io::Error::other(Trouble::Plain));
        }
        let session = self.secure.session().map_err(|why| io::Error::other(Trouble::Handshake(why)))?;
        self.speaks = Speaks::Tls(Some(Arc::clone(&session)));
        Ok(session)
    }

    fn write(&mut self, socket: &Stream, session: &dyn Session, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
        if self.owed == 0 {
            if !self.push(socket)? {
                return Err(would_block());
            }
            let plaintext = gather(slices);
            session
                .seal(&plaintext, &mut self.out)
                .map_err(|reason| io::Error::other(Trouble::Broken(reason)))?;
            self.owed = plaintext.len();
        }
        let waiting = self.waiting();
        let done = if self.push(socket)? {
            self.owed
        } else {
            // In proportion, so that a client that takes something is seen to do so.
            let gone = (waiting - self.waiting()) as u64;
            let share = self.owed as u64 * gone / waiting as u64;
            (share as usize).min(self.owed - 1)
        };
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let done = done.min(offered);
        self.owed -= done;
        if done == 0 && offered > 0 { Err(would_block()) } else { Ok(done) }
    }

    fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends ciphertext. True: all of it is gone.
    fn push(&mut self, socket: &Stream) -> io::Result<bool> {
        while self.waiting() > 0 {
            match socket.write(&[IoSlice::new(&self.out[self.sent..])]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // Nothing is held between requests.
        (self.out, self.sent) = (Vec::new(), 0);
        Ok(true)
    }

    /// Goes on taking leave. True: there is none to take any more.
    fn leave(&mut self, socket: &Stream) -> bool {
        if self.leaving && self.push(socket).unwrap_or(true) {
            self.leaving = false;
            // A peer that is gone needs no end.
            let _ = socket.finish();
        }
        !self.leaving
    }

    /// Tells the peer that this is the end, if it can be told and was told everything before. False:
    /// the socket has no room for it now.
    fn close(&mut self, socket: &Stream) -> bool {
        let mut told = true;
        if let Speaks::Tls(Some(session)) = &self.speaks
            && self.waiting() == 0
            && self.owed == 0
            && self.failed.is_none()
        {
            session.close(&mut self.out);
            told = self.push(socket).unwrap_or(true);
        }
        if matches!(self.speaks, Speaks::Tls(_)) {
            self.speaks = Speaks::Nothing;
        }
        told
    }
}

/// What [`State::fetch`] found.
struct Came {
    count: usize,
    /// The socket may have more.
    more: bool,
}

/// What a request line in plain text may begin with; empty lines are let through before one.
fn is_text(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n')
}

/// As much as is encrypted in one go.
fn gather<'a>(slices: &'a [IoSlice<'_>]) -> Cow<'a, [u8]> {
    let mut filled = slices.iter().filter(|slice| !slice.is_empty());
    if let (Some(one), None) = (filled.next(), filled.next()) {
        return Cow::Borrowed(&one[..one.len().min(RECORDS)]);
    }
    let mut all = Vec::new();
    for slice in slices {
        let room = RECORDS - all.len();
        all.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    Cow::Owned(all)
}

#[cfg(test)]
#[path = "tests_tls.rs"]
mod tests;
