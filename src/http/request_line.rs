//! Method, target and version: the first line of a request. RFC 9112 section 3.
//!
//! Must not know: fields, lines before or behind.
//!
//! Invariants:
//! 1. Exactly two spaces, each between two words: no other whitespace separates anything.
//! 2. What can be no request line is refused as soon as that can be seen, so that a peer that
//!    speaks another protocol is not waited for.

use super::error::{Refusal, RefusalKind};
use super::fields::{Span, is_tchar};
use super::head::Version;
use super::limits::Policy;
use super::target::{self, Target};

/// The longest method Gunicorn's rule allows.
const METHOD: usize = 20;

/// A request line taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method, as it came.
    pub method: Span,
    /// The whole target, as it came.
    pub target: Span,
    /// The target's parts.
    pub parts: Target,
    /// The version the request is served as.
    pub version: Version,
    /// The digits of the version, as they came.
    pub version_text: Span,
}

/// Parses a request line without its CRLF, which starts at `offset`.
pub fn parse(line: &[u8], offset: usize, policy: &Policy) -> Result<RequestLine, Refusal> {
    let malformed = |kind| Refusal::quoting(kind, line);
    let first = memchr::memchr(b' ', line).unwrap_or(line.len());
    let method = &line[..first];
    if !is_method(method, policy) {
        return Err(Refusal::quoting(RefusalKind::Method, method));
    }
    let rest = line.get(first + 1..).ok_or_else(|| malformed(RefusalKind::RequestLine))?;
    let second = memchr::memchr(b' ', rest).ok_or_else(|| malformed(RefusalKind::RequestLine))?;
    let (target, version) = (&rest[..second], &rest[second + 1..]);
    if target.is_empty() || version.contains(&b' ') {
        return Err(malformed(RefusalKind::RequestLine));
    }
    let version_at = offset + first + second + 2;
    // From left to right: a peer that sends the line in pieces is told of the same fault.
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::quoting(RefusalKind::Target, target));
    }
    let served = parse_version(version, policy)?;
    let target_at = offset + first + 1;
    let parts = if policy.casefold_http_method {
        target::split(&method.to_ascii_uppercase(), target, target_at)
    } else {
        target::split(method, target, target_at)
    };
    Ok(RequestLine {
        method: Span::new(offset, offset + first),
        target: Span::new(target_at, target_at + second),
        parts: parts.ok_or_else(|| Refusal::quoting(RefusalKind::Target, target))?,
        version: served,
        version_text: Span::new(version_at + 5, version_at + version.len()),
    })
}

/// What can be told apart in a line that was refused, for the log: method, target, and the version,
/// which is empty if it was not reached or is none.
pub fn words(line: &[u8], offset: usize, policy: &Policy) -> Option<(Span, Span, Span)> {
    let first = memchr::memchr(b' ', line)?;
    let (method, rest) = (&line[..first], &line[first + 1..]);
    let second = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    if !is_method(method, policy) || second == 0 {
        return None;
    }
    let target_at = offset + first + 1;
    let version_at = target_at + second + 1;
    let version = match rest.get(second + 1..) {
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => {
            Span::new(version_at + 5, version_at + 8)
        }
        _ => Span::default(),
    };
    Some((Span::new(offset, offset + first), Span::new(target_at, target_at + second), version))
}

/// Refuses the start of a line that can become no request line. `fresh` is how many bytes at its
/// end were not looked at before.
pub fn plausible(partial: &[u8], fresh: usize, policy: &Policy) -> Result<(), Refusal> {
    let window = partial.get(..METHOD + 1).unwrap_or(partial);
    let end = window.iter().position(|&byte| byte == b' ');
    let word = &window[..end.unwrap_or(window.len())];
    // A CR may be the last byte seen; it is looked at again with what follows it.
    let word = word.strip_suffix(b"\r").unwrap_or(word);
    let unended = end.is_none() && window.len() > METHOD && !policy.permit_unconventional_http_method;
    if unended || end == Some(0) || !word.iter().all(|&byte| is_method_byte(byte, policy)) {
        return Err(Refusal::quoting(RefusalKind::Method, word));
    }
    let start = partial.len().saturating_sub(fresh + 1);
    let text = &partial[start..];
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match text.iter().find(|&&byte| !(b' '..=b'~').contains(&byte)) {
        Some(b'\r') => Err(RefusalKind::LineEnd.into()),
        Some(_) => Err(Refusal::quoting(RefusalKind::RequestLine, partial)),
        None => Ok(()),
    }
}

