//! Is this a `uri-host [ ":" port ]`? RFC 9110 section 7.2, RFC 3986 section 3.2.
//!
//! Must not know: which names are served here.
//!
//! Invariants:
//! 1. What passes has no userinfo, path, whitespace or comma, so that no later reader of the
//!    same bytes can see another host in them.
//! 2. A port is empty or at most 65535.

use std::net::Ipv6Addr;

use super::target::hex;

/// Whether it is a host with an optional port. The host is not empty.
pub fn is_valid(text: &[u8]) -> bool {
    split(text).is_some()
}

/// Whether it is a host with a port that is not empty, as CONNECT needs it (RFC 9112 section 3.2.3).
pub fn is_valid_with_port(text: &[u8]) -> bool {
    split(text).is_some_and(|(_, port)| port.is_some_and(|digits| !digits.is_empty()))
}

/// Host and port digits, if both are within their grammar. IPv6 literals keep their brackets.
pub fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (host, behind) = match text {
        [b'[', ..] => {
            let close = memchr::memchr(b']', text)?;
            let literal = &text[1..close];
            if !is_ip_literal(literal) {
                return None;
            }
            text.split_at(close + 1)
        }
        _ => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            let (name, behind) = text.split_at(end);
            if !is_reg_name(name) {
                return None;
            }
            (name, behind)
        }
    };
    match behind {
        [] => Some((host, None)),
        [b':', port @ ..] if is_port(port) => Some((host, Some(port))),
        _ => None,
    }
}

fn is_port(digits: &[u8]) -> bool {
    let mut value = 0u32;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return false;
        }
        value = value * 10 + u32::from(digit - b'0');
        if value > 65535 {
            return false;
        }
    }
    true
}

/// `IPv6address / IPvFuture`. Zone identifiers mean nothing to another host.
fn is_ip_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        let Some(dot) = memchr::memchr(b'.', future) else { return false };
        let (version, rest) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !rest.is_empty()
            && rest.iter().all(|&byte| byte == b':' || is_name_byte(byte));
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// `reg-name`, not empty; an IPv4 address is one too. A comma, though in the grammar, is what is
/// left when someone joined two Host fields (RFC 9110 section 5.3), and refused.
fn is_reg_name(text: &[u8]) -> bool {
    if !text.contains(&b'%') {
        return !text.is_empty() && text.iter().all(|&byte| is_name_byte(byte));
    }
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'%', [high, low, behind @ ..]) if hex(*high).is_some() && hex(*low).is_some() => behind,
            (byte, tail) if is_name_byte(byte) => tail,
            _ => return false,
        };
    }
    true
}

/// `unreserved / sub-delims` without the comma.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[&str] = &[
        "judge.test",
        "localhost",
        "a",
        "judge.test:8080",
        "judge.test:",
        "judge.test:0080",
        "127.0.0.1",
        "127.0.0.1:65535",
        "[::1]",
        "[::1]:80",
        "[::ffff:1.2.3.4]:",
        "[v1.fe80::a+en1]",
        "under_score.test",
        "xn--mnchen-3ya.test",
        "a%20b",
        "a!$&'()*+;=b~",
    ];

    const BAD: &[&str] = &[
        "",
        ":80",
        "judge test",
        "judge.test/x",
        "u@judge.test",
        "judge.test, evil.test",
        "judge.test,evil.test",
        "judge.test:abc",
        "judge.test:-1",
        "judge.test:65536",
        "judge.test:99999999999999999999",
        "judge.test:80:80",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]80",
        "[]",
        "[1.2.3.4]",
        "[fe80::1%25eth0]",
        "[v.a]",
        "[v1.]",
        "[vx.a]",
        "a%2",
        "a%zz",
        "judge.test?x",
        "judge.test#x",
        "judge\\test",
        "\"judge\"",
        "caf\u{e9}",
        "a\tb",
    ];

    #[test]
    fn hosts() {
        for good in GOOD {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in BAD {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn connect_needs_a_port() {
        for (text, valid) in
            [("a:443", true), ("[::1]:443", true), ("a", false), ("a:", false), (":443", false)]
        {
            assert_eq!(is_valid_with_port(text.as_bytes()), valid, "{text}");
        }
    }
}
