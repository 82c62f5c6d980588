//! Does the plan hold its invariants whatever happens, in whatever order?
//!
//! A pretended kernel: workers boot, hang, crash, drain and die at random, signals and reloads
//! arrive at random, the clock jumps. After every step the invariants are checked. The seed of
//! a failure is printed; `RWSGI_SEED=n` replays it.

mod molds;

use std::collections::HashMap;

use super::*;
use crate::master::slots::Worker;
use molds::{Caster, is_ready};

/// Splitmix64: one line, and good enough to choose with.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// A pretended process.
#[derive(Debug, Clone)]
struct Process {
    slot: usize,
    generation: u32,
    serving: bool,
    /// Told to go, and when it will be gone; `None`: it ignores TERM.
    told: bool,
    running: Option<RunningRequest>,
}

struct World {
    plan: Plan,
    chance: Chance,
    now: Moment,
    processes: HashMap<i32, Process>,
    molds: HashMap<i32, Caster>,
    next_pid: i32,
    queue: Vec<Event>,
    exited: Option<i32>,
    /// Generations whose code is broken.
    broken: Vec<u32>,
    history: Vec<String>,
    sequence: u64,
    last_policy: Policy,
    listening: bool,
    /// The status process, if it runs.
    aide: Option<i32>,
}

