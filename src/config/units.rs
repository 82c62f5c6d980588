//! Which number, time, size or mode is this text?
//!
//! Must not know: settings, sources.
//!
//! Invariants:
//! 1. What is printed here is parsed here to the same value.
//! 2. Nothing is rounded or cut to fit: what does not fit is refused.

use std::time::Duration;

/// A whole number as Python's `int(text, 0)` reads it: decimal, 0x, 0o or 0b, with underscores.
pub fn whole(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        _ => (text, 10),
    };
    number(digits, radix)
}

/// A file mode: as [`whole`], and octal too when it begins with a 0, as Gunicorn reads `-m 022`.
pub fn mode(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix('0') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => number(rest, 8),
        _ => whole(text),
    }
}

fn number(digits: &str, radix: u32) -> Option<u64> {
    let separated = !digits.starts_with('_') && !digits.ends_with('_') && !digits.contains("__");
    // from_str_radix takes a sign; a count has none.
    if !separated || digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// Bytes: a whole number, with K, M, G or T (also KB, KiB...; 1024 each).
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        b't' => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    number(digits.trim_end(), 10)?.checked_mul(1 << shift)
}

/// A time: seconds, whole or decimal, or with ms, s, m, h or d.
pub fn seconds(text: &str) -> Option<Duration> {
    let lower = text.trim().to_ascii_lowercase();
    let unit_at = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let (amount, unit) = lower.split_at(unit_at);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let amount = amount.trim_end();
    let digits = amount.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !digits {
        return None;
    }
    decimal_seconds(amount.parse::<f64>().ok()? * factor)
}

/// A century: later arithmetic with instants must not overflow.
const LONGEST: f64 = 100.0 * 365.25 * 86_400.0;

/// A time of so many seconds.
pub fn decimal_seconds(amount: f64) -> Option<Duration> {
    if !(0.0..=LONGEST).contains(&amount) {
        return None;
    }
    Duration::try_from_secs_f64(amount).ok()
}

/// A time as [`seconds`] reads it.
pub fn print_seconds(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => time.as_secs().to_string(),
        nanos => format!("{}.{nanos:09}", time.as_secs()).trim_end_matches('0').to_owned(),
    }
}

/// A yes or no.
pub fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        let cases = [
            ("0", Some(0)),
            (" 42 ", Some(42)),
            ("0x10", Some(16)),
            ("0o17", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("0x-1", None),
            ("_1", None),
            ("1__0", None),
            ("1.0", None),
            ("four", None),
            ("٣", None),
        ];
        for (text, expected) in cases {
            assert_eq!(whole(text), expected, "{text:?}");
        }
    }

    #[test]
    fn modes_are_octal_with_a_leading_zero_only() {
        let cases =
            [("022", Some(0o22)), ("0o22", Some(0o22)), ("0x12", Some(18)), ("22", Some(22)), ("0", Some(0))];
        for (text, expected) in cases {
            assert_eq!(mode(text), expected, "{text:?}");
        }
        assert_eq!(mode("089"), None);
        assert_eq!(mode("rw"), None);
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("512K", Some(512 << 10)),
            ("512kb", Some(512 << 10)),
            ("1 MiB", Some(1 << 20)),
            ("2G", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("10b", Some(10)),
            ("", None),
            ("K", None),
            ("1.5G", None),
            ("-1M", None),
            ("99999999T", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("30", Some(30_000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1.5h", Some(5_400_000)),
            ("250ms", Some(250)),
            ("1 d", Some(86_400_000)),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("s", None),
            ("inf", None),
            ("nan", None),
            ("1 week", None),
            ("999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn printed_times_are_read_back() {
        for time in
            [Duration::ZERO, Duration::from_millis(1500), Duration::from_nanos(1), Duration::from_secs(7)]
        {
            assert_eq!(seconds(&print_seconds(time)), Some(time));
        }
        assert_eq!(print_seconds(Duration::from_millis(500)), "0.5");
    }

    #[test]
    fn flags() {
        for (text, expected) in
            [("1", Some(true)), ("NO", Some(false)), ("On", Some(true)), ("2", None), ("", None)]
        {
            assert_eq!(flag(text), expected, "{text:?}");
        }
    }
}
