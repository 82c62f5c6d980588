//! Properties over random streams: pieces do not matter, nothing panics, and an independent,
//! naive reading of the RFCs comes to the same.
#![allow(clippy::print_stdout, reason = "test code")]

mod http_common;

use std::time::{Duration, Instant};

use http_common::{Random, Seed, Transcript, play};
use rwsgi_core::http::limits::{Limits, Policy};
use rwsgi_core::http::{forwarded, proxy_protocol, target};

const BUDGET: Duration = Duration::from_secs(3);

/// Runs `property` on one seed after the other until the time is up, at least 200 times.
fn check(name: &str, property: impl Fn(&mut Random)) {
    let start = Instant::now();
    let mut seed = 1;
    while seed <= 200 || start.elapsed() < BUDGET && seed < 20_000 {
        let _shown = Seed(seed);
        property(&mut Random::new(seed));
        seed += 1;
    }
    println!("{name}: {seed} seeds");
}

fn received(stream: &[u8], cuts: &[usize]) -> Transcript {
    play(stream, cuts, &Limits::default(), &Policy::default())
}

/// A legal chunked coding of `data`, with extensions and trailers.
fn encode_chunked(random: &mut Random, data: &[u8]) -> Vec<u8> {
    const EXTENSIONS: [&str; 6] = ["", "", ";a", ";a=b", " ; a = \"b;\\\"c\\\" \"", ";x;y=z"];
    let mut out = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(1 + random.below(rest.len()));
        let zeros = "0".repeat(random.below(3));
        let extension = random.pick(&EXTENSIONS);
        let size = if random.one_in(2) { format!("{:x}", chunk.len()) } else { format!("{:X}", chunk.len()) };
        out.extend_from_slice(format!("{zeros}{size}{extension}\r\n").as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = behind;
    }
    out.extend_from_slice(
        format!("{}{}\r\n", "0".repeat(1 + random.below(3)), random.pick(&EXTENSIONS)).as_bytes(),
    );
    for _ in 0..random.below(3) {
        out.extend_from_slice(random.pick(&["X-T: 1\r\n", "Content-Length: 7\r\n", "Host:\r\n"]).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Legal requests in a row, with the bodies they carry.
fn pipeline(random: &mut Random) -> (Vec<u8>, Vec<Vec<u8>>) {
    const FIELDS: [&str; 7] = [
        "Accept: */*",
        "X-A:\t b ",
        "Cookie: a=1; b=2",
        "X-Empty:",
        "X_Dropped: 1",
        "Expect: 100-continue",
        "X-C: caf\u{e9}",
    ];
    let (mut stream, mut bodies) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(4) {
        let body: Vec<u8> = (0..random.below(60)).map(|_| *random.pick(b"\r\n0aGET :/\0\xff")).collect();
        let target = *random.pick(&["/", "/a?b", "http://b.test/c", "//d?"]);
        let mut head = format!("POST {target} HTTP/1.1\r\nHost: a{}\r\n", random.below(2));
        for _ in 0..random.below(5) {
            head += *random.pick(&FIELDS);
            head += "\r\n";
        }
        let coded = match random.below(3) {
            0 => encode_chunked(random, &body),
            _ => body.clone(),
        };
        head += &if coded == body {
            format!("Content-Length: {}\r\n", body.len())
        } else {
            "Transfer-Encoding: chunked\r\n".to_owned()
        };
        head += "\r\n";
        stream.extend_from_slice(head.as_bytes());
        stream.extend_from_slice(&coded);
        bodies.push(body);
    }
    (stream, bodies)
}

const SPICE: [&[u8]; 28] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Host: a\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"%",
    b"?",
    b"#",
    b"ffffffffffffffff\r\n",
    b"-1",
    b"+1",
    b"0x10",
    b"\xff",
    b";",
    b" folded\r\n",
    b"\r\n\r\n",
    b"99999999999999999999",
    b"Expect: x\r\n",
];

fn mutate(random: &mut Random, stream: &mut Vec<u8>) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(stream.len() + 1);
        let near = at.min(stream.len().saturating_sub(1));
        match random.below(6) {
            0 => stream.truncate(at),
            1 if !stream.is_empty() => stream[near] = random.next() as u8,
            2 if !stream.is_empty() => stream[near] ^= 1 << random.below(8),
            3 => drop(stream.drain(at..(at + random.below(12)).min(stream.len()))),
            4 => {
                let piece = stream[at..(at + random.below(30)).min(stream.len())].to_vec();
                stream.splice(at..at, piece);
            }
            _ => drop(stream.splice(at..at, random.pick(&SPICE).iter().copied())),
        }
    }
}

#[test]
fn legal_pipelines_arrive_whole_in_any_pieces() {
    check("pipelines", |random| {
        let (stream, bodies) = pipeline(random);
        let whole = received(&stream, &[]);
        assert_eq!(whole.refused, None);
        assert_eq!(whole.left, 0);
        let got: Vec<_> = whole.requests.iter().map(|request| request.body.clone()).collect();
        assert_eq!(got, bodies);
        let count = random.below(20);
        assert_eq!(received(&stream, &random.cuts(stream.len(), count)), whole);
        let every: Vec<_> = (0..stream.len()).collect();
        assert_eq!(received(&stream, &every), whole);
    });
}

