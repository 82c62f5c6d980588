//! Bytes on the wire, by example. The matrix of all combinations is in `tests/http_response.rs`.

use super::*;
use crate::http::disposition::RequestFacts;
use crate::http::disposition::dispose;

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

fn request(version: Version) -> RequestFacts {
    RequestFacts {
        version,
        is_head: false,
        is_connect: false,
        wants_keep_alive: true,
        must_close: false,
        upgrade: false,
    }
}

fn sent(request: &RequestFacts, status: &str, fields: &[(&str, &str)], length: Option<u64>) -> String {
    let mut head = ResponseHead::new();
    head.start(status.as_bytes()).unwrap();
    for (name, value) in fields {
        head.field(name.as_bytes(), value.as_bytes()).unwrap();
    }
    let disposition = dispose(request, &head, length, false);
    let mut out = Vec::new();
    encode_head(&mut out, request.version, &head, &disposition, DATE, b"rwsgi");
    String::from_utf8(out).unwrap()
}

#[test]
fn heads() {
    let (v10, v11) = (request(Version::Http10), request(Version::Http11));
    let date = "Server: rwsgi\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    for (request, status, fields, length, expected) in [
        (
            v11,
            "200 OK",
            &[("X-a", "1")][..],
            Some(5),
            format!("HTTP/1.1 200 OK\r\n{date}Content-Length: 5\r\nX-a: 1\r\n\r\n"),
        ),
        (v11, "200 OK", &[], None, format!("HTTP/1.1 200 OK\r\n{date}Transfer-Encoding: chunked\r\n\r\n")),
        (
            v11,
            "200 OK",
            &[("Connection", "close")],
            None,
            format!("HTTP/1.1 200 OK\r\n{date}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        (
            v10,
            "200 OK",
            &[("Content-Length", "0")],
            None,
            format!("HTTP/1.0 200 OK\r\n{date}Connection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
        ),
        (v10, "200 OK", &[], None, format!("HTTP/1.0 200 OK\r\n{date}Connection: close\r\n\r\n")),
        (
            v11,
            "204 No Content",
            &[("Content-Length", "0")],
            None,
            format!("HTTP/1.1 204 No Content\r\n{date}\r\n"),
        ),
        (v11, "799", &[], Some(0), format!("HTTP/1.1 799 \r\n{date}Content-Length: 0\r\n\r\n")),
        (
            v11,
            "200 OK",
            &[("date", "D"), ("server", "S")],
            Some(0),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\ndate: D\r\nserver: S\r\n\r\n".to_owned(),
        ),
    ] {
        assert_eq!(sent(&request, status, fields, length), expected);
    }
}

#[test]
fn a_switch_of_protocols() {
    let asked = RequestFacts { upgrade: true, ..request(Version::Http11) };
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "x")];
    let text = sent(&asked, "101 Switching Protocols", &fields, None);
    assert!(
        text.contains("\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"),
        "{text}"
    );
    assert!(!text.contains("chunked") && !text.contains("Content-Length"), "{text}");
    let mut head = ResponseHead::new();
    head.start(b"101 x").unwrap();
    assert!(head.permitted_for(&asked).is_err());
    head.field(b"Upgrade", b"websocket").unwrap();
    assert!(head.permitted_for(&asked).is_ok());
    assert!(head.permitted_for(&request(Version::Http11)).is_err());
}

#[test]
fn numbers() {
    for (value, decimal) in [(0, "0"), (9, "9"), (10, "10"), (u64::MAX, "18446744073709551615")] {
        let mut out = Vec::new();
        push_decimal(&mut out, value);
        assert_eq!(out, decimal.as_bytes());
    }
    for (value, line) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
        let mut out = Vec::new();
        encode_chunk_start(&mut out, value);
        assert_eq!(out, line.as_bytes());
    }
}

#[test]
fn interim_responses() {
    let mut head = ResponseHead::new();
    head.start_interim();
    head.field(b"Link", b"</a>; rel=preload").unwrap();
    head.field(b"Content-Length", b"5").unwrap();
    let mut out = Vec::new();
    encode_interim(&mut out, &head);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n");
}

#[test]
fn error_pages() {
    let mut out = Vec::new();
    refusal(&mut out, 400, "Invalid Method: '<script>&'", DATE, b"rwsgi", false);
    let text = String::from_utf8(out).unwrap();
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\nServer: rwsgi\r\nDate: Sun, "), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert!(head.ends_with(&format!("\r\nContent-Length: {}", page.len())), "{head}");
    assert!(page.contains("Invalid Method: &#39;&lt;script&gt;&amp;&#39;"), "{page}");
    let mut out = Vec::new();
    refusal(&mut out, 503, "", DATE, b"", true);
    assert!(out.ends_with(b"\r\n\r\n") && !out.windows(7).any(|part| part == b"Server:"));
}
