//! What does a thread of a worker do all day, and how does it begin and end?
//!
//! Must not know: HTTP.
//!
//! Invariant: a panic costs the connection it happened on, and is logged; the thread goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::accept;
use super::conn::{Conn, Stage};
use super::crew::{Company, Crew, Work};
use super::deadlines;
use super::hand::Hand;
use super::orders;
use super::row::Row;

/// Python code may recurse deeply: the default stack of a Rust thread is too small for it.
const STACK: usize = 8 << 20;

/// Starts thread `index`.
pub fn start(crew: &Arc<Crew>, index: usize) {
    let shared = Arc::clone(crew);
    let runtime = Arc::clone(&crew.context.runtime);
    let body = move || {
        runtime.released(&mut || work(&shared, index));
        shared.depart(index);
    };
    let started = std::thread::Builder::new().name(format!("rwsgi-{index}")).stack_size(STACK).spawn(body);
    if let Err(error) = started {
        tracing::error!("Cannot start a thread: {error}; going on with those there are");
        crew.dismiss(index);
    }
}

/// The life of a thread.
pub fn work(crew: &Arc<Crew>, index: usize) {
    let mut hand = Hand::new(&crew.context, index);
    crew.context.row.introduce(index, nix::sys::pthread::pthread_self());
    let mut row = Row::default();
    let mut work = crew.next(index);
    loop {
        match work {
            Work::Serve(token, conn, company) => {
                hand.company = company;
                let together = company.others && crew.is_one() && conn.is_expected();
                let most = if together { hand.pace.row() } else { 1 };
                work = if most > 1 {
                    row.gather(crew, token, conn, most);
                    row.serve(&mut hand, crew)
                } else {
                    serve(&mut hand, crew, token, conn, false)
                };
                continue;
            }
            Work::Expire(token, conn) => {
                hand.company = Company::default();
                work = serve(&mut hand, crew, token, conn, true);
                continue;
            }
            Work::Accept(listener, company) => {
                hand.company = company;
                let accepted = catch_unwind(AssertUnwindSafe(|| accept::accept(&mut hand, crew, listener)));
                if accepted.is_err() {
                    tracing::error!("Internal error while accepting a connection");
                    crew.expect_more(listener);
                }
                crew.call_keeper_if(&mut hand.wants_keeper);
            }
            Work::Signals => orders::obey(&mut hand, crew),
            Work::Orphaned => orders::orphaned(&mut hand, crew),
            Work::Retire if index == 0 => {}
            Work::Retire | Work::Over => return,
        }
        work = crew.next(index);
    }
}

/// Gives the connection its turn. Returns what is to be done next.
fn serve(hand: &mut Hand<'_>, crew: &Arc<Crew>, token: usize, mut conn: Box<Conn>, expired: bool) -> Work {
    let again = guarded(&mut conn, |conn| {
        if expired {
            deadlines::expire(hand, conn);
        }
        hand.advance(conn, crew)
    });
    crew.call_keeper_if(&mut hand.wants_keeper);
    crew.next_after(hand.index, token, conn, again)
}

/// A connection's turn: says whether it wants another one. A panic in it is the connection's end.
pub fn guarded(conn: &mut Conn, turn: impl FnOnce(&mut Conn) -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(|| turn(conn))).unwrap_or_else(|_| {
        tracing::error!("Internal error while serving {}: closing the connection", conn.peer_name());
        conn.stage = Stage::Closed;
        false
    })
}
