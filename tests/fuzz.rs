//! Every parser, fed what nobody would send: mutations of a corpus, for as long as is asked.
//!
//! `cargo test --test fuzz` takes a second for each target. By hand, for hours:
//!
//! ```text
//! RWSGI_FUZZ_SECONDS=7200 cargo test --release --no-default-features --test fuzz -- head
//! ```
//!
//! `tests/fuzz/TARGET/` holds the corpus, one input in each file; an input that fails is put there
//! as `failing-HASH`, so that it fails from then on until the fault is mended.
//!
//! Invariants:
//! 1. Nothing panics, and what each target says must hold, holds.
#![allow(clippy::unwrap_used, reason = "a test: what cannot be read fails it, helpers included")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the seed and the input that failed are its report"
)]

mod http_common;

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_common::{Random, play};
use rwsgi_core::config::table::SETTINGS;
use rwsgi_core::config::toml_file;
use rwsgi_core::http::connection::{Connection, Received};
use rwsgi_core::http::forwarded::{self, AddrSet};
use rwsgi_core::http::limits::{Limits, Policy};
use rwsgi_core::http::proxy_protocol::{self, Mode};
use rwsgi_core::http::{host, target};
use rwsgi_core::log::{AccessFormat, AccessLog, AccessRecord, NoFields, Phases, Sink, Target};

/// What most mutations insert: the marks the grammars here are made of.
const MARKS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"=",
    b"\"",
    b"\\",
    b"%",
    b"%00",
    b"%zz",
    b"[",
    b"]",
    b"{",
    b"}",
    b"(",
    b")",
    b"@",
    b"#",
    b"?",
    b"/",
    b"//",
    b"*",
    b"-",
    b"+",
    b"0",
    b"0x",
    b"ffffffffffffffff",
    b"18446744073709551616",
    b"\xff",
    b"\x7f",
    b"0\r\n\r\n",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"HTTP/1.1\r\n",
];

fn seconds() -> f64 {
    std::env::var("RWSGI_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

fn mutate(random: &mut Random, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(12)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] = random.next() as u8,
            1 if at < input.len() => input[at] ^= 1 << random.below(8),
            2 | 3 => drop(input.splice(at..at, random.pick(&MARKS).iter().copied())),
            4 => drop(input.drain(at.min(end)..end)),
            5 => {
                let piece = input[at.min(end)..end].to_vec();
                input.splice(at..at, piece);
            }
            6 => {
                let other = random.pick(others);
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => input.truncate(at),
        }
    }
}

/// Runs `holds` over the corpus, and over mutations of it until the time is up.
fn fuzz(name: &str, holds: impl Fn(&[u8], &mut Random)) {
    let mut corpus = vec![Vec::new()];
    for entry in fs::read_dir(folder(name)).unwrap() {
        corpus.push(fs::read(entry.unwrap().path()).unwrap());
    }
    corpus.sort();
    let time = Duration::from_secs_f64(seconds());
    let seed = if time > Duration::from_secs(5) { u64::from(std::process::id()) } else { 1 };
    let (mut random, start, mut inputs) = (Random::new(seed), Instant::now(), 0u64);
    for input in corpus.clone() {
        attempt(name, &input, &mut random, &holds);
    }
    while start.elapsed() < time {
        for _ in 0..100 {
            let mut input = random.pick(&corpus).clone();
            mutate(&mut random, &mut input, &corpus);
            attempt(name, &input, &mut random, &holds);
            inputs += 1;
        }
    }
    println!("{name}: {} in the corpus, {inputs} mutations, seed {seed}", corpus.len());
}

fn attempt(name: &str, input: &[u8], random: &mut Random, holds: &impl Fn(&[u8], &mut Random)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| holds(input, random))) {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        let path = folder(name).join(format!("failing-{:016x}", hasher.finish()));
        eprintln!("{} fails: {:?}", path.display(), String::from_utf8_lossy(input));
        if !path.exists() {
            fs::write(path, input).unwrap();
        }
        resume_unwind(panic);
    }
}

/// However a stream is cut, it comes to the same.
#[test]
fn head() {
    let limits = Limits { fields: 12, field_size: 200, head: 1200, request_line: 100, ..Limits::default() };
    fuzz("head", |input, random| {
        let whole = play(input, &[], &limits, &Policy::default()).coarse();
        let count = 1 + random.below(6);
        let cuts = random.cuts(input.len(), count);
        let pieces = play(input, &cuts, &limits, &Policy::default()).coarse();
        assert_eq!(whole, pieces, "cut at {cuts:?}");
    });
}

/// A body is decoded alike in any pieces, and never to more than was sent.
#[test]
fn chunked() {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let limits = Limits { chunk_line: 60, chunk_extensions: 90, trailers: 120, ..Limits::default() };
    fuzz("chunked", |input, random| {
        let stream = [HEAD, input].concat();
        let whole = play(&stream, &[], &limits, &Policy::default()).coarse();
        let count = 1 + random.below(6);
        let cuts = random.cuts(stream.len(), count);
        assert_eq!(whole, play(&stream, &cuts, &limits, &Policy::default()).coarse(), "cut at {cuts:?}");
        assert!(whole.requests[0].body.len() <= input.len());
    });
}

