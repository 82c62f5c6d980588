//! Each transition by itself: what is asked for, and in which order.

use super::*;
use crate::master::slots::Worker;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn policy(workers: usize) -> Policy {
    Policy {
        workers,
        surge: 1,
        timeout: 30 * SECOND,
        timeout_grace: 2 * SECOND,
        boot_timeout: 60 * SECOND,
        graceful_timeout: 30 * SECOND,
        max_worker_age: Duration::ZERO,
        max_worker_age_jitter: Duration::ZERO,
        max_worker_memory: 0,
        preload: false,
        status: false,
    }
}

/// A plan and a kernel that forks when asked: slot n's first worker is process 100, then 101...
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) now: Moment,
    forked: i32,
}

impl Bench {
    /// All workers of `policy` serve.
    pub(super) fn serving(policy: Policy) -> Bench {
        let mut bench = Bench::started(policy);
        for slot in 0..policy.workers {
            bench.feed(Event::Booted { slot });
        }
        bench
    }

    pub(super) fn new(policy: Policy) -> Bench {
        Bench { plan: Plan::new(policy, 1), now: Moment(1_000_000), forked: 99 }
    }

    pub(super) fn started(policy: Policy) -> Bench {
        let mut bench = Bench::new(policy);
        bench.feed(Event::Started);
        bench
    }

    /// Feeds an event and forks what is asked for; everything asked for, in order.
    pub(super) fn feed(&mut self, event: Event) -> Vec<Action> {
        let mut all = self.plan.step(self.now, event);
        let spawns: Vec<usize> = slots_spawned(&all);
        for slot in spawns {
            self.forked += 1;
            all.extend(self.plan.step(self.now, Event::Spawned { slot, pid: self.forked }));
        }
        all.retain(|action| !matches!(action, Action::Notify(Report::Status(_)) | Action::Vacate { .. }));
        all
    }

    /// The same without the log lines.
    pub(super) fn act(&mut self, event: Event) -> Vec<Action> {
        let mut all = self.feed(event);
        all.retain(|action| !matches!(action, Action::Log(_)));
        all
    }

    pub(super) fn pass(&mut self, span: Duration) -> Vec<Action> {
        self.now = self.now + span;
        self.act(Event::Tick)
    }

    pub(super) fn look(&mut self, after: Duration, loads: Vec<Load>) -> Vec<Action> {
        self.now = self.now + after;
        self.act(Event::Observed(loads))
    }

    pub(super) fn died(&mut self, pid: i32, ended: Ended) -> Vec<Action> {
        self.act(Event::Exited { pid, ended })
    }

    fn pid_in(&self, slot: usize) -> i32 {
        self.plan.slots.get(slot).and_then(|worker| worker.pid).unwrap()
    }

    pub(super) fn count(&self, is_so: impl Fn(&Worker) -> bool) -> usize {
        self.plan.slots.count(is_so)
    }
}

fn slots_spawned(actions: &[Action]) -> Vec<usize> {
    let slots = actions.iter().filter_map(|action| match action {
        Action::Spawn { slot, .. } => Some(*slot),
        _ => None,
    });
    slots.collect()
}

pub(super) fn spawn(slot: usize, generation: u32) -> Action {
    Action::Spawn { slot, generation }
}

pub(super) fn signal(pid: i32, signal: Signal) -> Action {
    Action::Signal { pid, signal }
}

#[test]
fn ready_is_said_when_the_first_worker_serves() {
    let mut bench = Bench::started(policy(2));
    assert_eq!(bench.act(Event::Booted { slot: 1 }), [Action::Notify(Report::Ready)]);
    assert_eq!(bench.act(Event::Booted { slot: 0 }), []);
    let mut none = Bench { plan: Plan::new(policy(0), 1), now: Moment(5), forked: 99 };
    assert_eq!(none.act(Event::Started), [Action::Notify(Report::Ready)]);
}

#[test]
fn a_first_start_that_fails_ends_with_its_code() {
    let cases = [(Ended::Code(4), 4), (Ended::Code(3), 3), (Ended::Code(0), 3), (Ended::Signal(11), 3)];
    for (ended, code) in cases {
        let mut bench = Bench::started(policy(2));
        let actions = bench.died(100, ended);
        assert!(actions.contains(&Action::CloseListeners) && actions.contains(&signal(101, Signal::Quit)));
        assert_eq!(bench.died(101, Ended::Signal(3)), [Action::Exit(code)], "{ended:?}");
    }
}

