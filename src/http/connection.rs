//! What has this connection sent so far? The receiving half of one connection, sans-IO.
//!
//! Must not know: sockets, buffers, deadlines, responses.
//!
//! # Theory of operation
//!
//! The caller owns the bytes. It reads, calls [`Connection::receive`] with everything not yet
//! consumed, takes away what was consumed, and calls again until it is told [`Received::NeedMore`]
//! or [`Received::Complete`]. Then the response is sent; [`Connection::next`] starts over, and
//! bytes that were left, a pipelined request, are given to `receive` again. A response may also be
//! sent before the message is complete: if the rest is not taken, the connection must be closed.
//!
//! | Phase | Entered | Holds | Left | Deadline of |
//! |---|---|---|---|---|
//! | Idle | new, or `next` after a complete message | nothing | with the first byte that is no empty line | keep-alive |
//! | Head | a byte has come | how far the head was read | head complete, or refused | head |
//! | Body | a head with a body | what is left of it, or the chunked decoder | body complete, or refused | body |
//! | Complete | the message's last byte | nothing more | `next`, `close` | the response |
//! | Closed | a refusal, `close`, the peer's end, `next` too early | the refusal | never | lingering |
//!
//! Invariants:
//! 1. However the bytes are cut, the same events come in the same order with the same data.
//! 2. A byte is consumed once; bytes behind a complete message are never looked at before `next`.
//! 3. After a refusal no byte of this connection is interpreted again.

use std::ops::Range;

use super::chunked::ChunkedDecoder;
use super::error::{Refusal, RefusalKind};
use super::head::{BodyLength, Head, Parsed};
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
    /// Between messages, nothing but empty lines of the next one seen.
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

/// The states of the table above, with what they hold.
#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Head,
    Length(u64),
    /// Boxed: most connections never need it.
    Chunked(Box<ChunkedDecoder>),
    Complete,
    Closed(Option<Refusal>),
}

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub struct Connection {
    head: Head,
    state: State,
}

impl Connection {
    /// A fresh connection, idle.
    pub fn new() -> Self {
        Connection::default()
    }

    /// Looks at the bytes not yet consumed.
    pub fn receive(&mut self, input: &[u8], limits: &Limits, policy: &Policy, trusted: bool) -> Received {
        match &mut self.state {
            State::Idle if input.is_empty() => Received::NeedMore,
            State::Idle | State::Head => self.receive_head(input, limits, policy, trusted),
            State::Length(_) | State::Chunked(_) if input.is_empty() => Received::NeedMore,
            State::Length(left) => {
                let run = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= run as u64;
                if *left == 0 {
                    self.state = State::Complete;
                }
                Received::Body { consumed: run, data: 0..run }
            }
            State::Chunked(decoder) => match decoder.decode(input, limits) {
                Ok(found) if found.done => {
                    self.state = State::Complete;
                    Received::Complete { consumed: found.consumed }
                }
                Ok(found) => Received::Body { consumed: found.consumed, data: found.data },
                Err(refusal) => self.reject(refusal),
            },
            State::Complete => Received::Complete { consumed: 0 },
            State::Closed(Some(refusal)) => Received::Reject(refusal.clone()),
            State::Closed(None) => Received::NeedMore,
        }
    }

    fn receive_head(&mut self, input: &[u8], limits: &Limits, policy: &Policy, trusted: bool) -> Received {
        match self.head.parse(input, limits, policy, trusted) {
            Ok(Parsed::NeedMore) => {
                // Empty lines are no request: some clients end a body with one more CRLF.
                self.state = if self.head.is_blank() { State::Idle } else { State::Head };
                Received::NeedMore
            }
            Ok(Parsed::Complete) => {
                self.state = match self.head.body {
                    BodyLength::None | BodyLength::Length(0) => State::Complete,
                    BodyLength::Length(length) => State::Length(length),
                    BodyLength::Chunked => State::Chunked(Box::default()),
                };
                Received::Head { consumed: self.head.len }
            }
            Err(refusal) => self.reject(refusal),
        }
    }

    fn reject(&mut self, refusal: Refusal) -> Received {
        self.state = State::Closed(Some(refusal.clone()));
        Received::Reject(refusal)
    }

