//! Heads as a whole: rules by clause, limits, policies, and every way to cut them.

use super::*;
use crate::http::error::{Refusal, RefusalKind};
use crate::http::limits::{Limits, Policy};

pub(super) const HOST: &str = "Host: a.test";

pub(super) struct Case {
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) trusted: bool,
}

impl Case {
    pub(super) fn new() -> Self {
        Case { limits: Limits::default(), policy: Policy::default(), trusted: false }
    }

    /// Parses whole and byte by byte; both must come to the same.
    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Option<Head>, RefusalKind> {
        let mut whole = Head::new();
        let verdict = whole.parse(bytes, &self.limits, &self.policy, self.trusted);
        let mut dripped = Head::new();
        let mut last = Ok(Parsed::NeedMore);
        for end in 1..=bytes.len() {
            last = dripped.parse(&bytes[..end], &self.limits, &self.policy, self.trusted);
            if last != Ok(Parsed::NeedMore) {
                break;
            }
        }
        let kind = |verdict: &Result<Parsed, Refusal>| verdict.clone().map_err(|refusal| refusal.kind);
        assert_eq!(kind(&verdict), kind(&last), "whole and dripped: {}", bytes.escape_ascii());
        if verdict == Ok(Parsed::Complete) {
            assert_eq!(whole.fields, dripped.fields);
            assert_eq!(
                (whole.len, whole.body, whole.header_block),
                (dripped.len, dripped.body, dripped.header_block)
            );
        }
        match verdict {
            Ok(Parsed::Complete) => Ok(Some(whole)),
            Ok(Parsed::NeedMore) => Ok(None),
            Err(refusal) => Err(refusal.kind),
        }
    }
}

pub(super) fn request(line: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("{line}\r\n");
    for field in fields {
        text += field;
        text += "\r\n";
    }
    text += "\r\n";
    // Latin-1, so that rows can name any byte.
    text.chars().map(|c| c as u8).collect()
}

pub(super) fn get(fields: &[&str]) -> Vec<u8> {
    request("GET /a?b HTTP/1.1", &[&[HOST], fields].concat())
}

fn refused(bytes: &[u8]) -> Option<RefusalKind> {
    Case::new().parse(bytes).err()
}

#[test]
fn a_head_is_read_with_its_spans() {
    let bytes = [
        b"\r\n".to_vec(),
        request("POST http://b.test/a%41?q HTTP/1.1", &[HOST, "X-A:  1 ", "Content-Length: 5"]),
        b"hello".to_vec(),
    ]
    .concat();
    let head = Case::new().parse(&bytes).unwrap().unwrap();
    assert_eq!(head.method.of(&bytes), b"POST");
    assert_eq!(head.target.of(&bytes), b"http://b.test/a%41?q");
    assert_eq!(head.path_bytes(&bytes), b"/a%41");
    assert_eq!(head.query.of(&bytes), b"q");
    assert_eq!(head.authority.of(&bytes), b"b.test");
    assert_eq!(head.version_text.of(&bytes), b"1.1");
    assert_eq!(head.form, TargetForm::Absolute);
    assert_eq!(head.body, BodyLength::Length(5));
    assert_eq!(head.header_block.of(&bytes), b"Host: a.test\r\nX-A:  1 \r\nContent-Length: 5\r\n");
    assert_eq!(head.len, bytes.len() - 5);
    assert_eq!(head.find(&bytes, "x-a").collect::<Vec<_>>(), [b"1"]);
    assert_eq!(
        head.fields.iter().map(|field| field.kind).collect::<Vec<_>>(),
        [Known::Host, Known::Other, Known::ContentLength]
    );
}

#[test]
fn a_head_without_fields() {
    let bytes = request("GET / HTTP/1.0", &[]);
    let head = Case::new().parse(&bytes).unwrap().unwrap();
    assert!(head.fields.is_empty() && head.header_block.is_empty());
    assert_eq!(head.len, bytes.len());
}