#[test]
fn a_later_boot_that_fails_does_not() {
    let mut bench = Bench::started(policy(2));
    bench.feed(Event::Booted { slot: 1 });
    assert_eq!(bench.died(100, Ended::Code(4)), [spawn(0, 1)]);
    assert_eq!(bench.died(102, Ended::Code(4)), []);
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + SECOND / 2));
    assert_eq!(bench.pass(SECOND / 2), [spawn(0, 1)]);
}

#[test]
fn a_crash_loop_backs_off_and_is_forgiven() {
    let mut bench = Bench::serving(policy(1));
    let mut waits = Vec::new();
    for pid in 100..107 {
        if bench.died(pid, Ended::Signal(11)).is_empty() {
            let due = bench.plan.wake_at(bench.now).unwrap();
            waits.push((due - bench.now).as_millis());
            assert_eq!(bench.pass(due - bench.now), [spawn(0, 1)]);
        }
        bench.feed(Event::Booted { slot: 0 });
    }
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
    bench.pass(6 * SECOND);
    let old = bench.pid_in(0);
    assert_eq!(bench.died(old, Ended::Signal(9)), [spawn(0, 1)]);
}

#[test]
fn one_dying_worker_does_not_slow_down_another_ones_replacement() {
    let mut bench = Bench::serving(policy(2));
    bench.died(100, Ended::Signal(11));
    bench.feed(Event::Booted { slot: 0 });
    assert_eq!(bench.died(102, Ended::Signal(11)), []);
    assert_eq!(bench.died(101, Ended::Signal(9)).len(), 1);
}

#[test]
fn a_graceful_stop_ends_in_a_kill() {
    let mut bench = Bench::serving(policy(2));
    let actions = bench.act(Event::Signal(Signal::Term));
    let expected = [
        Action::Notify(Report::Stopping),
        Action::AcceptAtOnce,
        Action::CloseListeners,
        signal(100, Signal::Term),
        signal(101, Signal::Term),
    ];
    assert_eq!(actions, expected);
    assert_eq!(bench.act(Event::Signal(Signal::Term)), []);
    assert_eq!(bench.died(100, Ended::Code(0)), []);
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + 30 * SECOND));
    assert_eq!(bench.pass(30 * SECOND), [signal(101, Signal::Kill)]);
    assert_eq!(bench.died(101, Ended::Signal(9)), [Action::Exit(0)]);
}

#[test]
fn a_process_the_kernel_cannot_kill_does_not_keep_the_master() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Quit));
    assert_eq!(bench.pass(2 * SECOND), [signal(100, Signal::Kill)]);
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + 5 * SECOND));
    assert_eq!(bench.pass(5 * SECOND), [Action::Exit(0)]);
}

#[test]
fn later_signals_shorten_a_stop() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Term));
    bench.pass(SECOND);
    assert_eq!(bench.act(Event::Signal(Signal::Int)), [signal(100, Signal::Quit)]);
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + 2 * SECOND));
    let actions = bench.act(Event::Signal(Signal::Int));
    assert_eq!(actions, [signal(100, Signal::Quit), signal(100, Signal::Kill)]);
}

#[test]
fn nothing_but_ending_happens_during_a_stop() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Signal(Signal::Term));
    for other in [Signal::Hup, Signal::Ttin, Signal::Ttou, Signal::Winch, Signal::Usr2] {
        assert_eq!(bench.act(Event::Signal(other)), [], "{other}");
    }
    assert_eq!(bench.act(Event::Loaded(policy(3))), [Action::Discard]);
    let reopened = bench.act(Event::Signal(Signal::Usr1));
    assert_eq!(reopened, [Action::Reopen, signal(100, Signal::Usr1)]);
}

#[test]
fn a_reload_replaces_one_by_one_and_each_only_after_its_successor_serves() {
    let mut bench = Bench::serving(policy(2));
    let actions = bench.act(Event::Signal(Signal::Hup));
    assert_eq!(actions, [Action::Notify(Report::Reloading), Action::Load { generation: 2 }]);
    assert_eq!(bench.act(Event::Loaded(policy(2))), [spawn(2, 2)]);
    assert_eq!(bench.act(Event::Booted { slot: 2 }), [Action::Adopt, signal(100, Signal::Term)]);
    // One too many may be alive: the next one waits until the first old one is gone.
    assert_eq!(bench.died(100, Ended::Code(0)), [spawn(0, 2)]);
    assert_eq!(
        bench.act(Event::Booted { slot: 0 }),
        [signal(101, Signal::Term), Action::Notify(Report::Ready)]
    );
    assert_eq!(bench.died(101, Ended::Code(0)), []);
    assert_eq!(bench.count(|worker| worker.generation == 2 && worker.is_serving()), 2);
}