#[test]
fn broken_streams_come_to_the_same_in_any_pieces() {
    check("mutations", |random| {
        let (mut stream, _) = pipeline(random);
        mutate(random, &mut stream);
        let whole = received(&stream, &[]).whether();
        let count = random.below(20);
        assert_eq!(
            received(&stream, &random.cuts(stream.len(), count)).whether(),
            whole,
            "{}",
            stream.escape_ascii()
        );
        let every: Vec<_> = (0..stream.len()).collect();
        assert_eq!(received(&stream, &every).whether(), whole, "{}", stream.escape_ascii());
    });
}

#[test]
fn lenient_policies_neither_panic_nor_move_the_body() {
    let policy = Policy {
        permit_obsolete_folding: true,
        strip_header_spaces: true,
        permit_unconventional_http_method: true,
        permit_unconventional_http_version: true,
        casefold_http_method: true,
        ..Policy::default()
    };
    check("policies", |random| {
        let (mut stream, _) = pipeline(random);
        mutate(random, &mut stream);
        let limits = Limits { body: Some(50), ..Limits::default() };
        let whole = play(&stream, &[], &limits, &policy).whether();
        let every: Vec<_> = (0..stream.len()).collect();
        assert_eq!(play(&stream, &every, &limits, &policy).whether(), whole, "{}", stream.escape_ascii());
    });
}

#[test]
fn noise_is_survived() {
    check("noise", |random| {
        let noise: Vec<u8> = (0..random.below(300)).map(|_| random.next() as u8).collect();
        received(&noise, &[]);
        let chosen: Vec<u8> =
            (0..random.below(300)).map(|_| *random.pick(b"GET /HTP1.:\r\n\0 ;=\"")).collect();
        received(&chosen, &random.cuts(chosen.len(), 5));
        for mode in [proxy_protocol::Mode::V1, proxy_protocol::Mode::V2, proxy_protocol::Mode::Auto] {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
            header.extend_from_slice(&noise);
            drop(proxy_protocol::parse(&header, mode));
            drop(proxy_protocol::parse(&[b"PROXY TCP4 ", &chosen[..]].concat(), mode));
        }
        let decoded = target::percent_decode(&noise, &mut Vec::new()).len();
        assert!(decoded <= noise.len());
        if let Ok(text) = std::str::from_utf8(&chosen) {
            drop(forwarded::AddrSet::parse(text));
        }
    });
}

/// A long head that drips in costs no more than its bytes: the same work byte by byte as whole
/// but for a constant, not the square of its length.
#[test]
fn a_dripping_head_is_read_once() {
    let field = format!("X-A: {}\r\n", "v".repeat(8000));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", field.repeat(7));
    let every: Vec<_> = (0..head.len()).collect();
    let start = Instant::now();
    assert_eq!(received(head.as_bytes(), &every).requests.len(), 1);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// What the naive reading makes of a stream: for every message its method, its target and how
/// many bytes of body it has; `Err` where it must be refused; the rest is incomplete.
type Naive = (Vec<(String, String, usize)>, bool);

/// RFC 9112 read by splitting text, with none of the room's code: slow, whole, obvious.
fn naive(stream: &[u8]) -> Naive {
    let mut rest: String = stream.iter().map(|byte| *byte as char).collect();
    let mut out = Vec::new();
    loop {
        for _ in 0..4 {
            rest = rest.strip_prefix("\r\n").unwrap_or(&rest).to_owned();
        }
        let Some((head, behind)) = rest.split_once("\r\n\r\n") else { return (out, false) };
        let Some((method, target, length, close)) = naive_head(head) else { return (out, true) };
        let body = match length {
            Some(length) if behind.chars().count() < length => return (out, false),
            Some(length) => Some((length, length)),
            None => naive_chunked(behind),
        };
        let Some((size, taken)) = body else { return (out, true) };
        out.push((method, target, size));
        if close {
            return (out, false);
        }
        rest = behind[behind.char_indices().nth(taken).map_or(behind.len(), |(at, _)| at)..].to_owned();
    }
}

fn naive_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// Method, target, length (`None`: chunked) and whether it is the last.
fn naive_head(head: &str) -> Option<(String, String, Option<usize>, bool)> {
    let mut lines = head.split("\r\n");
    let [method, target, version] = lines.next()?.split(' ').collect::<Vec<_>>()[..] else { return None };
    let minor = version.strip_prefix("HTTP/1.")?;
    if minor.len() != 1 || !minor.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let old = minor == "0";
    if !naive_token(method)
        || method.len() < 3
        || method.len() > 20
        || method.contains(|c: char| c.is_ascii_lowercase() || c == '#')
    {
        return None;
    }
    if !naive_target(target) || target.contains('#') || !target.chars().all(|c| c.is_ascii_graphic()) {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if !naive_token(name) || value.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
            return None;
        }
        let known = |expectation: &str| {
            let expectation = expectation.trim_matches([' ', '\t']);
            expectation.is_empty() || expectation.eq_ignore_ascii_case("100-continue")
        };
        if name.eq_ignore_ascii_case("expect") && !old && !value.split(',').all(known) {
            return None;
        }
        fields.push((name.to_lowercase(), value.trim_matches([' ', '\t'])));
    }
    let all = |wanted: &str| {
        fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    match all("host")[..] {
        [] if !old => return None,
        [host] if !naive_host(host) => return None,
        [_, _, ..] => return None,
        _ => {}
    }
    let options = all("connection").join(",").to_lowercase();
    let has = |option: &str| options.split(',').any(|have| have.trim_matches([' ', '\t']) == option);
    let close = has("close") || old && !has("keep-alive");
    let length = match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => Some(0),
        ([], [length]) if length.chars().all(|c| c.is_ascii_digit()) => {
            Some(length.parse::<u64>().ok().filter(|&length| length <= i64::MAX as u64)? as usize)
        }
        ([coding], []) if !old && coding.eq_ignore_ascii_case("chunked") => None,
        _ => return None,
    };
    Some((method.to_owned(), target.to_owned(), length, close))
}

