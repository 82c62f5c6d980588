//! What does /status.json say? Everything a person debugging wants to see at once.
//!
//! Pure. Must not know where the figures come from. Unlike the metrics it shows what requests are
//! running, with their request lines: it is for the operator's eyes.

use std::time::Duration;

use crate::log::JsonWriter;
use crate::metrics::counters::{CLASSES, Histogram, METHODS};
use crate::metrics::ledger::{Course, End};
use crate::metrics::report::{Report, Slot, capacity};
use crate::metrics::scoreboard::{Crowded, Late, LogKind, Running, State, Waits};
use crate::system::clock::Moment;

/// The document.
pub fn render(report: &Report) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut json = JsonWriter::new(&mut out);
    json.object();
    server(&mut json, report);
    named(&mut json, "worker_exits", End::NAMES.iter().copied().zip(report.account.ends));
    json.key("workers");
    json.array();
    report.workers().for_each(|slot| worker(&mut json, slot, report.now));
    json.end_array();
    json.key("listeners");
    json.array();
    for queue in &report.queues {
        json.object();
        text(&mut json, "address", queue.address.as_bytes());
        number(&mut json, "waiting", queue.waiting);
        number(&mut json, "limit", queue.limit);
        json.end_object();
    }
    json.end_array();
    totals(&mut json, report);
    json.end_object();
    out.push(b'\n');
    out
}

fn server(json: &mut JsonWriter<'_>, report: &Report) {
    let account = &report.account;
    text(json, "version", env!("CARGO_PKG_VERSION").as_bytes());
    number(json, "pid", u64::from(report.master.unsigned_abs()));
    let state = if account.course == Course::Stopping { "stopping" } else { "running" };
    text(json, "state", state.as_bytes());
    let readiness = report.readiness();
    json.key("ready");
    json.flag(readiness.is_ok());
    if let Err(unready) = readiness {
        text(json, "unready", unready.to_string().as_bytes());
    }
    span(json, "uptime_seconds", report.now.since(account.started));
    optional(json, "resident_bytes", report.resident);
    number(json, "generation", account.generation.into());
    number(json, "workers_wanted", account.wanted);
    named(json, "reloads", [("adopted", account.reloads), ("failed", account.reloads_failed)]);
}

fn worker(json: &mut JsonWriter<'_>, slot: &Slot, now: Moment) {
    let row = &slot.row;
    json.object();
    number(json, "slot", slot.number as u64);
    number(json, "pid", u64::from(row.pid.unsigned_abs()));
    let state = match row.state {
        State::Vacant => "vacant",
        State::Booting => "booting",
        State::Serving => "serving",
        State::Draining => "draining",
    };
    text(json, "state", state.as_bytes());
    number(json, "generation", row.generation.into());
    span(json, "age_seconds", now.since(row.spawned));
    optional(json, "resident_bytes", slot.resident);
    number(json, "threads", capacity(row));
    number(json, "connections", row.connections);
    named(json, "waiting", Waits::NAMES.iter().copied().zip(row.waiting));
    json.key("running");
    json.array();
    row.running.iter().for_each(|running| request(json, running, now));
    json.end_array();
    json.end_object();
}

fn request(json: &mut JsonWriter<'_>, running: &Running, now: Moment) {
    json.object();
    number(json, "thread", running.thread as u64);
    number(json, "tid", running.thread_id.into());
    text(json, "request", &running.line);
    span(json, "seconds", now.since(running.started));
    span(json, "seconds_without_progress", now.since(running.progress));
    json.key("over_deadline");
    json.flag(running.raised);
    json.end_object();
}

fn totals(json: &mut JsonWriter<'_>, report: &Report) {
    let totals = report.totals();
    let (busy, idle) = report.threads();
    named(json, "threads", [("busy", busy), ("idle", idle)]);
    let (waiting, active) = report.connections();
    let connections = Waits::NAMES.iter().copied().zip(waiting);
    named(json, "connections", [("active", active)].into_iter().chain(connections));
    number(json, "connections_accepted", report.accepted());
    named(json, "connections_full", Crowded::NAMES.iter().copied().zip(report.crowded()));
    number(json, "requests_in_flight", report.in_flight());
    number(json, "requests", totals.requests());
    let classes = totals.exchanges.iter().map(|methods| methods.iter().sum());
    named(json, "requests_by_status", CLASSES.iter().copied().zip(classes));
    let methods = (0..METHODS.len()).map(|column| totals.exchanges.iter().map(|class| class[column]).sum());
    named(json, "requests_by_method", METHODS.iter().copied().zip(methods));
    histogram(json, "request_duration", &totals.latency);
    histogram(json, "request_queue", &totals.queued);
    number(json, "received_bytes", totals.received);
    number(json, "sent_bytes", totals.sent);
    named(json, "refused_requests", report.refused().filter(|(_, count)| *count > 0));
    named(json, "log_lines_dropped", LogKind::NAMES.iter().copied().zip(report.lost()));
    let late = Late::NAMES.iter().copied().zip(report.late());
    named(json, "deadlines_passed", [("request", report.account.overdue)].into_iter().chain(late));
}

fn histogram(json: &mut JsonWriter<'_>, name: &str, histogram: &Histogram) {
    json.key(name);
    json.object();
    number(json, "count", histogram.count());
    json.key("sum_seconds");
    json.seconds(histogram.sum_us);
    json.end_object();
}

fn named<'n>(json: &mut JsonWriter<'_>, name: &str, counts: impl IntoIterator<Item = (&'n str, u64)>) {
    json.key(name);
    json.object();
    counts.into_iter().for_each(|(name, count)| number(json, name, count));
    json.end_object();
}

fn text(json: &mut JsonWriter<'_>, name: &str, bytes: &[u8]) {
    json.key(name);
    json.text(bytes);
}

fn number(json: &mut JsonWriter<'_>, name: &str, number: u64) {
    json.key(name);
    json.number(number);
}

fn optional(json: &mut JsonWriter<'_>, name: &str, number: Option<u64>) {
    json.key(name);
    match number {
        Some(number) => json.number(number),
        None => json.null(),
    }
}

fn span(json: &mut JsonWriter<'_>, name: &str, span: Duration) {
    json.key(name);
    json.seconds(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_server_is_a_document() {
        let text = String::from_utf8(render(&Report::default())).unwrap();
        assert!(text.starts_with("{\"version\":") && text.ends_with("}\n"), "{text}");
        assert!(text.contains("\"ready\":false,\"unready\":\"no worker serves\""), "{text}");
        assert!(text.contains("\"workers\":[],\"listeners\":[]"), "{text}");
    }
}
