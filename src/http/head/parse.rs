//! Which bytes are lines, and what becomes of each? The parser of a request head.
//!
//! Must not know: what fields mean.
//!
//! Lines are found here and taken one by one: [`request_line`] reads the first, `fields` each of
//! the others, [`rules`] judges what they mean together. A line is refused as soon as it is
//! complete, or cannot become legal.
//!
//! Invariants:
//! 1. A line ends in exactly CRLF. A CR or LF anywhere else is refused, never skipped.
//! 2. Every budget is checked before more bytes are waited for.
//! 3. What a peer may not say is dropped or refused here, before anyone can read it.

use super::{Head, Known, Last, Parsed, Span, Stage};
use crate::http::error::{Refusal, RefusalKind};
use crate::http::fields::{is_value, parse_line, trim};
use crate::http::limits::{HeaderMap, Limits, Policy};
use crate::http::request_line::{self, RequestLine};
use crate::http::rules;
use crate::http::target;

impl Head {
    /// Parses the head at the start of `input`. After [`Parsed::NeedMore`] it is called again with
    /// the same bytes and more behind them, and goes on where it stopped; to give up on those
    /// bytes, call [`Head::clear`]. Limits and policy are one connection's and stay the same; if
    /// they do not, call [`Head::release`]. After a refusal, method, target and version are set as far as
    /// they could be told apart.
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
            self.remembered = None;
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
        if self.stage == Stage::Start
            && !self.recall_line(input)
            && !self.parse_start(input, limits, policy)?
        {
            return Ok(Parsed::NeedMore);
        }
        if !self.recall(input, limits, trusted) {
            if !self.parse_fields(input, limits, policy, trusted)? {
                return Ok(Parsed::NeedMore);
            }
            self.remember(input, trusted);
        }
        self.rewrite(input, policy);
        let rewriting = self.rewriting.take();
        let copy = rewriting.as_ref().and_then(|made| made.copy.as_deref());
        let judged = rules::check(self, copy.unwrap_or(input), limits, trusted || policy.secured);
        self.rewriting = rewriting;
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
                return Err(self.too_long(partial, limits, policy));
            }
            self.scanned = input.len();
            return Ok(false);
        };
        let with_cr = &input[self.cursor..end - 1];
        let line = with_cr.strip_suffix(b"\r").unwrap_or(with_cr);
        if line.len() > limits.request_line {
            // Of a line that is no request line, its length is the lesser fault.
            request_line::plausible(line, line.len(), policy)?;
            return Err(self.too_long(line, limits, policy));
        }
        if line.len() == with_cr.len() {
            return Err(Refusal::quoting(RefusalKind::LineEnd, line));
        }
        self.take_request_line(line, policy)?;
        self.begin_fields(end);
        Ok(true)
    }

    fn take_request_line(&mut self, line: &[u8], policy: &Policy) -> Result<(), Refusal> {
        let read = match request_line::parse(line, self.cursor, policy) {
            Ok(read) => read,
            Err(refusal) => {
                // Of other lines it is not known which word is which.
                let kinds = [RefusalKind::Target, RefusalKind::Version, RefusalKind::VersionUnsupported];
                if kinds.contains(&refusal.kind) {
                    self.note_words(line, policy);
                }
                return Err(refusal);
            }
        };
        let method = &line[..read.method.len as usize];
        let folded = |name: &[u8]| policy.casefold_http_method && method.eq_ignore_ascii_case(name);
        // Before any field can be refused: how the refusal is framed depends on it.
        self.is_head = method == b"HEAD" || folded(b"HEAD");
        self.is_connect = method == b"CONNECT" || folded(b"CONNECT");
        self.set_line(&read);
        self.remember_line(line, &read);
        Ok(())
    }

    /// Refuses a request line by its length. Its beginning is noted, as much as is allowed of it.
    fn too_long(&mut self, line: &[u8], limits: &Limits, policy: &Policy) -> Refusal {
        self.note_words(&line[..limits.request_line.min(line.len())], policy);
        RefusalKind::RequestLineTooLong.into()
    }

    /// Notes what can be told apart in a line that is refused, for the log.
    fn note_words(&mut self, line: &[u8], policy: &Policy) {
        let Some((method, target, version)) = request_line::words(line, self.cursor, policy) else { return };
        let at = method.len as usize + 1;
        let text = &line[at..at + target.len as usize];
        if !text.iter().all(u8::is_ascii_graphic) {
            return;
        }
        (self.method, self.target, self.version_text) = (method, target, version);
        if let Some(parts) = target::split(&line[..at - 1], text, target.start as usize) {
            (self.path, self.query, self.form) = (parts.path, parts.query, parts.form);
        }
    }

    pub(super) fn set_line(&mut self, read: &RequestLine) {
        self.method = read.method;
        self.target = read.target;
        self.path = read.parts.path;
        self.query = read.parts.query;
        self.authority = read.parts.authority;
        self.form = read.parts.form;
        self.https_target = read.parts.https;
        self.version = read.version;
        self.version_text = read.version_text;
    }

    pub(super) fn begin_fields(&mut self, at: usize) {
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
        self.rewriting.get_or_insert_default().folds.push(self.cursor as u32 - 2);
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
        if self.rewriting.is_none() && !casefold {
            return;
        }
        let mut rewriting = self.rewriting.take().unwrap_or_default();
        let mut copy = input[..self.len].to_vec();
        for &fold in &rewriting.folds {
            if let Some(line_end) = copy.get_mut(fold as usize..fold as usize + 2) {
                line_end.fill(b' ');
            }
        }
        if casefold && let Some(method) = copy.get_mut(self.method.start as usize..self.method.end()) {
            method.make_ascii_uppercase();
        }
        rewriting.copy = Some(copy);
        self.rewriting = Some(rewriting);
    }

    /// Offset behind the LF that ends the line at `cursor`.
    fn line_end(&self, input: &[u8]) -> Option<usize> {
        let from = self.scanned.max(self.cursor);
        memchr::memchr(b'\n', input.get(from..)?).map(|at| from + at + 1)
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
