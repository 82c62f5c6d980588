//! How does monitoring read a [`Report`]? Prometheus's text format, and OpenMetrics.
//!
//! Pure. Must not know where the figures come from. Names, types and units follow
//! <https://prometheus.io/docs/practices/naming/>; docs/metrics.md and deploy/grafana.json use them.
//!
//! Invariants:
//! 1. All samples of a family stand together behind its HELP and TYPE; no family twice.
//! 2. A label's values come from a fixed list, but for the number of a slot and a listener's
//!    address: nothing a peer sends makes a series.
//! 3. Histograms are cumulative, and end with `+Inf`, sum and count.

use std::fmt::{self, Write};

use super::counters::{BOUNDS_MS, CLASSES, Histogram, METHODS};
use super::ledger::End;
use super::report::{Report, Slot};
use super::scoreboard::{Crowded, Late, LogKind, State, Waits};
use crate::system::clock::Moment;

/// Which of the two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The page of metrics.
pub fn render(report: &Report, format: Format) -> String {
    let mut page = Page { out: String::with_capacity(16 * 1024), format, name: "" };
    server(&mut page, report);
    workers(&mut page, report);
    requests(&mut page, report);
    connections(&mut page, report);
    faults(&mut page, report);
    if format == Format::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

fn server(page: &mut Page, report: &Report) {
    page.family(Kind::Info, "rwsgi_build", "", "The version that runs.");
    page.sample("_info", &[("version", &env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("rwsgi_ready", "", "Whether requests should be sent here: what /readyz says.");
    page.sample("", &[], u64::from(report.readiness().is_ok()));
    page.gauge("rwsgi_start_time_seconds", "seconds", "When the master started, since the epoch.");
    page.sample("", &[], Seconds::of_epoch(report, report.account.started));
    page.gauge("rwsgi_generation", "", "Number of the configuration in force: one more with each reload.");
    page.sample("", &[], report.account.generation);
    page.counter("rwsgi_reloads", "", "Reloads, by result.");
    page.sample("_total", &[("result", &"adopted")], report.account.reloads);
    page.sample("_total", &[("result", &"failed")], report.account.reloads_failed);
    if let Some(resident) = report.resident {
        page.gauge("rwsgi_master_resident_bytes", "bytes", "Resident memory of the master.");
        page.sample("", &[], resident);
    }
}

fn workers(page: &mut Page, report: &Report) {
    page.gauge("rwsgi_workers", "", "Worker processes, by state.");
    for (name, state) in
        [("booting", State::Booting), ("serving", State::Serving), ("draining", State::Draining)]
    {
        page.sample("", &[("state", &name)], report.count(state));
    }
    page.gauge("rwsgi_workers_wanted", "", "Workers that should serve.");
    page.sample("", &[], report.account.wanted);
    page.counter("rwsgi_worker_exits", "", "Worker processes that ended, by reason.");
    for (name, count) in End::NAMES.iter().zip(report.account.ends) {
        page.sample("_total", &[("reason", name)], count);
    }
    let each = |page: &mut Page, figure: &dyn Fn(&Slot) -> Option<Seconds>| {
        for slot in report.workers() {
            if let Some(figure) = figure(slot) {
                page.sample("", &[("worker", &slot.number)], figure);
            }
        }
    };
    page.gauge("rwsgi_worker_resident_bytes", "bytes", "Resident memory of a worker, by slot.");
    each(page, &|slot| slot.resident.map(Seconds::whole));
    page.gauge("rwsgi_worker_start_time_seconds", "seconds", "When a worker was forked, since the epoch.");
    each(page, &|slot| Some(Seconds::of_epoch(report, slot.row.spawned)));
    let (busy, idle) = report.threads();
    page.gauge("rwsgi_threads", "", "Threads that may run requests, by whether they do.");
    page.sample("", &[("state", &"busy")], busy);
    page.sample("", &[("state", &"idle")], idle);
}

fn requests(page: &mut Page, report: &Report) {
    let totals = report.totals();
    page.gauge("rwsgi_requests_in_flight", "", "Requests received and not yet answered to their end.");
    page.sample("", &[], report.in_flight());
    page.counter(
        "rwsgi_requests",
        "",
        "Requests, by class of status and method; none: the client went away.",
    );
    for (class, counts) in CLASSES.iter().zip(&totals.exchanges) {
        for (method, count) in METHODS.iter().zip(counts) {
            page.sample("_total", &[("status", class), ("method", method)], count);
        }
    }
    page.histogram(
        "rwsgi_request_duration_seconds",
        "From the complete request to the last byte handed to the kernel.",
        &totals.latency,
    );
    page.histogram(
        "rwsgi_request_queue_seconds",
        "Time in front of this server, by X-Request-Start or X-Queue-Start of trusted proxies.",
        &totals.queued,
    );
    page.counter("rwsgi_received_bytes", "bytes", "Bytes of request bodies.");
    page.sample("_total", &[], totals.received);
    page.counter("rwsgi_sent_bytes", "bytes", "Bytes of response bodies.");
    page.sample("_total", &[], totals.sent);
}

fn connections(page: &mut Page, report: &Report) {
    let (waiting, active) = report.connections();
    page.gauge("rwsgi_connections", "", "Open connections, by what they wait for; active: with a thread.");
    page.sample("", &[("state", &"active")], active);
    for (name, count) in Waits::NAMES.iter().zip(waiting) {
        page.sample("", &[("state", name)], count);
    }
    page.counter("rwsgi_connections_accepted", "", "Connections accepted.");
    page.sample("_total", &[], report.accepted());
    page.counter(
        "rwsgi_connections_full",
        "",
        "Times a worker had worker_connections open; closed: an idle one made room, waiting: there was none.",
    );
    for (name, count) in Crowded::NAMES.iter().zip(report.crowded()) {
        page.sample("_total", &[("then", name)], count);
    }
    if report.queues.is_empty() {
        return;
    }
    page.gauge(
        "rwsgi_accept_queue_connections",
        "",
        "Connections the kernel holds until a worker accepts them.",
    );
    for queue in &report.queues {
        page.sample("", &[("listener", &queue.address)], queue.waiting);
    }
    page.gauge("rwsgi_accept_queue_limit", "", "How many the kernel would hold.");
    for queue in &report.queues {
        page.sample("", &[("listener", &queue.address)], queue.limit);
    }
}

fn faults(page: &mut Page, report: &Report) {
    page.counter(
        "rwsgi_refused_requests",
        "",
        "Requests refused before the application saw them, by reason.",
    );
    for (name, count) in report.refused() {
        page.sample("_total", &[("reason", &name)], count);
    }
    page.counter(
        "rwsgi_log_lines_dropped",
        "",
        "Lines a log did not take: its disk is full, or its reader slow.",
    );
    for (name, count) in LogKind::NAMES.iter().zip(report.lost()) {
        page.sample("_total", &[("log", name)], count);
    }
    page.counter("rwsgi_deadlines_passed", "", "Deadlines that passed; request: in the application.");
    page.sample("_total", &[("deadline", &"request")], report.account.overdue);
    for (name, count) in Late::NAMES.iter().zip(report.late()) {
        page.sample("_total", &[("deadline", name)], count);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Milliseconds as seconds, exactly; or a whole number.
#[derive(Debug, Clone, Copy)]
enum Seconds {
    Millis(u64),
    Whole(u64),
}

impl Seconds {
    fn whole(number: u64) -> Seconds {
        Seconds::Whole(number)
    }

    /// Counted from the start, not from now: the same at every look, whatever the wall clock does.
    fn of_epoch(report: &Report, at: Moment) -> Seconds {
        let account = &report.account;
        let after = u64::try_from(at.since(account.started).as_millis()).unwrap_or(u64::MAX);
        Seconds::Millis(account.started_unix_ms.saturating_add(after))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seconds::Millis(millis) => write!(out, "{}.{:03}", millis / 1_000, millis % 1_000),
            Seconds::Whole(number) => number.fmt(out),
        }
    }
}

struct Page {
    out: String,
    format: Format,
    /// The family begun last.
    name: &'static str,
}

/// `write!` to a String does not fail.
macro_rules! put {
    ($page:expr, $($text:tt)*) => { write!($page.out, $($text)*).unwrap_or_default() };
}

impl Page {
    fn counter(&mut self, name: &'static str, unit: &str, help: &str) {
        self.family(Kind::Counter, name, unit, help);
    }

    fn gauge(&mut self, name: &'static str, unit: &str, help: &str) {
        self.family(Kind::Gauge, name, unit, help);
    }

    /// HELP and TYPE. The text format knows the names of samples, OpenMetrics those of families.
    fn family(&mut self, kind: Kind, name: &'static str, unit: &str, help: &str) {
        let (shown, suffix) = match (kind, self.format) {
            (Kind::Counter, Format::Text) => ("counter", "_total"),
            (Kind::Counter, Format::OpenMetrics) => ("counter", ""),
            (Kind::Gauge, _) => ("gauge", ""),
            (Kind::Histogram, _) => ("histogram", ""),
            (Kind::Info, Format::Text) => ("gauge", "_info"),
            (Kind::Info, Format::OpenMetrics) => ("info", ""),
        };
        put!(self, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {shown}\n");
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            put!(self, "# UNIT {name} {unit}\n");
        }
        self.name = name;
    }

    /// A sample of the family begun last.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn fmt::Display)], value: impl fmt::Display) {
        put!(self, "{}{suffix}", self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            put!(self, "{before}{label}=\"{}\"", escaped(&text.to_string()));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        put!(self, "{after} {value}\n");
    }

    fn histogram(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(Kind::Histogram, name, "seconds", help);
        let mut below = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(histogram.buckets) {
            below += count;
            let bound = *bound as f64 / 1_000.0;
            self.sample("_bucket", &[("le", &format_args!("{bound:?}"))], below);
        }
        self.sample("_bucket", &[("le", &"+Inf")], histogram.count());
        let micros = histogram.sum_us;
        self.sample("_sum", &[], format_args!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
        self.sample("_count", &[], histogram.count());
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::report::tests::sample;

    #[test]
    fn both_formats_say_the_same_figures() {
        let report = sample();
        let (text, open) = (render(&report, Format::Text), render(&report, Format::OpenMetrics));
        let samples = |page: &str| -> Vec<String> {
            page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(samples(&text), samples(&open));
        assert!(open.ends_with("\n# EOF\n") && !text.contains("# EOF"));
        for line in [
            "rwsgi_ready 1",
            "rwsgi_requests_total{status=\"2xx\",method=\"GET\"} 3",
            "rwsgi_requests_in_flight 2",
            "rwsgi_workers{state=\"serving\"} 1",
            "rwsgi_worker_exits_total{reason=\"reload\"} 1",
            "rwsgi_worker_start_time_seconds{worker=\"0\"} 1795142887.250",
            "rwsgi_worker_resident_bytes{worker=\"1\"} 1048576",
            "rwsgi_request_duration_seconds_bucket{le=\"0.025\"} 0",
            "rwsgi_request_duration_seconds_bucket{le=\"0.05\"} 3",
            "rwsgi_request_duration_seconds_bucket{le=\"10.0\"} 3",
            "rwsgi_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "rwsgi_request_duration_seconds_sum 0.090000",
            "rwsgi_request_queue_seconds_count 1",
            "rwsgi_connections{state=\"idle\"} 3",
            "rwsgi_accept_queue_connections{listener=\"http://127.0.0.1:80\"} 1",
            "rwsgi_refused_requests_total{reason=\"request_line\"} 1",
            "rwsgi_deadlines_passed_total{deadline=\"head\"} 1",
        ] {
            assert!(samples(&text).contains(&line.to_owned()), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn families_are_declared_once_and_samples_belong_to_the_one_above() {
        for format in [Format::Text, Format::OpenMetrics] {
            let page = render(&sample(), format);
            let mut declared = BTreeSet::new();
            let mut family = String::new();
            for line in page.lines() {
                if let Some(rest) = line.strip_prefix("# TYPE ") {
                    family = rest.split(' ').next().unwrap().to_owned();
                    assert!(declared.insert(family.clone()), "{family} twice");
                } else if !line.starts_with('#') {
                    assert!(line.starts_with(&family), "{line} below {family}");
                }
            }
            assert!(declared.len() > 20);
        }
    }

    #[test]
    fn labels_cannot_break_out() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
