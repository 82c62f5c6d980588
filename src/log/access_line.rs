//! How does a finished exchange become the bytes of one line?
//!
//! Must not know: the syntax of formats, where lines go.
//!
//! Invariants:
//! 1. Whatever a record holds, one line comes out: every value is escaped as `escape` says.
//! 2. A line of atoms without width or precision allocates nothing but what `out` needs to grow
//!    (a percent-encoded path, and a user name, are decoded into a buffer first).

use std::borrow::Cow;
use std::sync::PoisonError;

use super::access_format::{AccessFormat, Atom, Conversion, Segment, Spec};
use super::access_record::{AccessRecord, Fields};
use super::clock::push_decimal;
use super::escape::push_escaped;
use super::percent;

/// What is written for a value that is not there.
const NOTHING: &[u8] = b"-";

/// `[20/Nov/2026:02:48:11 +0000]`, and the second it stands for.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    text: Vec<u8>,
}

/// The value of an atom: text still to be escaped, or a number.
enum Value<'a> {
    Text(Cow<'a, [u8]>),
    Number(u64),
}

impl AccessFormat {
    /// Appends one line, without its line end.
    pub fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>) {
        for segment in &self.segments {
            match segment {
                Segment::Literal(bytes) => out.extend_from_slice(bytes),
                Segment::Atom(atom) => self.push(out, atom, record),
                Segment::Formatted(atom, spec) => self.push_formatted(out, atom, *spec, record),
            }
        }
    }

    fn push(&self, out: &mut Vec<u8>, atom: &Atom, record: &AccessRecord<'_>) {
        match atom {
            Atom::Time => self.push_time(out, i64::try_from(record.now_ms / 1_000).unwrap_or(i64::MAX)),
            Atom::RequestLine if !record.method.is_empty() => {
                push_escaped(out, record.method);
                out.push(b' ');
                push_escaped(out, record.target);
                out.push(b' ');
                push_escaped(out, shown(record.version.as_bytes()));
            }
            Atom::DecimalSeconds => {
                push_decimal(out, record.duration.as_secs(), 1);
                out.push(b'.');
                push_decimal(out, record.duration.subsec_micros().into(), 6);
            }
            Atom::Pid => {
                out.push(b'<');
                push_decimal(out, record.pid.into(), 1);
                out.push(b'>');
            }
            simple => match value(simple, record) {
                Value::Text(text) => push_escaped(out, &text),
                Value::Number(number) => push_decimal(out, number, 1),
            },
        }
    }

    fn push_time(&self, out: &mut Vec<u8>, now: i64) {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        if stamp.second != Some(now) {
            stamp.text.clear();
            stamp.text.push(b'[');
            self.zone.push_common(&mut stamp.text, now);
            stamp.text.push(b']');
            stamp.second = Some(now);
        }
        out.extend_from_slice(&stamp.text);
    }

    fn push_formatted(&self, out: &mut Vec<u8>, atom: &Atom, spec: Spec, record: &AccessRecord<'_>) {
        let start = out.len();
        match (atom, value(atom, record), spec.conversion) {
            (_, Value::Number(number), Conversion::Integer) => return push_integer(out, number, spec),
            (_, Value::Number(number), Conversion::Fixed) => return push_fixed(out, number, spec),
            (_, Value::Number(number), Conversion::Text) => {
                push_decimal(out, number, 1);
                truncate(out, start, spec.precision);
            }
            // Made of several values: cut as it looks, which cannot split an escape of the
            // numbers and times; a request line is cut before it is escaped.
            (Atom::Time | Atom::DecimalSeconds | Atom::Pid, ..) => {
                self.push(out, atom, record);
                truncate(out, start, spec.precision);
            }
            (_, Value::Text(text), _) => push_escaped(out, first_chars(&text, spec.precision)),
        }
        pad(out, start, spec);
    }
}

