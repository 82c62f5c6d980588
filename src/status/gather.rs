//! Where do the figures come from? The shared pages, /proc, and the kernel's word on accept queues.
//!
//! Must not know: who asks, how it is shown. Nothing here asks another process, so nothing here
//! can wait for one.

use std::os::fd::AsFd;

use crate::http::error::RefusalKind;
use crate::metrics::report::{Queue, Report, Slot};
use crate::metrics::scoreboard::{Row, State};
use crate::metrics::seat::Desk;
use crate::system::accept_queue::accept_queue;
use crate::system::clock::Moment;
use crate::system::listener::Listener;
use crate::system::raw;

/// The server now.
pub fn report(desk: &Desk) -> Report {
    Report {
        now: Moment::now(),
        master: desk.master,
        resident: resident(desk.master),
        account: desk.ledger.read(),
        slots: desk.rows.iter().enumerate().map(slot).collect(),
        queues: desk.watched.iter().filter_map(queue).collect(),
        refusals: RefusalKind::ALL.iter().map(|kind| kind.as_str()).collect(),
    }
}

fn slot((number, row): (usize, &Row)) -> Slot {
    let row = row.snapshot();
    let resident = if row.state == State::Vacant { None } else { resident(row.pid) };
    Slot { number, row, resident }
}

/// Of a unix socket's queue not every kernel, and not every sandbox, tells.
fn queue(listener: &Listener) -> Option<Queue> {
    let (waiting, limit) = accept_queue(listener.as_fd()).ok()?;
    Some(Queue { address: listener.address().to_string(), waiting: waiting.into(), limit: limit.into() })
}

/// Resident bytes of a process: the second field of statm (proc(5)).
fn resident(pid: i32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * raw::page_size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ledger::Ledger;
    use crate::metrics::scoreboard::REFUSALS;
    use crate::metrics::seat::Lifeline;

    #[test]
    fn figures_come_from_pages_and_from_proc() {
        let row = Row::new(1).unwrap();
        row.occupy(1, 1, Moment::now());
        row.enter(std::process::id() as i32);
        row.set_state(State::Serving, Moment::now());
        let (lifeline, _hold) = Lifeline::new().unwrap();
        let rows = vec![row, Row::new(1).unwrap()];
        let ledger = Ledger::new(Moment::now(), 0).unwrap();
        let desk = Desk { listeners: vec![], watched: vec![], rows, ledger, lifeline, master: i32::MAX };
        let report = report(&desk);
        assert_eq!(report.count(State::Serving), 1);
        assert!(report.slots[0].resident.unwrap() > 1 << 16);
        assert_eq!((report.slots[1].resident, report.resident), (None, None));
    }

    #[test]
    fn every_reason_to_refuse_has_its_counter() {
        assert!(RefusalKind::ALL.len() < REFUSALS, "{} kinds", RefusalKind::ALL.len());
    }
}
