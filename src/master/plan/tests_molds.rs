//! Each transition of a mold by itself: what is asked for, and in which order.

use super::tests::{Bench, SECOND, policy, signal, spawn};
use super::*;

const FORK: Action = Action::ForkMold { generation: 1 };
const END: Action = Action::EndMold { pid: 10 };

fn preloaded(workers: usize) -> Policy {
    Policy { preload: true, ..policy(workers) }
}

/// The first mold is process 10; its workers 100 and on serve.
fn serving(workers: usize) -> Bench {
    let mut bench = Bench::started(preloaded(workers));
    bench.feed(Event::MoldForked { generation: 1, pid: 10 });
    bench.feed(Event::MoldReady { generation: 1 });
    (0..workers).for_each(|slot| drop(bench.feed(Event::Booted { slot })));
    bench
}

#[test]
fn workers_are_forked_once_the_mold_is_ready() {
    let mut bench = Bench::new(preloaded(2));
    assert_eq!(bench.act(Event::Started), [FORK]);
    assert_eq!(bench.act(Event::MoldForked { generation: 1, pid: 10 }), []);
    assert_eq!(bench.act(Event::MoldReady { generation: 1 }), [spawn(0, 1), spawn(1, 1)]);
    assert_eq!(bench.act(Event::Booted { slot: 0 }), [Action::Notify(Report::Ready)]);
    assert_eq!(bench.died(100, Ended::Signal(9)), [spawn(0, 1)]);
    assert_eq!(bench.act(Event::Signal(Signal::Ttin)), [spawn(2, 1)]);
}

#[test]
fn a_first_mold_that_fails_ends_the_server_with_its_code() {
    for (ended, code) in [(Ended::Code(4), 4), (Ended::Code(3), 3), (Ended::Signal(9), 3)] {
        let mut bench = Bench::started(preloaded(2));
        bench.feed(Event::MoldForked { generation: 1, pid: 10 });
        assert!(bench.died(10, ended).contains(&Action::Exit(code)), "{ended:?}");
    }
    let mut bench = Bench::started(preloaded(2));
    bench.feed(Event::MoldForked { generation: 1, pid: 10 });
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + 60 * SECOND));
    let late = bench.pass(60 * SECOND);
    assert!(late.contains(&signal(10, Signal::Kill)) && late.contains(&Action::CloseListeners));
    assert_eq!(bench.died(10, Ended::Signal(9)), [Action::Exit(3)]);
}

#[test]
fn a_mold_that_dies_is_replaced_and_its_workers_stay() {
    let mut bench = serving(2);
    assert_eq!(bench.died(10, Ended::Signal(9)), [FORK]);
    bench.feed(Event::MoldForked { generation: 1, pid: 11 });
    assert_eq!(bench.count(|worker| worker.is_serving()), 2);
    assert_eq!(bench.died(100, Ended::Signal(9)), []);
    assert_eq!(bench.act(Event::MoldReady { generation: 1 }), [spawn(0, 1)]);
}

#[test]
fn molds_that_keep_dying_back_off() {
    let mut bench = serving(1);
    assert_eq!(bench.died(10, Ended::Signal(9)), [FORK]);
    bench.feed(Event::MoldForked { generation: 1, pid: 11 });
    assert_eq!(bench.died(11, Ended::Code(4)), []);
    assert_eq!(bench.pass(SECOND / 2), [FORK]);
    assert_eq!(bench.act(Event::MoldFailed { generation: 1 }), []);
    assert_eq!(bench.pass(SECOND), [FORK]);
}

#[test]
fn what_a_dead_mold_was_asked_for_is_asked_of_the_next() {
    let mut bench = serving(1);
    bench.plan.step(bench.now, Event::Signal(Signal::Ttin));
    assert_eq!(bench.count(|worker| worker.pid.is_none()), 1);
    assert_eq!(bench.died(10, Ended::Signal(9)), [FORK]);
    assert_eq!(bench.count(|_| true), 1);
    bench.feed(Event::MoldForked { generation: 1, pid: 11 });
    assert_eq!(bench.act(Event::MoldReady { generation: 1 }), [spawn(1, 1)]);
}

#[test]
fn a_mold_that_does_not_answer_is_killed() {
    let mut bench = serving(1);
    bench.plan.step(bench.now, Event::Signal(Signal::Ttin));
    assert_eq!(bench.pass(60 * SECOND), [signal(10, Signal::Kill)]);
    assert_eq!(bench.died(10, Ended::Signal(9)), [FORK]);
    assert_eq!(bench.count(|_| true), 1);
}

#[test]
fn orders_that_reach_a_worker_before_its_id_is_known_are_repeated() {
    let mut bench = serving(1);
    bench.plan.step(bench.now, Event::Signal(Signal::Ttin));
    assert_eq!(bench.act(Event::Signal(Signal::Ttou)), []);
    assert_eq!(bench.act(Event::Spawned { slot: 1, pid: 200 }), [signal(200, Signal::Term)]);
    assert_eq!(bench.act(Event::Spawned { slot: 7, pid: 300 }), [signal(300, Signal::Kill)]);
}

