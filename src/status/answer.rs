//! Which request gets which page?
//!
//! Pure but for the report, which is gathered only where a page shows it. Must not know sockets.
//!
//! Invariants:
//! 1. GET and HEAD only; nothing that is asked changes anything.
//! 2. Every answer closes the connection and must not be cached.

use super::document;
use crate::http::fields::elements;
use crate::http::head::Head;
use crate::http::response::{RequestFacts, ResponseHead, dispose, encode_head};
use crate::metrics::exposition::{self, Format};
use crate::metrics::report::Report;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// `/healthz`: the master lives.
    Health,
    /// `/readyz`: requests may be sent.
    Readiness,
    /// `/metrics`.
    Metrics(Format),
    /// `/status.json`.
    Status,
    /// `/`: which pages there are.
    Index,
    /// A path that is none of these.
    Unknown,
    /// A method that is not GET or HEAD.
    WrongMethod,
}

impl Page {
    /// What the request with this head asks for. A query means nothing here.
    pub fn of(head: &Head, bytes: &[u8]) -> Page {
        if !matches!(head.method.of(bytes), b"GET" | b"HEAD") {
            return Page::WrongMethod;
        }
        match head.path_bytes(bytes) {
            b"/healthz" => Page::Health,
            b"/readyz" => Page::Readiness,
            b"/metrics" => Page::Metrics(format(head, bytes)),
            b"/status.json" => Page::Status,
            b"/" => Page::Index,
            _ => Page::Unknown,
        }
    }
}

/// OpenMetrics where it is asked for by name, and not with a weight of nothing.
fn format(head: &Head, bytes: &[u8]) -> Format {
    let mut accepted = head.find(bytes, "accept").flat_map(elements);
    let wanted = accepted.any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/openmetrics-text"))
            && !parts.any(|part| matches!(part, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    });
    if wanted { Format::OpenMetrics } else { Format::Text }
}

/// An answer: status, media type, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status line's `NNN reason`.
    pub status: &'static str,
    /// The media type.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "/healthz\n/readyz\n/metrics\n/status.json\n";

/// The answer to a request for `page`.
pub fn answer(page: Page, report: &dyn Fn() -> Report) -> Answer {
    let text = |status, body: &str| Answer { status, content_type: TEXT, body: body.into() };
    match page {
        Page::Health => text("200 OK", "ok\n"),
        Page::Readiness => match report().readiness() {
            Ok(()) => text("200 OK", "ready\n"),
            Err(unready) => text("503 Service Unavailable", &format!("{unready}\n")),
        },
        Page::Metrics(format) => Answer {
            status: "200 OK",
            content_type: format.content_type(),
            body: exposition::render(&report(), format).into_bytes(),
        },
        Page::Status => {
            Answer { status: "200 OK", content_type: "application/json", body: document::render(&report()) }
        }
        Page::Index => text("200 OK", INDEX),
        Page::Unknown => text("404 Not Found", INDEX),
        Page::WrongMethod => text("405 Method Not Allowed", "GET and HEAD only\n"),
    }
}

impl Answer {
    /// Appends it as it goes on the wire.
    pub fn encode(&self, out: &mut Vec<u8>, request: &Head, date: &[u8], server: &[u8]) {
        let facts = RequestFacts::of(request);
        let mut head = ResponseHead::new();
        let fields: [(&[u8], &[u8]); 3] = [
            (b"Content-Type", self.content_type.as_bytes()),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
        ];
        let allow = self.status.starts_with("405").then_some((&b"Allow"[..], &b"GET, HEAD"[..]));
        let made = head.start(self.status.as_bytes()).and_then(|()| {
            fields.into_iter().chain(allow).try_for_each(|(name, value)| head.field(name, value))
        });
        // All of it is ours and well formed, which the tests hold.
        debug_assert_eq!(made, Ok(()));
        let made = dispose(&facts, &head, Some(self.body.len() as u64), true);
        encode_head(out, facts.version, &head, &made, date, server);
        if !facts.is_head && !facts.is_connect {
            out.extend_from_slice(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::{Limits, Policy};
    use crate::metrics::ledger::Course;

    fn ask(request: &str, report: &Report) -> String {
        let mut head = Head::new();
        let bytes = request.as_bytes();
        head.parse(bytes, &Limits::default(), &Policy::default(), false).unwrap();
        let mut out = Vec::new();
        let answer = answer(Page::of(&head, bytes), &|| report.clone());
        answer.encode(&mut out, &head, b"Thu, 01 Jan 1970 00:00:00 GMT", b"rwsgi");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pages_by_path_and_method() {
        let report = Report::default();
        for (method, path, status) in [
            ("GET", "/healthz", 200),
            ("GET", "/healthz?x=1", 200),
            ("HEAD", "/healthz", 200),
            ("GET", "http://h/healthz", 200),
            ("GET", "/readyz", 503),
            ("GET", "/metrics", 200),
            ("GET", "/status.json", 200),
            ("GET", "/", 200),
            ("GET", "/healthz/", 404),
            ("GET", "/%68ealthz", 404),
            ("POST", "/healthz", 405),
            ("OPTIONS", "*", 405),
            ("DELETE", "/metrics", 405),
        ] {
            let reply = ask(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"), &report);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {reply}");
            assert!(reply.contains("\r\nConnection: close\r\n") && reply.contains("\r\nContent-Length: "));
            assert_eq!(reply.contains("\r\nAllow: GET, HEAD\r\n"), status == 405);
            assert_eq!(reply.ends_with("\r\n\r\n"), method == "HEAD");
        }
    }

    #[test]
    fn open_metrics_is_given_to_those_who_ask() {
        for (accept, open) in [
            ("*/*", false),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", true),
            ("text/plain, Application/OpenMetrics-Text; q=0.3", true),
            ("application/openmetrics-text;q=0", false),
        ] {
            let reply = ask(
                &format!("GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: {accept}\r\n\r\n"),
                &Report::default(),
            );
            assert_eq!(reply.contains("application/openmetrics-text"), open, "{accept}");
            assert_eq!(reply.ends_with("# EOF\n"), open);
        }
    }

    #[test]
    fn readiness_says_why_not() {
        let mut report = Report::default();
        report.account.course = Course::Stopping;
        let reply = ask("GET /readyz HTTP/1.0\r\n\r\n", &report);
        assert!(reply.starts_with("HTTP/1.0 503 ") && reply.ends_with("\r\n\r\nthe server is stopping\n"));
    }
}
