//! How is a moment of local time written?
//!
//! Must not know: which log it is for, what time it is.
//!
//! Invariants:
//! 1. The time zone is read once, before any fork and any thread; writing a time takes no lock.
//! 2. A machine without a usable time zone writes UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// The local time zone.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// The one of TZ or /etc/localtime.
    pub fn local() -> Zone {
        Zone(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    /// A fixed one, for tests.
    #[cfg(test)]
    pub fn named(name: &str) -> Zone {
        Zone(TimeZone::get(name).expect("a time zone"))
    }

    /// `20/Nov/2026:02:48:11 +0000`, the access log's.
    pub fn push_common(&self, out: &mut Vec<u8>, unix: i64) {
        let (moment, offset) = self.at(unix);
        push_number(out, moment.day().into(), 2);
        out.push(b'/');
        let month = usize::try_from(moment.month()).unwrap_or(1);
        out.extend_from_slice(MONTHS[(month + 11) % 12]);
        out.push(b'/');
        push_number(out, moment.year().into(), 4);
        out.push(b':');
        push_time(out, &moment, offset);
    }

    /// `2026-11-20 02:48:11 +0000`, the error log's.
    pub fn push_iso(&self, out: &mut Vec<u8>, unix: i64) {
        let (moment, offset) = self.at(unix);
        push_number(out, moment.year().into(), 4);
        out.push(b'-');
        push_number(out, moment.month().into(), 2);
        out.push(b'-');
        push_number(out, moment.day().into(), 2);
        out.push(b' ');
        push_time(out, &moment, offset);
    }

    fn at(&self, unix: i64) -> (jiff::civil::DateTime, i32) {
        let moment = Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH);
        (self.0.to_datetime(moment), self.0.to_offset(moment).seconds())
    }
}

/// `2026-11-20T02:48:11.250Z`, in UTC (RFC 3339).
pub fn push_rfc3339(out: &mut Vec<u8>, unix_ms: u64) {
    let second = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let (moment, _) = Zone(TimeZone::UTC).at(second);
    push_number(out, moment.year().into(), 4);
    let parts = [(b'-', moment.month()), (b'-', moment.day()), (b'T', moment.hour())];
    for (before, number) in parts.into_iter().chain([(b':', moment.minute()), (b':', moment.second())]) {
        out.push(before);
        push_number(out, number.into(), 2);
    }
    out.push(b'.');
    push_decimal(out, unix_ms % 1_000, 3);
    out.push(b'Z');
}

fn push_time(out: &mut Vec<u8>, moment: &jiff::civil::DateTime, offset: i32) {
    for (number, then) in [(moment.hour(), b':'), (moment.minute(), b':'), (moment.second(), b' ')] {
        push_number(out, number.into(), 2);
        out.push(then);
    }
    out.push(if offset < 0 { b'-' } else { b'+' });
    let minutes = i64::from(offset.abs() / 60);
    push_number(out, minutes / 60, 2);
    push_number(out, minutes % 60, 2);
}

/// Appends a number of at least `width` digits. A year before 0 is nobody's.
fn push_number(out: &mut Vec<u8>, number: i64, width: usize) {
    push_decimal(out, number.unsigned_abs(), width);
}

/// Appends `number` in decimal with at least `width` digits, without allocating.
pub fn push_decimal(out: &mut Vec<u8>, mut number: u64, width: usize) {
    // 2^64 has 20 digits.
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    at = at.min(digits.len() - width.clamp(1, digits.len()));
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_the_zone_with_its_offset() {
        for (zone, unix, common, iso) in [
            ("UTC", 0, "01/Jan/1970:00:00:00 +0000", "1970-01-01 00:00:00 +0000"),
            ("UTC", 1_795_142_891, "20/Nov/2026:02:48:11 +0000", "2026-11-20 02:48:11 +0000"),
            ("Europe/Berlin", 1_782_000_000, "21/Jun/2026:02:00:00 +0200", "2026-06-21 02:00:00 +0200"),
            ("America/St_Johns", 1_795_142_891, "19/Nov/2026:23:18:11 -0330", "2026-11-19 23:18:11 -0330"),
            ("Asia/Kathmandu", 1_795_142_891, "20/Nov/2026:08:33:11 +0545", "2026-11-20 08:33:11 +0545"),
            ("UTC", i64::MAX, "01/Jan/1970:00:00:00 +0000", "1970-01-01 00:00:00 +0000"),
        ] {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            Zone::named(zone).push_common(&mut a, unix);
            Zone::named(zone).push_iso(&mut b, unix);
            assert_eq!(String::from_utf8(a).unwrap(), common);
            assert_eq!(String::from_utf8(b).unwrap(), iso);
        }
    }

    #[test]
    fn moments_for_machines_are_in_utc() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_142_891_007, "2026-11-20T02:48:11.007Z"),
            (u64::MAX, "1970-01-01T00:00:00.615Z"),
        ] {
            let mut out = Vec::new();
            push_rfc3339(&mut out, unix_ms);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn decimals_have_at_least_their_width() {
        for (number, width, text) in [
            (0, 0, "0"),
            (0, 1, "0"),
            (7, 2, "07"),
            (123, 2, "123"),
            (u64::MAX, 3, "18446744073709551615"),
            (5, 99, "00000000000000000005"),
        ] {
            let mut out = b"x".to_vec();
            push_decimal(&mut out, number, width);
            assert_eq!(out, format!("x{text}").into_bytes());
        }
    }
}
