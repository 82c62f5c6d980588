//! How are several connections served in one go?
//!
//! All are read, then all requests run, then all replies leave. Done for one connection after the other
//! the three push each other out of the processor's caches: reading, the interpreter and sending each
//! need most of them. And the interpreter is taken once.
//!
//! Only where requests take the application microseconds (see `pace`): the first reply waits for the
//! last. A row in which they are slower than they were takes longer, some milliseconds at most before
//! the keeper sends what waits.
//!
//! Must not know: HTTP, how a request is served.
//!
//! Invariants:
//! 1. A row is served by the only thread of a worker: whoever is in it could not be served sooner.
//! 2. A reply that waits for the end of the row is where the keeper sees it.
//! 3. A panic costs the connection it happened on.

use std::sync::Arc;

use super::conn::{Conn, Stage};
use super::crew::{Crew, Work};
use super::hand::Hand;
use super::intake::Fetched;
use super::threads::guarded;

/// Connections that are served together. Empty between two rows.
#[derive(Default)]
pub struct Row {
    conns: Vec<(usize, Box<Conn>)>,
    fetched: Vec<Option<Fetched>>,
    /// Those whose replies were sent, and whether they want another turn.
    sent: Vec<(usize, Box<Conn>, bool)>,
}

impl Row {
    /// Begins one with a connection that has its turn, and takes more to it, up to `most`.
    pub fn gather(&mut self, crew: &Crew, token: usize, conn: Box<Conn>, most: usize) {
        self.conns.push((token, conn));
        crew.join(&mut self.conns, most);
    }

    /// Gives all of them their turn. Returns what is to be done next.
    pub fn serve(&mut self, hand: &mut Hand<'_>, crew: &Arc<Crew>) -> Work {
        self.read(hand);
        hand.in_row = self.conns.len() > 1;
        crew.context.runtime.entered(&mut || self.run(hand, crew));
        hand.in_row = false;
        hand.intake.clear();
        crew.call_keeper_if(&mut hand.wants_keeper);
        self.send(hand, crew);
        crew.next_after_row(hand.index, self.sent.drain(..))
    }

    fn read(&mut self, hand: &mut Hand<'_>) {
        for (_, conn) in &self.conns {
            self.fetched.push(hand.intake.read_ahead(&conn.stream));
        }
    }

    fn run(&mut self, hand: &mut Hand<'_>, crew: &Arc<Crew>) {
        hand.stamp.tick();
        for ((token, mut conn), fetched) in self.conns.drain(..).zip(self.fetched.drain(..)) {
            hand.intake.present(fetched);
            let again = guarded(&mut conn, |conn| hand.go_through(conn, crew));
            if !matches!(conn.stage, Stage::Held(_)) {
                // How long its turn took nobody has looked: it is not the next one's time.
                hand.stamp.tick();
            }
            crew.lay_by(token, conn, again);
        }
    }

    /// What was held leaves.
    fn send(&mut self, hand: &mut Hand<'_>, crew: &Arc<Crew>) {
        crew.take_held(&mut self.conns);
        for (token, mut conn) in self.conns.drain(..) {
            let again = guarded(&mut conn, |conn| hand.send_held(conn));
            self.sent.push((token, conn, again));
        }
    }
}
