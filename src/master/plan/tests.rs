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
    fn serving(policy: Policy) -> Bench {
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

    fn look(&mut self, after: Duration, loads: Vec<Load>) -> Vec<Action> {
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

/// Worker in slot 0 running one request since `progress`.
fn load(progress: Moment, sequence: u64, threads: usize) -> Vec<Load> {
    let running = vec![RunningRequest { thread: 0, sequence, progress, exempt: false }];
    vec![Load { slot: 0, threads, resident: 0, connections: 1, draining: true, running }]
}

fn raised(pid: i32, sequence: u64, age: u64) -> Action {
    Action::RaiseDeadline { slot: 0, pid, thread: 0, sequence, age: Duration::from_secs(age) }
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
