//! What is kept of a finished exchange? One count on the scoreboard, one line in the access log,
//! and, where it took long, one in the error log that says where the time went.
//!
//! Must not know: how a line looks.

use std::time::Duration;

use super::conn::Conn;
use super::context::Context;
use super::stamp::Stamp;
use crate::http::head::Head;
use crate::log::{AccessRecord, Fields, Phases, escape};
use crate::metrics::counters::Finished;

struct HeadFields<'a> {
    head: &'a Head,
    bytes: &'a [u8],
}

impl Fields for HeadFields<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.head.find(self.bytes, name).last()
    }
}

/// Records the exchange in `conn`, which is over by `stamp`; `bytes` is its head, empty if there was none.
pub fn record(context: &Context, stamp: &mut Stamp, thread: usize, conn: &Conn, bytes: &[u8]) {
    let took = match conn.started {
        0 => Duration::ZERO,
        started => Duration::from_nanos(stamp.now_ns.saturating_sub(started)),
    };
    let reply = &conn.reply;
    let head = conn.http.head();
    let source = head.source(bytes);
    let finished = Finished {
        method: head.method.of(source),
        status: reply.status,
        received: conn.body.len(),
        sent: reply.body_sent,
        took,
        queued: conn.marks.queued,
    };
    context.row.count(thread, &finished);
    if let Some(statsd) = &context.statsd {
        statsd.request(reply.status, took);
    }
    if let Some(slow) = context.settings.slow_request
        && took >= slow
    {
        complain(conn, &finished, head.target.of(source));
    }
    let path = head.path_bytes(source);
    let Some(access) = context.access.as_ref().filter(|log| log.admits(path, reply.status)) else { return };
    stamp.refresh();
    access.record(&AccessRecord {
        remote_addr: &conn.endpoint.remote_addr,
        method: finished.method,
        target: head.target.of(source),
        path,
        query: head.query.of(source),
        version: head.protocol(source),
        status: reply.status,
        request_length: finished.received,
        response_length: reply.body_sent.saturating_sub(conn.output.file_left()),
        duration: took,
        phases: phases(conn, took),
        request_id: &conn.marks.id,
        now_ms: stamp.unix_ms(),
        pid: std::process::id(),
        request: &HeadFields { head, bytes: source },
        response: &reply.fields,
        environ: &reply.environ,
    });
}

/// Where the time of a request went that took `took` from the application's call on.
fn phases(conn: &Conn, took: Duration) -> Phases {
    if conn.started == 0 {
        return Phases::default();
    }
    let (marks, started_ms) = (&conn.marks, conn.started / 1_000_000);
    let complete_ms = if marks.ready_ms == 0 { started_ms } else { marks.ready_ms };
    let application = Duration::from_nanos(marks.app_ns).min(took);
    Phases {
        queue: marks.queued,
        receive: Duration::from_millis(complete_ms.saturating_sub(conn.body_began)),
        wait: Duration::from_millis(started_ms.saturating_sub(complete_ms)),
        application,
        write: took - application,
    }
}

/// A slow request, for whoever looks for the reason.
fn complain(conn: &Conn, finished: &Finished<'_>, target: &[u8]) {
    let phases = phases(conn, finished.took);
    let id = if conn.marks.id.is_empty() { "-" } else { &conn.marks.id };
    tracing::warn!(
        "Slow request: {} {} {} from {} took {:.3} s (queue {:.3}, receive {:.3}, wait {:.3}, \
         application {:.3}, write {:.3}; id {id})",
        escape(finished.method),
        escape(target),
        finished.status,
        conn.peer_name(),
        finished.took.as_secs_f64(),
        phases.queue.unwrap_or_default().as_secs_f64(),
        phases.receive.as_secs_f64(),
        phases.wait.as_secs_f64(),
        phases.application.as_secs_f64(),
        phases.write.as_secs_f64(),
    );
}