#[test]
fn an_old_worker_that_does_not_go_is_killed() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Loaded(policy(1)));
    bench.feed(Event::Booted { slot: 1 });
    assert_eq!(bench.pass(30 * SECOND), [signal(100, Signal::Kill)]);
}

#[test]
fn whatever_fails_in_a_reload_leaves_the_old_generation() {
    let mut rejected = Bench::serving(policy(2));
    rejected.feed(Event::Signal(Signal::Hup));
    assert_eq!(rejected.act(Event::Rejected), [Action::Notify(Report::Ready)]);
    let mut broken = Bench::serving(policy(2));
    broken.feed(Event::Signal(Signal::Hup));
    broken.feed(Event::Loaded(policy(7)));
    let end = [Action::Discard, Action::Notify(Report::Ready)];
    assert_eq!(broken.died(102, Ended::Code(4)), end);
    let mut hanging = Bench::serving(policy(2));
    hanging.feed(Event::Signal(Signal::Hup));
    hanging.feed(Event::Loaded(policy(7)));
    assert_eq!(hanging.pass(60 * SECOND)[..2], [signal(102, Signal::Kill), Action::Discard]);
    hanging.died(102, Ended::Signal(9));
    for bench in [rejected, broken, hanging] {
        assert_eq!(bench.count(|worker| worker.is_serving() && worker.generation == 1), 2);
        assert_eq!((bench.plan.slots.iter().count(), bench.plan.target), (2, 2));
    }
}

#[test]
fn reloads_asked_for_during_a_reload_are_one() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Loaded(policy(1)));
    for _ in 0..5 {
        assert_eq!(bench.act(Event::Signal(Signal::Hup)), []);
    }
    let actions = bench.act(Event::Booted { slot: 1 });
    assert!(actions.contains(&Action::Load { generation: 3 }), "{actions:?}");
    bench.feed(Event::Rejected);
    assert_eq!(bench.plan.reloading, Reloading::Idle);
    assert_eq!(bench.plan.stable, 2);
}

#[test]
fn a_repaired_deploy_follows_a_broken_one() {
    let mut bench = Bench::serving(policy(1));
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Loaded(policy(1)));
    bench.feed(Event::Signal(Signal::Hup));
    let actions = bench.died(101, Ended::Code(4));
    assert!(actions.contains(&Action::Load { generation: 3 }), "{actions:?}");
    assert_eq!(bench.act(Event::Loaded(policy(1))), [spawn(1, 3)]);
    assert!(bench.act(Event::Booted { slot: 1 }).contains(&Action::Adopt));
}

#[test]
fn the_number_of_workers_follows_the_signals() {
    let mut bench = Bench::serving(policy(1));
    assert_eq!(bench.act(Event::Signal(Signal::Ttin)), [spawn(1, 1)]);
    // Who does not serve yet goes before who does.
    assert_eq!(bench.act(Event::Signal(Signal::Ttou)), [signal(101, Signal::Term)]);
    assert_eq!(bench.act(Event::Signal(Signal::Ttou)), []);
    assert_eq!(bench.plan.target, 1);
    assert_eq!(bench.act(Event::Signal(Signal::Winch)), [signal(100, Signal::Term)]);
    assert_eq!(bench.act(Event::Signal(Signal::Ttou)), []);
    assert_eq!(bench.plan.target, 0);
    bench.feed(Event::Signal(Signal::Hup));
    bench.feed(Event::Loaded(policy(2)));
    assert_eq!(bench.plan.slots.iter().filter(|worker| worker.is_booting()).count(), 1);
}

#[test]
fn who_boots_during_a_reopening_is_told_later() {
    let mut bench = Bench::started(policy(2));
    bench.feed(Event::Booted { slot: 0 });
    assert_eq!(bench.act(Event::Signal(Signal::Usr1)), [Action::Reopen, signal(100, Signal::Usr1)]);
    assert_eq!(bench.act(Event::Booted { slot: 1 }), [signal(101, Signal::Usr1)]);
}

#[test]
fn upgrades_exclude_each_other() {
    let mut bench = Bench::serving(policy(1));
    assert_eq!(bench.act(Event::Signal(Signal::Usr2)), [Action::Reexec]);
    bench.feed(Event::Reexeced { pid: 900 });
    assert_eq!(bench.act(Event::Signal(Signal::Usr2)), []);
    assert_eq!(bench.died(900, Ended::Code(0)), []);
    bench.feed(Event::Signal(Signal::Usr2));
    bench.feed(Event::Reexeced { pid: 901 });
    let actions = bench.act(Event::Signal(Signal::Term));
    assert_eq!(actions[0], Action::Notify(Report::MainPid(901)));
    let mut new = Bench { plan: Plan::new(policy(1), 1).with_parent(), now: Moment(5), forked: 99 };
    new.feed(Event::Started);
    assert_eq!(new.act(Event::Signal(Signal::Usr2)), []);
    assert_eq!(new.act(Event::ParentGone), [Action::Promote]);
    assert_eq!(new.act(Event::ParentGone), []);
    assert_eq!(new.act(Event::Signal(Signal::Usr2)), [Action::Reexec]);
}