fn is_method_byte(byte: u8, policy: &Policy) -> bool {
    let conventional = !byte.is_ascii_lowercase() && byte != b'#';
    is_tchar(byte) && (conventional || policy.permit_unconventional_http_method)
}

/// A token (RFC 9110 section 9.1); by default also what Gunicorn asks of one, which every
/// registered method but the made-up short or lower-case ones meets.
fn is_method(method: &[u8], policy: &Policy) -> bool {
    let length = policy.permit_unconventional_http_method || (3..=METHOD).contains(&method.len());
    length && !method.is_empty() && method.iter().all(|&byte| is_method_byte(byte, policy))
}

/// `HTTP/DIGIT.DIGIT` (RFC 9112 section 2.3). A higher minor version is served as the highest we
/// know (RFC 9110 section 2.5).
fn parse_version(text: &[u8], policy: &Policy) -> Result<Version, Refusal> {
    let Some([major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9']) = text.strip_prefix(b"HTTP/") else {
        return Err(Refusal::quoting(RefusalKind::Version, text));
    };
    match (major, minor) {
        (b'1', b'0') => Ok(Version::Http10),
        (b'1', _) => Ok(Version::Http11),
        _ if !policy.permit_unconventional_http_version => {
            Err(Refusal::quoting(RefusalKind::VersionUnsupported, text))
        }
        (b'0', _) => Ok(Version::Http10),
        _ => Ok(Version::Http11),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &[u8]) -> Option<RefusalKind> {
        parse(line, 0, &Policy::default()).err().map(|refusal| refusal.kind)
    }

    #[test]
    fn a_request_line_is_taken_apart() {
        let bytes = b"12POST /a?b HTTP/1.1";
        let line = parse(&bytes[2..], 2, &Policy::default()).unwrap();
        assert_eq!(line.method.of(bytes), b"POST");
        assert_eq!(line.target.of(bytes), b"/a?b");
        assert_eq!(line.parts.path.of(bytes), b"/a");
        assert_eq!(line.parts.query.of(bytes), b"b");
        assert_eq!(line.version_text.of(bytes), b"1.1");
        assert_eq!(line.version, Version::Http11);
    }

    #[test]
    fn each_refusal_rests_on_a_clause() {
        use RefusalKind::*;
        for (clause, line, kind) in [
            ("9112 3: two words", &b"GET /"[..], RequestLine),
            ("9112 3: one word", b"GET", RequestLine),
            ("9112 3: one word", b"GET HTTP/1.1", RequestLine),
            ("9112 3: single SP", b"GET  / HTTP/1.1", RequestLine),
            ("9112 3: single SP", b"GET /  HTTP/1.1", RequestLine),
            ("9112 3: no trailing SP", b"GET / HTTP/1.1 ", RequestLine),
            ("9112 3.2: no SP in a target", b"GET /a b HTTP/1.1", RequestLine),
            ("9112 3: four words", b"GET / HTTP/1.1 extra", RequestLine),
            ("9112 3: SP, not HTAB", b"GET\t/\tHTTP/1.1", Method),
            ("9112 3: SP first", b" GET / HTTP/1.1", Method),
            ("9110 9.1: token", b"GET: / HTTP/1.1", Method),
            ("9110 9.1: token", b"G@T / HTTP/1.1", Method),
            ("9110 9.1: token", b"G\xc9T / HTTP/1.1", Method),
            ("9110 9.1: token", b"GET\0 / HTTP/1.1", Method),
            ("9110 9.1: case-sensitive", b"get / HTTP/1.1", Method),
            ("9110 16.1.1: no such method", b"GE / HTTP/1.1", Method),
            ("9110 16.1.1: no such method", b"ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1", Method),
            ("9112 2.3: case-sensitive", b"GET / http/1.1", Version),
            ("9112 2.3: minor", b"GET / HTTP/1", Version),
            ("9112 2.3: one digit", b"GET / HTTP/1.10", Version),
            ("9112 2.3: one digit", b"GET / HTTP/01.1", Version),
            ("9112 2.3: digits", b"GET / HTTP/a.b", Version),
            ("9112 2.3: digits", b"GET / HTTP/-1.1", Version),
            ("9112 2.3: slash", b"GET / HTTP1.1", Version),
            ("9112 2.3: name", b"GET / ICAP/1.0", Version),
            ("9112 2.3: digits", b"GET / HTTP/1.1\x0b", Version),
            ("9110 15.6.6: major", b"GET / HTTP/2.0", VersionUnsupported),
            ("9110 15.6.6: major", b"GET / HTTP/0.9", VersionUnsupported),
            ("9113 3.4: the preface of HTTP/2", b"PRI * HTTP/2.0", VersionUnsupported),
            ("9112 3.2: no controls", b"GET /\x01 HTTP/1.1", Target),
            ("9112 3.2: no NUL", b"GET /a\0b HTTP/1.1", Target),
            ("9112 3.2: no DEL", b"GET /\x7f HTTP/1.1", Target),
            ("3986 2: ASCII", b"GET /caf\xe9 HTTP/1.1", Target),
            ("9112 2.2: no CR", b"GET /a\rb HTTP/1.1", Target),
            ("9112 3.2.4: OPTIONS only", b"GET * HTTP/1.1", Target),
            ("9112 3.2.3: CONNECT only", b"GET a.test:80 HTTP/1.1", Target),
            ("9112 3.2: no fragment", b"GET /a#b HTTP/1.1", Target),
        ] {
            assert_eq!(refused(line), Some(kind), "{clause}: {}", line.escape_ascii());
        }
    }

    #[test]
    fn what_can_be_told_apart() {
        for (line, expected) in [
            (&b"GET /a HTTP/2.0"[..], Some((&b"GET"[..], &b"/a"[..], &b"2.0"[..]))),
            (b"GET /a HTTP/1.x", Some((b"GET", b"/a", b""))),
            (b"GET /a\x01 HTTP/1.1", Some((b"GET", b"/a\x01", b"1.1"))),
            (b"GET /aaaaaaa", Some((b"GET", b"/aaaaaaa", b""))),
            (b"GET ", None),
            (b"GET  / HTTP/1.1", None),
            (b"G@T / HTTP/1.1", None),
            (b"", None),
        ] {
            let told = words(line, 0, &Policy::default())
                .map(|(method, target, version)| (method.of(line), target.of(line), version.of(line)));
            assert_eq!(told, expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_accepted() {
        for (line, version) in [
            (&b"GET / HTTP/1.0"[..], Version::Http10),
            (b"GET / HTTP/1.1", Version::Http11),
            (b"GET / HTTP/1.9", Version::Http11),
            (b"PROPFIND /a HTTP/1.1", Version::Http11),
            (b"FOO /\"\\|<>{}^` HTTP/1.1", Version::Http11),
            (b"X-1.~!$ / HTTP/1.1", Version::Http11),
            (b"GET /%zz%4% HTTP/1.1", Version::Http11),
        ] {
            let parsed = parse(line, 0, &Policy::default());
            assert_eq!(parsed.map(|line| line.version), Ok(version), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_policies_add() {
        let method = Policy { permit_unconventional_http_method: true, ..Policy::default() };
        for line in [&b"g / HTTP/1.1"[..], b"get# / HTTP/1.1", b"ABCDEFGHIJKLMNOPQRSTUVW / HTTP/1.1"] {
            assert!(parse(line, 0, &method).is_ok(), "{}", line.escape_ascii());
        }
        assert!(parse(b"G@T / HTTP/1.1", 0, &method).is_err());
        let fold = Policy { casefold_http_method: true, ..method };
        assert!(parse(b"options * HTTP/1.1", 0, &fold).is_ok());
        let version = Policy { permit_unconventional_http_version: true, ..Policy::default() };
        assert_eq!(parse(b"GET / HTTP/2.0", 0, &version).unwrap().version, Version::Http11);
        assert_eq!(parse(b"GET / HTTP/0.9", 0, &version).unwrap().version, Version::Http10);
        assert!(parse(b"GET / HTTP/10.0", 0, &version).is_err());
    }

    #[test]
    fn other_protocols_are_seen_at_once() {
        for start in [
            &b"\x16\x03\x01"[..],
            b"\x05",
            b"\0",
            b"\xff",
            b" ",
            b"{",
            b"PK\x03",
            b"g",
            b"GET /\x01",
            b"GET /\r\r",
            b"GET /\ra",
            b"GET\xc9",
            b"ABCDEFGHIJKLMNOPQRSTU",
        ] {
            let fine = start.len() - 1;
            assert!(plausible(start, start.len(), &Policy::default()).is_err(), "{}", start.escape_ascii());
            if fine > 0 && !start.starts_with(b"\x16") {
                assert!(plausible(start, 1, &Policy::default()).is_err(), "{}", start.escape_ascii());
            }
        }
        for start in [&b"G"[..], b"GET", b"GET ", b"GET /", b"GET / HTTP/1.1\r", b"GET\r", b"FOO a b"] {
            assert_eq!(plausible(start, start.len(), &Policy::default()), Ok(()), "{}", start.escape_ascii());
        }
    }
}