/// A target's parts lie within it, and decoding is what it says.
#[test]
fn target_and_host() {
    fuzz("target", |input, _| {
        for method in [&b"GET"[..], b"OPTIONS", b"CONNECT"] {
            let _parts = target::split(method, input, 3);
        }
        let mut out = Vec::new();
        let decoded = target::percent_decode(input, &mut out).to_vec();
        assert!(decoded.len() <= input.len() && decoded.len() * 3 >= input.len());
        if !input.contains(&b'%') {
            assert_eq!(decoded, input);
        }
        if let Some((name, port)) = host::split(input) {
            assert!(!name.is_empty() && name.len() <= input.len());
            assert!(port.is_none_or(|port| port.iter().all(u8::is_ascii_digit)));
            assert!(host::is_valid(input));
        }
    });
}

/// What stands left of the client the proxy saw changes nothing.
#[test]
fn forwarding() {
    let trusted = AddrSet::parse("10.0.0.0/8").unwrap();
    let seen = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));
    fuzz("forwarded", |input, _| {
        let request = |fields: &[&[u8]]| {
            [b"GET / HTTP/1.1\r\nHost: a\r\n", fields.concat().as_slice(), b"\r\n"].concat()
        };
        let bytes = request(&[b"X-Forwarded-For: ", input, b",203.0.113.5, 10.0.0.1\r\n"]);
        let mut connection = Connection::new();
        let received = connection.receive(&bytes, &Limits::default(), &Policy::default(), true);
        if matches!(received, Received::Head { .. }) && !input.contains(&b'\n') {
            assert_eq!(forwarded::client(connection.head(), &bytes, &trusted), Some(seen));
        }
        for name in ["Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"] {
            let bytes = request(&[name.as_bytes(), b": ", input, b"\r\n"]);
            let mut connection = Connection::new();
            let received = connection.receive(&bytes, &Limits::default(), &Policy::default(), true);
            if !matches!(received, Received::Head { .. }) {
                continue;
            }
            let head = connection.head();
            if let Ok(Some(hop)) = forwarded::first_hop(head, &bytes, &trusted)
                && let Some(said) = hop.host
            {
                assert!(host::is_valid(&said));
            }
            if let Ok(Some(said)) = forwarded::forwarded_host(head, &bytes) {
                assert!(host::is_valid(said));
            }
            drop(forwarded::forwarded_port(head, &bytes));
            if let Ok(Some(prefix)) = forwarded::prefix(head, &bytes) {
                assert!(prefix.is_empty() || prefix.starts_with(b"/"));
            }
        }
    });
}

/// A header is the same whatever follows it, and no beginning of one is one.
#[test]
fn proxy_header() {
    fuzz("proxy_protocol", |input, random| {
        for mode in [Mode::V1, Mode::V2, Mode::Auto] {
            let Ok(Some((source, consumed))) = proxy_protocol::parse(input, mode) else { continue };
            assert!(consumed <= input.len());
            if consumed == 0 {
                continue;
            }
            let cut = random.below(consumed);
            assert!(matches!(proxy_protocol::parse(&input[..cut], mode), Ok(None)), "a beginning: {cut}");
            let longer = [&input[..consumed], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(proxy_protocol::parse(&longer, mode), Ok(Some((source, consumed))));
        }
    });
}

/// A format that is accepted makes exactly one line of printable bytes of any request.
#[test]
fn access_format() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fuzz("access_format", |input, random| {
        let text = String::from_utf8_lossy(input);
        let Ok(format) = AccessFormat::compile(&text) else { return };
        fs::write(&path, b"").unwrap();
        let log = AccessLog::new(format, Some(Sink::open(Target::File(path.to_path_buf())).unwrap()));
        let noise: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        let environ = vec![Some(String::from_utf8_lossy(&noise).into_owned()); log.needs().environ.len()];
        log.record(&AccessRecord {
            remote_addr: "192.0.2.1",
            method: &noise,
            target: &noise,
            path: &noise,
            query: &noise,
            version: "HTTP/1.1",
            status: random.next() as u16,
            response_length: random.next(),
            duration: Duration::from_nanos(random.next()),
            now_ms: random.next() >> 20,
            request_length: random.next(),
            phases: Phases::default(),
            request_id: "",
            pid: 1,
            request: &NoFields,
            response: &NoFields,
            environ: &environ,
        });
        log.finish();
        let line = fs::read(&path).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "{line:?}");
        let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t' && *byte != b'\n';
        assert!(text.bytes().any(|byte| byte.is_ascii_control()) || !line.iter().any(control), "{line:?}");
    });
}

/// A value that is accepted is printed so that it is read back as the same.
#[test]
fn settings() {
    fuzz("settings", |input, _| {
        let text = String::from_utf8_lossy(input);
        for setting in SETTINGS {
            let Ok(value) = setting.kind.parse_text(&text) else { continue };
            let again = setting.kind.parse_text(&value.plain());
            assert_eq!(again.as_ref(), Ok(&value), "{} = {text:?}", setting.name);
        }
        drop(AddrSet::parse(&text));
        drop(toml_file::parse(Path::new("rwsgi.toml"), &text));
    });
}