#[test]
fn a_reload_boots_a_new_mold_and_the_old_one_ends_with_its_generation() {
    let mut bench = serving(1);
    bench.feed(Event::Signal(Signal::Hup));
    assert_eq!(bench.act(Event::Loaded(preloaded(1))), [Action::ForkMold { generation: 2 }]);
    bench.feed(Event::MoldForked { generation: 2, pid: 20 });
    assert_eq!(bench.act(Event::MoldReady { generation: 2 }), [spawn(1, 2)]);
    assert_eq!(bench.act(Event::Booted { slot: 1 })[..2], [Action::Adopt, signal(100, Signal::Term)]);
    assert_eq!(bench.died(100, Ended::Code(0)), [END]);
    assert_eq!(bench.pass(30 * SECOND), [signal(10, Signal::Kill)]);
    assert_eq!(bench.died(10, Ended::Signal(9)), []);
}

#[test]
fn a_broken_deploy_leaves_mold_and_workers() {
    let mut dies = serving(1);
    dies.feed(Event::Signal(Signal::Hup));
    dies.feed(Event::Loaded(preloaded(3)));
    dies.feed(Event::MoldForked { generation: 2, pid: 20 });
    let end = [Action::Discard, Action::Notify(Report::Ready)];
    assert_eq!(dies.died(20, Ended::Code(4)), end);
    let mut hangs = serving(1);
    hangs.feed(Event::Signal(Signal::Hup));
    hangs.feed(Event::Loaded(preloaded(3)));
    hangs.feed(Event::MoldForked { generation: 2, pid: 20 });
    assert_eq!(hangs.pass(60 * SECOND)[..2], [signal(20, Signal::Kill), Action::Discard]);
    assert_eq!(hangs.died(20, Ended::Signal(9)), []);
    let mut unborn = serving(1);
    unborn.feed(Event::Signal(Signal::Hup));
    unborn.feed(Event::Loaded(preloaded(3)));
    assert_eq!(unborn.act(Event::MoldFailed { generation: 2 }), end);
    // The worker fails, not the mold: that one is sent away.
    let mut worker = serving(1);
    worker.feed(Event::Signal(Signal::Hup));
    worker.feed(Event::Loaded(preloaded(3)));
    worker.feed(Event::MoldForked { generation: 2, pid: 20 });
    worker.feed(Event::MoldReady { generation: 2 });
    let ended = [Action::Discard, Action::Notify(Report::Ready), Action::EndMold { pid: 20 }];
    assert_eq!(worker.died(101, Ended::Code(3)), ended);
    for bench in [dies, hangs, unborn, worker] {
        assert!(bench.plan.is_supplied(1) && bench.plan.slots.iter().all(|worker| worker.is_serving()));
    }
}

#[test]
fn preloading_is_turned_on_and_off_by_a_reload() {
    let mut bench = serving(1);
    bench.feed(Event::Signal(Signal::Hup));
    assert_eq!(bench.act(Event::Loaded(policy(1))), [spawn(1, 2)]);
    bench.feed(Event::Booted { slot: 1 });
    assert_eq!(bench.died(100, Ended::Code(0)), [END]);
    bench.died(10, Ended::Code(0));
    bench.feed(Event::Signal(Signal::Hup));
    assert_eq!(bench.act(Event::Loaded(preloaded(1))), [Action::ForkMold { generation: 3 }]);
}

#[test]
fn the_mold_ends_after_its_workers() {
    let mut bench = serving(1);
    let stop = bench.act(Event::Signal(Signal::Term));
    assert!(stop.contains(&signal(100, Signal::Term)) && !stop.contains(&END));
    assert_eq!(bench.died(100, Ended::Code(0)), [END]);
    assert_eq!(bench.died(10, Ended::Code(0)), [Action::Exit(0)]);
    let mut booting = Bench::started(preloaded(1));
    booting.feed(Event::MoldForked { generation: 1, pid: 10 });
    assert!(booting.act(Event::Signal(Signal::Term)).contains(&END));
    assert_eq!(booting.died(10, Ended::Signal(15)), [Action::Exit(0)]);
    // One that owes a worker: only its end says that none will come.
    let mut owing = serving(1);
    owing.plan.step(owing.now, Event::Signal(Signal::Ttin));
    owing.feed(Event::Signal(Signal::Term));
    owing.died(100, Ended::Code(0));
    assert_eq!(owing.pass(30 * SECOND), [signal(10, Signal::Kill)]);
    assert_eq!(owing.died(10, Ended::Signal(9)), [Action::Exit(0)]);
}

#[test]
fn molds_reopen_their_logs() {
    let mut bench = Bench::started(preloaded(0));
    bench.feed(Event::Signal(Signal::Ttin));
    bench.feed(Event::MoldForked { generation: 1, pid: 10 });
    assert_eq!(bench.act(Event::Signal(Signal::Usr1)), [Action::Reopen]);
    assert_eq!(bench.act(Event::MoldReady { generation: 1 }), [signal(10, Signal::Usr1), spawn(0, 1)]);
    let reopened = bench.act(Event::Signal(Signal::Usr1));
    assert_eq!(reopened, [Action::Reopen, signal(10, Signal::Usr1)]);
}
