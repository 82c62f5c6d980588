//! How is a peer told no? An error page, the end of the connection, and a line in the log that
//! cannot be used to flood it.
//!
//! Must not know: why (the refusal says it).
//!
//! Invariant: after a refusal nothing more is read as a request (RFC 9112 section 9.6).

use std::mem;
use std::sync::{Mutex, PoisonError};

use super::conn::{After, Conn, Stage};
use super::hand::{Hand, Turn};
use super::tls::Trouble;
use crate::door::Refused;
use crate::http::error::{Refusal, RefusalKind};

/// Answers a peer that broke the protocol or asked for too much.
pub fn peer(hand: &mut Hand<'_>, conn: &mut Conn, refusal: &Refusal) {
    hand.context.row.count_refused(refusal.kind as usize);
    identify(hand, conn);
    if let Some(suppressed) = hand.context.complaints.admit(hand.stamp.now_ms) {
        let (peer, id, also) = (conn.peer_name(), Id(&conn.marks.id), Also(suppressed));
        tracing::warn!("Invalid request from ip={peer}: {refusal}{id}{also}");
    }
    with_page(hand, conn, refusal.status, &refusal.to_string());
}

/// A request that never reached the application gets its id here: the client is told it, and the
/// lines of both logs bear it. Of a head that was not read to its end no field is believed.
fn identify(hand: &mut Hand<'_>, conn: &mut Conn) {
    if !hand.context.settings.request_id || !conn.marks.id.is_empty() {
        return;
    }
    if conn.head.is_empty() {
        return hand.ids.make(&mut conn.marks.id);
    }
    let head = conn.http.head();
    conn.marks.identify(&mut hand.ids, conn.trusted, head, head.source(&conn.head));
}

/// Answers with an error page and closes. Of a head that never was complete the lines that were
/// read are at the start of the input.
pub fn with_page(hand: &mut Hand<'_>, conn: &mut Conn, status: u16, text: &str) {
    hand.page(conn, status, text);
    let (mut head, input) = (mem::take(&mut conn.head), mem::take(&mut conn.input));
    if head.is_empty() {
        head = conn.http.head().so_far(&input).to_vec();
    }
    conn.http.close();
    hand.stamp.tick();
    hand.leave(conn, After::Linger, &head);
    tell(hand, conn, status, &head);
}

/// Tells those who are told of requests and would not hear of this one: the application never had
/// it. Of what was not even a request nobody is told.
fn tell(hand: &Hand<'_>, conn: &Conn, status: u16, bytes: &[u8]) {
    let head = conn.http.head();
    let bytes = head.source(bytes);
    if !head.method.of(bytes).is_empty() {
        let (endpoint, number) = (&conn.endpoint, conn.requests);
        hand.context.app.refused(&Refused { head, bytes, endpoint, status, number });
    }
}

/// Answers a peer that was too slow.
pub fn timed_out(hand: &mut Hand<'_>, conn: &mut Conn, text: &str) {
    identify(hand, conn);
    complain(hand, conn, text);
    with_page(hand, conn, 408, text);
}

/// Says in the log, if there is room for it, why a peer's connection is closed.
pub fn complain(hand: &Hand<'_>, conn: &Conn, text: &str) {
    if let Some(suppressed) = hand.context.complaints.admit(hand.stamp.now_ms) {
        let (peer, id, also) = (conn.peer_name(), Id(&conn.marks.id), Also(suppressed));
        tracing::info!("Closing the connection of {peer}: {text}{id}{also}");
    }
}

/// Nothing can be read from a peer any more: its connection, or its TLS session, is broken.
pub fn broken(hand: &mut Hand<'_>, conn: &mut Conn, error: &std::io::Error) {
    let trouble = error.get_ref().and_then(|error| error.downcast_ref::<Trouble>());
    match trouble {
        Some(Trouble::Plain) => return peer(hand, conn, &RefusalKind::PlainHttp.into()),
        Some(trouble) => {
            if matches!(trouble, Trouble::Handshake(_)) {
                hand.context.row.count_refused(RefusalKind::TlsHandshake as usize);
            }
            if let Some(suppressed) = hand.context.complaints.admit(hand.stamp.now_ms) {
                let (peer, also) = (conn.peer_name(), Also(suppressed));
                tracing::warn!("Invalid request from ip={peer}: {trouble}{also}");
            }
        }
        None => {}
    }
    conn.stage = Stage::Closed;
}

/// A body cannot be stored. Ours to mend, but any peer can ask for it: into the log with measure.
pub fn no_room(hand: &mut Hand<'_>, conn: &mut Conn, error: &std::io::Error) {
    identify(hand, conn);
    if let Some(suppressed) = hand.context.complaints.admit(hand.stamp.now_ms) {
        let (peer, id, also) = (conn.peer_name(), Id(&conn.marks.id), Also(suppressed));
        tracing::error!("Cannot keep a request body from {peer}: {error}{id}{also}");
    }
    with_page(hand, conn, 507, "The server cannot store the request body");
}

/// The peer has ended its side where a request was expected.
pub fn ended(hand: &mut Hand<'_>, conn: &mut Conn) -> Turn {
    match conn.http.end_of_input() {
        Ok(()) => conn.stage = Stage::Closed,
        Err(refusal) => {
            hand.context.row.count_refused(refusal.kind as usize);
            identify(hand, conn);
            let id = Id(&conn.marks.id);
            tracing::debug!("Incomplete request from ip={}: {refusal}{id}", conn.peer_name());
            with_page(hand, conn, refusal.status, &refusal.to_string());
        }
    }
    Turn::Again
}

/// Complaints logged at once, and how fast the right to more comes back.
const BURST: u64 = 50;
const MS_PER_LINE: u64 = 100;

/// Lets through so many lines about peers that they inform and cannot flood.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<Budget>);

#[derive(Debug, Default)]
struct Budget {
    /// Up to when the budget is spent, in milliseconds.
    spent_until: u64,
    suppressed: u64,
}

impl Complaints {
    /// Whether a line may be logged now; if so, how many were left out since the last one.
    pub fn admit(&self, now_ms: u64) -> Option<u64> {
        let mut budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.spent_until > now_ms + BURST * MS_PER_LINE {
            budget.suppressed += 1;
            return None;
        }
        budget.spent_until = budget.spent_until.max(now_ms) + MS_PER_LINE;
        Some(std::mem::take(&mut budget.suppressed))
    }
}

struct Id<'a>(&'a str);

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, " (id {})", self.0) }
    }
}

struct Also(u64);

impl std::fmt::Display for Also {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(out, " (and {count} more like it not logged)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_written() {
        let complaints = Complaints::default();
        let admitted = (0..1000).filter(|_| complaints.admit(5).is_some()).count() as u64;
        assert_eq!(admitted, BURST + 1);
        assert_eq!(complaints.admit(5 + 2 * MS_PER_LINE), Some(1000 - admitted));
        assert_eq!(complaints.admit(5 + 100_000), Some(0));
    }
}
