//! What has this connection sent so far? The receiving half of one connection, sans-IO.
//!
//! Must not know: sockets, buffers, deadlines, responses.

use std::ops::Range;

use super::error::Refusal;
use super::head::Head;
use super::limits::{Limits, Policy};

/// What a call of [`Connection::receive`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Nothing can be said without more bytes. Nothing was consumed.
    NeedMore,
    /// A head is complete: [`Connection::head`], its spans index the input of this call.
    Head {
        /// Bytes of the input that belong to it.
        consumed: usize,
    },
    /// Some of the body.
    Body {
        /// Bytes of the input that are dealt with, data included.
        consumed: usize,
        /// The decoded data within the input; may be empty.
        data: Range<usize>,
    },
    /// The message is complete. Bytes behind `consumed` belong to the next one.
    Complete {
        /// Bytes of the input that were the end of the message.
        consumed: usize,
    },
    /// The peer is refused: answer with this and close. Said again on every further call.
    Reject(Refusal),
}

/// What the worker sees of the state: which deadline runs, and whether the end is clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Between messages, no byte of the next one seen.
    Idle,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body,
    /// A whole message was received; [`Connection::next`] is to be called after its response.
    Complete,
    /// No further message is read.
    Closed,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub struct Connection {
    head: Head,
    phase: Phase,
}

impl Connection {
    /// A fresh connection, idle.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Connection { head: Head::new(), phase: Phase::Idle }
    }

    /// Looks at the bytes not yet consumed.
    pub fn receive(&mut self, input: &[u8], limits: &Limits, policy: &Policy, trusted: bool) -> Received {
        let _ = (input, limits, policy, trusted);
        Received::NeedMore
    }

    /// The head of the current message; of meaning after [`Received::Head`].
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The peer will send no more. Between messages, or with one complete, that is well.
    pub fn end_of_input(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    /// The response is finished and the connection persists: idle again. If the message was not
    /// complete, the connection is closed instead.
    pub fn next(&mut self) {
        self.phase = Phase::Idle;
    }

    /// No further message is read from this connection.
    pub fn close(&mut self) {
        self.phase = Phase::Closed;
    }

    /// Gives back the memory held for the next head. For connections that go idle.
    pub fn release(&mut self) {
        self.head.release();
    }
}
