//! Chains walked from the right, contradictions, and the grammar of RFC 7239.

use super::*;
use crate::http::limits::{Limits, Policy};

/// A head of a trusted peer with these field lines, and its bytes.
fn head(lines: &[&str]) -> (Head, Vec<u8>) {
    let bytes = format!("GET / HTTP/1.0\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes();
    let mut head = Head::new();
    head.parse(&bytes, &Limits::default(), &Policy::default(), true).unwrap();
    (head, bytes)
}

fn gunicorn_schemes() -> Vec<SchemeHeader> {
    vec![
        SchemeHeader::new("X-FORWARDED-PROTOCOL", "ssl"),
        SchemeHeader::new("X-FORWARDED-PROTO", "https"),
        SchemeHeader::new("X-FORWARDED-SSL", "on"),
        SchemeHeader::new("X-OWN", "yes"),
    ]
}

#[test]
fn schemes() {
    let conflict = Err(RefusalKind::SchemeConflict);
    for (lines, expected) in [
        (&["X: y"][..], Ok(None)),
        (&["X-Forwarded-Proto: https"], Ok(Some(true))),
        (&["X-Forwarded-Proto: HTTPS"], Ok(Some(true))),
        (&["X-Forwarded-Proto: http"], Ok(Some(false))),
        (&["X-Forwarded-Proto: https, http"], Ok(Some(false))),
        (&["x-forwarded-ssl: on", "X-FORWARDED-PROTOCOL: ssl"], Ok(Some(true))),
        (&["X-Own: yes"], Ok(Some(true))),
        (&["X-Own: no"], Ok(Some(false))),
        (&["X-Forwarded-Ssl: on", "X-Forwarded-Proto: http"], conflict),
        (&["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], conflict),
    ] {
        let (head, bytes) = head(lines);
        let said = scheme(&head, &bytes, &gunicorn_schemes()).map_err(|refusal| refusal.kind);
        assert_eq!(said, expected, "{lines:?}");
    }
}

#[test]
fn clients_by_x_forwarded_for() {
    let trusted = AddrSet::parse("127.0.0.1,10.0.0.0/8").unwrap();
    for (lines, expected) in [
        (&["X: y"][..], None),
        (&["X-Forwarded-For: 1.2.3.4"], Some("1.2.3.4")),
        (&["X-Forwarded-For: 9.9.9.9, 1.2.3.4"], Some("1.2.3.4")),
        (&["X-Forwarded-For: 1.2.3.4, 10.0.0.1"], Some("1.2.3.4")),
        (&["X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.0.0.1, 10.1.1.1"], Some("1.2.3.4")),
        (
            &["X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 10.0.0.1"],
            Some("1.2.3.4"),
        ),
        (&["X-Forwarded-For: 10.0.0.2, 10.0.0.1"], Some("10.0.0.2")),
        (&["X-Forwarded-For: 1.2.3.4, unknown, 10.0.0.1"], Some("10.0.0.1")),
        (&["X-Forwarded-For: 1.2.3.4, , 10.0.0.1"], Some("10.0.0.1")),
        (&["X-Forwarded-For: unknown"], None),
        (&["X-Forwarded-For: 1.2.3.4:5678"], Some("1.2.3.4")),
        (&["X-Forwarded-For: [2001:db8::1]:80"], Some("2001:db8::1")),
        (&["X-Forwarded-For: [2001:db8::1]"], Some("2001:db8::1")),
        (&["X-Forwarded-For: 2001:db8::1"], Some("2001:db8::1")),
        (&["X-Forwarded-For: ::ffff:10.0.0.1"], Some("10.0.0.1")),
        (&["X-Forwarded-For: 1.2.3.4.5"], None),
    ] {
        let (head, bytes) = head(lines);
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(client(&head, &bytes, &trusted), expected, "{lines:?}");
    }
}

#[test]
fn hops_by_forwarded() {
    let trusted = AddrSet::parse("10.0.0.0/8").unwrap();
    for (lines, client, proto, host) in [
        (&["Forwarded: for=1.2.3.4;proto=https;host=a.test"][..], Some("1.2.3.4"), "https", "a.test"),
        (&["Forwarded: FOR=1.2.3.4 ; Proto=http"], Some("1.2.3.4"), "http", ""),
        (&["Forwarded: for=\"[2001:db8::1]:80\""], Some("2001:db8::1"), "", ""),
        (&["Forwarded: for=\"[2001:db8::1]:_x\""], Some("2001:db8::1"), "", ""),
        (&["Forwarded: for=\"1.2.3.4:_x\""], Some("1.2.3.4"), "", ""),
        (
            &["Forwarded: for=9.9.9.9;proto=http, for=1.2.3.4;proto=https, for=10.0.0.1"],
            Some("1.2.3.4"),
            "https",
            "",
        ),
        (&["Forwarded: for=1.2.3.4;host=a", "Forwarded: for=10.0.0.1;host=b"], Some("1.2.3.4"), "", "a"),
        (&["Forwarded: for=1.2.3.4;host=a, for=_hidden;host=b"], None, "", "b"),
        (&["Forwarded: for=1.2.3.4, for=unknown"], None, "", ""),
        (&["Forwarded: for=1.2.3.4;ext=\"a,b;c=\\\"d\\\"\""], Some("1.2.3.4"), "", ""),
        (&["Forwarded: ,for=1.2.3.4;,"], Some("1.2.3.4"), "", ""),
    ] {
        let (head, bytes) = head(lines);
        let hop = first_hop(&head, &bytes, &trusted).unwrap().unwrap();
        assert_eq!(hop.client, client.map(|address| address.parse().unwrap()), "{lines:?}");
        assert_eq!(hop.proto.unwrap_or_default(), proto.as_bytes(), "{lines:?}");
        assert_eq!(hop.host.unwrap_or_default(), host.as_bytes(), "{lines:?}");
    }
    let (plain, bytes) = head(&["X: y"]);
    assert_eq!(first_hop(&plain, &bytes, &trusted), Ok(None));
}

#[test]
fn a_forwarded_field_outside_its_grammar_is_refused() {
    for value in [
        "for",
        "for=",
        "for=[::1]",
        "for=1.2.3.4:80",
        "for=\"1.2.3.4",
        "for=1.2.3.4;for=1.2.3.5",
        "for=1.2.3.4;host=a/b",
        "f or=1.2.3.4",
        "=a",
        "for=\"a\"b",
        "for=\"\\\"",
    ] {
        let (head, bytes) = head(&[&format!("Forwarded: {value}")]);
        let refused = first_hop(&head, &bytes, &AddrSet::default()).map_err(|refusal| refusal.kind);
        assert_eq!(refused, Err(RefusalKind::Forwarded), "{value}");
    }
}

#[test]
fn prefixes() {
    for (lines, expected) in [
        (&["X: y"][..], Ok(None)),
        (&["SCRIPT_NAME: /app"], Ok(Some(&b"/app"[..]))),
        (&["script_name: /app/"], Ok(Some(b"/app"))),
        (&["SCRIPT_NAME: /"], Ok(Some(b""))),
        (&["SCRIPT_NAME:"], Ok(Some(b""))),
        (&["SCRIPT_NAME: /a", "SCRIPT_NAME: /a/"], Ok(Some(b"/a"))),
        (&["SCRIPT_NAME: /a", "SCRIPT_NAME: /b"], Err(RefusalKind::Forwarded)),
        (&["SCRIPT_NAME: app"], Err(RefusalKind::Forwarded)),
        (&["Script-Name: /app"], Ok(None)),
    ] {
        let (head, bytes) = head(lines);
        assert_eq!(script_name(&head, &bytes).map_err(|refusal| refusal.kind), expected, "{lines:?}");
    }
    let (head, bytes) = head(&["X-Forwarded-Prefix: /app/"]);
    assert_eq!(prefix(&head, &bytes), Ok(Some(&b"/app"[..])));
}

#[test]
fn hosts_and_ports() {
    let (said, bytes) = head(&["X-Forwarded-Host: evil, a.test:81", "X-Forwarded-Port: 1, 443"]);
    assert_eq!(forwarded_host(&said, &bytes), Ok(Some(&b"a.test:81"[..])));
    assert_eq!(forwarded_port(&said, &bytes), Ok(Some(443)));
    let (faulty, bytes) = head(&["X-Forwarded-Host: a/b", "X-Forwarded-Port: 65536"]);
    assert!(forwarded_host(&faulty, &bytes).is_err());
    assert!(forwarded_port(&faulty, &bytes).is_err());
}
