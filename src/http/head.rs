//! What does a client ask for? A request head, RFC 9112 sections 2 to 6.
//!
//! Must not know: where the bytes come from, what is done about the request.
//!
//! This file holds what a head is; `parse` fills it.
//!
//! Invariants:
//! 1. All spans index the bytes given to the call of [`Head::parse`] that completed the head,
//!    or, if [`Head::source`] says so, a rewritten copy of the same length.
//! 2. A complete head is one we are willing to serve: every rule has been checked.
//! 3. Bytes are looked at once, however they are cut: a head knows how far it came.

pub use super::fields::{Field, Known, Span};

mod parse;
mod remembered;

use remembered::Remembered;

/// The protocol version a request is served as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any later 1.x (RFC 9110 section 2.5).
    #[default]
    Http11,
}

/// The four forms of a request target, RFC 9112 section 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://authority/path?query`.
    Absolute,
    /// `host:port`, of CONNECT.
    Authority,
    /// `*`, of OPTIONS.
    Asterisk,
}

/// How a request body is delimited, RFC 9112 section 6.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// No Content-Length, no Transfer-Encoding: no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// What a call of [`Head::parse`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Call again with the same bytes and more behind them.
    NeedMore,
    /// The head is complete.
    Complete,
}

/// How far [`Head::parse`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Empty lines, then the request line. Entered by a fresh or cleared head.
    #[default]
    Start,
    /// Field lines, until the empty one.
    Fields,
    /// Complete: the next call begins anew.
    Done,
}

/// What became of the last field line; a folded line shares its fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    /// There was none yet.
    #[default]
    None,
    /// It is the last of the fields. It started at this offset.
    Kept(u32),
    /// It was left out. It started at this offset.
    Dropped(u32),
}

/// What the policy let through only in another form.
#[derive(Debug, Default)]
struct Rewriting {
    /// Offsets of the CRLFs that folding turns into spaces.
    folds: Vec<u32>,
    /// The head as it is read.
    copy: Option<Vec<u8>>,
}

/// A request head. Reused from request to request.
#[derive(Debug, Default)]
pub struct Head {
    /// The method.
    pub method: Span,
    /// The request target as it came: RAW_URI.
    pub target: Span,
    /// The target's path, still percent-encoded; see [`Head::path_bytes`].
    pub path: Span,
    /// The target's query without `?`.
    pub query: Span,
    /// The authority of an absolute-form or authority-form target; it wins over Host.
    pub authority: Span,
    /// The version the request is served as.
    pub version: Version,
    /// The version digits as they came, `1.1` of `HTTP/1.1`.
    pub version_text: Span,
    /// The target's form.
    pub form: TargetForm,
    /// The target is absolute and its scheme https.
    pub https_target: bool,
    /// The fields, in order, without those that were dropped.
    pub fields: Vec<Field>,
    /// The field lines are byte for byte those of the request before on this connection.
    pub same_fields: bool,
    /// All field lines, from behind the request line to and with the last field line's CRLF.
    pub header_block: Span,
    /// How the body is delimited.
    pub body: BodyLength,
    /// Whether the client's version and Connection options let the connection persist.
    pub wants_keep_alive: bool,
    /// HTTP/1.1 with a body and `Expect: 100-continue`.
    pub expects_continue: bool,
    /// HTTP/1.1 with `Connection: upgrade` and an Upgrade field.
    pub upgrade: bool,
    /// The method is HEAD.
    pub is_head: bool,
    /// The method is CONNECT.
    pub is_connect: bool,
    /// The connection must not be reused after this message, whatever the client wishes.
    pub must_close: bool,
    /// Bytes of the head, with empty lines before it and the empty line at its end.
    pub len: usize,
    stage: Stage,
    /// Where the line not yet taken starts.
    cursor: usize,
    /// Bytes known to hold no LF behind `cursor`.
    scanned: usize,
    blank_lines: usize,
    lines: usize,
    last: Last,
    /// Kinds seen once, and more than once.
    seen: u32,
    repeated: u32,
    rewriting: Option<Box<Rewriting>>,
    /// A head was complete before: the connection is reused.
    reused: bool,
    remembered: Option<Box<Remembered>>,
}

impl Head {
    /// An empty head that holds no memory.
    pub fn new() -> Self {
        Head::default()
    }

    /// Whether nothing but empty lines was seen of the request.
    pub(super) fn is_blank(&self) -> bool {
        self.stage == Stage::Start && self.scanned == 0
    }

    pub(super) fn has(&self, kind: Known) -> bool {
        self.seen & kind.bit() != 0
    }

    pub(super) fn has_several(&self, kind: Known) -> bool {
        self.repeated & kind.bit() != 0
    }

    /// Forgets the last request, keeps the memory for the next.
    pub fn clear(&mut self) {
        let mut remembered = self.remembered.take();
        let mut fields = match &mut remembered {
            Some(known) if self.stage == Stage::Done => {
                known.keep(std::mem::take(&mut self.fields), self.header_block.start)
            }
            Some(_) => std::mem::take(&mut self.fields),
            // Many connections bring one request and are idle then: those hold nothing.
            None => Vec::new(),
        };
        fields.clear();
        let reused = self.reused || self.stage == Stage::Done;
        *self = Head { fields, remembered, reused, ..Head::default() };
    }

    /// Forgets the last request and gives its memory back.
    pub fn release(&mut self) {
        let reused = self.reused || self.stage == Stage::Done;
        *self = Head { reused, ..Head::default() };
    }

    /// The bytes the spans index: `input` itself, or a rewritten copy where the policy let a
    /// folded line or a lower-case method through.
    pub fn source<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        self.rewriting.as_ref().and_then(|made| made.copy.as_deref()).unwrap_or(input)
    }

    /// The path: `/` for an absolute-form without one, `*` for the asterisk-form, empty for CONNECT.
    pub fn path_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.form {
            TargetForm::Absolute if self.path.is_empty() => b"/",
            _ => self.path.of(bytes),
        }
    }

    /// Of the bytes given to [`Head::parse`], those that its spans index, also when it was refused or
    /// is not complete.
    pub fn so_far<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        let end = self.cursor.max(self.target.end()).max(self.version_text.end());
        if self.method.is_empty() { b"" } else { input.get(..end).unwrap_or_default() }
    }

    /// The version for the log: as it is served, or, where the head was refused, as it came, which
    /// is empty if it did not.
    pub fn protocol<'a>(&self, bytes: &'a [u8]) -> &'a str {
        if self.len == 0 {
            let from = (self.version_text.start as usize).saturating_sub("HTTP/".len());
            let came = bytes.get(from..self.version_text.end()).unwrap_or_default();
            return std::str::from_utf8(came).unwrap_or_default();
        }
        match self.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }

    /// The values of every field of that name, compared without case, in order.
    pub fn find<'b>(&self, bytes: &'b [u8], name: &str) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        let name = name.as_bytes();
        self.fields
            .iter()
            .filter(move |field| field.name.of(bytes).eq_ignore_ascii_case(name))
            .map(move |field| field.value.of(bytes))
    }

    /// The values of every field of that kind, in order.
    pub fn of_kind<'b>(&self, bytes: &'b [u8], kind: Known) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        self.fields.iter().filter(move |field| field.kind == kind).map(move |field| field.value.of(bytes))
    }
}

#[cfg(test)]
#[path = "tests_head.rs"]
mod tests;

#[cfg(test)]
#[path = "tests_head_policy.rs"]
mod policy_tests;
