//! Lines, byte for byte, and hostile records.

use std::time::Duration;

use super::*;
use crate::log::clock::Zone;
use crate::log::{NoFields, Phases};

const FIELDS: &[(&str, &[u8])] = &[
    ("Host", b"example.org"),
    ("User-Agent", b"first"),
    ("user-agent", b"curl/8 \"x\""),
    ("Referer", b"http://a/\x1b[0m"),
    ("Authorization", b"Basic YWxpY2U6c2VjcmV0"),
    ("X-Empty", b""),
];

fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        remote_addr: "192.0.2.7",
        method: b"GET",
        target: b"/caf%C3%A9?q=1",
        path: b"/caf%C3%A9",
        query: b"q=1",
        version: "HTTP/1.1",
        status: 200,
        response_length: 1234,
        duration: Duration::from_micros(3_012_345),
        request_length: 0,
        phases: Phases::default(),
        request_id: "",
        now_ms: 1_795_142_891_000,
        pid: 4711,
        request: &NoFields,
        response: &NoFields,
        environ: &[],
    }
}

fn line(format: &str, record: &AccessRecord<'_>) -> String {
    let format = AccessFormat::compile_in(format, Zone::named("UTC")).unwrap_or_else(|e| panic!("{e}"));
    let mut out = b"> ".to_vec();
    format.write(&mut out, record);
    String::from_utf8(out).expect("valid UTF-8").split_off(2)
}

