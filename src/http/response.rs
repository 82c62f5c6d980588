//! What does the application answer? A response head, checked as it is filled. PEP 3333,
//! RFC 9110 sections 5, 7.6.1 and 15.
//!
//! Must not know: sockets, the clock, Python, the request. How a body is framed is
//! [`disposition`](super::disposition)'s to decide, the bytes are [`encode`](super::encode)'s.
//!
//! Invariants:
//! 1. What is stored can be sent as it is: names are tokens, values have no control characters,
//!    so that no application can split a response.
//! 2. No hop-by-hop field is stored: they are the server's (PEP 3333). The wish to close is kept.
//! 3. At most one Content-Length, Date and Server.
//! 4. What is taken over from the response before is what would be made of it again.

use std::fmt;

pub use super::disposition::{BodyFraming, Disposition, RequestFacts, dispose};
pub use super::encode::*;
use super::error::escape;
use super::fields::{elements, is_token, is_value, trim};
use super::framing::decimal;
use super::previous::Previous;
pub use super::status::reason;

/// Bytes of a response head's buffer kept for the next one.
const KEPT: usize = 64 * 1024;

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
            HeadError::Status(text) => {
                write!(f, "invalid response status '{text}': expected 'NNN reason', 200 to 999")
            }
            HeadError::Interim(status) => write!(f, "response status {status} is not a final one"),
            HeadError::Name(name) => write!(f, "invalid response header name '{name}'"),
            HeadError::Value(name) => {
                write!(f, "invalid value of response header '{name}': control characters")
            }
            HeadError::ContentLength(value) => {
                write!(f, "invalid value of response header 'Content-Length': '{value}'")
            }
            HeadError::ContentLengthRepeated => {
                write!(f, "several response headers 'Content-Length' that differ")
            }
            HeadError::Switch => {
                write!(f, "response status 101 without an upgrade the client asked for")
            }
        }
    }
}

impl std::error::Error for HeadError {}

/// A response head, validated as it is filled. Reused from response to response.
#[derive(Debug, Default, Clone)]
pub struct ResponseHead {
    status: u16,
    status_text: Vec<u8>,
    /// The status that `status_text` was made of, with its code, for as long as it is given again.
    given: (Vec<u8>, u16),
    /// `Name: value` CRLF, again and again; behind `len` that of the response before.
    encoded: Vec<u8>,
    len: usize,
    previous: Previous<Made>,
    noted: Noted,
}

/// What the fields so far say that matters for the framing, or may stand once only.
#[derive(Debug, Default, Clone)]
struct Noted {
    content_length: Option<u64>,
    has_date: bool,
    has_server: bool,
    wants_close: bool,
    upgrade: Option<Box<[u8]>>,
}

/// What was made of a field: what it is, and how long the encoded fields are with it.
#[derive(Debug, Clone, Copy)]
struct Made {
    special: Special,
    len: usize,
}

impl ResponseHead {
    /// An empty head: status 0 until [`ResponseHead::start`].
    pub fn new() -> Self {
        ResponseHead::default()
    }

    /// Sets the status, `NNN` or `NNN reason`, and forgets everything set before: with `exc_info`
    /// the new headers replace the old ones. A missing reason is filled in where it is known.
    pub fn start(&mut self, status: &[u8]) -> Result<(), HeadError> {
        self.clear();
        if self.given.1 != 0 && self.given.0 == status {
            self.status = self.given.1;
            return Ok(());
        }
        self.given.1 = 0;
        let invalid = || HeadError::Status(escape(status).into_boxed_str());
        let (digits, phrase) = status.split_at_checked(3).ok_or_else(invalid)?;
        let well_formed = matches!(phrase, [] | [b' ', ..]) && is_value(phrase);
        let code = decimal(digits).filter(|_| well_formed).ok_or_else(invalid)?;
        let code = u16::try_from(code).map_err(|_| invalid())?;
        match code {
            101 | 200..=999 => {}
            100..=199 => return Err(HeadError::Interim(code)),
            _ => return Err(invalid()),
        }
        self.set_status(code, trim(phrase));
        self.given.0.clear();
        if status.len() <= KEPT {
            self.given.0.extend_from_slice(status);
            self.given.1 = code;
        }
        Ok(())
    }

    /// As [`ResponseHead::start`] with the status it was given last. False: there is none; start.
    pub fn start_again(&mut self) -> bool {
        self.clear();
        self.status = self.given.1;
        self.status != 0
    }

    /// As [`ResponseHead::start`], for the interim response 103 (RFC 8297).
    pub fn start_interim(&mut self) {
        self.clear();
        self.given.1 = 0;
        self.set_status(103, b"");
    }

    fn set_status(&mut self, code: u16, phrase: &[u8]) {
        self.status = code;
        self.status_text.clear();
        push_decimal(&mut self.status_text, u64::from(code));
        // The space stays even without a phrase (RFC 9112 section 4).
        self.status_text.push(b' ');
        let phrase = if phrase.is_empty() { reason(code).as_bytes() } else { phrase };
        self.status_text.extend_from_slice(phrase);
    }

