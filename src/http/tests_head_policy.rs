//! What policies drop, refuse and let through.

use super::tests::{Case, HOST, get, request};
use super::*;
use crate::http::error::RefusalKind;
use crate::http::limits::{HeaderMap, Policy};

#[test]
fn names_with_underscores() {
    let bytes = get(&["X_A: 1", "Content_Length: 5", "SCRIPT_NAME: /x", "X-A: 2"]);
    let names = |case: &Case| {
        let head = case.parse(&bytes)?.unwrap();
        let names =
            head.fields.iter().map(|field| String::from_utf8(field.name.of(&bytes).to_vec()).unwrap());
        Ok((names.collect::<Vec<_>>().join(" "), head.body))
    };
    let with = |header_map, trusted| Case {
        policy: Policy { header_map, ..Policy::default() },
        trusted,
        ..Case::new()
    };
    let none = BodyLength::None;
    assert_eq!(names(&with(HeaderMap::Drop, false)), Ok(("Host X-A".into(), none)));
    assert_eq!(names(&with(HeaderMap::Drop, true)), Ok(("Host SCRIPT_NAME X-A".into(), none)));
    assert_eq!(names(&with(HeaderMap::Refuse, true)), Err(RefusalKind::Underscore));
    let all = "Host X_A Content_Length SCRIPT_NAME X-A";
    assert_eq!(names(&with(HeaderMap::Dangerous, false)), Ok((all.into(), none)));
    let mut star = with(HeaderMap::Refuse, true);
    star.policy.forwarder_headers = vec!["*".into()];
    assert_eq!(names(&star), Ok((all.into(), none)));
    star.trusted = false;
    assert_eq!(names(&star), Err(RefusalKind::Underscore));
}

#[test]
fn a_script_name_is_known_from_trusted_peers_only() {
    let bytes = get(&["SCRIPT_NAME: /x"]);
    for (trusted, kind) in [(true, Known::ScriptName), (false, Known::Other)] {
        let policy = Policy { header_map: HeaderMap::Dangerous, ..Policy::default() };
        let head = Case { policy, trusted, ..Case::new() }.parse(&bytes).unwrap().unwrap();
        assert_eq!(head.fields[1].kind, kind);
    }
}

#[test]
fn a_proxy_field_never_gets_through() {
    let bytes = get(&["Proxy: evil", "PROXY: evil"]);
    let head = Case { trusted: true, ..Case::new() }.parse(&bytes).unwrap().unwrap();
    assert_eq!(head.fields.len(), 1);
}

#[test]
fn forwarding_fields_of_untrusted_peers_can_be_dropped() {
    let bytes = get(&[
        "X-Forwarded-For: 1",
        "Forwarded: for=1",
        "X-Real-IP: 1",
        "x-forwarded-own: 1",
        "X-Forward: 1",
    ]);
    let policy = Policy { drop_untrusted_forwarded: true, ..Policy::default() };
    for (trusted, count) in [(false, 2), (true, 6)] {
        let case = Case { policy: policy.clone(), trusted, ..Case::new() };
        assert_eq!(case.parse(&bytes).unwrap().unwrap().fields.len(), count);
    }
}

#[test]
fn folded_lines_where_permitted() {
    let policy = Policy { permit_obsolete_folding: true, ..Policy::default() };
    let case = Case { policy, ..Case::new() };
    let bytes = get(&["X-A: a", " b", "\t c ", "X-B:", "  d", "X-C: e", " ", "X_D: f", " g", "X-E: h"]);
    let head = case.parse(&bytes).unwrap().unwrap();
    let source = head.source(&bytes);
    assert_eq!(source.len(), head.len);
    let values: Vec<_> = head.fields.iter().map(|field| field.value.of(source)).collect();
    assert_eq!(values, [&b"a.test"[..], b"a   b  \t c", b"d", b"e", b"h"]);
    for (fields, kind) in [
        (&["Content-Length:", " 5"][..], RefusalKind::Folding),
        (&["Transfer-Encoding: chunked", " "], RefusalKind::Folding),
        (&["X-A: a", " b\0"], RefusalKind::FieldValue),
        (&["X-A: a", " b\rc"], RefusalKind::FieldValue),
    ] {
        assert_eq!(case.parse(&get(fields)).err(), Some(kind), "{fields:?}");
    }
    assert_eq!(case.parse(&request("GET / HTTP/1.1", &[" X: y", HOST])).err(), Some(RefusalKind::Folding));
    assert_eq!(case.parse(&request("GET / HTTP/1.1", &[HOST, " .evil"])).err(), Some(RefusalKind::Folding));
}

#[test]
fn methods_are_folded_to_upper_case_where_asked() {
    let policy =
        Policy { permit_unconventional_http_method: true, casefold_http_method: true, ..Policy::default() };
    let bytes = request("hEad / HTTP/1.1", &[HOST]);
    let head = Case { policy, ..Case::new() }.parse(&bytes).unwrap().unwrap();
    assert_eq!(head.method.of(head.source(&bytes)), b"HEAD");
    assert!(head.is_head);
}
