//! Our own requests, valid and invalid, fed whole, byte by byte and cut in two at every place.
//!
//! `tests/corpus/{valid,invalid}/NAME.http` holds a stream of bytes: line breaks of the file are
//! left out, `\r \n \t \0 \\ \xHH` stand for bytes, and `\*N{text}` for `text` repeated N times.
//! `NAME.expect` holds what the connection makes of it. With RWSGI_BLESS set the expectations are
//! written instead of compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod http_common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use http_common::{Transcript, play};
use rwsgi_core::http::limits::{Limits, Policy};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .collect();
    files.sort();
    files
}

/// The bytes a corpus file stands for.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars().filter(|c| *c != '\n');
    while let Some(c) = chars.next() {
        if c != '\\' {
            assert!(c.is_ascii(), "corpus files are ASCII, not {c}");
            out.push(c as u8);
            continue;
        }
        match chars.next().expect("an escape") {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).expect("two hex digits"));
            }
            '*' => {
                let count: String = chars.by_ref().take_while(|c| *c != '{').collect();
                let piece: String = chars.by_ref().take_while(|c| *c != '}').collect();
                out.extend(decode(&piece).repeat(count.parse().expect("a number")));
            }
            other => panic!("no such escape: \\{other}"),
        }
    }
    out
}

fn print(transcript: &Transcript) -> String {
    let mut out = String::new();
    for request in &transcript.requests {
        out += &request.head;
        if !request.body.is_empty() {
            writeln!(out, "data {}", request.body.escape_ascii()).unwrap();
        }
        out += if request.complete { "complete\n\n" } else { "incomplete\n\n" };
    }
    match transcript.refused {
        Some((status, kind)) => writeln!(out, "refused {status} {kind}").unwrap(),
        None => writeln!(out, "end {} left", transcript.left).unwrap(),
    }
    out
}

fn check(folder: &str, judge: impl Fn(&Path, &Transcript)) {
    let (limits, policy) = (Limits::default(), Policy::default());
    let files = files(folder);
    assert!(files.len() >= 30, "only {} files in {folder}", files.len());
    for file in files {
        let stream = decode(&fs::read_to_string(&file).expect("readable"));
        let whole = play(&stream, &[], &limits, &policy);
        let expected = file.with_extension("expect");
        if std::env::var_os("RWSGI_BLESS").is_some() {
            fs::write(&expected, print(&whole)).expect("writable");
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(print(&whole), expected, "{}", file.display());
        judge(&file, &whole);

        let coarse = whole.coarse();
        let bytes: Vec<_> = (0..stream.len()).collect();
        let dripped = play(&stream, &bytes, &limits, &policy).coarse();
        assert_eq!(dripped, coarse, "{} byte by byte", file.display());
        // Long streams are long by repetition: their middle is left out.
        for cut in (0..stream.len()).filter(|cut| *cut < 600 || *cut + 100 > stream.len()) {
            let halves = play(&stream, &[cut], &limits, &policy).coarse();
            assert_eq!(halves, coarse, "{} cut at {cut}", file.display());
        }
    }
}

#[test]
fn valid_streams() {
    check("valid", |file, transcript| {
        assert_eq!(transcript.refused, None, "{}", file.display());
        assert!(transcript.requests.iter().all(|request| request.complete), "{}", file.display());
    });
}

#[test]
fn invalid_streams() {
    check("invalid", |file, transcript| {
        assert!(transcript.refused.is_some(), "{}", file.display());
        let smuggled = transcript.requests.iter().any(|request| request.head.contains("/smuggled"));
        assert!(!smuggled, "{}", file.display());
    });
}
