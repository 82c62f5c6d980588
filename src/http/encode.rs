//! Which bytes are sent? Heads, chunks, interim responses and error pages as they go on the wire.
//!
//! Must not know: sockets, the clock; date and server name are parameters.
//!
//! Invariants:
//! 1. Every head has exactly one Date (RFC 9110 section 6.6.1), at most one Server and one Connection.
//! 2. Content-Length and Transfer-Encoding are what the [`Disposition`] says, never both.

use super::disposition::{BodyFraming, Disposition};
use super::head::Version;
use super::response::ResponseHead;
use super::status::reason;

/// Adds a field to the response whose head starts at `start` in `out`: the first, so that a body
/// behind the head does not matter. Name and value have been checked.
pub fn insert_field(out: &mut Vec<u8>, start: usize, name: &[u8], value: &[u8]) {
    let Some(line) = out.get(start..).and_then(|head| memchr::memchr(b'\n', head)) else { return };
    let at = start + line + 1;
    out.splice(at..at, [name, b": ", value, b"\r\n"].concat());
}

/// `100 Continue`, whole.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends a response head. `date` is an IMF-fixdate; `server` is our Server value, empty for none.
/// An HTTP/1.0 client is answered in its own version: to some, 1.1 promises what they cannot read.
pub fn encode_head(
    out: &mut Vec<u8>,
    version: Version,
    head: &ResponseHead,
    disposition: &Disposition,
    date: &[u8],
    server: &[u8],
) {
    out.reserve(head.encoded().len() + 256);
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 => b"HTTP/1.1 ",
    });
    out.extend_from_slice(head.status_text());
    out.extend_from_slice(b"\r\n");
    if !head.has_server() && !server.is_empty() {
        push_field(out, b"Server: ", server);
    }
    if !head.has_date() {
        push_field(out, b"Date: ", date);
    }
    push_connection(out, version, head, disposition);
    if disposition.framing == BodyFraming::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    } else if let Some(length) = disposition.announced {
        out.extend_from_slice(b"Content-Length: ");
        push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(head.encoded());
    out.extend_from_slice(b"\r\n");
}

/// RFC 9112 sections 9.3 and 9.6. To HTTP/1.1, keeping the connection is the default and goes
/// without saying.
fn push_connection(out: &mut Vec<u8>, version: Version, head: &ResponseHead, disposition: &Disposition) {
    if let (101, Some(protocol)) = (head.status(), head.upgrade()) {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        return push_field(out, b"Upgrade: ", protocol);
    }
    match (disposition.keep_alive, version) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, Version::Http11) => {}
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal.
pub fn push_decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a chunk's size line. `len` is not 0: that would end the body.
pub fn encode_chunk_start(out: &mut Vec<u8>, len: usize) {
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut rest = len;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(CHUNK_END);
}

/// Appends an interim response (103, RFC 8297) with the head's fields. Not for HTTP/1.0 clients
/// (RFC 9110 section 15.2).
pub fn encode_interim(out: &mut Vec<u8>, head: &ResponseHead) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.status_text());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(head.encoded());
    out.extend_from_slice(b"\r\n");
}

/// Appends a whole error response that ends the connection. `text` is escaped for HTML and may be
/// empty; with `is_head` the page itself is left out.
pub fn refusal(out: &mut Vec<u8>, status: u16, text: &str, date: &[u8], server: &[u8], is_head: bool) {
    let page = error_page(status, text);
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    push_field(out, b" ", reason(status).as_bytes());
    if !server.is_empty() {
        push_field(out, b"Server: ", server);
    }
    push_field(out, b"Date: ", date);
    out.extend_from_slice(b"Connection: close\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: ");
    push_decimal(out, page.len() as u64);
    out.extend_from_slice(b"\r\n\r\n");
    if !is_head {
        out.extend_from_slice(&page);
    }
}

fn error_page(status: u16, text: &str) -> Vec<u8> {
    let title = reason(status).as_bytes();
    let mut page = Vec::with_capacity(160 + 2 * title.len() + text.len());
    page.extend_from_slice(b"<html>\n  <head>\n    <title>");
    page.extend_from_slice(title);
    page.extend_from_slice(b"</title>\n  </head>\n  <body>\n    <h1><p>");
    page.extend_from_slice(title);
    page.extend_from_slice(b"</p></h1>\n    ");
    for &byte in text.as_bytes() {
        match byte {
            b'&' => page.extend_from_slice(b"&amp;"),
            b'<' => page.extend_from_slice(b"&lt;"),
            b'>' => page.extend_from_slice(b"&gt;"),
            b'"' => page.extend_from_slice(b"&quot;"),
            b'\'' => page.extend_from_slice(b"&#39;"),
            byte => page.push(byte),
        }
    }
    page.extend_from_slice(b"\n  </body>\n</html>\n");
    page
}

#[cfg(test)]
#[path = "tests_encode.rs"]
mod tests;