#[test]
fn sockets_another_master_goes_on_with_stay_as_they_are() {
    let at_once = |bench: &mut Bench| {
        let actions = bench.act(Event::Signal(Signal::Term));
        assert!(actions.contains(&Action::CloseListeners));
        actions.contains(&Action::AcceptAtOnce)
    };
    let new = || Bench { plan: Plan::new(policy(1), 1).with_parent(), now: Moment(5), forked: 99 };
    let mut followed = Bench::serving(policy(1));
    followed.feed(Event::Reexeced { pid: 900 });
    assert!(!at_once(&mut followed));
    let mut rolled_back = new();
    rolled_back.feed(Event::Started);
    assert!(!at_once(&mut rolled_back));
    let mut promoted = new();
    promoted.feed(Event::Started);
    promoted.feed(Event::ParentGone);
    assert!(at_once(&mut promoted));
}

#[test]
fn recycling_boots_the_successor_first() {
    let mut bench = Bench::serving(policy(1));
    assert_eq!(bench.act(Event::Asked { slot: 0 }), [spawn(1, 1)]);
    assert_eq!(bench.act(Event::Asked { slot: 0 }), []);
    assert_eq!(bench.act(Event::Booted { slot: 1 }), [signal(100, Signal::Term)]);
    // All at once: still one by one.
    let mut all = Bench::serving(policy(3));
    let spawned: usize = (0..3).map(|slot| slots_spawned(&all.feed(Event::Asked { slot })).len()).sum();
    assert_eq!(spawned, 1);
}

#[test]
fn the_service_manager_hears_that_the_loop_lives() {
    let now = Moment(1_000);
    let mut plan = Plan::new(policy(0), 1).with_watchdog(10 * SECOND, now);
    assert!(plan.step(now, Event::Started).contains(&Action::Notify(Report::Watchdog)));
    assert_eq!(plan.wake_at(now), Some(now + 5 * SECOND));
    assert_eq!(plan.step(now + 5 * SECOND, Event::Tick), [Action::Notify(Report::Watchdog)]);
}

#[test]
fn foreign_children_and_failing_forks_are_coped_with() {
    let mut bench = Bench::serving(policy(1));
    let foreign = bench.feed(Event::Exited { pid: 4_711, ended: Ended::Code(1) });
    assert_eq!(foreign, [Action::Log(Note::Foreign { pid: 4_711 })]);
    let actions = bench.plan.step(bench.now, Event::Signal(Signal::Ttin));
    assert!(actions.contains(&spawn(1, 1)));
    let again = bench.plan.step(bench.now, Event::SpawnFailed { slot: 1 });
    assert_eq!(slots_spawned(&again), [1]);
    assert_eq!(slots_spawned(&bench.plan.step(bench.now, Event::SpawnFailed { slot: 1 })), [0; 0]);
    assert_eq!(bench.plan.wake_at(bench.now), Some(bench.now + SECOND / 2));
}

#[test]
fn deaths_are_named_for_what_they_were() {
    let cases = [
        (Ended::Signal(9), "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"),
        (Ended::Signal(11), "Worker (pid:7) was sent SIGSEGV!"),
        (Ended::Signal(64), "Worker (pid:7) was sent signal 64!"),
        (Ended::Code(1), "Worker (pid:7) exited with code 1."),
    ];
    for (ended, text) in cases {
        assert_eq!(Note::Died { pid: 7, ended, booting: false }.to_string(), text);
    }
}

#[test]
fn the_end_of_a_worker_is_accounted_for() {
    let cases: [(Option<Signal>, End); 2] = [(None, End::Died), (Some(Signal::Term), End::Stop)];
    for (told, end) in cases {
        let mut bench = Bench::serving(policy(1));
        told.into_iter().for_each(|told| drop(bench.feed(Event::Signal(told))));
        let actions = bench.plan.step(bench.now, Event::Exited { pid: 100, ended: Ended::Code(0) });
        assert!(actions.contains(&Action::Vacate { slot: 0, end }), "{actions:?}");
    }
}
