//! Which path and query does a request target name? RFC 9112 section 3.2, RFC 3986.
//!
//! Must not know: what the application is told.
//!
//! Invariant: decoding happens once, after splitting; what is no valid escape is kept.

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