fn naive_target(target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let lower = target.to_lowercase();
    let Some(rest) = lower.strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    !authority.is_empty() && naive_host(authority)
}

fn naive_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let named = !name.is_empty() || !host.contains(':');
    let escape = |part: &str| part.get(..2).is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
    let mut parts = name.split('%');
    let name: String = parts.next().into_iter().chain(parts.clone()).collect();
    let named = named && parts.all(escape);
    named
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c))
        && port.chars().all(|c| c.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// Decoded size and bytes taken; `None` for a body that is malformed or incomplete.
fn naive_chunked(text: &str) -> Option<(usize, usize)> {
    let bytes: Vec<char> = text.chars().collect();
    let (mut at, mut size) = (0, 0);
    let line = |at: &mut usize| -> Option<String> {
        let end = (*at..bytes.len().saturating_sub(1)).find(|&i| bytes[i] == '\r' && bytes[i + 1] == '\n')?;
        let line: String = bytes[*at..end].iter().collect();
        *at = end + 2;
        Some(line)
    };
    loop {
        let head = line(&mut at)?;
        let digits: String = head.chars().take_while(char::is_ascii_hexdigit).collect();
        if digits.is_empty() || !naive_extensions(&head[digits.len()..]) {
            return None;
        }
        let chunk = u64::from_str_radix(&digits, 16).ok()? as usize;
        if chunk == 0 {
            break;
        }
        if bytes.get(at.checked_add(chunk)?..at.checked_add(chunk)?.checked_add(2)?)? != ['\r', '\n'] {
            return None;
        }
        size += chunk;
        at += chunk + 2;
    }
    loop {
        let trailer = line(&mut at)?;
        if trailer.is_empty() {
            return Some((size, at));
        }
        let (name, value) = trailer.split_once(':')?;
        if !naive_token(name) || value.chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
            return None;
        }
    }
}

fn naive_extensions(text: &str) -> bool {
    let space = [' ', '\t'];
    let mut rest = text;
    while !rest.is_empty() {
        let Some(behind) = rest.trim_start_matches(space).strip_prefix(';') else { return false };
        let behind = behind.trim_start_matches(space);
        let name = behind.find(|c: char| !naive_token(&c.to_string())).unwrap_or(behind.len());
        if name == 0 {
            return false;
        }
        rest = &behind[name..];
        let Some(value) = rest.trim_start_matches(space).strip_prefix('=') else { continue };
        let value = value.trim_start_matches(space);
        if let Some(quoted) = value.strip_prefix('"') {
            let mut escaped = false;
            let Some(end) = quoted.char_indices().find_map(|(at, c)| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes.then_some(at)
            }) else {
                return false;
            };
            if quoted[..end].chars().any(|c| c != '\t' && (c < ' ' || c == '\x7f')) {
                return false;
            }
            rest = &quoted[end + 1..];
        } else {
            let end = value.find(|c: char| !naive_token(&c.to_string())).unwrap_or(value.len());
            if end == 0 {
                return false;
            }
            rest = &value[end..];
        }
    }
    true
}

#[test]
fn a_naive_reading_agrees() {
    check("naive", |random| {
        let (mut stream, _) = pipeline(random);
        if !random.one_in(10) {
            mutate(random, &mut stream);
        }
        let ours = received(&stream, &[]);
        let complete: Vec<_> = ours.requests.iter().filter(|request| request.complete).collect();
        let (messages, refused) = naive(&stream);
        let show = || format!("{}\nours {ours:#?}\nnaive {messages:?} {refused}", stream.escape_ascii());
        assert_eq!(complete.len(), messages.len(), "{}", show());
        for (request, (method, target, size)) in complete.iter().zip(&messages) {
            let line = format!("request {} {}\n", method.escape_default(), target.escape_default());
            assert_eq!(request.head.lines().next(), line.lines().next(), "{}", show());
            assert_eq!(request.body.len(), *size, "{}", show());
        }
        if refused {
            assert!(ours.refused.is_some(), "{}", show());
        }
    });
}
