//! What is done about requests that get no further, and about workers that are old or large?

use super::tests::{Bench, SECOND, policy, signal, spawn};
use super::*;

/// Worker in slot 0 running one request since `progress`.
fn load(progress: Moment, sequence: u64, threads: usize) -> Vec<Load> {
    let running = vec![RunningRequest { thread: 0, sequence, progress, exempt: false }];
    vec![Load { slot: 0, threads, resident: 0, connections: 1, draining: true, running }]
}

fn raised(pid: i32, sequence: u64, age: u64) -> Action {
    Action::RaiseDeadline { slot: 0, pid, thread: 0, sequence, age: Duration::from_secs(age) }
}

#[test]
fn a_worker_dies_during_a_reload_while_another_is_over_its_deadline() {
    let mut bench = Bench::serving(policy(2));
    let start = bench.now;
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Loaded(policy(2)));
    let actions = bench.look(31 * SECOND, load(start, 1, 1));
    assert_eq!(actions, [raised(100, 1, 31)]);
    assert_eq!(bench.died(101, Ended::Signal(9)), [spawn(1, 1)]);
    assert_eq!(bench.act(Event::Booted { slot: 2 }), [Action::Adopt, signal(103, Signal::Term)]);
    let actions = bench.look(2 * SECOND, load(start, 1, 1));
    assert_eq!(actions[..2], [signal(100, Signal::Kill), spawn(3, 2)]);
}

#[test]
fn age_and_memory_are_reasons_to_be_replaced() {
    let aging = Policy { max_worker_age: 100 * SECOND, max_worker_age_jitter: 10 * SECOND, ..policy(1) };
    let mut bench = Bench::serving(aging);
    assert_eq!(bench.pass(99 * SECOND), []);
    assert_eq!(bench.pass(11 * SECOND), [spawn(1, 1)]);
    let mut bench = Bench::serving(Policy { max_worker_memory: 1_000, ..policy(1) });
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + SECOND));
    let resident = |resident| {
        vec![Load { slot: 0, threads: 1, resident, connections: 0, draining: false, running: vec![] }]
    };
    assert_eq!(bench.look(SECOND, resident(1_000)), []);
    assert_eq!(bench.look(SECOND, resident(1_001)), [spawn(1, 1)]);
}

#[test]
fn a_stuck_request_is_raised_once_then_its_worker_killed() {
    let mut bench = Bench::serving(policy(2));
    let start = bench.now;
    assert_eq!(bench.look(29 * SECOND, load(start, 7, 1)), []);
    assert_eq!(bench.plan.wake_at(bench.now), Some(start + 30 * SECOND));
    assert_eq!(bench.look(SECOND, load(start, 7, 1)), [raised(100, 7, 30)]);
    assert_eq!(bench.look(SECOND, load(start, 7, 1)), []);
    assert!(!bench.plan.wants_look(bench.now));
    bench.now = bench.now + SECOND;
    assert!(bench.plan.wants_look(bench.now));
    assert_eq!(bench.look(Duration::ZERO, load(start, 7, 1)), [signal(100, Signal::Kill), spawn(2, 1)]);
    let gone = bench.feed(Event::Exited { pid: 100, ended: Ended::Signal(9) });
    let note = Note::Gone { pid: 100, ended: Ended::Signal(9), killed: Some(Reason::Stuck) };
    assert!(!note.to_string().contains("memory"));
    assert_eq!(gone, [Action::Log(note)]);
}

#[test]
fn progress_and_the_end_of_a_request_acquit_it() {
    let mut bench = Bench::serving(policy(1));
    let start = bench.now;
    assert_eq!(bench.look(31 * SECOND, load(start, 7, 1)).len(), 1);
    let later = bench.now;
    assert_eq!(bench.look(10 * SECOND, load(later, 7, 1)), []);
    assert_eq!(bench.look(10 * SECOND, load(later, 8, 1)), []);
    assert_eq!(bench.count(|worker| worker.overdue.is_empty() && worker.is_serving()), 1);
    let exempt = RunningRequest { thread: 0, sequence: 9, progress: start, exempt: true };
    let loads = vec![Load {
        slot: 0,
        threads: 1,
        resident: 0,
        connections: 1,
        draining: false,
        running: vec![exempt],
    }];
    assert_eq!(bench.look(500 * SECOND, loads), []);
}

#[test]
fn a_worker_with_free_threads_is_replaced_before_it_is_killed() {
    let mut bench = Bench::serving(policy(1));
    let start = bench.now;
    let mut loads = load(start, 7, 4);
    assert_eq!(bench.look(30 * SECOND, loads.clone()), [raised(100, 7, 30)]);
    let other = RunningRequest { thread: 1, sequence: 9, progress: bench.now, exempt: false };
    loads[0].running.push(other);
    assert_eq!(bench.look(2 * SECOND, loads.clone()), [spawn(1, 1)]);
    assert_eq!(bench.act(Event::Booted { slot: 1 }), [signal(100, Signal::Term)]);
    assert_eq!(bench.look(SECOND, loads.clone()), []);
    loads[0].running.pop();
    assert_eq!(bench.look(SECOND, loads), [signal(100, Signal::Kill)]);
}

#[test]
fn what_else_a_given_up_worker_has_open_gets_its_grace() {
    let mut bench = Bench::serving(policy(1));
    let mut loads = load(bench.now, 7, 4);
    // Alone for now, but its door is open still: somebody may be coming in.
    loads[0].draining = false;
    bench.look(30 * SECOND, loads.clone());
    assert_eq!(bench.look(2 * SECOND, loads.clone()), [spawn(1, 1)]);
    assert_eq!(bench.act(Event::Booted { slot: 1 }), [signal(100, Signal::Term)]);
    assert_eq!(bench.look(SECOND / 2, loads.clone()), []);
    (loads[0].draining, loads[0].connections) = (true, 3);
    assert_eq!(bench.look(SECOND / 2, loads.clone()), []);
    assert_eq!(bench.look(SECOND, loads), [signal(100, Signal::Kill)]);
}

#[test]
fn an_idle_master_sleeps() {
    let bench = Bench::serving(policy(2));
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + 30 * SECOND));
    let bench = Bench::serving(Policy { timeout: Duration::ZERO, ..policy(2) });
    assert_eq!(bench.plan.wake_at(bench.now), None);
}
