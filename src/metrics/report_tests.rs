//! A server with one busy, one draining and one vacant slot.

use std::time::Duration;

use super::*;
use crate::metrics::ledger::Ledger;
use crate::metrics::scoreboard::{Finished, Row};

/// One serving worker of two threads, one of them busy; one draining; one that is gone.
pub fn sample() -> Report {
    let rows: Vec<Row> = (0..3).map(|_| Row::new(3).unwrap()).collect();
    for (number, row) in rows.iter().enumerate() {
        row.occupy(2, if number == 0 { 3 } else { 1 }, Moment(1_000));
        row.enter(100 + number as i32);
        row.set_state(State::Serving, Moment(1_500));
        let took = Duration::from_millis(30);
        let queued = (number == 0).then_some(Duration::from_millis(4));
        row.count(0, &Finished { method: b"GET", status: 200, received: 1, sent: 10, took, queued });
    }
    rows[0].begin(1, 4_000, b"GET /slow?\"x\"\xff HTTP/1.1");
    rows[0].set_connections(5);
    rows[0].set_waiting(Waits::Idle, 3);
    rows[0].set_waiting(Waits::Write, 1);
    rows[0].count_refused(1);
    rows[0].count_late(Late::Head);
    rows[1].count_crowded(Crowded::Waiting);
    rows[1].set_state(State::Draining, Moment(2_000));
    rows[2].vacate();
    let ledger = Ledger::new(Moment(500), 1_795_142_886_750).unwrap();
    ledger.set_generation(2, 1);
    ledger.count_reload(true);
    ledger.count_end(crate::metrics::ledger::End::Reload);
    let slot = |(number, row): (usize, &Row)| Slot { number, row: row.snapshot(), resident: Some(1 << 20) };
    Report {
        now: Moment(5_000),
        master: 99,
        resident: Some(2 << 20),
        account: ledger.read(),
        slots: rows.iter().enumerate().map(slot).collect(),
        queues: vec![Queue { address: "http://127.0.0.1:80".into(), waiting: 1, limit: 10 }],
        refusals: vec!["blank_lines", "request_line"],
    }
}

#[test]
fn figures_are_summed_over_workers() {
    let report = sample();
    assert_eq!((report.count(State::Serving), report.count(State::Draining)), (1, 1));
    assert_eq!(report.workers().count(), 2);
    assert_eq!(report.totals().requests(), 3);
    // Two threads run requests in the first, one in the second; one is busy.
    assert_eq!(report.threads(), (1, 2));
    assert_eq!(report.connections(), ([3, 0, 0, 0, 1, 0], 1));
    assert_eq!(report.in_flight(), 2);
    assert_eq!(report.late(), [0, 1, 0, 0]);
    assert_eq!(report.crowded(), [0, 1]);
    assert_eq!(report.refused().collect::<Vec<_>>(), [("blank_lines", 0), ("request_line", 1)]);
}

#[test]
fn readiness_needs_a_worker_room_and_a_future() {
    let report = sample();
    assert_eq!(report.readiness(), Ok(()));
    let mut full = report.clone();
    full.queues[0].waiting = 9;
    assert_eq!(
        full.readiness().unwrap_err().to_string(),
        "9 connections of at most 10 wait to be accepted at http://127.0.0.1:80"
    );
    let mut nobody = report.clone();
    nobody.slots.remove(0);
    assert_eq!(nobody.readiness(), Err(Unready::NoWorker));
    let mut stopping = report;
    stopping.account.course = Course::Stopping;
    assert_eq!(stopping.readiness(), Err(Unready::Stopping));
}