    /// Adds a field; whitespace around the value is left out, and so are the fields that are the
    /// server's to set.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if let Some(made) = self.previous.repeats(name, value) {
            self.noted.take(made.special, trim(value))?;
            self.len = made.len;
            return Ok(());
        }
        // Also if the field is refused: what stands behind `len` is said by no entry any more.
        self.previous.cut();
        self.encoded.truncate(self.len);
        let special = self.new_field(name, trim(value))?;
        self.len = self.encoded.len();
        self.previous.note(name, value, Made { special, len: self.len });
        Ok(())
    }

    /// How many fields were given since the start, if all of them are remembered for the next
    /// response; of those behind the first that is not, none is.
    pub fn remembered(&self) -> usize {
        self.previous.count()
    }

    /// As [`ResponseHead::field`] with the field that was given at this place when it was last
    /// [remembered](ResponseHead::remembered). False: it is not any more; nothing was added.
    pub fn field_again(&mut self) -> Result<bool, HeadError> {
        let Some((made, value)) = self.previous.again() else { return Ok(false) };
        self.noted.take(made.special, trim(value))?;
        self.len = made.len;
        Ok(true)
    }

    fn new_field(&mut self, name: &[u8], value: &[u8]) -> Result<Special, HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name(escape(name).into_boxed_str()));
        }
        if !is_value(value) {
            return Err(HeadError::Value(escape(name).into_boxed_str()));
        }
        let special = Special::of(name);
        if self.noted.take(special, value)? {
            self.encoded.extend_from_slice(name);
            self.encoded.extend_from_slice(b": ");
            self.encoded.extend_from_slice(value);
            self.encoded.extend_from_slice(b"\r\n");
        }
        Ok(special)
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.status = 0;
        self.len = 0;
        self.previous.rewind();
        if self.encoded.capacity() > KEPT {
            (self.encoded, self.previous) = (Vec::new(), Previous::default());
        }
        self.noted = Noted::default();
    }

    /// The status; 0 before [`ResponseHead::start`].
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Status and reason, as in `200 OK`.
    pub fn status_text(&self) -> &[u8] {
        if self.status == 0 { b"" } else { &self.status_text }
    }

    /// The application's Content-Length.
    pub fn content_length(&self) -> Option<u64> {
        self.noted.content_length
    }

    /// The application asked for `Connection: close`.
    pub fn wants_close(&self) -> bool {
        self.noted.wants_close
    }

    /// The protocol the application switches to with 101.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.noted.upgrade.as_deref()
    }

    /// The fields that are sent as the application gave them, in order, for logs. Without
    /// Content-Length: see [`ResponseHead::content_length`].
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.encoded();
        std::iter::from_fn(move || {
            let colon = memchr::memchr(b':', rest)?;
            let end = memchr::memchr(b'\r', rest)?;
            let field = (rest.get(..colon)?, rest.get(colon + 2..end)?);
            rest = rest.get(end + 2..)?;
            Some(field)
        })
    }

    /// Whether this head may answer that request: 101 needs an upgrade on both sides
    /// (RFC 9110 section 15.2.2). To be asked before [`dispose`].
    pub fn permitted_for(&self, request: &RequestFacts) -> Result<(), HeadError> {
        match self.status {
            101 if !request.upgrade || self.noted.upgrade.is_none() => Err(HeadError::Switch),
            _ => Ok(()),
        }
    }

    /// The fields as they go on the wire.
    pub(super) fn encoded(&self) -> &[u8] {
        self.encoded.get(..self.len).unwrap_or_default()
    }

    pub(super) fn has_date(&self) -> bool {
        self.noted.has_date
    }

    pub(super) fn has_server(&self) -> bool {
        self.noted.has_server
    }
}

impl Noted {
    /// Takes notice of a field. Whether it is sent as it is.
    fn take(&mut self, special: Special, value: &[u8]) -> Result<bool, HeadError> {
        match special {
            Special::None => return Ok(true),
            Special::ContentLength => self.set_content_length(value)?,
            Special::Connection => {
                self.wants_close |= elements(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            Special::Upgrade => self.upgrade = Some(value.into()),
            Special::HopByHop => {}
            // Singletons (RFC 9110 section 5.3): the first stays.
            Special::Date => return Ok(!std::mem::replace(&mut self.has_date, true)),
            Special::Server => return Ok(!std::mem::replace(&mut self.has_server, true)),
        }
        Ok(false)
    }

    fn set_content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        let length =
            decimal(value).ok_or_else(|| HeadError::ContentLength(escape(value).into_boxed_str()))?;
        match self.content_length.replace(length) {
            Some(before) if before != length => Err(HeadError::ContentLengthRepeated),
            _ => Ok(()),
        }
    }
}

/// The names an application's field is not simply passed on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    None,
    ContentLength,
    Connection,
    Upgrade,
    Date,
    Server,
    HopByHop,
}

impl Special {
    fn of(name: &[u8]) -> Special {
        // Length and first letter keep almost every name from being compared at all.
        let (special, lower): (Special, &[u8]) = match (name.len(), name.first().map(|byte| byte | 0x20)) {
            (2, Some(b't')) => (Special::HopByHop, b"te"),
            (4, Some(b'd')) => (Special::Date, b"date"),
            (6, Some(b's')) => (Special::Server, b"server"),
            (7, Some(b'u')) => (Special::Upgrade, b"upgrade"),
            (8, Some(b't')) => (Special::HopByHop, b"trailers"),
            (10, Some(b'c')) => (Special::Connection, b"connection"),
            (10, Some(b'k')) => (Special::HopByHop, b"keep-alive"),
            (14, Some(b'c')) => (Special::ContentLength, b"content-length"),
            (16, Some(b'p')) => (Special::HopByHop, b"proxy-connection"),
            (17, Some(b't')) => (Special::HopByHop, b"transfer-encoding"),
            (18, Some(b'p')) => (Special::HopByHop, b"proxy-authenticate"),
            (19, Some(b'p')) => (Special::HopByHop, b"proxy-authorization"),
            _ => return Special::None,
        };
        if name.eq_ignore_ascii_case(lower) { special } else { Special::None }
    }
}

#[cfg(test)]
#[path = "tests_response.rs"]
mod tests;
