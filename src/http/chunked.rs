//! Where is the data in a chunked body? RFC 9112 section 7.1.
//!
//! Must not know: where the data goes.

use std::ops::Range;

use super::error::Refusal;
use super::limits::Limits;

/// Decodes one chunked body, byte for byte: nothing has to be kept by the caller between calls.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    done: bool,
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
        let _ = limits;
        Ok(Decoded { consumed: input.len(), data: 0..0, done: self.done })
    }
}
