//! Every combination of request, application head and body, sent as the worker sends it and read
//! back by a strict client that shares no code with the room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use rwsgi_core::http::head::Version;
use rwsgi_core::http::response::{
    BodyFraming, CHUNK_END, Disposition, LAST_CHUNK, RequestFacts, ResponseHead, dispose, encode_chunk_start,
    encode_head, refusal,
};

const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

struct Reply {
    version: String,
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    /// What follows on the connection; `None` if only its end ends the reply.
    rest: Option<Vec<u8>>,
}

impl Reply {
    fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    fn says(&self, option: &str) -> bool {
        self.all("connection").iter().any(|value| value.eq_ignore_ascii_case(option))
    }
}

/// RFC 9112 section 6.3 from the client's side. Panics at anything malformed.
fn read(wire: &[u8], request: &RequestFacts) -> Reply {
    let end = wire.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(wire[..end].to_vec()).unwrap();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']), "{head:?}");
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let (version, status) = line.split_once(' ').unwrap();
    let fields = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut reply = Reply {
        version: version.to_owned(),
        status: status[..3].parse().unwrap(),
        fields: fields.collect(),
        body: Vec::new(),
        rest: None,
    };
    let behind = &wire[end + 4..];
    let (lengths, codings) = (reply.all("content-length"), reply.all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "{head}");
    let length = lengths.first().map(|length| length.parse::<usize>().unwrap());
    let chunked = codings.first().map(|coding| assert_eq!(*coding, "chunked")).is_some();
    if request.is_head || matches!(reply.status, 100..=199 | 204 | 304) {
        reply.rest = Some(behind.to_vec());
    } else if request.is_connect && matches!(reply.status, 200..=299) {
        assert!(length.is_none() && !chunked, "9110 9.3.6: {head}");
        reply.body = behind.to_vec();
    } else if chunked {
        let (body, rest) = read_chunked(behind);
        (reply.body, reply.rest) = (body, Some(rest));
    } else if let Some(length) = length {
        // A body that falls short ends with the connection.
        let (body, rest) = behind.split_at(length.min(behind.len()));
        (reply.body, reply.rest) = (body.to_vec(), (body.len() == length).then(|| rest.to_vec()));
    } else {
        reply.body = behind.to_vec();
    }
    reply
}

fn read_chunked(mut rest: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|part| part == b"\r\n").expect("a size line");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let (chunk, behind) = rest[end + 2..].split_at(size);
        body.extend_from_slice(chunk);
        rest = behind.strip_prefix(b"\r\n").expect("CRLF behind data");
        if size == 0 {
            return (body, rest.to_vec());
        }
    }
}

/// Sends blocks as the worker does; true if the connection persists behind them.
fn send(out: &mut Vec<u8>, disposition: &Disposition, blocks: &[&[u8]]) -> bool {
    let mut left = match disposition.framing {
        BodyFraming::Length(length) => length as usize,
        BodyFraming::Empty => 0,
        _ => usize::MAX,
    };
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        let taken = &block[..block.len().min(left)];
        if disposition.framing == BodyFraming::Chunked {
            encode_chunk_start(out, taken.len());
            out.extend_from_slice(taken);
            out.extend_from_slice(CHUNK_END);
        } else {
            out.extend_from_slice(taken);
            left -= taken.len();
        }
    }
    if disposition.framing == BodyFraming::Chunked {
        out.extend_from_slice(LAST_CHUNK);
    }
    let short = matches!(disposition.framing, BodyFraming::Length(_)) && left > 0;
    disposition.keep_alive && !short
}

/// Every product of request properties.
fn requests() -> Vec<RequestFacts> {
    let mut out = Vec::new();
    for bits in 0..32u32 {
        let bit = |at: u32| bits >> at & 1 == 1;
        for (is_head, is_connect) in [(false, false), (true, false), (false, true)] {
            out.push(RequestFacts {
                version: if bit(0) { Version::Http10 } else { Version::Http11 },
                is_head,
                is_connect,
                wants_keep_alive: bit(1),
                must_close: bit(2) || is_connect,
                upgrade: bit(3) && !bit(0),
            });
        }
    }
    out
}

#[test]
fn every_combination_can_be_read_back() {
    const STATUSES: [&str; 10] = [
        "200 OK",
        "201 Created",
        "204 No Content",
        "205 Reset Content",
        "206 Partial Content",
        "304 Not Modified",
        "404 Not Found",
        "500 Oops",
        "101 Switching Protocols",
        "599",
    ];
    const BODIES: [&[&[u8]]; 5] =
        [&[], &[b""], &[b"hello"], &[b"he", b"", b"llo"], &[b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]];
    let mut combinations = 0;
    for request in requests() {
        for status in STATUSES {
            for blocks in BODIES {
                for given in [None, Some(0), Some(3), Some(5), Some(1000)] {
                    for options in 0..8 {
                        combinations += 1;
                        combine(&request, status, blocks, given, options);
                    }
                }
            }
        }
    }
    println!("{combinations} combinations");
}

