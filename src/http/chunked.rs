//! Where is the data in a chunked body? RFC 9112 section 7.1.
//!
//! Must not know: where the data goes, what a trailer means: trailers are checked and dropped,
//! so that nothing in one can surface as a field of this or another request.
//!
//! The decoder takes every byte it is given and keeps none: it is a state per byte of the
//! grammar, so that a size line cut anywhere needs no buffer.
//!
//! ```text
//! chunk          = chunk-size *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted ) ] ) CRLF data CRLF
//! last-chunk     = 1*"0" extensions CRLF
//! trailer        = *( token ":" value CRLF ) CRLF
//! ```
//!
//! Invariants:
//! 1. Every line ends in exactly CRLF; a CR or LF anywhere else is an error.
//! 2. What a peer can stretch has a budget: the size line, all extensions together, the trailers.
//! 3. The sum of all sizes fits an `i64`.
//! 4. After an error every further call is the same error's kind again.

use std::ops::Range;

use super::error::{Refusal, RefusalKind};
use super::fields::{is_tchar, is_value_byte};
use super::limits::Limits;
use super::target::hex;

/// Where in the grammar the next byte stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// In front of the first digit of a size.
    #[default]
    Size,
    /// Behind a digit of a size.
    Digits,
    /// Behind whitespace that only a `;` (or, in an extension, a `=`) may follow.
    BeforeSemicolon { value_may_follow: bool },
    /// Behind a `;`: whitespace, then a name.
    BeforeName,
    /// Inside an extension's name.
    Name,
    /// Behind a `=`: whitespace, then a value.
    BeforeValue,
    /// Inside a value that is a token.
    Token,
    /// Inside a quoted string; behind a backslash if `escaped`.
    Quoted { escaped: bool },
    /// Behind the closing quote.
    Unquoted,
    /// Behind the CR of a size line.
    SizeLf,
    /// Inside data.
    Data,
    /// Behind data.
    DataCr,
    /// Behind the CR behind data.
    DataLf,
    /// In front of a trailer, or of the end.
    Trailer,
    /// Inside a trailer's name.
    TrailerName,
    /// Behind a trailer's colon.
    TrailerValue,
    /// Behind the CR of a trailer.
    TrailerLf,
    /// Behind the CR of the last line.
    EndLf,
    /// Behind the body.
    Done,
    /// Refused.
    Failed(RefusalKind),
}

/// Decodes one chunked body, byte for byte: nothing has to be kept by the caller between calls.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The size being read, then what is left of the chunk.
    size: u64,
    /// All sizes so far.
    total: u64,
    /// Bytes of the current size line.
    line: usize,
    /// Bytes of all extensions.
    extensions: usize,
    /// Bytes of the trailer section.
    trailers: usize,
}

/// What one call of [`ChunkedDecoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are dealt with, data included.
    pub consumed: usize,
    /// The data within the input; may be empty. It ends at `consumed`.
    pub data: Range<usize>,
    /// The body and its trailers are complete.
    pub done: bool,
}

impl ChunkedDecoder {
    /// A decoder in front of the first chunk.
    pub fn new() -> Self {
        ChunkedDecoder::default()
    }

