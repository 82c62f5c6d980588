//! What an application may answer, and what is left of the answer before. See `response`.

use super::*;

fn head(fields: &[(&str, &str)]) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::new();
    head.start(b"200 OK")?;
    for (name, value) in fields {
        head.field(name.as_bytes(), value.as_bytes())?;
    }
    Ok(head)
}

#[test]
fn statuses() {
    for (status, code, text) in [
        ("200 OK", 200, "200 OK"),
        ("418 I'm a teapot", 418, "418 I'm a teapot"),
        ("404", 404, "404 Not Found"),
        ("404 ", 404, "404 Not Found"),
        ("799", 799, "799 "),
        ("299 caf\u{e9}", 299, "299 caf\u{e9}"),
        ("101 Switching Protocols", 101, "101 Switching Protocols"),
    ] {
        let mut head = ResponseHead::new();
        assert_eq!(head.start(status.as_bytes()), Ok(()), "{status}");
        assert_eq!((head.status(), head.status_text()), (code, text.as_bytes()), "{status}");
    }
    for status in ["", "2", "20 OK", "200OK", "2000", "099 X", "000", "OK", "+20 X", "200\tOK", " 200 OK"] {
        let refused = ResponseHead::new().start(status.as_bytes());
        assert!(matches!(refused, Err(HeadError::Status(_))), "{status}");
    }
    for status in [&b"200 a\r\nX: y"[..], b"200 \0", b"200 a\nb", b"200 \x7f", b"\xb2\xb2\xb2 x"] {
        assert!(ResponseHead::new().start(status).is_err(), "{}", status.escape_ascii());
    }
    for status in ["100 Continue", "102", "199 x"] {
        let refused = ResponseHead::new().start(status.as_bytes());
        assert!(matches!(refused, Err(HeadError::Interim(_))), "{status}");
    }
}

#[test]
fn fields_are_kept_in_order_and_case() {
    let head = head(&[("X-a", " 1\t"), ("set-Cookie", "a=1"), ("X", ""), ("Set-Cookie", "b: 2")]).unwrap();
    assert_eq!(head.encoded(), b"X-a: 1\r\nset-Cookie: a=1\r\nX: \r\nSet-Cookie: b: 2\r\n");
    let fields: Vec<_> = head.fields().collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"X-a", b"1"), (b"set-Cookie", b"a=1"), (b"X", b""), (b"Set-Cookie", b"b: 2")];
    assert_eq!(fields, expected);
}

#[test]
fn nothing_can_be_injected() {
    for name in ["", "X A", "X:A", "X-A\r\nX-Injected", "X-A\n", "caf\u{e9}", "X\0"] {
        assert!(matches!(head(&[(name, "b")]), Err(HeadError::Name(_))), "{name:?}");
    }
    for value in ["a\r\nX: 1", "a\nX: 1", "a\rb", "a\0b", "\r\nX: 1", "a\x01b", "a\x7f", "a\n"] {
        assert_eq!(head(&[("X-A", value)]).unwrap_err(), HeadError::Value("X-A".into()), "{value:?}");
    }
    assert!(head(&[("X-A", "a\tb caf\u{e9}")]).is_ok());
}

#[test]
fn hop_by_hop_fields_are_the_servers() {
    let head = head(&[
        ("Transfer-Encoding", "chunked"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "x"),
        ("Proxy-Authorization", "x"),
        ("Proxy-Connection", "x"),
        ("Trailers", "x"),
        ("Upgrade", "h2c"),
        ("Connection", "foo, CLOSE"),
    ])
    .unwrap();
    assert_eq!(head.encoded(), b"");
    assert!(head.wants_close());
}

#[test]
fn singletons() {
    let head = head(&[("Date", "a"), ("date", "b"), ("Server", "c"), ("SERVER", "d")]).unwrap();
    assert_eq!(head.encoded(), b"Date: a\r\nServer: c\r\n");
    assert!(head.has_date() && head.has_server());
}