fn policy(chance: &mut Chance) -> Policy {
    let seconds = |bound: u64, chance: &mut Chance| Duration::from_secs(chance.below(bound));
    Policy {
        workers: chance.below(6) as usize,
        surge: 1 + chance.below(3) as usize,
        timeout: seconds(10, chance),
        timeout_grace: seconds(4, chance),
        boot_timeout: Duration::from_secs(1 + chance.below(10)),
        graceful_timeout: seconds(10, chance),
        max_worker_age: seconds(100, chance),
        max_worker_age_jitter: seconds(20, chance),
        max_worker_memory: chance.below(2) * 1000,
        preload: chance.one_in(2),
        status: chance.one_in(2),
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut chance = Chance(seed);
        let policy = policy(&mut chance);
        World {
            plan: Plan::new(policy, seed),
            chance,
            now: Moment(1_000),
            processes: HashMap::new(),
            molds: HashMap::new(),
            next_pid: 100,
            queue: vec![Event::Started],
            exited: None,
            broken: Vec::new(),
            history: Vec::new(),
            sequence: 0,
            last_policy: policy,
            listening: true,
            aide: None,
        }
    }

    fn step(&mut self, event: Event) {
        assert!(self.exited.is_none(), "an event after the end");
        let serving_before: Vec<i32> = self.serving_staff();
        let actions = self.plan.step(self.now, event.clone());
        self.history.push(format!("{:?} {event:?} -> {actions:?}", self.now));
        for action in &actions {
            self.perform(action);
        }
        self.check(&serving_before, &actions);
        while let Some(event) = self.queue.pop() {
            if self.exited.is_none() {
                self.step(event);
            }
        }
    }

    fn serving_staff(&self) -> Vec<i32> {
        self.plan.slots().iter().filter(|w| w.is_serving()).filter_map(|w| w.pid).collect()
    }

    fn fork(&mut self, slot: usize, generation: u32) -> Event {
        self.next_pid += 1;
        let process = Process { slot, generation, serving: false, told: false, running: None };
        self.processes.insert(self.next_pid, process);
        Event::Spawned { slot, pid: self.next_pid }
    }

    fn perform(&mut self, action: &Action) {
        match action {
            Action::Spawn { generation, .. } if self.plan.boot_policy(*generation).preload => {
                self.mold(action)
            }
            Action::ForkMold { .. } | Action::EndMold { .. } => self.mold(action),
            Action::Spawn { slot, .. } if self.chance.one_in(40) => {
                self.queue.push(Event::SpawnFailed { slot: *slot });
            }
            Action::Spawn { slot, generation } => {
                let spawned = self.fork(*slot, *generation);
                self.queue.push(spawned);
            }
            Action::SpawnStatus => {
                assert_eq!(self.aide, None, "two status processes");
                self.next_pid += 1;
                self.aide = (!self.chance.one_in(10)).then_some(self.next_pid);
                self.queue.push(Event::StatusForked { pid: self.aide });
            }
            Action::Signal { pid, signal: Signal::Term } if Some(*pid) == self.aide => {
                self.queue.push(Event::Exited { pid: *pid, ended: Ended::Code(0) });
                self.aide = None;
            }
            Action::Signal { pid, signal: Signal::Kill } => {
                let killed = self.processes.remove(pid).is_some() | self.molds.remove(pid).is_some();
                let killed = killed.then_some(Ended::Signal(9));
                self.queue.splice(0..0, killed.map(|ended| Event::Exited { pid: *pid, ended }));
            }
            Action::Signal { pid, signal: Signal::Term | Signal::Quit } => {
                if let Some(process) = self.processes.get_mut(pid) {
                    process.told = true;
                }
            }
            Action::Load { generation } => {
                if self.chance.one_in(3) {
                    self.queue.push(Event::Rejected);
                } else {
                    if self.chance.one_in(3) {
                        self.broken.push(*generation);
                    }
                    self.last_policy = policy(&mut self.chance);
                    self.queue.push(Event::Loaded(self.last_policy));
                }
            }
            Action::Reexec => {
                self.next_pid += 1;
                self.queue.push(Event::Reexeced { pid: self.next_pid });
            }
            Action::CloseListeners => self.listening = false,
            Action::Exit(code) => self.exited = Some(*code),
            _ => {}
        }
    }

    fn check(&self, serving_before: &[i32], actions: &[Action]) {
        let plan = &self.plan;
        let staff = plan.slots.count(Worker::is_staff);
        // Spawns only ever fill up to the limit; a lower target leaves more for a while.
        if actions.iter().any(|action| matches!(action, Action::Spawn { .. })) {
            let surge = plan.policy.surge.max(1);
            let retiring = plan.slots.count(Worker::is_retiring).min(surge);
            let wanted = match plan.reloading {
                Reloading::Proving { policy, .. } => plan.target.max(policy.workers),
                _ => plan.target,
            };
            assert!(staff + retiring <= wanted + surge, "too many: {staff} + {retiring}");
        }
        let slots: Vec<usize> = plan.slots.iter().map(|worker| worker.slot).collect();
        let mut unique = slots.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), slots.len(), "a slot given out twice");
        if plan.stopping.is_none() {
            let told = |pid: &&i32| {
                plan.slots.iter().any(|worker| worker.pid == Some(**pid) && worker.is_retiring())
            };
            if serving_before.iter().any(|pid| told(&pid)) {
                let serving = plan.slots.count(Worker::is_serving);
                assert!(serving >= plan.target, "{serving} of {} serve after a retirement", plan.target);
            }
        }
        let wanted = plan.policy.status && !(plan.stopping.is_some() && plan.upgrade.is_some());
        if self.exited.is_none() && self.queue.is_empty() {
            let waits = plan.aide_due().is_some_and(|due| due > self.now);
            assert!(!wanted || self.aide.is_some() || waits, "nobody answers the operator");
            assert_eq!(plan.aide_pid(), self.aide);
        }
        if let Some(wake) = plan.wake_at(self.now) {
            assert!(wake > self.now, "a deadline in the past");
        }
        for worker in plan.slots.iter() {
            match worker.stage {
                Stage::Retiring { deadline, .. } => assert!(deadline > self.now, "an expired drain"),
                Stage::Booting { deadline } => assert!(deadline.is_none_or(|at| at > self.now)),
                _ => {}
            }
        }
        self.check_molds();
        if plan.stopping.is_none() && staff == 0 && plan.target > 0 && self.queue.is_empty() {
            let waits = plan.vacancies.iter().any(|vacancy| vacancy.due > self.now);
            let mold = plan.molds.iter().any(|mold| mold.generation == plan.stable && !is_ready(mold));
            let no_mold = plan.mold_retry.due.is_some_and(|due| due > self.now);
            assert!(waits || mold || no_mold, "nobody serves, boots, or is waited for");
        }
    }

    /// Lets time pass, not beyond the plan's next deadline, and one thing happen.
    fn advance(&mut self) {
        let span = [1, 10, 100, 1_000, 5_000][self.chance.below(5) as usize];
        let later = self.now + Duration::from_millis(1 + self.chance.below(span));
        let wake = self.plan.wake_at(self.now).unwrap_or(later);
        self.now = later.min(wake);
        if self.chance.one_in(50) {
            // The machine was asleep.
            self.now = self.now + Duration::from_secs(60);
        }
        let mut pids: Vec<i32> = self.processes.keys().chain(self.molds.keys()).copied().collect();
        pids.sort_unstable();
        match pids.get(self.chance.below(pids.len().max(1) as u64) as usize).copied() {
            Some(pid) if self.molds.contains_key(&pid) => self.cast(pid),
            _ if self.chance.one_in(60) && self.aide.is_some() => {
                let died = self.aide.take().map(|pid| Event::Exited { pid, ended: Ended::Signal(9) });
                died.into_iter().for_each(|event| self.step(event));
            }
            Some(pid) if !self.chance.one_in(8) => self.live(pid),
            _ => self.signal(),
        }
        if self.exited.is_none() {
            self.step(Event::Tick);
        }
        if self.exited.is_none() && self.plan.wants_look(self.now) {
            let loads = self.look();
            self.step(Event::Observed(loads));
        }
    }

    fn live(&mut self, pid: i32) {
        let broken = self.broken.clone();
        let dies = self.chance.one_in(30);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let slot = process.slot;
        let event = if process.told && self.chance.one_in(2) {
            self.processes.remove(&pid);
            Event::Exited { pid, ended: Ended::Code(0) }
        } else if !process.serving && broken.contains(&process.generation) {
            self.processes.remove(&pid);
            Event::Exited { pid, ended: Ended::Code(4) }
        } else if dies {
            self.processes.remove(&pid);
            Event::Exited { pid, ended: Ended::Signal(11) }
        } else if !process.serving && !process.told {
            process.serving = true;
            Event::Booted { slot }
        } else if self.chance.one_in(12) {
            Event::Asked { slot }
        } else if process.running.is_some() && self.chance.one_in(2) {
            process.running = None;
            Event::Tick
        } else {
            self.sequence += 1;
            process.running.get_or_insert(RunningRequest {
                thread: 0,
                sequence: self.sequence,
                progress: self.now,
                exempt: false,
            });
            Event::Tick
        };
        self.step(event);
    }

    fn signal(&mut self) {
        use Signal::*;
        let signal = match self.chance.below(200) {
            0 => Term,
            1 => Int,
            2 => Winch,
            3..20 => Usr1,
            20..25 => Usr2,
            25..80 => Hup,
            80..140 => Ttin,
            _ => Ttou,
        };
        if let (Some(pid), Usr2) = (self.plan.upgrade_pid(), signal) {
            return self.step(Event::Exited { pid, ended: Ended::Code(1) });
        }
        self.step(Event::Signal(signal));
    }

    fn look(&mut self) -> Vec<Load> {
        let mut loads: Vec<Load> = self
            .processes
            .values()
            .map(|process| Load {
                slot: process.slot,
                threads: 1,
                resident: 999 + self.chance.below(20) / 19 * 100,
                connections: self.chance.below(3),
                draining: self.chance.below(2) == 0,
                running: process.running.into_iter().collect(),
            })
            .collect();
        loads.sort_by_key(|load| load.slot);
        loads
    }
}

fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.step(Event::Started);
        for _ in 0..steps {
            if world.exited.is_some() {
                break;
            }
            world.advance();
        }
        // Whatever state it is in, the end comes within its deadlines.
        if world.exited.is_none() {
            world.step(Event::Signal(Signal::Term));
        }
        for _ in 0..10_000 {
            if world.exited.is_some() {
                break;
            }
            world.now = world.plan.wake_at(world.now).expect("stopping without a deadline");
            world.step(Event::Tick);
        }
        assert!(world.exited.is_some(), "the stop never ended");
        assert!(world.processes.is_empty(), "processes left behind: {:?}", world.processes);
        assert!(world.molds.is_empty(), "molds left behind: {:?}", world.molds);
        assert!(!world.listening, "still listening");
        assert_eq!(world.aide, None, "the status process was left behind");
    }));
    if let Err(panic) = outcome {
        for line in world.history.iter().rev().take(25).rev() {
            eprintln_line(line);
        }
        eprintln_line(&format!("failed with RWSGI_SEED={seed}"));
        std::panic::resume_unwind(panic);
    }
}

#[allow(clippy::print_stderr, reason = "a failing test has to show its seed")]
fn eprintln_line(line: &str) {
    eprintln!("{line}");
}

#[test]
fn random_histories_hold_the_invariants() {
    if let Ok(seed) = std::env::var("RWSGI_SEED") {
        return run(seed.parse().unwrap(), 2_000);
    }
    let base = 0x5EED;
    for seed in base..base + 400 {
        run(seed, 600);
    }
}
