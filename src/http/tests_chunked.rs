//! The chunked grammar, row by row, and every way to cut it.

use super::*;

/// Decodes input cut into pieces of `step` bytes; the data, and how many bytes were left over.
fn decode(input: &[u8], step: usize, limits: &Limits) -> Result<(Vec<u8>, Option<usize>), RefusalKind> {
    let mut decoder = ChunkedDecoder::new();
    let (mut data, mut consumed) = (Vec::new(), 0);
    for piece in input.chunks(step) {
        let mut rest = piece;
        while !rest.is_empty() {
            let found = decoder.decode(rest, limits).map_err(|refusal| refusal.kind)?;
            assert!(found.data.end <= found.consumed && found.consumed <= rest.len());
            data.extend_from_slice(&rest[found.data.clone()]);
            consumed += found.consumed;
            if found.done {
                return Ok((data, Some(input.len() - consumed)));
            }
            rest = &rest[found.consumed..];
        }
    }
    Ok((data, None))
}

fn everyhow(input: &[u8]) -> Result<(Vec<u8>, Option<usize>), RefusalKind> {
    let whole = decode(input, input.len().max(1), &Limits::default());
    for step in 1..input.len().min(40) {
        assert_eq!(decode(input, step, &Limits::default()), whole, "{} by {step}", input.escape_ascii());
    }
    whole
}

