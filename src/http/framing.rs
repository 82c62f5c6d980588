//! How long is a request body? THE one place that decides, RFC 9112 section 6.3 in order.
//!
//! Must not know: the body, or anything else of the head. Rules 1 and 2 of section 6.3 are about
//! responses; see [`dispose`](super::response::dispose).
//!
//! Invariants:
//! 1. Where two readers of the same head could come to two lengths, it is refused: the
//!    RFC lets a server repair some of these, and every repair has been a smuggling hole.
//! 2. A length fits an `i64`, so that sums and offsets of lengths cannot overflow.

use super::error::{Refusal, RefusalKind};
use super::fields::{elements, is_token};
use super::head::{BodyLength, Version};

/// Decides the length of a request body from the values of all Content-Length and
/// Transfer-Encoding fields. `limit` is the largest body allowed.
pub fn decide<'b>(
    version: Version,
    content_lengths: impl Iterator<Item = &'b [u8]>,
    transfer_encodings: impl Iterator<Item = &'b [u8]>,
    limit: Option<u64>,
) -> Result<BodyLength, Refusal> {
    let mut lengths = content_lengths;
    let mut encodings = transfer_encodings.peekable();
    if encodings.peek().is_some() {
        // 6.1: HTTP/1.0 has no Transfer-Encoding; such framing is faulty.
        if version == Version::Http10 {
            return Err(RefusalKind::TransferEncodingVersion.into());
        }
        // 6.3 rule 3: "ought to be handled as an error".
        if lengths.next().is_some() {
            return Err(RefusalKind::LengthConflict.into());
        }
        return chunked(encodings).map(|()| BodyLength::Chunked);
    }
    // 6.3 rule 7: neither field, no body.
    let Some(value) = lengths.next() else { return Ok(BodyLength::None) };
    // 6.3 rule 5: equal repetitions may be repaired; see invariant 1.
    if lengths.next().is_some() {
        return Err(RefusalKind::ContentLengthRepeated.into());
    }
    // 6.3 rule 6.
    let length = decimal(value).ok_or_else(|| Refusal::quoting(RefusalKind::ContentLength, value))?;
    match limit {
        Some(limit) if length > limit => Err(RefusalKind::BodyTooLarge.into()),
        _ => Ok(BodyLength::Length(length)),
    }
}

/// 6.3 rule 4: `chunked`, once, at the end, and nothing we would have to decode before it.
fn chunked<'b>(encodings: impl Iterator<Item = &'b [u8]>) -> Result<(), Refusal> {
    let mut unknown = None;
    let mut last_is_chunked = false;
    for coding in encodings.flat_map(elements) {
        // 7: nothing may follow chunked, itself included; 7.1: it has no parameters. An empty
        // element is a list nobody writes in good faith.
        if last_is_chunked || !is_token(coding) || coding.eq_ignore_ascii_case(b"identity") {
            return Err(Refusal::quoting(RefusalKind::TransferEncoding, coding));
        }
        last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        if !last_is_chunked {
            unknown = Some(coding);
        }
    }
    match unknown {
        _ if !last_is_chunked => {
            Err(Refusal::quoting(RefusalKind::TransferEncoding, unknown.unwrap_or_default()))
        }
        // 6.1: a coding the server does not understand.
        Some(coding) => Err(Refusal::quoting(RefusalKind::TransferCodingUnknown, coding)),
        None => Ok(()),
    }
}

