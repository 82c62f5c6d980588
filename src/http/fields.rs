//! What is on one field line, and is it a name we know? RFC 9112 section 5.
//!
//! Must not know: what a field means for the message; lines before and after this one.
//!
//! Invariants:
//! 1. A [`Field`]'s name is a token, its value has no control characters but HTAB and no
//!    whitespace around it.
//! 2. A [`Known`] name is decided by length and first byte before any comparison; an
//!    underscore never matches a hyphen.

use super::error::{Refusal, RefusalKind};

/// A range of the caller's buffer. Four bytes each: heads are far smaller than 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// The span from `start` to `end`; empty if they are out of order.
    pub fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, len: end.saturating_sub(start) as u32 }
    }

    /// The bytes of this span in `bytes`; empty if it does not lie within.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end()).unwrap_or_default()
    }

    /// Offset behind the last byte.
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One field line, as spans into the bytes of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, in the case it came in.
    pub name: Span,
    /// The value without whitespace around it.
    pub value: Span,
    /// Which well-known name it is.
    pub kind: Known,
}

macro_rules! known {
    ($($kind:ident $name:literal,)*) => {
        /// The field names this server or its door has a use for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        #[repr(u8)]
        pub enum Known {
            /// Any other name.
            #[default]
            Other,
            $(#[doc = concat!("`", $name, "`")] $kind,)*
        }

        impl Known {
            /// Every known name, in lower case, with its kind.
            pub const TABLE: &'static [(&'static str, Known)] = &[$(($name, Known::$kind),)*];
        }
    };
}

known! {
    Accept "accept",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    Authorization "authorization",
    CacheControl "cache-control",
    Connection "connection",
    ContentLength "content-length",
    ContentType "content-type",
    Cookie "cookie",
    Expect "expect",
    Forwarded "forwarded",
    Host "host",
    Origin "origin",
    Proxy "proxy",
    Referer "referer",
    ScriptName "script_name",
    TransferEncoding "transfer-encoding",
    Upgrade "upgrade",
    UserAgent "user-agent",
    XForwardedFor "x-forwarded-for",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedPrefix "x-forwarded-prefix",
    XForwardedProto "x-forwarded-proto",
    XForwardedProtocol "x-forwarded-protocol",
    XForwardedSsl "x-forwarded-ssl",
    XQueueStart "x-queue-start",
    XRealIp "x-real-ip",
    XRequestId "x-request-id",
    XRequestStart "x-request-start",
}

impl Known {
    /// Which known name this is, compared without case.
    pub fn of(name: &[u8]) -> Known {
        let Some(first) = name.first() else { return Known::Other };
        // At most two names share length and first letter.
        let (likely, otherwise) = match (name.len(), first | 0x20) {
            (4, b'h') => (Known::Host, Known::Other),
            (5, b'p') => (Known::Proxy, Known::Other),
            (6, b'a') => (Known::Accept, Known::Other),
            (6, b'c') => (Known::Cookie, Known::Other),
            (6, b'e') => (Known::Expect, Known::Other),
            (6, b'o') => (Known::Origin, Known::Other),
            (7, b'r') => (Known::Referer, Known::Other),
            (7, b'u') => (Known::Upgrade, Known::Other),
            (9, b'f') => (Known::Forwarded, Known::Other),
            (9, b'x') => (Known::XRealIp, Known::Other),
            (10, b'c') => (Known::Connection, Known::Other),
            (10, b'u') => (Known::UserAgent, Known::Other),
            (11, b's') => (Known::ScriptName, Known::Other),
            (12, b'c') => (Known::ContentType, Known::Other),
            (12, b'x') => (Known::XRequestId, Known::Other),
            (13, b'a') => (Known::Authorization, Known::Other),
            (13, b'c') => (Known::CacheControl, Known::Other),
            (13, b'x') => (Known::XQueueStart, Known::Other),
            (14, b'c') => (Known::ContentLength, Known::Other),
            (15, b'a') => (Known::AcceptEncoding, Known::AcceptLanguage),
            (15, b'x') if matches!(name, [_, _, b'r' | b'R', ..]) => (Known::XRequestStart, Known::Other),
            (15, b'x') => (Known::XForwardedFor, Known::XForwardedSsl),
            (16, b'x') => (Known::XForwardedHost, Known::XForwardedPort),
            (17, b't') => (Known::TransferEncoding, Known::Other),
            (17, b'x') => (Known::XForwardedProto, Known::Other),
            (18, b'x') => (Known::XForwardedPrefix, Known::Other),
            (20, b'x') => (Known::XForwardedProtocol, Known::Other),
            _ => return Known::Other,
        };
        [likely, otherwise]
            .into_iter()
            .find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
            .unwrap_or_default()
    }