    /// The head of the current message; of meaning after [`Received::Head`]. After a refusal its
    /// method, target and version are set as far as they could be told apart.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the connection stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Head => Phase::Head,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Complete => Phase::Complete,
            State::Closed(_) => Phase::Closed,
        }
    }

    /// The peer will send no more. Between messages, or with one complete, that is well; the
    /// connection is then closed for reading, and a complete message may still be answered.
    /// Inside a message it is a refusal (RFC 9112 section 8).
    pub fn end_of_input(&mut self) -> Result<(), Refusal> {
        let kind = match self.state {
            State::Complete => return Ok(()),
            State::Idle | State::Closed(None) => {
                self.state = State::Closed(None);
                return Ok(());
            }
            State::Closed(Some(ref refusal)) => return Err(refusal.clone()),
            State::Head => RefusalKind::IncompleteHead,
            State::Length(_) | State::Chunked(_) => RefusalKind::IncompleteBody,
        };
        let refusal = Refusal::new(kind);
        self.state = State::Closed(Some(refusal.clone()));
        Err(refusal)
    }

    /// The response is finished and the connection persists: idle again. If the message was not
    /// complete, the connection is closed instead: where the next one starts is not known.
    pub fn next(&mut self) {
        self.state = match self.state {
            State::Idle | State::Complete => {
                self.head.clear();
                State::Idle
            }
            _ => State::Closed(None),
        };
    }

    /// No further message is read from this connection.
    pub fn close(&mut self) {
        if !matches!(self.state, State::Closed(_)) {
            self.state = State::Closed(None);
        }
    }

    /// Gives back the memory held for the next head. For connections that go idle; inside a
    /// message it does nothing.
    pub fn release(&mut self) {
        if matches!(self.state, State::Idle | State::Closed(_)) {
            self.head.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(connection: &mut Connection, input: &[u8]) -> Received {
        connection.receive(input, &Limits::default(), &Policy::default(), false)
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_request_without_a_body() {
        let mut connection = Connection::new();
        assert_eq!(receive(&mut connection, b""), Received::NeedMore);
        assert_eq!(connection.phase(), Phase::Idle);
        assert_eq!(receive(&mut connection, &GET[..5]), Received::NeedMore);
        assert_eq!(connection.phase(), Phase::Head);
        let pipelined = [GET, GET].concat();
        assert_eq!(receive(&mut connection, &pipelined), Received::Head { consumed: GET.len() });
        assert_eq!(connection.phase(), Phase::Complete);
        assert_eq!(receive(&mut connection, GET), Received::Complete { consumed: 0 });
        connection.next();
        assert_eq!(connection.phase(), Phase::Idle);
        assert_eq!(receive(&mut connection, GET), Received::Head { consumed: GET.len() });
    }

    #[test]
    fn a_body_with_a_length() {
        let mut connection = Connection::new();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(receive(&mut connection, head), Received::Head { consumed: head.len() });
        assert_eq!(connection.phase(), Phase::Body);
        assert_eq!(receive(&mut connection, b""), Received::NeedMore);
        assert_eq!(receive(&mut connection, b"he"), Received::Body { consumed: 2, data: 0..2 });
        assert_eq!(receive(&mut connection, b"lloGET"), Received::Body { consumed: 3, data: 0..3 });
        assert_eq!(receive(&mut connection, b"GET"), Received::Complete { consumed: 0 });
    }

    #[test]
    fn a_chunked_body() {
        let mut connection = Connection::new();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(receive(&mut connection, head), Received::Head { consumed: head.len() });
        let body = b"5\r\nhello\r\n0\r\n\r\nGET";
        assert_eq!(receive(&mut connection, body), Received::Body { consumed: 8, data: 3..8 });
        assert_eq!(receive(&mut connection, &body[8..]), Received::Complete { consumed: 7 });
        assert_eq!(connection.phase(), Phase::Complete);
    }

    #[test]
    fn a_refusal_lasts() {
        let mut connection = Connection::new();
        let Received::Reject(first) = receive(&mut connection, b"\x16\x03\x01") else {
            panic!("not refused")
        };
        assert_eq!(first.status, 400);
        assert_eq!(receive(&mut connection, GET), Received::Reject(first));
        connection.next();
        assert_eq!(receive(&mut connection, GET), Received::NeedMore);
        assert_eq!(connection.phase(), Phase::Closed);
    }

    #[test]
    fn the_end_is_clean_only_between_messages() {
        let mut connection = Connection::new();
        assert_eq!(connection.end_of_input(), Ok(()));
        assert_eq!(connection.phase(), Phase::Closed);

        let mut connection = Connection::new();
        receive(&mut connection, &GET[..5]);
        assert_eq!(
            connection.end_of_input().map_err(|refusal| refusal.kind),
            Err(RefusalKind::IncompleteHead)
        );

        let mut connection = Connection::new();
        receive(&mut connection, GET);
        assert_eq!(connection.end_of_input(), Ok(()));
        assert_eq!(connection.phase(), Phase::Complete);

        for body in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            let mut connection = Connection::new();
            receive(&mut connection, format!("POST / HTTP/1.1\r\nHost: a\r\n{body}\r\n\r\n").as_bytes());
            let kind = connection.end_of_input().map_err(|refusal| refusal.kind);
            assert_eq!(kind, Err(RefusalKind::IncompleteBody), "{body}");
        }
    }

    #[test]
    fn next_inside_a_message_closes() {
        let mut connection = Connection::new();
        receive(&mut connection, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        connection.next();
        assert_eq!(connection.phase(), Phase::Closed);
    }

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() < 512, "{} bytes", size_of::<Connection>());
        let mut connection = Connection::new();
        receive(&mut connection, GET);
        connection.next();
        connection.release();
        assert_eq!(connection.head.fields.capacity(), 0);
    }
}
