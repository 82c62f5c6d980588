//! How long may a connection wait for what it waits for, and what happens then?
//!
//! Must not know: the timers, other connections.
//!
//! Invariants:
//! 1. What a peer can stretch has a deadline; what waits for us has none.
//! 2. A head's deadline is set once: bytes dripping in do not move it. A body's moves with every
//!    piece, but the average rate is held against its least.

use std::time::Duration;

use super::conn::{After, Conn, Stage, Waiting};
use super::hand::Hand;
use super::refuse;
use super::settings::WorkerSettings;
use crate::http::connection::Phase;
use crate::metrics::scoreboard::Late;

/// A connection that was idle for so long is not in the middle of a burst of requests.
const REST_MS: u64 = 500;

/// How long a drain waits for the next byte of a client that is silent.
const SILENT_MS: u64 = 2000;

/// Sets the deadline for what the connection now waits for.
pub fn set(conn: &mut Conn, settings: &WorkerSettings, now_ms: u64) {
    let waiting = waiting(conn);
    let moved = match waiting {
        Waiting::Body => true,
        Waiting::Write => conn.output.total != conn.sent_then,
        _ => false,
    };
    if waiting == conn.waiting && !moved {
        return;
    }
    conn.waiting = waiting;
    conn.sent_then = conn.output.total;
    let span = match waiting {
        Waiting::Nothing => None,
        Waiting::Idle => settings.keepalive,
        Waiting::Head => settings.header_timeout,
        Waiting::Body => settings.body_timeout,
        Waiting::Write => settings.write_timeout,
        Waiting::Linger => Some(settings.linger_timeout),
    };
    conn.deadline = span.map_or(0, |span| now_ms + millis(span));
    conn.rest_at = if waiting == Waiting::Idle { now_ms + REST_MS } else { 0 };
    if waiting == Waiting::Body && too_slow(conn, settings, now_ms) {
        conn.deadline = now_ms;
    }
}

/// The worker drains: a client that is silent is not waited for as long as usual. A proxy keeps
/// connections for minutes, and a worker would stay for the sake of those it does not use.
pub fn hasten(conn: &mut Conn, now_ms: u64) {
    if is_silent(conn) && conn.deadline != 0 {
        conn.deadline = conn.deadline.min(now_ms + SILENT_MS);
    }
}

/// Whether the client has not sent a byte since it connected, or since its last request.
pub fn is_silent(conn: &Conn) -> bool {
    is_idle(conn) && matches!(conn.waiting, Waiting::Head | Waiting::Idle)
}

fn waiting(conn: &Conn) -> Waiting {
    match conn.stage {
        Stage::Announcing => Waiting::Head,
        Stage::Receiving => match conn.http.phase() {
            Phase::Idle if conn.requests > 0 => Waiting::Idle,
            Phase::Idle | Phase::Head => Waiting::Head,
            Phase::Body => Waiting::Body,
            Phase::Complete | Phase::Closed => Waiting::Nothing,
        },
        Stage::Replying(_) | Stage::Flushing(_) if conn.output.is_blocked() => Waiting::Write,
        Stage::Held(_) if !conn.output.is_buffered() => Waiting::Write,
        Stage::Lingering => Waiting::Linger,
        Stage::Replying(_) | Stage::Flushing(_) | Stage::Held(_) => Waiting::Nothing,
        Stage::Ready | Stage::Closed => Waiting::Nothing,
    }
}

/// Whether a body comes slower than it has to. Judged only after one body timeout, so that a
/// start on a bad line is no fault.
fn too_slow(conn: &Conn, settings: &WorkerSettings, now_ms: u64) -> bool {
    let (Some(rate), Some(grace)) = (settings.body_min_rate, settings.body_timeout) else { return false };
    let elapsed = now_ms.saturating_sub(conn.body_began);
    elapsed > millis(grace) && conn.body.len().saturating_mul(1000) / elapsed.max(1) < rate
}

/// The deadline has passed. (Or it had, and another thread moved it before this one came.)
pub fn expire(hand: &mut Hand<'_>, conn: &mut Conn) {
    if conn.deadline == 0 || conn.deadline > hand.stamp.tick() {
        return;
    }
    // What came in the meantime has come in time.
    if conn.waiting == Waiting::Idle && conn.stream.has_input() {
        conn.readable = true;
        return;
    }
    let late = match conn.waiting {
        Waiting::Head => Some(Late::Head),
        Waiting::Body => Some(Late::Body),
        Waiting::Write => Some(Late::Write),
        Waiting::Idle => Some(Late::Idle),
        Waiting::Linger | Waiting::Nothing => None,
    };
    late.into_iter().for_each(|late| hand.context.row.count_late(late));
    match conn.waiting {
        Waiting::Head if conn.http.phase() == Phase::Head || matches!(conn.stage, Stage::Announcing) => {
            refuse::timed_out(hand, conn, "The request head did not arrive in time");
        }
        Waiting::Body => refuse::timed_out(hand, conn, "The request body did not arrive in time"),
        Waiting::Write => {
            refuse::complain(hand, conn, "The client takes nothing of its reply");
            conn.stream.abort_on_close();
            hand.lost(conn);
        }
        // A request that crosses our end would be answered by a reset if we closed at once.
        Waiting::Idle if conn.stream.finish().is_ok() => {
            conn.http.close();
            conn.stage = Stage::Lingering;
        }
        Waiting::Head | Waiting::Idle | Waiting::Linger | Waiting::Nothing => conn.stage = Stage::Closed,
    }
}

/// Whether the connection could be closed at once without taking anything from its client.
pub fn is_idle(conn: &Conn) -> bool {
    matches!(conn.stage, Stage::Receiving) && conn.http.phase() == Phase::Idle && conn.input.is_empty()
        || matches!(conn.stage, Stage::Lingering | Stage::Flushing(After::Abort))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 2)
}