#[test]
fn paths_of_the_other_forms() {
    for (line, path) in [
        ("GET http://a.test HTTP/1.1", &b"/"[..]),
        ("OPTIONS * HTTP/1.1", b"*"),
        ("CONNECT a.test:1 HTTP/1.1", b""),
        ("GET //b.test/c HTTP/1.1", b"//b.test/c"),
    ] {
        let bytes = request(line, &[HOST]);
        assert_eq!(Case::new().parse(&bytes).unwrap().unwrap().path_bytes(&bytes), path, "{line}");
    }
}

fn check(rows: &[(&str, Vec<u8>, RefusalKind)]) {
    for (clause, bytes, kind) in rows {
        // Byte by byte a bare CR or LF is seen sooner, as another fault of the same line.
        if *kind == RefusalKind::LineEnd {
            let mut head = Head::new();
            let verdict = head.parse(bytes, &Limits::default(), &Policy::default(), false);
            let status = verdict.map_err(|refusal| refusal.status);
            assert_eq!(status, Err(400), "{clause}: {}", bytes.escape_ascii());
            continue;
        }
        assert_eq!(refused(bytes), Some(*kind), "{clause}: {}", bytes.escape_ascii());
    }
}

#[test]
fn each_refusal_of_fields_rests_on_a_clause() {
    use RefusalKind::*;
    let v11 = "GET / HTTP/1.1";
    check(&[
        ("9112 3.2: one Host", request(v11, &[]), HostMissing),
        ("9112 3.2: one Host", get(&["host: a.test"]), HostRepeated),
        ("9112 3.2: one Host", request("GET / HTTP/1.0", &[HOST, HOST]), HostRepeated),
        ("9112 3.2: valid", request(v11, &["Host: a b"]), HostInvalid),
        ("9112 3.2: valid", request(v11, &["Host: a.test/x"]), HostInvalid),
        ("9112 3.2: valid", request(v11, &["Host: u@a.test"]), HostInvalid),
        ("9112 3.2: valid", request(v11, &["Host: a.test:x"]), HostInvalid),
        ("9112 3.2: valid", request("GET / HTTP/1.0", &["Host: a b"]), HostInvalid),
        (
            "9112 3.2: also beside an absolute target",
            request("GET http://a.test/ HTTP/1.1", &[]),
            HostMissing,
        ),
        ("9110 7.4: https needs TLS", request("GET https://a.test/ HTTP/1.1", &[HOST]), Misdirected),
        ("9112 5.1", get(&["X-A : b"]), SpaceBeforeColon),
        ("9112 5", get(&["Foo bar"]), FieldLine),
        ("9112 5", get(&[": b"]), FieldName),
        ("9110 5.1", get(&["X(A): b"]), FieldName),
        ("9110 5.1", get(&["X\0A: b"]), FieldName),
        ("9110 5.1", get(&["X\u{e9}: b"]), FieldName),
        ("9110 5.5", get(&["X-A: a\0b"]), FieldValue),
        ("9110 5.5", get(&["X-A: a\x0bb"]), FieldValue),
        ("9112 2.2", get(&["X-A: a\rb"]), FieldValue),
        ("9112 2.2", get(&["X-A: a\nX-B: b"]), LineEnd),
        ("9112 2.2", get(&["X-A: a\n"]), LineEnd),
        ("9112 2.2: whitespace first", request(v11, &[" X: y", HOST]), Folding),
        ("9112 5.2", get(&["X-A: a", " b"]), Folding),
        ("9112 5.2", get(&["X-A: a", "\tb"]), Folding),
        ("9112 5.2", get(&["X-A: a", " "]), Folding),
    ]);
}