#[test]
fn every_atom_has_gunicorns_value() {
    let request = FIELDS.to_vec();
    let response = vec![("Content-Type", "text/html"), ("X-A", "1"), ("x-a", "2")];
    let environ = [Some("https".to_owned()), None];
    let record = AccessRecord { request: &request, response: &response, environ: &environ, ..record() };
    for (format, expected) in [
        ("", ""),
        ("100%% of %(m)s", "100% of GET"),
        ("%(h)s", "192.0.2.7"),
        ("%(l)s", "-"),
        ("%(u)s", "alice"),
        ("%(t)s", "[20/Nov/2026:02:48:11 +0000]"),
        ("%(r)s", "GET /caf%C3%A9?q=1 HTTP/1.1"),
        ("%(U)s", "/caf\u{e9}"),
        ("%(U)s?%(q)s", "/caf\u{e9}?q=1"),
        ("%(H)s", "HTTP/1.1"),
        ("%(s)s %(s)d", "200 200"),
        ("%(b)s %(B)d", "1234 1234"),
        ("%(f)s", r"http://a/\x1b[0m"),
        ("%(a)s", r#"curl/8 \"x\""#),
        ("%(T)s %(M)d %(D)d %(L)s", "3 3012 3012345 3.012345"),
        ("%(p)s", "<4711>"),
        ("%({host}i)s %({X-Empty}i)s|%({none}i)s", "example.org |-"),
        ("%({content-type}o)s %({x-a}o)s %({server}o)s", "text/html 2 -"),
        ("%({wsgi.url_scheme}e)s %({NONE}e)s %({MORE}e)s", "https - -"),
        ("%(Z)s %({x}z)s %(hh)d %()s %({x)s", "- - - - -"),
        ("\u{65e5} \"%(m)s\"", "\u{65e5} \"GET\""),
    ] {
        assert_eq!(line(format, &record), expected, "{format}");
    }
    assert_eq!(
        line(AccessFormat::DEFAULT, &record),
        r#"192.0.2.7 - alice [20/Nov/2026:02:48:11 +0000] "GET /caf%C3%A9?q=1 HTTP/1.1" 200 1234 "http://a/\x1b[0m" "curl/8 \"x\"""#
    );
}

#[test]
fn widths_and_precisions_are_pythons() {
    for (format, expected) in [
        ("%(m)5s|", "  GET|"),
        ("%(m)-5s|", "GET  |"),
        ("%(m)05s|", "  GET|"),
        ("%(m).2s|", "GE|"),
        ("%(m)5.2s|", "   GE|"),
        ("%(m).0s|", "|"),
        ("%(U)8s|", "   /caf\u{e9}|"),
        ("%(U).5s|", "/caf\u{e9}|"),
        ("%(U).4s|", "/caf|"),
        ("%(D)d|", "3012345|"),
        ("%(D)10d|", "   3012345|"),
        ("%(D)-10d|", "3012345   |"),
        ("%(D)010d|", "0003012345|"),
        ("%(D)+010d|", "+003012345|"),
        ("%(D)+d|", "+3012345|"),
        ("%(D) d|", " 3012345|"),
        ("%(D)-010d|", "3012345   |"),
        ("%(D).9d|", "003012345|"),
        ("%(T)30d|", "                             3|"),
        ("%(T)025d|", "0000000000000000000000003|"),
        ("%(D).3s|", "301|"),
        ("%(T)f|", "3.000000|"),
        ("%(T).1f|", "3.0|"),
        ("%(T)06.1f|", "0003.0|"),
        ("%(T)6.0f|", "     3|"),
        ("%(s)5s|", "  200|"),
        ("%(t).12s|", "[20/Nov/2026|"),
        ("%(L)10s|", "  3.012345|"),
        ("%(L).3s|", "3.0|"),
        ("%(p)8s|", "  <4711>|"),
        ("%(r).8s|", "GET /caf|"),
        ("%(none)3s|", "  -|"),
    ] {
        assert_eq!(line(format, &record()), expected, "{format}");
    }
}

#[test]
fn what_is_not_known_is_a_dash() {
    let nothing = AccessRecord {
        remote_addr: "",
        method: b"",
        target: b"",
        path: b"",
        query: b"",
        version: "",
        status: 0,
        response_length: 0,
        ..record()
    };
    assert_eq!(
        line("%(h)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(r)s %(a)s %(u)s", &nothing),
        "- - -  - - 0 - - -"
    );
    assert_eq!(line("%(r)3s %(s)3d %(u).1s", &nothing), "  -   - -");
}

#[test]
fn a_second_is_formatted_once_and_never_stale() {
    let format = AccessFormat::compile_in("%(t)s", Zone::named("UTC")).unwrap();
    let mut out = Vec::new();
    for now_ms in [0, 999, 1_000, 0, u64::MAX] {
        format.write(&mut out, &AccessRecord { now_ms, ..record() });
    }
    let text = String::from_utf8(out).unwrap();
    let seconds: Vec<&str> = text.split_inclusive(']').map(|stamp| &stamp[19..21]).collect();
    assert_eq!(seconds, ["00", "00", "01", "00", "00"]);
}

#[test]
fn users_of_basic_authentication_are_named_with_care() {
    for (field, user) in [
        ("Basic YWxpY2U6c2VjcmV0", "alice"),
        ("basic YWxpY2U6", "alice"),
        ("BASIC   YWxpY2U6 ", "alice"),
        // a\nb: in UTF-8, and \xe9: in Latin-1
        ("Basic YQpiOng=", r"a\x0ab"),
        ("Basic 6Tp4", "-"),
        ("Basic w6k6eA==", "\u{e9}"),
        ("Basic YWxpY2U=", "-"),
        ("Basic OnNlY3JldA==", "-"),
        ("Basic !!!!", "-"),
        ("Basic", "-"),
        ("Basic ", "-"),
        ("Bearer YWxpY2U6", "-"),
        ("", "-"),
    ] {
        let request = vec![("authorization", field)];
        assert_eq!(line("%(u)s", &AccessRecord { request: &request, ..record() }), user, "{field}");
    }
}

#[test]
fn a_hostile_record_stays_one_line_with_its_quotes_balanced() {
    let bad: Vec<u8> = (0..=255).collect();
    let request = vec![("referer", &bad[..]), ("user-agent", &bad[..]), ("x", b"\\")];
    let environ = [Some("a\nb\u{85}\"".to_owned())];
    let record = AccessRecord {
        method: b"G\nET",
        target: &bad,
        path: b"/%0a%22%zz%5c%C3%28%",
        query: b"\x1b]0;x\x07",
        request: &request,
        response: &request,
        environ: &environ,
        ..record()
    };
    for format in [
        AccessFormat::DEFAULT,
        "\"%(m)s\" \"%(U)s\" \"%(q)s\" \"%({x}i).1s\" \"%(f)o\""
            .replace("%(f)o", "%({referer}o)900s")
            .as_str(),
        "\"%({e}e)s\" \"%(r).3s\" \"%(a).36s\" \"%(a).93s\"",
    ] {
        let line = line(format, &record);
        assert!(!line.contains(char::is_control), "{line}");
        let bare = line.replace("\\\\", "").replace("\\\"", "");
        let quotes = format.matches('"').count();
        assert_eq!(bare.matches('"').count(), quotes, "{line}");
    }
    assert_eq!(line("%(U)s", &record), r#"/\x0a\"%zz\\\xc3(%"#);
    assert_eq!(line("%({e}e)s", &record), r#"a\x0ab\xc2\x85\""#);
}
