//! What is kept of a finished exchange? One count on the scoreboard, one line in the access log.
//!
//! Must not know: how a line looks.

use std::time::Duration;

use super::conn::Conn;
use super::context::Context;
use super::stamp::Stamp;
use crate::http::head::{Head, Version};
use crate::log::{AccessRecord, Fields};
use crate::system::clock::now_ns;

struct HeadFields<'a> {
    head: &'a Head,
    bytes: &'a [u8],
}

impl Fields for HeadFields<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.head.find(self.bytes, name).last()
    }
}

/// Records the exchange in `conn`; `bytes` is its head, empty if there was none.
pub fn record(context: &Context, stamp: &mut Stamp, thread: usize, conn: &Conn, bytes: &[u8]) {
    let now = now_ns();
    stamp.now_ms = now / 1_000_000;
    let took = match conn.started {
        0 => Duration::ZERO,
        started => Duration::from_nanos(now.saturating_sub(started)),
    };
    let reply = &conn.reply;
    context.row.count(thread, reply.status, conn.body.len(), reply.body_sent, took);
    if let Some(statsd) = &context.statsd {
        statsd.request(reply.status, took);
    }
    let Some(access) = &context.access else { return };
    stamp.refresh();
    let head = conn.http.head();
    let source = head.source(bytes);
    access.record(&AccessRecord {
        remote_addr: &conn.endpoint.remote_addr,
        method: head.method.of(source),
        target: head.target.of(source),
        path: head.path_bytes(source),
        query: head.query.of(source),
        version: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        status: reply.status,
        response_length: reply.body_sent.saturating_sub(conn.output.file_left()),
        duration: took,
        now: stamp.unix() as i64,
        pid: std::process::id(),
        request: &HeadFields { head, bytes: source },
        response: &reply.fields,
        environ: &reply.environ,
    });
}
