//! How many connections wait, and for what?
//!
//! Counted where they are put away and taken up again, under the crew's lock, so that the
//! scoreboard always says how things stand. Must not know the slots.
//!
//! Invariant: what is counted when a connection is put away is what is taken off when it is taken
//! up: nothing changes its stage in between.

use super::conn::{Conn, Stage, Waiting};
use crate::metrics::scoreboard::{Row, Waits};

/// The counts, and where they are shown.
#[derive(Debug)]
pub struct Tally {
    counts: [u64; Waits::ALL.len()],
    row: Row,
}

impl Tally {
    /// Nobody waits.
    pub fn new(row: Row) -> Tally {
        Tally { counts: [0; Waits::ALL.len()], row }
    }

    /// The connection is put away.
    pub fn put_away(&mut self, conn: &Conn) {
        let waits = waits(conn);
        self.set(waits, self.counts[waits as usize] + 1);
    }

    /// The connection is taken up.
    pub fn take_up(&mut self, conn: &Conn) {
        let waits = waits(conn);
        self.set(waits, self.counts[waits as usize].saturating_sub(1));
    }

    fn set(&mut self, waits: Waits, count: u64) {
        self.counts[waits as usize] = count;
        self.row.set_waiting(waits, count);
    }
}

fn waits(conn: &Conn) -> Waits {
    match (&conn.stage, conn.waiting) {
        (Stage::Ready, _) => Waits::Thread,
        (Stage::Replying(_), _) if conn.wants_in => Waits::Thread,
        (Stage::Replying(_) | Stage::Flushing(_) | Stage::Held(_), _) => Waits::Write,
        (Stage::Lingering | Stage::Closed, _) => Waits::Linger,
        (Stage::Receiving, Waiting::Idle) => Waits::Idle,
        (Stage::Receiving, Waiting::Body) => Waits::Body,
        (Stage::Receiving | Stage::Announcing, _) => Waits::Head,
    }
}
