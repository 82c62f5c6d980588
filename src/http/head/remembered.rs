//! What did the request before on this connection say? A client says much the same in every
//! request: where the bytes are equal they need not be read again.
//!
//! Must not know: what fields mean together; that is judged anew for every head.
//!
//! Invariants:
//! 1. What is recalled is what would have been read: the bytes are compared, all of them, and limits
//!    and policy are one connection's.
//! 2. A connection with one request remembers nothing: it may never have another.

use super::{Field, Head, Span, Stage};
use crate::http::limits::Limits;
use crate::http::request_line::RequestLine;

/// The most bytes of a request line, and of field lines, that are kept: an idle connection is to
/// be small.
const MOST: usize = 4096;

/// The parts of the last complete head.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The request line without its CRLF; empty: none is remembered.
    line: Vec<u8>,
    /// What was read from it, as the first thing of a head.
    read: Option<RequestLine>,
    is_head: bool,
    is_connect: bool,
    /// The field lines; empty: none are remembered.
    block: Vec<u8>,
    /// Where they stood.
    start: u32,
    /// What was read from them.
    fields: Vec<Field>,
    seen: u32,
    repeated: u32,
    /// Whether the peer was trusted then.
    trusted: bool,
}

impl Remembered {
    /// Takes the fields of a head that is over. Gives back a vector for the next one.
    pub(super) fn keep(&mut self, fields: Vec<Field>, start: u32) -> Vec<Field> {
        if self.block.is_empty() {
            return fields;
        }
        self.start = start;
        std::mem::replace(&mut self.fields, fields)
    }
}

impl Head {
    /// Takes the request line of the request before, if this one starts with the same bytes.
    pub(super) fn recall_line(&mut self, input: &[u8]) -> bool {
        let Some(known) = &self.remembered else { return false };
        let Some(read) = known.read else { return false };
        let end = known.line.len() + 2;
        let fresh = self.cursor == 0 && self.blank_lines == 0;
        if !fresh || !input.starts_with(&known.line) || input.get(end - 2..end) != Some(b"\r\n") {
            return false;
        }
        (self.is_head, self.is_connect) = (known.is_head, known.is_connect);
        self.set_line(&read);
        self.begin_fields(end);
        true
    }

    /// Keeps the request line for the next request.
    pub(super) fn remember_line(&mut self, line: &[u8], read: &RequestLine) {
        let (is_head, is_connect) = (self.is_head, self.is_connect);
        let fits = self.cursor == 0 && line.len() <= MOST;
        let Some(known) = &mut self.remembered else { return };
        known.line.clear();
        known.read = fits.then_some(*read);
        if fits {
            known.line.extend_from_slice(line);
            (known.is_head, known.is_connect) = (is_head, is_connect);
        }
    }

    /// Takes the fields of the request before, if the lines are the same and all there. What
    /// they mean together is judged again: it depends on the request line too.
    pub(super) fn recall(&mut self, input: &[u8], limits: &Limits, trusted: bool) -> bool {
        let Some(known) = &mut self.remembered else { return false };
        let end = self.cursor + known.block.len();
        let same = self.lines == 0
            && !known.block.is_empty()
            && known.trusted == trusted
            && end + 2 <= limits.head
            && input.get(self.cursor..end) == Some(&known.block)
            && input.get(end..end + 2) == Some(b"\r\n");
        if !same {
            return false;
        }
        std::mem::swap(&mut self.fields, &mut known.fields);
        let shift = (self.cursor as u32).wrapping_sub(known.start);
        if shift != 0 {
            for field in &mut self.fields {
                field.name.start = field.name.start.wrapping_add(shift);
                field.value.start = field.value.start.wrapping_add(shift);
            }
        }
        (self.seen, self.repeated) = (known.seen, known.repeated);
        self.same_fields = true;
        self.header_block = Span::new(self.cursor, end);
        self.len = end + 2;
        self.stage = Stage::Done;
        true
    }

    /// Keeps the field lines for the next request.
    pub(super) fn remember(&mut self, input: &[u8], trusted: bool) {
        if !self.reused {
            return;
        }
        let block = self.header_block.of(input);
        let known = self.remembered.get_or_insert_default();
        known.block.clear();
        if block.len() <= MOST && self.rewriting.is_none() {
            known.block.extend_from_slice(block);
        }
        (known.seen, known.repeated, known.trusted) = (self.seen, self.repeated, trusted);
    }
}
