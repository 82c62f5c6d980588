//! What does the application answer, and how is its body framed? RFC 9110 section 8.6,
//! RFC 9112 section 6, PEP 3333.
//!
//! Must not know: sockets, the clock, Python.

use std::fmt;

pub use super::encode::*;
use super::head::{Head, Version};

/// The application broke the rules for a response head; it is to blame (500).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// The status is not `NNN` or `NNN reason` with 200 to 999, or has control characters.
    Status(Box<str>),
    /// A 1xx status that cannot be a final response.
    Interim(u16),
    /// A name that is no token.
    Name(Box<str>),
    /// A value with control characters; the field's name.
    Value(Box<str>),
    /// A Content-Length that is no number; its value.
    ContentLength(Box<str>),
    /// Two Content-Length fields with different values.
    ContentLengthRepeated,
    /// 101 to a request that did not ask for it, or without an Upgrade field.
    Switch,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::Status(text) => write!(f, "invalid response status '{text}'"),
            HeadError::Interim(status) => write!(f, "status {status} is not a final response"),
            HeadError::Name(name) => write!(f, "invalid response header name '{name}'"),
            HeadError::Value(name) => write!(f, "invalid value of response header '{name}'"),
            HeadError::ContentLength(value) => write!(f, "invalid Content-Length '{value}'"),
            HeadError::ContentLengthRepeated => write!(f, "several Content-Length headers that differ"),
            HeadError::Switch => write!(f, "status 101 without an upgrade the client asked for"),
        }
    }
}

impl std::error::Error for HeadError {}

/// A response head, validated as it is filled. Reused from response to response.
#[derive(Debug, Default, Clone)]
pub struct ResponseHead {
    status: u16,
    status_text: Vec<u8>,
    encoded: Vec<u8>,
    content_length: Option<u64>,
    has_date: bool,
    has_server: bool,
    wants_close: bool,
    upgrade: Option<Box<[u8]>>,
}

impl ResponseHead {
    /// An empty head: status 0 until [`ResponseHead::start`].
    pub fn new() -> Self {
        ResponseHead::default()
    }

    /// Sets the status, `NNN` or `NNN reason`, and forgets everything set before: with `exc_info`
    /// the new headers replace the old ones.
    pub fn start(&mut self, status: &[u8]) -> Result<(), HeadError> {
        let _ = status;
        Ok(())
    }

    /// As [`ResponseHead::start`], for an interim response: 103.
    pub fn start_interim(&mut self) {
        self.clear();
    }

    /// Adds a field. Hop-by-hop fields are the server's and are left out.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let _ = (name, value);
        Ok(())
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
    }

    /// The status; 0 before [`ResponseHead::start`].
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Status and reason, as in `200 OK`.
    pub fn status_text(&self) -> &[u8] {
        &self.status_text
    }

    /// The application's Content-Length.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The application asked for `Connection: close`.
    pub fn wants_close(&self) -> bool {
        self.wants_close
    }

    /// The fields that will be sent as the application gave them, in order, for logs. Without
    /// Content-Length: see [`ResponseHead::content_length`].
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }

    /// Whether this head may answer that request: 101 needs an upgrade on both sides.
    pub fn permitted_for(&self, request: &RequestFacts) -> Result<(), HeadError> {
        let _ = request;
        Ok(())
    }

    pub(super) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(super) fn has_date(&self) -> bool {
        self.has_date
    }

    pub(super) fn has_server(&self) -> bool {
        self.has_server
    }

    pub(super) fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.as_deref()
    }
}

/// What has to be known of a request to frame its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// The version it came in.
    pub version: Version,
    /// HEAD: no body follows.
    pub is_head: bool,
    /// CONNECT: a 2xx has no framing.
    pub is_connect: bool,
    /// The client is ready for another request on this connection.
    pub wants_keep_alive: bool,
    /// The connection must not persist.
    pub must_close: bool,
    /// The client asked for an upgrade.
    pub upgrade: bool,
}

impl RequestFacts {
    /// The facts of a parsed head.
    pub fn of(head: &Head) -> Self {
        RequestFacts {
            version: head.version,
            is_head: head.is_head,
            is_connect: head.is_connect,
            wants_keep_alive: head.wants_keep_alive,
            must_close: head.must_close,
            upgrade: head.upgrade,
        }
    }
}

/// How the bytes behind the head are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// So many bytes: more are cut, fewer end the connection.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Until the connection closes.
    UntilClose,
    /// No body, whatever the application yields.
    Empty,
}

/// How a response is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition {
    /// How the body is framed.
    pub framing: BodyFraming,
    /// The Content-Length to announce; with [`BodyFraming::Empty`] that of the body left out.
    pub announced: Option<u64>,
    /// Whether the connection persists after this response, if all goes well.
    pub keep_alive: bool,
}

/// Decides how a response is sent. `known_length` is the body's length where it is known
/// beforehand; `closing`: the server will not read another request.
pub fn dispose(
    request: &RequestFacts,
    head: &ResponseHead,
    known_length: Option<u64>,
    closing: bool,
) -> Disposition {
    let _ = (request, head, known_length, closing);
    Disposition { framing: BodyFraming::UntilClose, announced: None, keep_alive: false }
}

/// The standard reason phrase; empty for a status we do not know.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        _ => "",
    }
}
