//! How does a connection enter?
//!
//! Must not know: what is served on it.
//!
//! Invariants:
//! 1. Accepting stops as soon as a request was served: what is left in the kernel's queue goes to
//!    whoever is free first, in this worker or another. Where there is nobody else, it goes on for
//!    as many as take a millisecond. Then others have their turn.
//! 2. Workers take turns: whoever accepted steps back behind those that wait, so that connections
//!    spread evenly although the kernel wakes the first that is free. One that has clearly fewer than
//!    another stays in front; one that has clearly more, and requests to serve, leaves newcomers to
//!    the others for some milliseconds.
//! 3. At the limit an idle kept-alive connection makes room; if there is none, clients wait in the
//!    kernel's queue.

use std::io;
use std::sync::Arc;

use super::conn::{Conn, Stage};
use super::crew::Crew;
use super::hand::Hand;
use super::listeners::Server;
use super::listeners::{Entrance, Listeners, Pause};
use super::tls::Tls;
use super::transport::Stream;
use crate::metrics::scoreboard::Crowded;
use crate::system::clock::now_ms;

/// Connections accepted in a row that had nothing to say yet.
const BATCH: usize = 16;

/// Accepts from listener `index` while it makes sense.
pub fn accept(hand: &mut Hand<'_>, crew: &Arc<Crew>, index: usize) {
    if crew.gives_way(hand.company) {
        return crew.expect_more(index);
    }
    // With others to share with, one at a time: the rest of a burst wakes them.
    let batch = if hand.context.settings.app.multiprocess { 1 } else { BATCH };
    let mut served = 0;
    for _ in 0..batch {
        if !has_room(crew) {
            return;
        }
        match accept_one(hand, crew, index) {
            Accepted::Nothing => return crew.expect_nobody(),
            Accepted::Waiting => {}
            Accepted::Served => {
                served += 1;
                if !crew.is_one() || served >= hand.pace.row() {
                    break;
                }
            }
        }
    }
    crew.expect_more(index);
}

/// Takes everything that is queued out of the kernel, for a drain. Served later, in turn.
pub fn sweep(hand: &mut Hand<'_>, crew: &Arc<Crew>, entrance: &Entrance) {
    for _ in 0..hand.context.settings.connections {
        match entrance.acceptor.accept() {
            Ok((stream, peer)) => {
                let mut conn = Box::new(enter(hand, &entrance.server, stream, peer));
                let token = crew.admit();
                watch(hand, crew, token, &mut conn);
                crew.put_back(token, conn, true);
            }
            Err(_) => return,
        }
    }
}

enum Accepted {
    Served,
    Waiting,
    Nothing,
}

fn accept_one(hand: &mut Hand<'_>, crew: &Arc<Crew>, index: usize) -> Accepted {
    let Some(Entrance { acceptor, server }) = crew.state().listeners.get(index) else {
        return Accepted::Nothing;
    };
    let accepted = acceptor.accept();
    // Not held while a request is served: a drain has to close the socket, or clients would queue
    // at a door that nobody opens.
    drop(acceptor);
    let (stream, peer) = match accepted {
        Ok(accepted) => accepted,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Accepted::Nothing,
        Err(error) if is_starved(&error) => {
            tracing::error!("Cannot accept connections: {error}; trying again in a second");
            let paused = crew.state().listeners.pause(Listeners::starved(), &crew.registry);
            if let Err(error) = paused {
                tracing::error!("Cannot pause a listener: {error}");
            }
            return Accepted::Nothing;
        }
        // The client was gone before it was accepted.
        Err(error) => {
            tracing::debug!("A connection was lost before it was accepted: {error}");
            return Accepted::Waiting;
        }
    };
    if hand.context.settings.app.multiprocess {
        crew.step_back();
    }
    make_room(crew);
    let mut conn = Box::new(enter(hand, &server, stream, peer));
    let token = crew.admit();
    let again = hand.advance(&mut conn, crew);
    watch(hand, crew, token, &mut conn);
    let served = conn.requests > 0;
    crew.put_back(token, conn, again);
    if served { Accepted::Served } else { Accepted::Waiting }
}

/// Whatever the connection waits for now, it is told. One that is over already waits for nothing.
fn watch(hand: &mut Hand<'_>, crew: &Crew, token: usize, conn: &mut Conn) {
    if matches!(conn.stage, Stage::Closed) {
        return;
    }
    if let Err(error) = crew.watch(token, conn) {
        tracing::error!(
            "Cannot wait on a connection: {error} (how many a user may wait on is the sysctl fs.epoll.max_user_watches)"
        );
        match conn.stage {
            Stage::Ready | Stage::Replying(_) | Stage::Flushing(_) => hand.lost(conn),
            Stage::Held(_) => {
                // It waits for nothing but company.
                let _ = conn.output.flush(&conn.stream);
                conn.stage = Stage::Closed;
            }
            _ => conn.stage = Stage::Closed,
        }
    }
}

fn enter(hand: &Hand<'_>, server: &Server, stream: Stream, peer: Option<std::net::SocketAddr>) -> Conn {
    let settings = &hand.context.settings;
    hand.context.row.count_accepted();
    let stage = if settings.proxy.is_some() { Stage::Announcing } else { Stage::Receiving };
    let stream = match &settings.tls {
        None => stream,
        Some(secure) => Stream::Tls(Box::new(Tls::new(stream, secure, settings.ragged))),
    };
    // A PROXY header comes before it, in the clear.
    if settings.proxy.is_none() {
        stream.begin_tls(&[]);
    }
    let trusted = settings.trusted.trusts(peer.map(|peer| peer.ip().to_canonical()));
    Conn::new(stream, peer, server, stage, trusted)
}

/// Whether another connection may be accepted: there is room, or can be made.
fn has_room(crew: &Arc<Crew>) -> bool {
    let most = crew.context.settings.connections;
    let mut state = crew.state();
    if state.open() < most || state.idlest().is_some() {
        return true;
    }
    let paused = state.listeners.pause(Pause::Full, &crew.registry);
    let said = state.listeners.says_full(now_ms());
    drop(state);
    if let Err(error) = paused {
        tracing::error!("Cannot pause a listener: {error}");
    }
    crew.context.row.count_crowded(Crowded::Waiting);
    if said {
        tracing::warn!(
            "All {most} connections of this worker are in use (worker_connections): new ones wait"
        );
    }
    false
}

/// Closes an idle connection for one that has been accepted. Not before: the one that waits may be
/// another worker's by then, and the idle one would have been closed for nothing.
fn make_room(crew: &Arc<Crew>) {
    if crew.open() < crew.context.settings.connections {
        return;
    }
    if let Some((token, mut conn)) = crew.take_idlest() {
        crew.context.row.count_crowded(Crowded::Closed);
        conn.stage = Stage::Closed;
        crew.put_back(token, conn, false);
    }
}

fn is_starved(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let starved = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|code| starved.contains(&code))
}
