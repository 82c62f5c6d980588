//! How is a response framed, and does the connection live on? RFC 9112 sections 6.1 to 6.3 and
//! 9.3, RFC 9110 sections 8.6 and 15.
//!
//! Must not know: bytes, the application.
//!
//! Invariants:
//! 1. The end of every response can be told by its client: by a length, by the chunked coding,
//!    by having no body at all, or by the end of a connection that is then not kept.
//! 2. Transfer-Encoding goes to no HTTP/1.0 client, into no 1xx, 204, 205 or 304, no answer to
//!    HEAD, and no 2xx to CONNECT.
//! 3. 1xx and 204 have no Content-Length, a 2xx to CONNECT neither.

use super::head::{Head, Version};
use super::response::ResponseHead;

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
    let keep_alive = request.wants_keep_alive && !request.must_close && !closing && !head.wants_close();
    let status = head.status();
    let given = head.content_length();
    // RFC 9112 section 6.3 rule 1.
    if matches!(status, 0..=100 | 102..=199 | 204) {
        return Disposition { framing: BodyFraming::Empty, announced: None, keep_alive };
    }
    // RFC 9112 section 6.3 rule 2, and RFC 9110 section 7.8: what follows is not HTTP.
    if (request.is_connect && (200..=299).contains(&status)) || status == 101 {
        let framing =
            if status == 101 && !request.upgrade { BodyFraming::Empty } else { BodyFraming::UntilClose };
        return Disposition { framing, announced: None, keep_alive: false };
    }
    // RFC 9110 section 15.3.6: no content, but its end has to be seen.
    if status == 205 {
        let framing = if request.is_head { BodyFraming::Empty } else { BodyFraming::Length(0) };
        return Disposition { framing, announced: Some(0), keep_alive };
    }
    // RFC 9110 section 15.4.5: the length of what a 200 would have held, which only the
    // application knows.
    if status == 304 {
        return Disposition { framing: BodyFraming::Empty, announced: given, keep_alive };
    }
    // RFC 9110 section 8.6: the length the answer to GET would have. An application that yields
    // nothing to HEAD has said nothing about it.
    if request.is_head {
        let announced = given.or(known_length.filter(|&length| length > 0));
        return Disposition { framing: BodyFraming::Empty, announced, keep_alive };
    }
    with_body(request, given, known_length, keep_alive)
}

/// RFC 9112 section 6.3 rules 4, 6 and 8.
fn with_body(
    request: &RequestFacts,
    given: Option<u64>,
    known_length: Option<u64>,
    keep_alive: bool,
) -> Disposition {
    if let Some(length) = given.or(known_length) {
        // A body known to fall short can only be ended by the end of the connection.
        let short = known_length.is_some_and(|known| known < length);
        let framing = BodyFraming::Length(length);
        return Disposition { framing, announced: Some(length), keep_alive: keep_alive && !short };
    }
    match request.version {
        Version::Http11 => Disposition { framing: BodyFraming::Chunked, announced: None, keep_alive },
        Version::Http10 => {
            Disposition { framing: BodyFraming::UntilClose, announced: None, keep_alive: false }
        }
    }
}
