//! How does the server secure a connection? Ciphertext goes in and plaintext comes out, and the other
//! way round.
//!
//! Must not know: sockets, certificates, who encrypts.
//!
//! Invariants:
//! 1. No call waits for a peer.
//! 2. What a call appends to `out` has to reach the peer, in order.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Makes sessions: certificate, key, and what clients have to show.
pub trait Secure: Send + Sync + fmt::Debug {
    /// The server's end of a new session. The error is a line for the log.
    fn session(&self) -> Result<Arc<dyn Session>, String>;
}

/// One TLS session, from its handshake on.
pub trait Session: Send + Sync + fmt::Debug {
    /// Takes ciphertext from the peer, the first `came` bytes of `buffer`, and puts plaintext in its
    /// place. Of a socket's end a session is told nothing: it could not answer any more.
    fn open(&self, buffer: &mut [u8], came: usize, out: &mut Vec<u8>) -> Opened;
    /// Takes all of this plaintext.
    fn seal(&self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), String>;
    /// Takes leave, if there ever was a session.
    fn close(&self, out: &mut Vec<u8>);
    /// Itself, for who made it.
    fn any(&self) -> &dyn Any;
}

/// What came of [`Session::open`].
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of plaintext at the start of the buffer.
    pub plaintext: usize,
    /// How it goes on.
    pub next: Next,
}

/// How a session goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// There was no room for all of the plaintext.
    More,
    /// It needs more ciphertext.
    Wants,
    /// The peer has taken its leave.
    Ended,
    /// It is over: why.
    Failed {
        /// It had not begun yet.
        handshake: bool,
        /// A line for the log.
        reason: String,
    },
}
