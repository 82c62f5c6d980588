//! Rows read by one side while the other writes, and figures no worker should write.

use super::*;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn finished(status: u16, received: u64, sent: u64) -> Finished<'static> {
    Finished { method: b"GET", status, received, sent, took: Duration::from_millis(30), queued: None }
}

#[test]
fn a_request_is_seen_while_it_runs() {
    let row = Row::new(2).unwrap();
    row.occupy(3, 2, Moment(10));
    row.enter(4711);
    row.set_state(State::Serving, Moment(20));
    row.introduce(1, 99);
    row.begin(1, 1_000, b"GET /slow?q=1 HTTP/1.1");
    row.progress(1, 1_500);
    let seen = row.snapshot();
    assert_eq!((seen.pid, seen.generation, seen.state), (4711, 3, State::Serving));
    assert_eq!((seen.spawned, seen.booted), (Moment(10), Moment(20)));
    let running = &seen.running[0];
    assert_eq!(running.line, b"GET /slow?q=1 HTTP/1.1");
    assert_eq!((running.thread, running.sequence, running.ident), (1, 1, 99));
    assert_eq!((running.started, running.progress), (Moment(1_000), Moment(1_500)));
    assert_eq!(running.thread_id, thread_id());
    row.end(1);
    row.count(1, &finished(200, 5, 700));
    let seen = row.snapshot();
    assert!(seen.running.is_empty());
    assert_eq!((seen.totals.requests(), seen.totals.exchanges[2][0]), (1, 1));
    assert_eq!((seen.totals.received, seen.totals.sent, seen.totals.latency.sum_us), (5, 700, 30_000));
}

#[test]
fn a_raised_deadline_belongs_to_one_request() {
    let row = Row::new(1).unwrap();
    row.occupy(1, 1, Moment(1));
    row.begin(0, 5, b"GET /a HTTP/1.1");
    row.raise_deadline(0, 1);
    assert!(row.running(0).unwrap().raised);
    row.end(0);
    row.begin(0, 6, b"GET /b HTTP/1.1");
    assert!(!row.running(0).unwrap().raised);
    assert!(!row.running(0).unwrap().exempt);
    row.exempt(0);
    assert!(row.running(0).unwrap().exempt);
}

#[test]
fn odd_figures_do_no_harm() {
    let row = Row::new(0).unwrap();
    assert_eq!(row.threads(), 1);
    assert_eq!(Row::new(1_000).unwrap().threads(), MAX_THREADS);
    row.begin(500, 0, &[b'x'; 4_000]);
    let running = row.running(0).unwrap();
    assert_eq!(running.line, [b'x'; LINE_BYTES]);
    for status in [0, 99, 600, u16::MAX] {
        row.count(0, &finished(status, u64::MAX, 0));
    }
    row.begin(0, 1, b"");
    assert_eq!(row.running(0).unwrap().line, b"");
}

#[test]
fn a_line_is_read_whole_or_not_at_all() {
    let row = Row::new(1).unwrap();
    let writer = row.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..50_000u64 {
                let text = [b'a' + (round % 26) as u8; 120];
                writer.begin(0, 1, &text[..(round % 120) as usize + 1]);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let Some(running) = row.running(0) else { continue };
            assert!(running.line.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", running.line);
        }
    });
}

#[test]
fn a_request_costs_little() {
    let row = Row::new(1).unwrap();
    let line = b"GET /some/usual/path?with=query HTTP/1.1";
    let rounds = 200_000;
    let start = std::time::Instant::now();
    for round in 0..rounds {
        row.begin(0, round, line);
        row.progress(0, round);
        row.end(0);
        row.count(0, &finished(200, 0, 12));
    }
    let each = start.elapsed().as_nanos() / u128::from(rounds);
    // Generous: unoptimised builds and busy machines run this too.
    assert!(each < 2_000, "{each} ns");
    assert_eq!(row.totals().requests(), rounds);
}

#[test]
fn counters_outlive_workers_and_rows() {
    let row = Row::new(2).unwrap();
    row.occupy(1, 2, Moment(1));
    row.enter(77);
    row.count(1, &finished(200, 1, 2));
    row.count_refused(3);
    row.count_refused(10_000);
    row.count_late(Late::Write);
    row.count_accepted();
    row.set_connections(4);
    row.set_waiting(Waits::Linger, 2);
    row.vacate();
    let grown = row.grown(5).unwrap();
    grown.occupy(2, 5, Moment(9));
    for (row, state, threads) in [(&row, State::Vacant, 0), (&grown, State::Booting, 5)] {
        let seen = row.snapshot();
        assert_eq!((seen.state, seen.pid, seen.threads, seen.connections), (state, 0, threads, 0));
        assert_eq!(seen.waiting, [0; 6]);
        assert_eq!((seen.totals.requests(), seen.accepted), (1, 1));
        assert_eq!((seen.refused[3], seen.refused[REFUSALS - 1], seen.late), (1, 1, [0, 0, 0, 1]));
    }
    assert_eq!(grown.threads(), 5);
}