#[test]
fn content_lengths() {
    let length = |values: &[&str]| {
        let fields: Vec<_> = values.iter().map(|value| ("Content-Length", *value)).collect();
        head(&fields).map(|head| head.content_length())
    };
    assert_eq!(length(&[]), Ok(None));
    assert_eq!(length(&[" 4 "]), Ok(Some(4)));
    assert_eq!(length(&["4", "04"]), Ok(Some(4)));
    assert_eq!(length(&["4", "5"]), Err(HeadError::ContentLengthRepeated));
    for value in ["", "abc", "-4", "+4", "4,4", "4 4", "0x4", "999999999999999999999999999999"] {
        assert!(matches!(length(&[value]), Err(HeadError::ContentLength(_))), "{value}");
    }
}

/// What a caller keeps who tells fields by something cheaper than their bytes.
fn remember(known: &mut Vec<usize>, place: usize, field: usize, remembered: usize) {
    match remembered == place + 1 {
        true if place < known.len() => known[place] = field,
        true if place == known.len() => known.push(field),
        _ => known.truncate(place),
    }
}

/// A head that is used again and a new one come to the same.
#[test]
fn what_was_said_before_leaves_no_trace() {
    let fields = [
        ("Content-Type", " text/plain "),
        ("Content-Length", "4"),
        ("Content-Length", "5"),
        ("Date", "a"),
        ("date", "b"),
        ("Connection", "close"),
        ("Server", "c"),
        ("X A", "no name"),
        ("X-A", "no\nvalue"),
        ("Set-Cookie", "a=1"),
    ];
    let statuses = ["200 OK", "200", "404 Not Found", "200 OK", "20", "204 "];
    let mut used = ResponseHead::new();
    let mut random = 1u32;
    // Which status and which fields were given, place by place, as a caller remembers them.
    let (mut given, mut known) = (None, Vec::new());
    for round in 0..4_000 {
        let mut fresh = ResponseHead::new();
        let status = statuses[round / 7 % statuses.len()].as_bytes();
        let started = fresh.start(status);
        if given != Some(status) || !used.start_again() {
            assert_eq!(used.start(status), started);
            given = started.is_ok().then_some(status);
        }
        for place in 0..round % 5 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The same ones in the same order again and again, and others in between.
            let index = if random >> 30 == 0 { (random >> 8) as usize } else { round % 5 };
            let (name, value) = fields[index % fields.len()];
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let taken = fresh.field(name, value);
            let same = known.get(place) == Some(&index) && used.remembered() == place;
            match same.then(|| used.field_again()) {
                Some(Ok(true)) => assert_eq!(taken, Ok(())),
                Some(Err(error)) => assert_eq!(taken, Err(error)),
                Some(Ok(false)) | None => {
                    assert_eq!(used.field(name, value), taken);
                    if taken.is_ok() {
                        remember(&mut known, place, index, used.remembered());
                    }
                }
            }
            if taken.is_err() {
                break;
            }
        }
        assert_eq!(used.encoded(), fresh.encoded());
        assert_eq!((used.status(), used.content_length()), (fresh.status(), fresh.content_length()));
        assert_eq!((used.has_date(), used.has_server()), (fresh.has_date(), fresh.has_server()));
        assert_eq!(used.wants_close(), fresh.wants_close());
        assert_eq!(used.status_text(), fresh.status_text());
    }
}

#[test]
fn starting_again_replaces_everything() {
    let mut head =
        head(&[("X", "1"), ("Content-Length", "4"), ("Connection", "close"), ("Date", "d")]).unwrap();
    head.start(b"500 Oops").unwrap();
    assert_eq!(head.encoded(), b"");
    assert_eq!(head.content_length(), None);
    assert!(!head.wants_close() && !head.has_date());
    assert_eq!(head.status_text(), b"500 Oops");
}
