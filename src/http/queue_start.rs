//! When did a proxy take this request in? X-Request-Start and X-Queue-Start, which no standard
//! describes: what nginx, Heroku's router, HAProxy and Apache write is understood.
//!
//! Must not know: the clock. Whether the peer may be believed is the caller's to know.
//!
//! Invariant: what cannot be a moment is nothing, never a refusal: a measurement is no reason to
//! turn a request away.

use super::head::{Head, Known};

/// The moment, in microseconds since the epoch. X-Request-Start goes first, and of several
/// values the first: it was written farthest from here.
pub fn queue_start(head: &Head, bytes: &[u8]) -> Option<u64> {
    let kind = [Known::XRequestStart, Known::XQueueStart].into_iter().find(|kind| head.has(*kind))?;
    let value = head.of_kind(bytes, kind).next()?;
    moment(value.split(|byte| *byte == b',').next()?.trim_ascii())
}

/// `t=1795142891.250`, in seconds, milliseconds or microseconds, told apart by size: a moment of
/// this century has 10, 13 or 16 digits.
fn moment(value: &[u8]) -> Option<u64> {
    let value = value.strip_prefix(b"t=").unwrap_or(value);
    let dot = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let (whole, fraction) = value.split_at(dot);
    let unit: u64 = match whole.len() {
        10 => 1_000_000,
        13 => 1_000,
        16 => 1,
        _ => return None,
    };
    let micros = digits(whole)? * unit;
    let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
    // Digits beyond a microsecond say nothing to anybody.
    let kept = fraction.get(..6).unwrap_or(fraction);
    let scale = 10_u64.pow(u32::try_from(kept.len()).ok()?);
    digits(fraction.get(kept.len()..)?)?;
    Some(micros + digits(kept)? * unit / scale)
}

/// A number of at most 16 digits; 0 for none.
fn digits(text: &[u8]) -> Option<u64> {
    let digit = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    text.iter().try_fold(0, digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::{Limits, Policy};

    fn read(fields: &str) -> Option<u64> {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        let mut head = Head::new();
        head.parse(text.as_bytes(), &Limits::default(), &Policy::default(), true).unwrap();
        queue_start(&head, text.as_bytes())
    }

    #[test]
    fn what_proxies_write_is_understood() {
        let moment = Some(1_795_142_891_250_000);
        for (fields, expected) in [
            ("X-Request-Start: t=1795142891.250", moment),
            ("X-Request-Start: 1795142891.25", moment),
            ("x-request-start: 1795142891250", moment),
            ("X-Request-Start: t=1795142891250000", moment),
            ("X-Queue-Start: 1795142891250", moment),
            ("X-Request-Start: 1795142891250.5", Some(1_795_142_891_250_500)),
            ("X-Request-Start: 1795142891.2500009", moment),
            ("X-Request-Start: 1795142891", Some(1_795_142_891_000_000)),
            ("X-Queue-Start: 1\r\nX-Request-Start: t=1795142891.250", moment),
            ("X-Request-Start: t=1795142891.250, t=9", moment),
            ("Accept: */*", None),
            ("X-Request-Start: ", None),
            ("X-Request-Start: now", None),
            ("X-Request-Start: -795142891", None),
            ("X-Request-Start: 17951428912500000", None),
            ("X-Request-Start: t=1795142891.2x", None),
            ("X-Request-Start: t=1795142891.2500000x", None),
            ("X-Request-Start: t=1795142891.", Some(1_795_142_891_000_000)),
            ("X-Request-Start: 9999999999999999", Some(9_999_999_999_999_999)),
        ] {
            assert_eq!(read(fields), expected, "{fields}");
        }
    }
}
