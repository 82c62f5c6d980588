//! Which path and query does a request target name? RFC 9112 section 3.2, RFC 3986.
//!
//! Must not know: what the application is told, whether the connection is secured.
//!
//! Invariants:
//! 1. A target is in exactly one of the four forms, and in the one its method allows.
//! 2. Decoding happens once, after splitting; what is no valid escape is kept.

use super::fields::Span;
use super::head::TargetForm;
use super::host;

/// A target taken apart. Spans index the same bytes as the target's own span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The form it is in.
    pub form: TargetForm,
    /// The path, still encoded.
    pub path: Span,
    /// The query without `?`.
    pub query: Span,
    /// The authority, of absolute-form and authority-form.
    pub authority: Span,
    /// An absolute-form target with the scheme https.
    pub https: bool,
}

/// Takes the target at `offset` apart; `None` if it is in no form its method allows. That all its
/// bytes are visible ASCII has been checked.
pub fn split(method: &[u8], target: &[u8], offset: usize) -> Option<Target> {
    // A fragment is never sent (RFC 9112 section 3.2); what follows it would be read two ways.
    if target.contains(&b'#') {
        return None;
    }
    let whole = Span::new(offset, offset + target.len());
    match target {
        // RFC 9112 section 3.2.3: CONNECT takes this form and no other.
        _ if method == b"CONNECT" => host::is_valid_with_port(target).then_some(Target {
            form: TargetForm::Authority,
            authority: whole,
            ..Target::default()
        }),
        [b'/', ..] => Some(path_and_query(target, offset)),
        b"*" => (method == b"OPTIONS").then_some(Target {
            form: TargetForm::Asterisk,
            path: whole,
            ..Target::default()
        }),
        _ => absolute(target, offset),
    }
}

/// RFC 9112 section 3.2.2. The authority must be there and must not hold userinfo
/// (RFC 9110 sections 4.2.1 and 4.2.4).
fn absolute(target: &[u8], offset: usize) -> Option<Target> {
    let colon = memchr::memchr(b':', target)?;
    let https = target[..colon].eq_ignore_ascii_case(b"https");
    if !https && !target[..colon].eq_ignore_ascii_case(b"http") {
        return None;
    }
    let rest = target[colon..].strip_prefix(b"://")?;
    let start = colon + 3;
    let length = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    if !host::is_valid(&rest[..length]) {
        return None;
    }
    let behind = offset + start + length;
    Some(Target {
        form: TargetForm::Absolute,
        authority: Span::new(offset + start, behind),
        https,
        ..path_and_query(&rest[length..], behind)
    })
}

fn path_and_query(text: &[u8], offset: usize) -> Target {
    let end = offset + text.len();
    let (path, query) = match memchr::memchr(b'?', text) {
        Some(mark) => (Span::new(offset, offset + mark), Span::new(offset + mark + 1, end)),
        None => (Span::new(offset, end), Span::new(end, end)),
    };
    Target { path, query, ..Target::default() }
}

/// Decodes `%HH`; what is no valid escape is kept as it is. The result is `path` itself when
/// there is nothing to decode, otherwise `out`, which is overwritten.
pub fn percent_decode<'a>(path: &'a [u8], out: &'a mut Vec<u8>) -> &'a [u8] {
    let Some(first) = memchr::memchr(b'%', path) else { return path };
    let (plain, mut rest) = path.split_at(first);
    out.clear();
    out.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%'
            && let [high, low, behind @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = behind;
        } else {
            out.push(byte);
        }
    }
    out
}

/// The value of a hexadecimal digit.
pub(super) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Form, path, query and authority of a target.
    fn parts(method: &str, target: &'static str) -> Option<(TargetForm, [&'static str; 3])> {
        let text = |span: Span| std::str::from_utf8(span.of(target.as_bytes())).unwrap();
        let split = split(method.as_bytes(), target.as_bytes(), 0)?;
        Some((split.form, [text(split.path), text(split.query), text(split.authority)]))
    }

    #[test]
    fn the_four_forms() {
        use TargetForm::*;
        for (method, target, form, expected) in [
            ("GET", "/", Origin, ["/", "", ""]),
            ("GET", "/a/b?c=d", Origin, ["/a/b", "c=d", ""]),
            ("GET", "/a?b=c?d=e??f", Origin, ["/a", "b=c?d=e??f", ""]),
            ("GET", "/?", Origin, ["/", "", ""]),
            ("GET", "//evil.example/a", Origin, ["//evil.example/a", "", ""]),
            ("GET", "/http://a/b", Origin, ["/http://a/b", "", ""]),
            ("GET", "http://a.test/b?c", Absolute, ["/b", "c", "a.test"]),
            ("GET", "HTTPS://a.test:8443/b", Absolute, ["/b", "", "a.test:8443"]),
            ("GET", "http://a.test", Absolute, ["", "", "a.test"]),
            ("GET", "http://a.test?b/c", Absolute, ["", "b/c", "a.test"]),
            ("GET", "http://[::1]:80/", Absolute, ["/", "", "[::1]:80"]),
            ("OPTIONS", "*", Asterisk, ["*", "", ""]),
            ("OPTIONS", "/a", Origin, ["/a", "", ""]),
            ("CONNECT", "a.test:443", Authority, ["", "", "a.test:443"]),
            ("CONNECT", "[::1]:443", Authority, ["", "", "[::1]:443"]),
        ] {
            assert_eq!(parts(method, target), Some((form, expected)), "{method} {target}");
        }
    }

    #[test]
    fn targets_in_no_form() {
        for (method, target) in [
            ("GET", "*"),
            ("OPTIONS", "**"),
            ("GET", "a"),
            ("GET", "a.test:80"),
            ("GET", "?a"),
            ("GET", "/a#b"),
            ("GET", "http:/a"),
            ("GET", "http:a"),
            ("GET", "http://"),
            ("GET", "http:///a"),
            ("GET", "http://?a"),
            ("GET", "http://:80/"),
            ("GET", "http://u@a.test/"),
            ("GET", "http://u:p@a.test/"),
            ("GET", "http://a.test\\b/"),
            ("GET", "http://[::1/"),
            ("GET", "ftp://a.test/"),
            ("GET", "javascript://a.test/"),
            ("CONNECT", "/"),
            ("CONNECT", "*"),
            ("CONNECT", "a.test"),
            ("CONNECT", "http://a.test:443/"),
        ] {
            assert_eq!(parts(method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn decodes_once_and_keeps_what_is_no_escape() {
        for (path, decoded) in [
            (&b"/plain"[..], &b"/plain"[..]),
            (b"", b""),
            (b"/%41%62%2d", b"/Ab-"),
            (b"/caf%C3%a9", b"/caf\xc3\xa9"),
            (b"/%2541", b"/%41"),
            (b"/a%2Fb%00c", b"/a/b\0c"),
            (b"/a%zz", b"/a%zz"),
            (b"/a%4", b"/a%4"),
            (b"/a%", b"/a%"),
            (b"/a%%41", b"/a%A"),
            (b"/a%4%41", b"/a%4A"),
            (b"/a+b", b"/a+b"),
            (b"%ff%FE", b"\xff\xfe"),
        ] {
            assert_eq!(percent_decode(path, &mut b"old".to_vec()), decoded, "{}", path.escape_ascii());
        }
    }
}