/// `1*DIGIT` as a number that fits an `i64`, RFC 9110 section 8.6.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
    }
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::Version;
    use super::*;
    use RefusalKind::*;

    type Row =
        (&'static str, &'static [&'static [u8]], &'static [&'static [u8]], Result<BodyLength, RefusalKind>);

    fn decided(version: Version, cl: &[&[u8]], te: &[&[u8]]) -> Result<BodyLength, RefusalKind> {
        decide(version, cl.iter().copied(), te.iter().copied(), Some(1 << 40)).map_err(|refusal| refusal.kind)
    }

    const CHUNKED: Result<BodyLength, RefusalKind> = Ok(BodyLength::Chunked);
    const ROWS: &[Row] = &[
        ("9112 6.3 rule 7: neither field", &[], &[], Ok(BodyLength::None)),
        ("9112 6.3 rule 6", &[b"5"], &[], Ok(BodyLength::Length(5))),
        ("9112 6.3 rule 6: zero", &[b"0"], &[], Ok(BodyLength::Length(0))),
        ("9110 8.6: 1*DIGIT", &[b"00005"], &[], Ok(BodyLength::Length(5))),
        ("9110 8.6: plus", &[b"+5"], &[], Err(ContentLength)),
        ("9110 8.6: minus", &[b"-5"], &[], Err(ContentLength)),
        ("9110 8.6: hex", &[b"0x5"], &[], Err(ContentLength)),
        ("9110 8.6: underscore", &[b"5_0"], &[], Err(ContentLength)),
        ("9110 8.6: space inside", &[b"5 0"], &[], Err(ContentLength)),
        ("9110 8.6: fraction", &[b"5.0"], &[], Err(ContentLength)),
        ("9110 8.6: exponent", &[b"5e1"], &[], Err(ContentLength)),
        ("9110 8.6: quoted", &[b"\"5\""], &[], Err(ContentLength)),
        ("9110 8.6: empty", &[b""], &[], Err(ContentLength)),
        ("9110 8.6: vertical tab", &[b"\x0b5"], &[], Err(ContentLength)),
        ("9110 8.6: other digits", &[b"\xd9\xa5"], &[], Err(ContentLength)),
        ("9110 8.6: no-break space", &[b"5\xa0"], &[], Err(ContentLength)),
        ("9110 8.6: overflow", &[b"18446744073709551621"], &[], Err(ContentLength)),
        ("9110 8.6: overflow", &[b"9223372036854775808"], &[], Err(ContentLength)),
        ("9110 15.5.14: over the limit", &[b"9223372036854775807"], &[], Err(BodyTooLarge)),
        ("9112 6.3 rule 5: list, different", &[b"5, 6"], &[], Err(ContentLength)),
        ("9112 6.3 rule 5: list, equal", &[b"5, 5"], &[], Err(ContentLength)),
        ("9112 6.3 rule 5: list, empty", &[b"5,"], &[], Err(ContentLength)),
        ("9112 6.3 rule 5: repeated, different", &[b"5", b"6"], &[], Err(ContentLengthRepeated)),
        ("9112 6.3 rule 5: repeated, equal", &[b"5", b"5"], &[], Err(ContentLengthRepeated)),
        ("9112 6.3 rule 4", &[], &[b"chunked"], CHUNKED),
        ("9112 7: coding names are case-insensitive", &[], &[b"ChunKed"], CHUNKED),
        ("9112 6.3 rule 3", &[b"5"], &[b"chunked"], Err(LengthConflict)),
        ("9112 6.3 rule 3: even if both agree on nothing", &[b"0"], &[b"identity"], Err(LengthConflict)),
        ("9112 6.3 rule 3: even if the length is none", &[b"x"], &[b"chunked"], Err(LengthConflict)),
        ("9112 6.3 rule 4: not final", &[], &[b"gzip"], Err(TransferEncoding)),
        ("9112 6.3 rule 4: not final", &[], &[b"chunked, gzip"], Err(TransferEncoding)),
        ("9112 6.3 rule 4: not final, two lines", &[], &[b"chunked", b"gzip"], Err(TransferEncoding)),
        ("9112 6.1: never twice", &[], &[b"chunked, chunked"], Err(TransferEncoding)),
        ("9112 6.1: never twice, two lines", &[], &[b"chunked", b"chunked"], Err(TransferEncoding)),
        ("9112 6.1: never twice, around another", &[], &[b"chunked, gzip, chunked"], Err(TransferEncoding)),
        ("9112 appendix C.3: identity is gone", &[], &[b"identity"], Err(TransferEncoding)),
        ("9112 appendix C.3: identity is gone", &[], &[b"identity, chunked"], Err(TransferEncoding)),
        ("9112 appendix C.3: identity is gone", &[], &[b"chunked", b"identity"], Err(TransferEncoding)),
        ("9112 6.1: not understood", &[], &[b"gzip, chunked"], Err(TransferCodingUnknown)),
        ("9112 6.1: not understood, two lines", &[], &[b"gzip", b"chunked"], Err(TransferCodingUnknown)),
        ("9112 6.1: not understood", &[], &[b"x-own,chunked"], Err(TransferCodingUnknown)),
        ("9112 7.1: no parameters", &[], &[b"chunked;q=1"], Err(TransferEncoding)),
        ("9112 6.3 rule 4: another name", &[], &[b"xchunked"], Err(TransferEncoding)),
        ("9110 5.6.2: no token", &[], &[b"\"chunked\""], Err(TransferEncoding)),
        ("9110 5.6.2: no token", &[], &[b"chunked x"], Err(TransferEncoding)),
        ("9110 5.6.2: no token", &[], &[b"\x0bchunked"], Err(TransferEncoding)),
        ("9110 5.6.2: no token", &[], &[b"\xa0chunked"], Err(TransferEncoding)),
        ("9110 5.6.1: empty", &[], &[b""], Err(TransferEncoding)),
        ("9110 5.6.1: empty element", &[], &[b"chunked,"], Err(TransferEncoding)),
        ("9110 5.6.1: empty element", &[], &[b",chunked"], Err(TransferEncoding)),
        ("9110 5.6.1: empty line", &[], &[b"", b"chunked"], Err(TransferEncoding)),
    ];

    #[test]
    fn each_decision_rests_on_a_clause() {
        for (clause, cl, te, expected) in ROWS {
            assert_eq!(decided(Version::Http11, cl, te), *expected, "{clause}");
        }
    }

    #[test]
    fn http10_knows_no_transfer_encoding() {
        let v10 = Version::Http10;
        assert_eq!(decided(v10, &[], &[b"chunked"]), Err(TransferEncodingVersion), "9112 6.1");
        assert_eq!(decided(v10, &[b"5"], &[b"chunked"]), Err(TransferEncodingVersion), "9112 6.1");
        assert_eq!(decided(v10, &[b"5"], &[]), Ok(BodyLength::Length(5)), "9112 6.3 rule 6");
        assert_eq!(decided(v10, &[], &[]), Ok(BodyLength::None), "9112 6.3 rule 7");
    }

    #[test]
    fn without_a_limit_any_length_that_fits_is_taken() {
        let cl: &[u8] = b"9223372036854775807";
        let decided = decide(Version::Http11, [cl].into_iter(), [].into_iter(), None);
        assert_eq!(decided, Ok(BodyLength::Length(i64::MAX as u64)));
    }
}
