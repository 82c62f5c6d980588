//! When does the status process live?

use super::tests::{Bench, SECOND, policy, signal, spawn};
use super::*;

/// A plan whose status process is process 500.
fn with_aide() -> Bench {
    let mut bench = Bench::serving(Policy { status: true, ..policy(1) });
    assert_eq!(bench.act(Event::StatusForked { pid: Some(500) }), []);
    bench
}

#[test]
fn the_status_process_follows_the_workers_and_is_replaced_when_it_dies() {
    let mut plan = Plan::new(Policy { status: true, ..policy(1) }, 1);
    let actions = plan.step(Moment(1_000), Event::Started);
    let [workers, aide] = [spawn(0, 1), Action::SpawnStatus]
        .map(|wanted| actions.iter().position(|action| *action == wanted).unwrap());
    assert!(workers < aide);

    let mut bench = with_aide();
    bench.pass(10 * SECOND);
    assert_eq!(bench.died(500, Ended::Signal(9)), [Action::SpawnStatus]);
    assert_eq!(bench.act(Event::StatusForked { pid: None }), []);
    // One that could not be forked, and one that dies at once, are not tried in a circle.
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + SECOND));
    assert_eq!(bench.pass(SECOND), [Action::SpawnStatus]);
    bench.act(Event::StatusForked { pid: Some(501) });
    assert_eq!(bench.died(501, Ended::Code(3)), []);
    assert_eq!(bench.pass(SECOND), [Action::SpawnStatus]);
}

#[test]
fn the_status_process_stays_to_the_end_of_a_stop() {
    let mut bench = with_aide();
    let actions = bench.act(Event::Signal(Signal::Term));
    assert!(!actions.contains(&signal(500, Signal::Term)), "{actions:?}");
    bench.pass(3 * SECOND);
    assert_eq!(bench.died(500, Ended::Signal(9)), [Action::SpawnStatus]);
    bench.act(Event::StatusForked { pid: Some(501) });
    assert_eq!(bench.died(100, Ended::Code(0)), [signal(501, Signal::Term), Action::Exit(0)]);
}

#[test]
fn the_status_process_lives_by_the_generation_in_force() {
    let mut bench = with_aide();
    bench.act(Event::Signal(Signal::Hup));
    bench.act(Event::Loaded(Policy { status: true, ..policy(1) }));
    let actions = bench.act(Event::Booted { slot: 1 });
    assert_eq!(actions[..2], [Action::Adopt, signal(500, Signal::Term)]);
    assert_eq!(bench.died(500, Ended::Code(0)), [Action::SpawnStatus]);
    bench.act(Event::StatusForked { pid: Some(501) });
    bench.died(100, Ended::Code(0));

    bench.act(Event::Signal(Signal::Hup));
    bench.act(Event::Loaded(policy(1)));
    assert!(bench.act(Event::Booted { slot: 0 }).contains(&signal(501, Signal::Term)));
    assert_eq!(bench.died(501, Ended::Code(0)), []);
}

#[test]
fn a_followed_master_leaves_the_answering_to_its_successor() {
    let mut bench = with_aide();
    bench.act(Event::Signal(Signal::Usr2));
    bench.act(Event::Reexeced { pid: 901 });
    let actions = bench.act(Event::Signal(Signal::Term));
    assert!(actions.contains(&signal(500, Signal::Term)), "{actions:?}");
    assert_eq!(bench.died(500, Ended::Code(0)), []);
}