#[test]
fn legal_bodies() {
    for (body, data, left) in [
        (&b"0\r\n\r\n"[..], &b""[..], 0),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5\r\nhello\r\n0\r\n\r\nGET", b"hello", 3),
        (b"1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", 0),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", 0),
        (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", 0),
        (b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello", 0),
        (b"5;a=b\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5;a=b;c;d=\"e\"\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5 ; a = b\t;\tc\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5;a=\"x;\\\"y\\\\ =\xe9\"\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5;a=\"\"\r\nhello\r\n0\r\n\r\n", b"hello", 0),
        (b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", b"hello", 0),
        (b"5\r\nhello\r\n0\r\nX-T:\r\nContent-Length: 7\r\nHost: b\r\n\r\nG", b"hello", 1),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
    ] {
        assert_eq!(everyhow(body), Ok((data.to_vec(), Some(left))), "{}", body.escape_ascii());
    }
}

const REFUSED: &[(&str, &[u8], RefusalKind)] = {
    use RefusalKind::*;
    &[
        ("9112 7.1: 1*HEXDIG", b"\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"0x5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"+5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"-5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"0_5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b" 5\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"g\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"5g\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"5\0\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b"5\x0b\r\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1: 1*HEXDIG", b";a\r\n", ChunkSize),
        ("9112 7.1: BWS only before an extension", b"5 \r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("9112 7.1: BWS only before an extension", b"5 5\r\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("9112 2.2: CRLF", b"5\nhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 2.2: CRLF", b"5\rhello\r\n0\r\n\r\n", ChunkSize),
        ("9112 2.2: CRLF", b"5;a\nhello\r\n0\r\n\r\n", ChunkExtension),
        ("9112 2.2: CRLF", b"5;a\r\rhello", ChunkSize),
        ("9112 7.1: CRLF behind data", b"5\r\nhello\n0\r\n\r\n", ChunkEnd),
        ("9112 7.1: CRLF behind data", b"5\r\nhelloXX\r\n0\r\n\r\n", ChunkEnd),
        ("9112 7.1: CRLF behind data", b"5\r\nhello\rX0\r\n\r\n", ChunkEnd),
        ("9112 7.1: one CRLF behind data", b"5\r\nhello\r\n\r\n0\r\n\r\n", ChunkSize),
        ("9112 7.1.1: a name", b"5;\r\nhello", ChunkExtension),
        ("9112 7.1.1: a name", b"5;;a\r\nhello", ChunkExtension),
        ("9112 7.1.1: a name", b"5;=b\r\nhello", ChunkExtension),
        ("9112 7.1.1: a value", b"5;a=\r\nhello", ChunkExtension),
        ("9112 7.1.1: a value", b"5;a=b=c\r\nhello", ChunkExtension),
        ("9112 7.1.1: a value", b"5;a b\r\nhello", ChunkExtension),
        ("9112 7.1.1: no space behind", b"5;a \r\nhello", ChunkExtension),
        ("9110 5.6.4: closed", b"5;a=\"b\r\nhello", ChunkExtension),
        ("9110 5.6.4: no controls", b"5;a=\"\0\"\r\nhello", ChunkExtension),
        ("9110 5.6.4: nothing behind", b"5;a=\"b\"c\r\nhello", ChunkExtension),
        ("9112 7.1.1: no controls", b"5;a\0\r\nhello", ChunkExtension),
        ("9112 7.1: overflow", b"10000000000000005\r\nhello", ChunkOverflow),
        ("9112 7.1: overflow", b"FFFFFFFFFFFFFFFF\r\nhello", ChunkOverflow),
        ("9112 7.1: overflow", b"8000000000000000\r\nhello", ChunkOverflow),
        ("9112 7.1: overflow of the sum", b"1\r\na\r\n7fffffffffffffff\r\n", ChunkOverflow),
        ("9112 7.1.2: field line", b"0\r\nX-A : b\r\n\r\n", Trailer),
        ("9112 7.1.2: field line", b"0\r\nX-A\r\n\r\n", Trailer),
        ("9112 7.1.2: field line", b"0\r\n: b\r\n\r\n", Trailer),
        ("9112 5.2: no folding", b"0\r\nX-A: b\r\n c\r\n\r\n", Trailer),
        ("9112 2.2: CRLF", b"0\r\nX-A: b\n\r\n", Trailer),
        ("9112 2.2: CRLF", b"0\r\nX-A: b\rc\r\n\r\n", Trailer),
        ("9112 2.2: CRLF", b"0\r\n\n", Trailer),
        ("9112 2.2: CRLF", b"0\r\n\rX", Trailer),
        ("9110 5.5: no controls", b"0\r\nX-A: \0\r\n\r\n", Trailer),
        ("9112 7.1: 0x0 is no last chunk", b"0x0\r\n\r\n", ChunkSize),
        ("9112 7.1: -0 is no last chunk", b"-0\r\n\r\n", ChunkSize),
        ("9112 7.1.2: a request is no trailer", b"0\r\nGET / HTTP/1.1\r\n\r\n", Trailer),
    ]
};

#[test]
fn each_refusal_rests_on_a_clause() {
    for &(clause, body, kind) in REFUSED {
        assert_eq!(everyhow(body), Err(kind), "{clause}: {}", body.escape_ascii());
    }
}

#[test]
fn what_is_not_complete_is_not_done() {
    let body = b"5;a=\"b\"\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
    for end in 0..body.len() {
        assert_eq!(decode(&body[..end], 64, &Limits::default()).unwrap().1, None, "{end}");
    }
}

#[test]
fn budgets() {
    let extended =
        |count: usize| [b"5;".to_vec(), vec![b'a'; count], b"\r\nhello\r\n0\r\n\r\n".to_vec()].concat();
    let limits = Limits { chunk_line: 100, chunk_extensions: 150, trailers: 50, ..Limits::default() };
    for step in [1, 7, 1000] {
        assert!(decode(&extended(98), step, &limits).is_ok());
        let refused = Err(RefusalKind::ChunkExtensionsTooLarge);
        assert_eq!(decode(&extended(100), step, &limits), refused);
        let many = b"1;abcdefgh\r\nx\r\n".repeat(20);
        assert_eq!(decode(&many, step, &limits), refused);
        let zeros = [vec![b'0'; 200], b"5\r\nhello\r\n".to_vec()].concat();
        assert_eq!(decode(&zeros, step, &limits), refused);
        let trailers = [b"0\r\n".to_vec(), b"X-T: 1\r\n".repeat(10)].concat();
        assert_eq!(decode(&trailers, step, &limits), Err(RefusalKind::TrailersTooLarge));
    }
}

#[test]
fn a_body_over_its_limit_is_refused_by_its_sizes() {
    let limits = Limits { body: Some(6), ..Limits::default() };
    assert!(decode(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", 64, &limits).is_ok());
    for body in [&b"7\r\n"[..], b"3\r\nabc\r\n4\r\n", b"fffffff"] {
        assert_eq!(decode(body, 64, &limits), Err(RefusalKind::BodyTooLarge), "{}", body.escape_ascii());
    }
}

#[test]
fn an_error_lasts() {
    let mut decoder = ChunkedDecoder::new();
    assert!(decoder.decode(b"x", &Limits::default()).is_err());
    assert!(decoder.decode(b"0\r\n\r\n", &Limits::default()).is_err());
}