fn combine(request: &RequestFacts, status: &str, blocks: &[&[u8]], given: Option<u64>, options: u32) {
    let (closing, tells_length, hops) = (options & 1 != 0, options & 2 != 0, options & 4 != 0);
    let mut head = ResponseHead::new();
    head.start(status.as_bytes()).unwrap();
    head.field(b"X-First", b"1").unwrap();
    if let Some(length) = given {
        head.field(b"content-length", length.to_string().as_bytes()).unwrap();
    }
    if hops {
        head.field(b"Transfer-Encoding", b"chunked").unwrap();
        head.field(b"Connection", b"close").unwrap();
    }
    let whole: Vec<u8> = blocks.concat();
    let known = tells_length.then_some(whole.len() as u64);
    if head.permitted_for(request).is_err() {
        assert_eq!(head.status(), 101);
        return;
    }
    let disposition = dispose(request, &head, known, closing);
    let mut wire = Vec::new();
    encode_head(&mut wire, request.version, &head, &disposition, DATE, b"rwsgi");
    let persists = send(&mut wire, &disposition, blocks);
    if persists {
        wire.extend_from_slice(NEXT);
    }
    let reply = read(&wire, request);
    let shown = || format!("{request:?} {status} given {given:?} known {known:?}\n{}", wire.escape_ascii());
    judge_head(request, &reply, &disposition, closing || hops, &shown);
    judge_body(request, &reply, &whole, given, persists, &shown);
}

fn judge_head(
    request: &RequestFacts,
    reply: &Reply,
    disposition: &Disposition,
    closing: bool,
    shown: &dyn Fn() -> String,
) {
    let old = request.version == Version::Http10;
    assert_eq!(reply.version, if old { "HTTP/1.0" } else { "HTTP/1.1" }, "9110 2.5: {}", shown());
    assert_eq!(reply.all("date"), ["Sun, 06 Nov 1994 08:49:37 GMT"], "9110 6.6.1: {}", shown());
    assert_eq!(reply.all("server"), ["rwsgi"], "{}", shown());
    assert_eq!(reply.all("x-first"), ["1"], "{}", shown());
    assert!(reply.all("connection").len() <= 1, "{}", shown());
    let (length, chunked) = (reply.all("content-length").len(), reply.all("transfer-encoding").len());
    assert!(!old || chunked == 0, "9112 6.1: no Transfer-Encoding to HTTP/1.0: {}", shown());
    if matches!(reply.status, 204 | 100..=199) {
        assert_eq!(length + chunked, 0, "9110 8.6, 9112 6.1: {}", shown());
    }
    if reply.status == 205 && !request.is_connect {
        assert_eq!(reply.all("content-length"), ["0"], "9110 15.3.6: {}", shown());
    }
    if reply.status == 101 {
        return;
    }
    assert_eq!(reply.says("close"), !disposition.keep_alive, "9112 9.6: {}", shown());
    assert_eq!(old && reply.says("keep-alive"), old && disposition.keep_alive, "9112 9.3: {}", shown());
    let may = request.wants_keep_alive && !request.must_close && !closing;
    assert!(may || !disposition.keep_alive, "9112 9.6: {}", shown());
}

fn judge_body(
    request: &RequestFacts,
    reply: &Reply,
    whole: &[u8],
    given: Option<u64>,
    persists: bool,
    shown: &dyn Fn() -> String,
) {
    if persists {
        assert_eq!(reply.rest.as_deref(), Some(NEXT), "in sync: {}", shown());
    } else if let Some(rest) = &reply.rest {
        assert!(rest.is_empty() || reply.status == 101, "nothing behind the reply: {}", shown());
    }
    let tunnel = request.is_connect && matches!(reply.status, 200..=299) || reply.status == 101;
    if let Some(given) = given
        && request.is_head
        && matches!(reply.status, 200 | 304 | 404)
    {
        assert_eq!(reply.all("content-length"), [given.to_string()], "9110 8.6: {}", shown());
    }
    if request.is_head || tunnel || matches!(reply.status, 204 | 205 | 304) {
        return;
    }
    let cut = given.map_or(whole.len(), |given| whole.len().min(given as usize));
    assert_eq!(reply.body, &whole[..cut], "{}", shown());
}

#[test]
fn a_204_or_304_keeps_the_connection() {
    for status in ["204 No Content", "304 Not Modified"] {
        let request = RequestFacts { wants_keep_alive: true, ..requests()[0] };
        let mut head = ResponseHead::new();
        head.start(status.as_bytes()).unwrap();
        let disposition = dispose(&request, &head, None, false);
        assert_eq!((disposition.framing, disposition.keep_alive), (BodyFraming::Empty, true), "{status}");
    }
}

#[test]
fn head_without_a_length_promises_none() {
    let request = RequestFacts { is_head: true, ..requests()[0] };
    let mut head = ResponseHead::new();
    head.start(b"200 OK").unwrap();
    for (known, announced) in [(None, None), (Some(0), None), (Some(5), Some(5))] {
        assert_eq!(dispose(&request, &head, known, false).announced, announced, "9110 8.6");
    }
}

#[test]
fn a_body_known_to_fall_short_says_so_in_its_head() {
    let request = RequestFacts { wants_keep_alive: true, ..requests()[0] };
    let mut head = ResponseHead::new();
    head.start(b"200 OK").unwrap();
    head.field(b"Content-Length", b"10").unwrap();
    let disposition = dispose(&request, &head, Some(4), false);
    assert_eq!((disposition.framing, disposition.keep_alive), (BodyFraming::Length(10), false));
    assert!(dispose(&request, &head, Some(10), false).keep_alive);
    assert!(dispose(&request, &head, Some(11), false).keep_alive, "more is cut");
}

#[test]
fn error_pages_can_be_read_back() {
    for status in [400, 408, 413, 414, 417, 431, 500, 501, 503, 504, 505] {
        for is_head in [false, true] {
            let request = RequestFacts { is_head, ..requests()[0] };
            let mut wire = Vec::new();
            refusal(&mut wire, status, "Invalid <b>", DATE, b"rwsgi", is_head);
            let reply = read(&wire, &request);
            assert_eq!((reply.status, reply.rest.as_deref()), (status, Some(&b""[..])));
            assert!(
                reply.says("close") && reply.all("date").len() == 1 && reply.all("content-length").len() == 1
            );
            assert_eq!(reply.body.is_empty(), is_head);
        }
    }
}