/// Atoms with a value of their own; those made of several are written by `push`.
fn value<'a>(atom: &Atom, record: &AccessRecord<'a>) -> Value<'a> {
    let text = |bytes: &'a [u8]| Value::Text(Cow::Borrowed(shown(bytes)));
    match atom {
        Atom::RemoteAddr => text(record.remote_addr.as_bytes()),
        Atom::User => Value::Text(user(record.request).map_or(Cow::Borrowed(NOTHING), Cow::Owned)),
        Atom::RequestLine if record.method.is_empty() => text(b""),
        Atom::RequestLine => {
            let words = [record.method, record.target, shown(record.version.as_bytes())];
            Value::Text(Cow::Owned(words.join(&b' ')))
        }
        Atom::Method => text(record.method),
        Atom::Path if record.path.contains(&b'%') => Value::Text(Cow::Owned(percent::decoded(record.path))),
        Atom::Path => text(record.path),
        // An empty query is written as such: formats put it behind a `?` of their own.
        Atom::Query => Value::Text(Cow::Borrowed(record.query)),
        Atom::Protocol => text(record.version.as_bytes()),
        // No status was sent: the client went away first.
        Atom::Status if record.status == 0 => text(b""),
        Atom::Status => Value::Number(record.status.into()),
        Atom::Length => Value::Number(record.response_length),
        Atom::Seconds => Value::Number(record.duration.as_secs()),
        Atom::Millis => Value::Number(saturated(record.duration.as_millis())),
        Atom::Micros => Value::Number(saturated(record.duration.as_micros())),
        Atom::Request(name) => field(record.request, name),
        Atom::Response(name) => field(record.response, name),
        Atom::Environ(index) => match record.environ.get(*index) {
            Some(Some(value)) => Value::Text(Cow::Borrowed(value.as_bytes())),
            _ => text(b""),
        },
        Atom::Unknown | Atom::Time | Atom::DecimalSeconds | Atom::Pid => text(b""),
    }
}

/// A value that may not be there.
fn shown(bytes: &[u8]) -> &[u8] {
    if bytes.is_empty() { NOTHING } else { bytes }
}

/// A field that is there but empty is written empty, as with Gunicorn.
fn field<'a>(fields: &'a dyn Fields, name: &str) -> Value<'a> {
    Value::Text(Cow::Borrowed(fields.last(name).unwrap_or(NOTHING)))
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn push_integer(out: &mut Vec<u8>, number: u64, spec: Spec) {
    let start = out.len();
    out.extend(spec.sign);
    // Zeros of the width stand between sign and digits, and not at all in a left-aligned field.
    let zeros = if spec.zero && !spec.left { spec.width.saturating_sub(out.len() - start) } else { 0 };
    push_zeros(out, number, zeros.max(spec.precision.unwrap_or(1)));
    pad(out, start, spec);
}

fn push_fixed(out: &mut Vec<u8>, number: u64, spec: Spec) {
    let start = out.len();
    out.extend(spec.sign);
    let decimals = spec.precision.unwrap_or(6);
    let tail = if decimals == 0 { 0 } else { decimals + 1 };
    let taken = out.len() - start + tail;
    let zeros = if spec.zero && !spec.left { spec.width.saturating_sub(taken) } else { 0 };
    push_zeros(out, number, zeros.max(1));
    if decimals > 0 {
        out.push(b'.');
        out.resize(out.len() + decimals, b'0');
    }
    pad(out, start, spec);
}

/// A number of at least `width` digits, which may be more than any number has.
fn push_zeros(out: &mut Vec<u8>, number: u64, width: usize) {
    let start = out.len();
    push_decimal(out, number, 1);
    let missing = width.saturating_sub(out.len() - start);
    out.splice(start..start, std::iter::repeat_n(b'0', missing));
}

/// Fills up with spaces to the width, counted in characters.
fn pad(out: &mut Vec<u8>, start: usize, spec: Spec) {
    let missing = spec.width.saturating_sub(count_chars(&out[start..]));
    let at = if spec.left { out.len() } else { start };
    out.splice(at..at, std::iter::repeat_n(b' ', missing));
}

fn truncate(out: &mut Vec<u8>, start: usize, precision: Option<usize>) {
    if let Some(precision) = precision {
        out.truncate(start + precision);
    }
}

/// Bytes that do not continue a UTF-8 sequence.
fn count_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Cut before it is escaped: half an escape, or a backslash before the closing quote, must not remain.
fn first_chars(bytes: &[u8], precision: Option<usize>) -> &[u8] {
    let Some(precision) = precision else { return bytes };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80);
    starts.map(|(at, _)| at).nth(precision).map_or(bytes, |at| &bytes[..at])
}

/// The user name of Basic authentication (RFC 7617): nobody has checked it.
pub(super) fn user(request: &dyn Fields) -> Option<Vec<u8>> {
    let (scheme, rest) = request.last("authorization")?.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = base64_decoded(rest.trim_ascii())?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    user.truncate(colon);
    Some(user).filter(|user| !user.is_empty() && std::str::from_utf8(user).is_ok())
}

/// RFC 4648 section 4. Missing padding is let pass, other characters are not.
fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() * 3 / 4 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    Some(decoded)
}

#[cfg(test)]
#[path = "access_line_tests.rs"]
mod tests;
