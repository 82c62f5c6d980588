//! Which bytes are sent? Heads, chunks, interim responses and error pages as they go on the wire.
//!
//! Must not know: sockets, the clock; date and server name are parameters.

use super::head::Version;
use super::response::{Disposition, ResponseHead};

/// `100 Continue`, whole.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a response head. `date` is an IMF-fixdate, `server` our Server value.
pub fn encode_head(
    out: &mut Vec<u8>,
    version: Version,
    head: &ResponseHead,
    disposition: &Disposition,
    date: &[u8],
    server: &[u8],
) {
    let _ = (out, version, head, disposition, date, server);
}

/// Appends a chunk's size line. `len` is not 0: that would end the body.
pub fn encode_chunk_start(out: &mut Vec<u8>, len: usize) {
    let _ = (out, len);
}

/// Appends an interim response (103) with the head's fields.
pub fn encode_interim(out: &mut Vec<u8>, head: &ResponseHead) {
    let _ = (out, head);
}

/// Appends a whole error response that ends the connection. `text` is escaped for HTML.
pub fn refusal(out: &mut Vec<u8>, status: u16, text: &str, date: &[u8], server: &[u8], is_head: bool) {
    let _ = (out, status, text, date, server, is_head);
}
