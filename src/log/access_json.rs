//! What does an access line look like to a machine? One JSON object, with typed values.
//!
//! Under our own names, or under those of the Elastic Common Schema
//! (<https://www.elastic.co/guide/en/ecs/8.11/index.html>), with its units: nanoseconds.
//!
//! Must not know: where lines go, how values are obtained.
//!
//! Invariants:
//! 1. One valid object on one line, whatever a peer sent.
//! 2. A value that is not known is left out, so that a name always has one type.

use std::time::Duration;

use super::access_line::user;
use super::access_record::{AccessRecord, Fields};
use super::clock::push_rfc3339;
use super::json::JsonWriter;
use super::{Needs, percent};

/// Which names the values get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Ours.
    Own,
    /// Elastic's.
    Ecs,
}

/// Lines as JSON.
#[derive(Debug)]
pub struct JsonFormat {
    names: Names,
    request: Vec<String>,
    response: Vec<String>,
    needs: Needs,
}

impl JsonFormat {
    /// Lines with these request and response fields beside what all have.
    pub fn new(names: Names, request: &[String], response: &[String]) -> JsonFormat {
        let lower =
            |fields: &[String]| -> Vec<String> { fields.iter().map(|f| f.to_ascii_lowercase()).collect() };
        let (request, response) = (lower(request), lower(response));
        let mut needs = Needs {
            request_fields: ["authorization", "referer", "user-agent"].map(str::to_owned).into(),
            response_fields: response.clone(),
            environ: Vec::new(),
        };
        needs.request_fields.extend(request.iter().cloned());
        JsonFormat { names, request, response, needs }
    }

    /// What records have to carry.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Appends one line, without its line end.
    pub fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>) {
        let mut json = JsonWriter::new(out);
        json.object();
        match self.names {
            Names::Own => own(&mut json, record),
            Names::Ecs => ecs(&mut json, record),
        }
        let (request, response) = match self.names {
            Names::Own => ("request_headers", "response_headers"),
            Names::Ecs => ("http.request.headers", "http.response.headers"),
        };
        fields(&mut json, request, &self.request, record.request);
        fields(&mut json, response, &self.response, record.response);
        json.end_object();
    }
}

fn own(json: &mut JsonWriter<'_>, record: &AccessRecord<'_>) {
    time(json, "time", record);
    text(json, "remote_addr", record.remote_addr.as_bytes());
    user_name(json, "user", record);
    text(json, "request_id", record.request_id.as_bytes());
    text(json, "method", record.method);
    path(json, "path", record);
    text(json, "query", record.query);
    if !record.method.is_empty() {
        text(json, "protocol", record.version.as_bytes());
    }
    status(json, "status", record);
    number(json, "request_bytes", record.request_length);
    number(json, "response_bytes", record.response_length);
    let phases = &record.phases;
    seconds(json, "duration", record.duration);
    phases.queue.into_iter().for_each(|queue| seconds(json, "queue_time", queue));
    seconds(json, "receive_time", phases.receive);
    seconds(json, "wait_time", phases.wait);
    seconds(json, "app_time", phases.application);
    seconds(json, "write_time", phases.write);
    text(json, "referer", record.request.last("referer").unwrap_or_default());
    text(json, "user_agent", record.request.last("user-agent").unwrap_or_default());
    number(json, "pid", record.pid.into());
}

fn ecs(json: &mut JsonWriter<'_>, record: &AccessRecord<'_>) {
    time(json, "@timestamp", record);
    for (name, value) in
        [("ecs.version", "8.11.0"), ("event.kind", "event"), ("event.dataset", "rwsgi.access")]
    {
        text(json, name, value.as_bytes());
    }
    json.key("event.category");
    json.array();
    json.text(b"web");
    json.end_array();
    let outcome = if (1..400).contains(&record.status) { "success" } else { "failure" };
    text(json, "event.outcome", outcome.as_bytes());
    nanos(json, "event.duration", record.duration);
    text(json, "client.ip", record.remote_addr.as_bytes());
    user_name(json, "user.name", record);
    text(json, "http.request.id", record.request_id.as_bytes());
    text(json, "http.request.method", record.method);
    number(json, "http.request.body.bytes", record.request_length);
    text(json, "http.request.referrer", record.request.last("referer").unwrap_or_default());
    status(json, "http.response.status_code", record);
    number(json, "http.response.body.bytes", record.response_length);
    if let Some(version) = record.version.strip_prefix("HTTP/").filter(|_| !record.method.is_empty()) {
        text(json, "http.version", version.as_bytes());
    }
    text(json, "url.original", record.target);
    path(json, "url.path", record);
    text(json, "url.query", record.query);
    text(json, "user_agent.original", record.request.last("user-agent").unwrap_or_default());
    number(json, "process.pid", record.pid.into());
    let phases = &record.phases;
    phases.queue.into_iter().for_each(|queue| nanos(json, "rwsgi.queue_time", queue));
    nanos(json, "rwsgi.receive_time", phases.receive);
    nanos(json, "rwsgi.wait_time", phases.wait);
    nanos(json, "rwsgi.app_time", phases.application);
    nanos(json, "rwsgi.write_time", phases.write);
}

fn time(json: &mut JsonWriter<'_>, name: &str, record: &AccessRecord<'_>) {
    json.key(name);
    json.plain(|out| push_rfc3339(out, record.now_ms));
}