    /// The name in lower case; empty for [`Known::Other`].
    pub fn name(self) -> &'static str {
        // The table lists the kinds in the order of their discriminants, behind Other.
        (self as usize).checked_sub(1).and_then(|index| Known::TABLE.get(index)).map_or("", |row| row.0)
    }

    /// This kind in a set of kinds.
    pub(super) fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// Whether it is a proxy's word about its client.
    pub fn is_forwarding(self) -> bool {
        matches!(
            self,
            Known::Forwarded
                | Known::XForwardedFor
                | Known::XForwardedHost
                | Known::XForwardedPort
                | Known::XForwardedPrefix
                | Known::XForwardedProto
                | Known::XForwardedProtocol
                | Known::XForwardedSsl
                | Known::XRealIp
        )
    }
}

/// Reads one field line. `line` includes its CRLF and has no other LF; `offset` is where it starts
/// in the head.
pub(super) fn parse_line(line: &[u8], offset: usize, strip_spaces: bool) -> Result<Field, Refusal> {
    let mut slot = [httparse::EMPTY_HEADER];
    // "Partial" is the good answer: one field, and no empty line behind it.
    match httparse::parse_headers(line, &mut slot).map(|status| status.is_partial()) {
        Ok(true) => {}
        _ if strip_spaces => return parse_spaced(line, offset),
        _ => return Err(blame(line)),
    }
    let name = slot[0].name.as_bytes();
    let value = slot[0].value;
    let at = offset + (value.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    Ok(Field {
        name: Span::new(offset, offset + name.len()),
        value: Span::new(at, at + value.len()),
        kind: Known::of(name),
    })
}

/// As [`parse_line`], but whitespace before the colon is left out of the name.
fn parse_spaced(line: &[u8], offset: usize) -> Result<Field, Refusal> {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    let Some(colon) = memchr::memchr(b':', text) else { return Err(blame(line)) };
    let (name, value) = (trim_end(&text[..colon]), trim(&text[colon + 1..]));
    if !is_token(name) || !is_value(value) {
        return Err(blame(line));
    }
    let at = offset + colon + 1 + leading_space(&text[colon + 1..]);
    Ok(Field {
        name: Span::new(offset, offset + name.len()),
        value: Span::new(at, at + value.len()),
        kind: Known::of(name),
    })
}

/// Says what is wrong with a line that is no field. Names are quoted, values are not: they may
/// hold secrets.
fn blame(line: &[u8]) -> Refusal {
    let text = line.strip_suffix(b"\r\n").unwrap_or(line);
    let Some(colon) = memchr::memchr(b':', text) else {
        return Refusal::quoting(RefusalKind::FieldLine, text);
    };
    let name = &text[..colon];
    let kind = if is_token(name) {
        RefusalKind::FieldValue
    } else if is_token(trim_end(name)) {
        RefusalKind::SpaceBeforeColon
    } else {
        RefusalKind::FieldName
    };
    Refusal::quoting(kind, name)
}

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

static TOKEN: [bool; 256] = token_table();

/// `tchar`, RFC 9110 section 5.6.2.
pub fn is_tchar(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// `token`, RFC 9110 section 5.6.2: not empty.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte))
}

/// A byte a field value may hold, RFC 9110 section 5.5: HTAB, SP, VCHAR, obs-text.
pub fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether all bytes may stand in a field value.
pub fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| is_value_byte(byte))
}

fn leading_space(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count()
}

fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Without the whitespace (OWS) around it.
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(&bytes[leading_space(bytes)..])
}

