//! Which connections are served together?
//!
//! Must not know: what is done with them.

use std::sync::Arc;

use super::state::Item;
use super::{Crew, Work};
use crate::worker::conn::{Conn, Stage};

impl Crew {
    /// Takes those whose turn comes next, until there are `most`, as far as a request is expected of
    /// them. Whatever else is to be done first stays first.
    pub fn join(&self, row: &mut Vec<(usize, Box<Conn>)>, most: usize) {
        let mut state = self.state();
        while row.len() < most
            && let Some(&Item::Conn(token)) = state.pending.front()
            && state.is_expected(token)
        {
            state.pending.pop_front();
            row.extend(state.check_out(token).map(|conn| (token, conn)));
        }
    }

    /// Brings them back, each with whether it wants another turn, and takes the next thing to do.
    pub fn next_after_row(
        self: &Arc<Self>,
        index: usize,
        conns: impl Iterator<Item = (usize, Box<Conn>, bool)>,
    ) -> Work {
        let mut state = self.state();
        for (token, conn, again) in conns {
            state = self.bring_back(state, token, conn, again).unwrap_or_else(|| self.state());
        }
        self.next_in(state, index)
    }

    /// One has had its turn. If its reply is held it waits for [`Crew::take_held`]; else it is brought
    /// back.
    pub fn lay_by(self: &Arc<Self>, token: usize, conn: Box<Conn>, again: bool) {
        let holds = !again && matches!(conn.stage, Stage::Held(_)) && conn.output.is_buffered();
        let back = if holds { self.berth.moor(token, conn) } else { Some(conn) };
        if let Some(conn) = back {
            self.put_back(token, conn, again);
        }
    }

    /// Takes those whose replies are held, into an empty row. The keeper may have sent them.
    pub fn take_held(&self, row: &mut Vec<(usize, Box<Conn>)>) {
        self.berth.cast_off(row);
    }
}