/// Empty is not known.
fn text(json: &mut JsonWriter<'_>, name: &str, bytes: &[u8]) {
    if !bytes.is_empty() {
        json.key(name);
        json.text(bytes);
    }
}

fn path(json: &mut JsonWriter<'_>, name: &str, record: &AccessRecord<'_>) {
    match record.path.contains(&b'%') {
        true => text(json, name, &percent::decoded(record.path)),
        false => text(json, name, record.path),
    }
}

fn user_name(json: &mut JsonWriter<'_>, name: &str, record: &AccessRecord<'_>) {
    user(record.request).into_iter().for_each(|user| text(json, name, &user));
}

/// 0: the client went away before there was one.
fn status(json: &mut JsonWriter<'_>, name: &str, record: &AccessRecord<'_>) {
    if record.status != 0 {
        number(json, name, record.status.into());
    }
}

fn number(json: &mut JsonWriter<'_>, name: &str, number: u64) {
    json.key(name);
    json.number(number);
}

fn seconds(json: &mut JsonWriter<'_>, name: &str, span: Duration) {
    json.key(name);
    json.seconds(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

fn nanos(json: &mut JsonWriter<'_>, name: &str, span: Duration) {
    number(json, name, u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
}

fn fields(json: &mut JsonWriter<'_>, name: &str, wanted: &[String], there: &dyn Fields) {
    if wanted.is_empty() {
        return;
    }
    json.key(name);
    json.object();
    for field in wanted {
        if let Some(value) = there.last(field) {
            json.key(field);
            json.text(value);
        }
    }
    json.end_object();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{NoFields, Phases};

    fn line(format: &JsonFormat, record: &AccessRecord<'_>) -> String {
        let mut out = Vec::new();
        format.write(&mut out, record);
        String::from_utf8(out).unwrap()
    }

    fn record<'a>() -> AccessRecord<'a> {
        AccessRecord {
            remote_addr: "192.0.2.7",
            method: b"GET",
            target: b"/caf%C3%A9?q=\"1\"",
            path: b"/caf%C3%A9",
            query: b"q=\"1\"",
            version: "HTTP/1.1",
            status: 200,
            request_length: 3,
            response_length: 1234,
            duration: Duration::from_micros(1_500),
            phases: Phases {
                queue: Some(Duration::from_millis(7)),
                application: Duration::from_millis(1),
                write: Duration::from_micros(500),
                ..Phases::default()
            },
            request_id: "id-1",
            now_ms: 1_795_142_891_250,
            pid: 4711,
            request: &NoFields,
            response: &NoFields,
            environ: &[],
        }
    }

    #[test]
    fn our_names() {
        let (request, response) = (["X-Tenant".to_owned()], ["Content-Type".to_owned(), "X-None".to_owned()]);
        let format = JsonFormat::new(Names::Own, &request, &response);
        assert_eq!(format.needs().response_fields, ["content-type", "x-none"]);
        let sent =
            [("X-Tenant", &b"a\xffb\n"[..]), ("user-agent", b"curl"), ("Authorization", b"Basic YWRhOng=")];
        let answered = [("Content-Type", "text/html")];
        let record = AccessRecord { request: &sent.to_vec(), response: &answered.to_vec(), ..record() };
        assert_eq!(
            line(&format, &record),
            "{\"time\":\"2026-11-20T02:48:11.250Z\",\"remote_addr\":\"192.0.2.7\",\"user\":\"ada\",\
             \"request_id\":\"id-1\",\"method\":\"GET\",\"path\":\"/caf\u{e9}\",\"query\":\"q=\\\"1\\\"\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"request_bytes\":3,\"response_bytes\":1234,\
             \"duration\":0.001500,\"queue_time\":0.007000,\"receive_time\":0.000000,\"wait_time\":0.000000,\
             \"app_time\":0.001000,\"write_time\":0.000500,\"user_agent\":\"curl\",\"pid\":4711,\
             \"request_headers\":{\"x-tenant\":\"a\u{fffd}b\\u000a\"},\
             \"response_headers\":{\"content-type\":\"text/html\"}}"
        );
    }

    #[test]
    fn elastics_names() {
        let line = line(&JsonFormat::new(Names::Ecs, &[], &[]), &record());
        for part in [
            "{\"@timestamp\":\"2026-11-20T02:48:11.250Z\",\"ecs.version\":\"8.11.0\",",
            "\"event.category\":[\"web\"],\"event.outcome\":\"success\",\"event.duration\":1500000,",
            "\"http.request.id\":\"id-1\",\"http.request.method\":\"GET\",",
            "\"http.response.status_code\":200,\"http.response.body.bytes\":1234,\"http.version\":\"1.1\",",
            "\"url.original\":\"/caf%C3%A9?q=\\\"1\\\"\",\"url.path\":\"/caf\u{e9}\",",
            "\"rwsgi.queue_time\":7000000,",
            "\"rwsgi.write_time\":500000}",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = AccessRecord {
            remote_addr: "",
            method: b"",
            target: b"",
            path: b"",
            query: b"",
            status: 0,
            request_id: "",
            phases: Phases::default(),
            ..record()
        };
        for names in [Names::Own, Names::Ecs] {
            let line = line(&JsonFormat::new(names, &[], &[]), &nothing);
            assert!(!line.contains("\"\"") && !line.contains("status") && !line.contains("queue"), "{line}");
            assert!(!line.contains("HTTP") && !line.contains("http.version"), "{line}");
        }
    }
}