/// The elements of a comma-separated list without whitespace around them, empty ones too.
pub fn elements(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for &(name, kind) in Known::TABLE {
            assert_eq!(Known::of(name.as_bytes()), kind, "{name}");
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), kind, "{name}");
            assert_eq!(kind.name(), name);
            assert!((kind as u8) < 32, "kinds have to fit a set of 32");
        }
        for name in ["", "hosts", "xhost", "content_length", "transfer_encoding", "proxx", "x-forwarded-fog"]
        {
            assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name}");
        }
    }

    #[test]
    fn a_field_line_is_read_with_its_spans() {
        for (line, name, value) in [
            (&b"Host: a\r\n"[..], &b"Host"[..], &b"a"[..]),
            (b"X-A:b\r\n", b"X-A", b"b"),
            (b"X-A:\t \tb c\t \r\n", b"X-A", b"b c"),
            (b"X-A:\r\n", b"X-A", b""),
            (b"X-A:  \t\r\n", b"X-A", b""),
            (b"X-A: a:b::c\r\n", b"X-A", b"a:b::c"),
            (b"X: caf\xe9\r\n", b"X", b"caf\xe9"),
            (b"!#$%&'*+-.^_`|~09Az: 1\r\n", b"!#$%&'*+-.^_`|~09Az", b"1"),
        ] {
            let mut head = b"123".to_vec();
            head.extend_from_slice(line);
            for strip in [false, true] {
                let field = parse_line(&head[3..], 3, strip).unwrap();
                assert_eq!((field.name.of(&head), field.value.of(&head)), (name, value));
            }
        }
    }

    #[test]
    fn spaces_before_the_colon_are_left_out_where_permitted() {
        let line = b"X-A \t: b \r\n";
        assert_eq!(parse_line(line, 0, false).unwrap_err().kind, RefusalKind::SpaceBeforeColon);
        let field = parse_line(line, 0, true).unwrap();
        assert_eq!((field.name.of(line), field.value.of(line)), (&b"X-A"[..], &b"b"[..]));
        for bad in [&b" : b\r\n"[..], b"X A : b\r\n", b"X-A : b\0\r\n", b"X-A \r\n"] {
            assert!(parse_line(bad, 0, true).is_err(), "{}", bad.escape_ascii());
        }
    }

    /// The tokenizer's idea of names and values is the RFC's, byte for byte (9110 5.1, 5.5).
    #[test]
    fn every_byte_in_names_and_values() {
        for byte in 0..=255u8 {
            if byte == b'\n' {
                continue; // ends the line, never inside one
            }
            let name = [b"X", &[byte][..], b"A: b\r\n"].concat();
            let legal = is_tchar(byte) || byte == b':';
            assert_eq!(parse_line(&name, 0, false).is_ok(), legal, "name {byte:#x}");
            let value = [b"X: a", &[byte][..], b"b\r\n"].concat();
            assert_eq!(parse_line(&value, 0, false).is_ok(), is_value_byte(byte), "value {byte:#x}");
            let first = [b"X:", &[byte][..], b"b\r\n"].concat();
            assert_eq!(parse_line(&first, 0, false).is_ok(), is_value_byte(byte), "first {byte:#x}");
            let last = [b"X: b", &[byte][..], b"\r\n"].concat();
            assert_eq!(parse_line(&last, 0, false).is_ok(), is_value_byte(byte), "last {byte:#x}");
            let lonely = [b"X:", &[byte][..], b"\r\n"].concat();
            assert_eq!(parse_line(&lonely, 0, false).is_ok(), is_value_byte(byte), "lonely {byte:#x}");
        }
    }

    #[test]
    fn the_fault_is_named() {
        for (line, kind) in [
            (&b"Foo bar\r\n"[..], RefusalKind::FieldLine),
            (b": b\r\n", RefusalKind::FieldName),
            (b"X A: b\r\n", RefusalKind::FieldName),
            (b"X-A : b\r\n", RefusalKind::SpaceBeforeColon),
            (b"X-A\t: b\r\n", RefusalKind::SpaceBeforeColon),
            (b"X-A: a\0b\r\n", RefusalKind::FieldValue),
            (b"X-A: a\rb\r\n", RefusalKind::FieldValue),
            (b"X-A:\r\r\n", RefusalKind::FieldValue),
        ] {
            assert_eq!(parse_line(line, 0, false).unwrap_err().kind, kind, "{}", line.escape_ascii());
        }
    }
}