#[test]
fn each_refusal_of_heads_rests_on_a_clause() {
    use RefusalKind::*;
    check(&[
        ("9110 8.3: singleton", get(&["Content-Type: a", "content-type: a"]), ContentTypeRepeated),
        ("9112 6.3 rule 5", get(&["Content-Length: +5"]), ContentLength),
        ("9112 6.3 rule 5", get(&["Content-Length: 5", "Content-Length: 5"]), ContentLengthRepeated),
        ("9112 6.3 rule 3", get(&["Content-Length: 5", "Transfer-Encoding: chunked"]), LengthConflict),
        ("9112 6.1", request("GET / HTTP/1.0", &["Transfer-Encoding: chunked"]), TransferEncodingVersion),
        ("9112 6.3 rule 4", get(&["Transfer-Encoding: gzip"]), TransferEncoding),
        ("9112 6.1", get(&["Transfer-Encoding: gzip, chunked"]), TransferCodingUnknown),
        ("9110 10.1.1", get(&["Expect: 200-maybe"]), Expectation),
        ("9110 10.1.1", get(&["Expect: 100-continue, x"]), Expectation),
        ("9110 15.6.6", request("PRI * HTTP/2.0", &[]), VersionUnsupported),
        ("9112 2.2", b"GET / HTTP/1.1\nHost: a\n\n".to_vec(), LineEnd),
        ("9112 2.2", b"\nGET / HTTP/1.1\r\n".to_vec(), LineEnd),
        ("9112 2.2", b"\r\rGET / HTTP/1.1\r\n".to_vec(), LineEnd),
        ("9112 2.2", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n".to_vec(), LineEnd),
    ]);
}

#[test]
fn hosts_that_are_well() {
    for host in ["Host:", "Host: ", "Host: a.test:80", "Host: [::1]", "hOsT:\ta.test \t"] {
        assert_eq!(refused(&request("GET / HTTP/1.1", &[host])), None, "{host}");
    }
    assert_eq!(refused(&request("GET / HTTP/1.0", &[])), None);
}

#[test]
fn an_https_target_is_a_trusted_proxys_to_send() {
    let bytes = request("GET https://a.test/ HTTP/1.1", &[HOST]);
    let head = Case { trusted: true, ..Case::new() }.parse(&bytes).unwrap().unwrap();
    assert!(head.https_target);
}

#[test]
fn persistence() {
    let (v10, v11) = ("GET / HTTP/1.0", "GET / HTTP/1.1");
    for (line, fields, keep) in [
        (v11, &[][..], true),
        (v11, &["Connection: close"], false),
        (v11, &["Connection: foo, Close"], false),
        (v11, &["Connection: foo", "Connection: close"], false),
        (v11, &["Connection: close, keep-alive"], false),
        (v11, &["Connection: keep-alive", "Connection: close"], false),
        (v11, &["Connection: closed"], true),
        (v11, &["Connection: \"close\""], true),
        (v11, &["Connection: , ,"], true),
        (v10, &[], false),
        (v10, &["Connection: keep-alive"], true),
        (v10, &["Connection: foo,KEEP-ALIVE"], true),
        (v10, &["Connection: keep-alive, close"], false),
        (v10, &["Keep-Alive: 300"], false),
    ] {
        let bytes = request(line, &[&[HOST], fields].concat());
        let head = Case::new().parse(&bytes).unwrap().unwrap();
        assert_eq!(head.wants_keep_alive, keep, "{line} {fields:?}");
        assert!(!head.must_close);
    }
    let head = Case::new().parse(&request("CONNECT a.test:1 HTTP/1.1", &[HOST])).unwrap().unwrap();
    assert!(head.must_close && head.is_connect);
}

#[test]
fn expectations_and_upgrades() {
    let (v10, v11) = ("POST / HTTP/1.0", "POST / HTTP/1.1");
    for (line, fields, expects, upgrade) in [
        (v11, &["Expect: 100-continue", "Content-Length: 5"][..], true, false),
        (v11, &["Expect: 100-CONTINUE", "Transfer-Encoding: chunked"], true, false),
        (v11, &["Expect: 100-continue, 100-continue,", "Content-Length: 5"], true, false),
        (v11, &["Expect: 100-continue", "Content-Length: 0"], false, false),
        (v11, &["Expect: 100-continue"], false, false),
        (v11, &["Expect:", "Content-Length: 5"], false, false),
        (v10, &["Expect: 100-continue", "Content-Length: 5"], false, false),
        (v10, &["Expect: whatever"], false, false),
        (v11, &["Connection: Upgrade", "Upgrade: websocket"], false, true),
        (v11, &["Connection: keep-alive, upgrade", "Upgrade: h2c"], false, true),
        (v11, &["Upgrade: h2c"], false, false),
        (v11, &["Connection: upgrade"], false, false),
        (v10, &["Connection: upgrade", "Upgrade: h2c"], false, false),
    ] {
        let bytes = request(line, &[&[HOST], fields].concat());
        let head = Case::new().parse(&bytes).unwrap().unwrap();
        assert_eq!((head.expects_continue, head.upgrade), (expects, upgrade), "{line} {fields:?}");
    }
}

#[test]
fn limits_by_name() {
    let case = |limits: Limits| Case { limits, ..Case::new() };
    let line = case(Limits { request_line: 20, ..Limits::default() });
    assert!(line.parse(&request("GET /23456 HTTP/1.1", &[HOST])).is_ok());
    assert!(line.parse(&request("GET /234567 HTTP/1.1", &[HOST])).is_ok());
    assert_eq!(
        line.parse(&request("GET /2345678 HTTP/1.1", &[HOST])).err(),
        Some(RefusalKind::RequestLineTooLong)
    );
    assert_eq!(line.parse(b"GET /23456789012345678").err(), Some(RefusalKind::RequestLineTooLong));

    let count = case(Limits { fields: 2, ..Limits::default() });
    assert!(count.parse(&get(&["X: 1"])).is_ok());
    assert_eq!(count.parse(&get(&["X: 1", "X: 2"])).err(), Some(RefusalKind::TooManyFields));
    assert_eq!(count.parse(&get(&["X: 1", "X_Y: 2"])).err(), Some(RefusalKind::TooManyFields));

    let size = case(Limits { field_size: 20, ..Limits::default() });
    assert!(size.parse(&get(&["X-A: 9012345678"])).is_ok());
    assert!(size.parse(&get(&["X-A: 90123456789012"])).is_err());
    assert_eq!(
        size.parse(b"GET / HTTP/1.1\r\nX-A: 1234567890123456").err(),
        Some(RefusalKind::FieldTooLarge)
    );

    let total = case(Limits { head: 80, ..Limits::default() });
    assert!(total.parse(&get(&[])).is_ok());
    assert_eq!(
        total.parse(&get(&["X-A: 3456789012345678901234567890123456789012345678901234567890"])).err(),
        Some(RefusalKind::HeadTooLarge)
    );

    let blank = case(Limits { blank_lines: 2, ..Limits::default() });
    assert!(blank.parse(&[&b"\r\n\r\n"[..], &get(&[])].concat()).unwrap().is_some());
    assert_eq!(blank.parse(b"\r\n\r\n\r\n").err(), Some(RefusalKind::BlankLines));
}

#[test]
fn statuses_of_limits() {
    for (kind, status) in [
        (RefusalKind::RequestLineTooLong, 414),
        (RefusalKind::TooManyFields, 431),
        (RefusalKind::FieldTooLarge, 431),
        (RefusalKind::HeadTooLarge, 431),
        (RefusalKind::BodyTooLarge, 413),
        (RefusalKind::Expectation, 417),
        (RefusalKind::VersionUnsupported, 505),
        (RefusalKind::TransferCodingUnknown, 501),
    ] {
        assert_eq!(Refusal::new(kind).status, status);
    }
    assert!(RefusalKind::ALL.iter().all(|kind| (400..=599).contains(&kind.status())));
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_head() {
    let limits = Limits { body: Some(10), ..Limits::default() };
    let case = Case { limits, ..Case::new() };
    assert!(case.parse(&get(&["Content-Length: 10"])).is_ok());
    assert_eq!(case.parse(&get(&["Content-Length: 11"])).err(), Some(RefusalKind::BodyTooLarge));
}

#[test]
fn a_head_is_reused_without_a_trace() {
    let mut head = Head::new();
    let first = request(
        "POST http://b.test/x?y HTTP/1.0",
        &[HOST, "Content-Length: 5", "Connection: keep-alive", "X-A: 1"],
    );
    let second = request("GET / HTTP/1.1", &[HOST]);
    assert_eq!(head.parse(&first, &Limits::default(), &Policy::default(), false), Ok(Parsed::Complete));
    assert_eq!(head.parse(&second, &Limits::default(), &Policy::default(), false), Ok(Parsed::Complete));
    assert!(!head.same_fields);
    let mut fresh = Head::new();
    fresh.parse(&second, &Limits::default(), &Policy::default(), false).unwrap();
    (head.remembered, head.reused) = (None, false);
    fresh.remembered = None;
    assert_eq!(format!("{head:?}"), format!("{fresh:?}"));
}

/// A reused head and a fresh one come to the same, whether or not the lines were remembered.
#[test]
fn remembered_fields_are_those_that_would_be_read() {
    let (v10, v11) = ("POST / HTTP/1.0", "POST /a/longer/path?q HTTP/1.1");
    let sets: [&[&str]; 6] = [
        &[HOST],
        &[HOST, "Content-Length: 5"],
        &[HOST, "Content-Length: 5", "Connection: close", "X_A: 1"],
        &[HOST, "Transfer-Encoding: chunked", "Expect: 100-continue"],
        &[HOST, "X-A: 1"],
        &[],
    ];
    let mut head = Head::new();
    let mut recalled = 0;
    for round in 0..600usize {
        // Runs of the same fields, under changing request lines.
        let (line, fields) = ([v10, v11, v11][round % 3], sets[round / 4 * 7 % 6]);
        let bytes = [b"\r\n".repeat(round % 2), request(line, fields), b"GET".to_vec()].concat();
        let trusted = round % 50 < 25;
        let mut fresh = Head::new();
        let expected = fresh.parse(&bytes, &Limits::default(), &Policy::default(), trusted);
        let verdict = head.parse(&bytes, &Limits::default(), &Policy::default(), trusted);
        assert_eq!(verdict, expected, "{}", bytes.escape_ascii());
        recalled += usize::from(head.same_fields);
        if verdict == Ok(Parsed::Complete) {
            head.same_fields = false;
            assert_eq!((&head.fields, head.body, head.len), (&fresh.fields, fresh.body, fresh.len));
            assert_eq!(head.header_block, fresh.header_block);
            assert_eq!((head.seen, head.repeated), (fresh.seen, fresh.repeated));
            assert_eq!(head.wants_keep_alive, fresh.wants_keep_alive);
            assert_eq!(head.expects_continue, fresh.expects_continue);
        }
    }
    assert!(recalled > 150, "{recalled}");
}

#[test]
fn the_method_is_known_when_a_field_is_refused() {
    let mut head = Head::new();
    let bytes = request("HEAD / HTTP/1.1", &["X A: b"]);
    assert!(head.parse(&bytes, &Limits::default(), &Policy::default(), false).is_err());
    assert!(head.is_head);
    assert_eq!(head.target.of(&bytes), b"/");
}

#[test]
fn a_refusal_is_safe_to_log() {
    let mut head = Head::new();
    let refusal =
        head.parse(b"G\x1b[2J\nT / HTTP/1.1\r\n", &Limits::default(), &Policy::default(), false).unwrap_err();
    let text = refusal.to_string();
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    let secret = get(&["Authorization: secret\0"]);
    let refusal = Head::new().parse(&secret, &Limits::default(), &Policy::default(), false).unwrap_err();
    assert_eq!(refusal.to_string(), "Invalid HTTP header value: 'Authorization'");
}
