//! What counting costs per request: `cargo bench --no-default-features --bench scoreboard`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rwsgi_core::metrics::scoreboard::{Finished, Row, Waits};

const LINE: &[u8] = b"GET /accounts/profile/?page=2&sort=name";

fn finished(queued: Option<Duration>) -> Finished<'static> {
    let took = Duration::from_micros(780);
    Finished { method: b"GET", status: 200, received: 0, sent: 1_234, took, queued }
}

fn benches(criterion: &mut Criterion) {
    // Without memory for one page there is nothing to measure.
    let Ok(row) = Row::new(2) else { return };
    row.occupy(1, 2, rwsgi_core::system::clock::Moment(1));
    let mut group = criterion.benchmark_group("scoreboard");
    group.bench_function("count a request", |bench| {
        bench.iter(|| row.count(0, black_box(&finished(None))));
    });
    group.bench_function("count a request that waited in a queue", |bench| {
        bench.iter(|| row.count(0, black_box(&finished(Some(Duration::from_millis(3))))));
    });
    group.bench_function("show what runs", |bench| {
        bench.iter(|| {
            row.begin(0, black_box(1_000), black_box(LINE));
            row.end(0);
        });
    });
    group.bench_function("everything a request writes", |bench| {
        bench.iter(|| {
            row.set_waiting(Waits::Idle, black_box(31));
            row.begin(0, black_box(1_000), black_box(LINE));
            row.end(0);
            row.count(0, black_box(&finished(Some(Duration::from_millis(3)))));
            row.set_waiting(Waits::Idle, black_box(32));
        });
    });
    group.finish();
}

criterion_group!(scoreboard, benches);
criterion_main!(scoreboard);
