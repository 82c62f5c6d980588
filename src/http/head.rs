//! What does a client ask for? A request head, RFC 9112 sections 2 to 6.
//!
//! Must not know: where the bytes come from, what is done about the request.
//!
//! Lines are found here and taken one by one: [`request_line`] reads the
//! first, `fields` each of the others, [`rules`] judges what they
//! mean together. A line is refused as soon as it is complete, or cannot become legal.
//!
//! Invariants:
//! 1. All spans index the bytes given to the call of [`Head::parse`] that completed the head,
//!    or, if [`Head::source`] says so, a rewritten copy of the same length.
//! 2. A complete head is one we are willing to serve: every rule has been checked.
//! 3. Bytes are looked at once, however they are cut: a head knows how far it came.

use super::error::{Refusal, RefusalKind};
pub use super::fields::{Field, Known, Span};
use super::fields::{is_value, parse_line, trim};
use super::limits::{HeaderMap, Limits, Policy};
use super::{request_line, rules};

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
    /// Offsets of the CRLFs that folding turns into spaces.
    folds: Vec<u32>,
    rewritten: Option<Vec<u8>>,
}

impl Head {
    /// An empty head that holds no memory.
    pub fn new() -> Self {
        Head::default()
    }

    /// Parses the head at the start of `input`. After [`Parsed::NeedMore`] it is called again with
    /// the same bytes and more behind them, and goes on where it stopped; to give up on those
    /// bytes, call [`Head::clear`]. After a refusal, method and target are set if the request line
    /// could be read.
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &Limits,
        policy: &Policy,
        trusted: bool,
    ) -> Result<Parsed, Refusal> {
        // Fewer bytes than were seen before are not those bytes and more.
        if self.stage == Stage::Done || input.len() < self.scanned.max(self.cursor) {
            self.clear();
        }
        let parsed = self.parse_more(input, limits, policy, trusted);
        if parsed.is_err() {
            self.stage = Stage::Done;
        }
        parsed
    }

    fn parse_more(
        &mut self,
        input: &[u8],
        limits: &Limits,
        policy: &Policy,
        trusted: bool,
    ) -> Result<Parsed, Refusal> {
        if self.stage == Stage::Start && !self.parse_start(input, limits, policy)? {
            return Ok(Parsed::NeedMore);
        }
        if !self.parse_fields(input, limits, policy, trusted)? {
            return Ok(Parsed::NeedMore);
        }
        self.rewrite(input, policy);
        let source = self.rewritten.take();
        let judged = rules::check(self, source.as_deref().unwrap_or(input), limits, trusted);
        self.rewritten = source;
        judged.map(|()| Parsed::Complete)
    }

    /// Takes empty lines and the request line. False: more bytes are needed.
    fn parse_start(&mut self, input: &[u8], limits: &Limits, policy: &Policy) -> Result<bool, Refusal> {
        while input[self.cursor..].starts_with(b"\r\n") {
            self.cursor += 2;
            self.blank_lines += 1;
            if self.blank_lines > limits.blank_lines {
                return Err(RefusalKind::BlankLines.into());
            }
        }
        match input[self.cursor..] {
            [] | [b'\r'] => return Ok(false),
            [b'\r' | b'\n', ..] => return Err(RefusalKind::LineEnd.into()),
            _ => {}
        }
        let Some(end) = self.line_end(input) else {
            let partial = &input[self.cursor..];
            request_line::plausible(partial, input.len() - self.scanned.max(self.cursor), policy)?;
            if partial.len() > limits.request_line + 1 {
                return Err(RefusalKind::RequestLineTooLong.into());
            }
            self.scanned = input.len();
            return Ok(false);
        };
        let with_cr = &input[self.cursor..end - 1];
        let line = with_cr.strip_suffix(b"\r").unwrap_or(with_cr);
        if line.len() > limits.request_line {
            // Of a line that is no request line, its length is the lesser fault.
            request_line::plausible(line, line.len(), policy)?;
            return Err(RefusalKind::RequestLineTooLong.into());
        }
        if line.len() == with_cr.len() {
            return Err(Refusal::quoting(RefusalKind::LineEnd, line));
        }
        self.take_request_line(line, policy)?;
        self.begin_fields(end);
        Ok(true)
    }

    fn take_request_line(&mut self, line: &[u8], policy: &Policy) -> Result<(), Refusal> {
        let read = request_line::parse(line, self.cursor, policy)?;
        self.method = read.method;
        self.target = read.target;
        self.path = read.parts.path;
        self.query = read.parts.query;
        self.authority = read.parts.authority;
        self.form = read.parts.form;
        self.https_target = read.parts.https;
        self.version = read.version;
        self.version_text = read.version_text;
        Ok(())
    }

    fn begin_fields(&mut self, at: usize) {
        self.stage = Stage::Fields;
        self.cursor = at;
        self.header_block = Span::new(at, at);
    }

    /// Takes field lines and the empty line. False: more bytes are needed.
    fn parse_fields(
        &mut self,
        input: &[u8],
        limits: &Limits,
        policy: &Policy,
        trusted: bool,
    ) -> Result<bool, Refusal> {
        loop {
            let Some(end) = self.line_end(input) else {
                let waiting = input.len() - self.cursor;
                if waiting > limits.field_size {
                    return Err(RefusalKind::FieldTooLarge.into());
                }
                if input.len() > limits.head {
                    return Err(RefusalKind::HeadTooLarge.into());
                }
                self.scanned = input.len();
                return Ok(false);
            };
            let line = &input[self.cursor..end];
            if end > limits.head {
                return Err(RefusalKind::HeadTooLarge.into());
            }
            if line == b"\r\n" {
                self.header_block = Span::new(self.header_block.start as usize, self.cursor);
                self.len = end;
                self.stage = Stage::Done;
                return Ok(true);
            }
            self.take_field_line(line, limits, policy, trusted, input)?;
            self.cursor = end;
        }
    }

    fn take_field_line(
        &mut self,
        line: &[u8],
        limits: &Limits,
        policy: &Policy,
        trusted: bool,
        input: &[u8],
    ) -> Result<(), Refusal> {
        if line.len() > limits.field_size {
            return Err(RefusalKind::FieldTooLarge.into());
        }
        let Some(text) = line.strip_suffix(b"\r\n") else {
            return Err(Refusal::new(RefusalKind::LineEnd));
        };
        self.lines += 1;
        if self.lines > limits.fields {
            return Err(RefusalKind::TooManyFields.into());
        }
        if let [b' ' | b'\t', ..] = line {
            return self.fold(text, limits, policy);
        }
        let at = self.cursor as u32;
        let mut field = parse_line(line, self.cursor, policy.strip_header_spaces)?;
        let name = field.name.of(input);
        if admit(&mut field.kind, name, policy, trusted)? {
            let bit = field.kind.bit();
            self.repeated |= self.seen & bit;
            self.seen |= bit;
            self.fields.push(field);
            self.last = Last::Kept(at);
        } else {
            self.last = Last::Dropped(at);
        }
        Ok(())
    }

    /// RFC 9112 section 5.2: a line that starts with whitespace goes on with the value before it.
    /// Never before the first field (section 2.2), and never in a field that frames or routes.
    fn fold(&mut self, text: &[u8], limits: &Limits, policy: &Policy) -> Result<(), Refusal> {
        if !policy.permit_obsolete_folding {
            return Err(RefusalKind::Folding.into());
        }
        if !is_value(text) {
            return Err(RefusalKind::FieldValue.into());
        }
        let (Last::Kept(start) | Last::Dropped(start)) = self.last else {
            return Err(RefusalKind::Folding.into());
        };
        if self.cursor + text.len() + 2 - start as usize > limits.field_size {
            return Err(RefusalKind::FieldTooLarge.into());
        }
        let Last::Kept(_) = self.last else { return Ok(()) };
        let Some(field) = self.fields.last_mut() else { return Ok(()) };
        if matches!(field.kind, Known::Host | Known::ContentLength | Known::TransferEncoding) {
            return Err(RefusalKind::Folding.into());
        }
        self.folds.push(self.cursor as u32 - 2);
        let more = trim(text);
        if !more.is_empty() {
            let from = self.cursor + text.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
            let value_start = if field.value.is_empty() { from } else { field.value.start as usize };
            field.value = Span::new(value_start, from + more.len());
        }
        Ok(())
    }

    /// Makes the copy that [`Head::source`] hands out, off the straight path. Spans stay valid:
    /// nothing moves.
    fn rewrite(&mut self, input: &[u8], policy: &Policy) {
        let casefold =
            policy.casefold_http_method && self.method.of(input).iter().any(u8::is_ascii_lowercase);
        if self.folds.is_empty() && !casefold {
            return;
        }
        let mut copy = input[..self.len].to_vec();
        for &fold in &self.folds {
            if let Some(line_end) = copy.get_mut(fold as usize..fold as usize + 2) {
                line_end.fill(b' ');
            }
        }
        if casefold && let Some(method) = copy.get_mut(self.method.start as usize..self.method.end()) {
            method.make_ascii_uppercase();
        }
        self.rewritten = Some(copy);
    }

    /// Offset behind the LF that ends the line at `cursor`.
    fn line_end(&self, input: &[u8]) -> Option<usize> {
        let from = self.scanned.max(self.cursor);
        memchr::memchr(b'\n', input.get(from..)?).map(|at| from + at + 1)
    }

    pub(super) fn has(&self, kind: Known) -> bool {
        self.seen & kind.bit() != 0
    }

    pub(super) fn has_several(&self, kind: Known) -> bool {
        self.repeated & kind.bit() != 0
    }

    /// Forgets the last request, keeps the memory for the next.
    pub fn clear(&mut self) {
        let (mut fields, mut folds) = (std::mem::take(&mut self.fields), std::mem::take(&mut self.folds));
        fields.clear();
        folds.clear();
        *self = Head { fields, folds, ..Head::default() };
    }

    /// Forgets the last request and gives its memory back.
    pub fn release(&mut self) {
        *self = Head::default();
    }

    /// The bytes the spans index: `input` itself, or a rewritten copy where the policy let a
    /// folded line or a lower-case method through.
    pub fn source<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        self.rewritten.as_deref().unwrap_or(input)
    }

    /// The path: `/` for an absolute-form without one, `*` for the asterisk-form, empty for CONNECT.
    pub fn path_bytes<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.form {
            TargetForm::Absolute if self.path.is_empty() => b"/",
            _ => self.path.of(bytes),
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

/// Whether a field is part of the head. Its kind is withdrawn if it is known for trusted peers only.
fn admit(kind: &mut Known, name: &[u8], policy: &Policy, trusted: bool) -> Result<bool, Refusal> {
    // As HTTP_PROXY it would redirect the requests the application makes (httpoxy).
    if *kind == Known::Proxy {
        return Ok(false);
    }
    if !trusted && policy.drop_untrusted_forwarded && is_forwarding(*kind, name) {
        return Ok(false);
    }
    if !name.contains(&b'_') {
        return Ok(true);
    }
    let listed = |allowed: &String| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(name);
    if trusted && policy.forwarder_headers.iter().any(listed) {
        return Ok(true);
    }
    *kind = Known::Other;
    match policy.header_map {
        HeaderMap::Drop => Ok(false),
        HeaderMap::Dangerous => Ok(true),
        HeaderMap::Refuse => Err(Refusal::quoting(RefusalKind::Underscore, name)),
    }
}

fn is_forwarding(kind: Known, name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    kind.is_forwarding() || name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
#[path = "tests_head.rs"]
mod tests;