    /// Goes on decoding; returns at the end of the input, of a run of data, or of the body.
    pub fn decode(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, Refusal> {
        self.run(input, limits).map_err(|kind| {
            self.state = State::Failed(kind);
            Refusal::new(kind)
        })
    }

    fn run(&mut self, input: &[u8], limits: &Limits) -> Result<Decoded, RefusalKind> {
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            match self.state {
                State::Failed(kind) => return Err(kind),
                State::Done => break,
                State::Data => {
                    let run = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len() - at);
                    self.size -= run as u64;
                    if self.size == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Decoded { consumed: at + run, data: at..at + run, done: false });
                }
                State::DataCr | State::DataLf => self.state = self.behind_data(byte)?,
                State::Trailer
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf => self.state = self.in_trailers(byte, limits)?,
                _ => self.state = self.in_size_line(byte, limits)?,
            }
            at += 1;
        }
        Ok(Decoded { consumed: at, data: at..at, done: self.state == State::Done })
    }

    fn behind_data(&mut self, byte: u8) -> Result<State, RefusalKind> {
        match (self.state, byte) {
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => {
                self.line = 0;
                Ok(State::Size)
            }
            _ => Err(RefusalKind::ChunkEnd),
        }
    }

    fn in_size_line(&mut self, byte: u8, limits: &Limits) -> Result<State, RefusalKind> {
        self.line += 1;
        // The CR is not counted, the LF comes behind it.
        if self.line > limits.chunk_line + 2 {
            return Err(RefusalKind::ChunkExtensionsTooLarge);
        }
        match self.state {
            State::Size | State::Digits => self.in_size(byte, limits),
            State::SizeLf if byte == b'\n' => Ok(self.begin_chunk()),
            State::SizeLf => Err(RefusalKind::ChunkSize),
            _ => {
                self.extensions += 1;
                if self.extensions > limits.chunk_extensions {
                    return Err(RefusalKind::ChunkExtensionsTooLarge);
                }
                in_extension(self.state, byte).ok_or(RefusalKind::ChunkExtension)
            }
        }
    }

    fn in_size(&mut self, byte: u8, limits: &Limits) -> Result<State, RefusalKind> {
        if let Some(digit) = hex(byte) {
            // A size that outgrows the total outgrows it whatever follows.
            let sum = self
                .size
                .checked_mul(16)
                .and_then(|size| size.checked_add(u64::from(digit)))
                .and_then(|size| Some((size, size.checked_add(self.total)?)))
                .filter(|&(_, sum)| sum <= i64::MAX as u64);
            let (size, sum) = sum.ok_or(RefusalKind::ChunkOverflow)?;
            if limits.body.is_some_and(|limit| sum > limit) {
                return Err(RefusalKind::BodyTooLarge);
            }
            self.size = size;
            return Ok(State::Digits);
        }
        match (self.state, byte) {
            (State::Digits, b'\r') => Ok(State::SizeLf),
            (State::Digits, b';') => Ok(State::BeforeName),
            (State::Digits, b' ' | b'\t') => Ok(State::BeforeSemicolon { value_may_follow: false }),
            _ => Err(RefusalKind::ChunkSize),
        }
    }

    fn begin_chunk(&mut self) -> State {
        self.total += self.size;
        if self.size == 0 { State::Trailer } else { State::Data }
    }

    fn in_trailers(&mut self, byte: u8, limits: &Limits) -> Result<State, RefusalKind> {
        self.trailers += 1;
        if self.trailers > limits.trailers {
            return Err(RefusalKind::TrailersTooLarge);
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::Trailer | State::TrailerName, byte) if is_tchar(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            _ => Err(RefusalKind::Trailer),
        }
    }
}

/// RFC 9112 section 7.1.1; bad whitespace (BWS) only where that grammar has it.
fn in_extension(state: State, byte: u8) -> Option<State> {
    let space = matches!(byte, b' ' | b'\t');
    let next = match (state, byte) {
        (State::BeforeSemicolon { .. } | State::Name | State::Token | State::Unquoted, b';') => {
            State::BeforeName
        }
        (State::BeforeSemicolon { value_may_follow: true } | State::Name, b'=') => State::BeforeValue,
        (State::Name | State::Token | State::Unquoted, b'\r') => State::SizeLf,
        (State::Name, _) if space => State::BeforeSemicolon { value_may_follow: true },
        (State::Token | State::Unquoted, _) if space => State::BeforeSemicolon { value_may_follow: false },
        (State::BeforeSemicolon { .. } | State::BeforeName | State::BeforeValue, _) if space => state,
        (State::BeforeName | State::Name, _) if is_tchar(byte) => State::Name,
        (State::BeforeValue, b'"') => State::Quoted { escaped: false },
        (State::BeforeValue | State::Token, _) if is_tchar(byte) => State::Token,
        (State::Quoted { escaped: false }, b'"') => State::Unquoted,
        (State::Quoted { escaped: false }, b'\\') => State::Quoted { escaped: true },
        (State::Quoted { .. }, _) if is_value_byte(byte) => State::Quoted { escaped: false },
        _ => return None,
    };
    Some(next)
}

#[cfg(test)]
#[path = "tests_chunked.rs"]
mod tests;
