//! Molds of the pretended kernel: they load, fail, fall silent, fork and die at random.

use super::*;
use crate::master::plan::molds::MoldStage;

/// A pretended mold.
#[derive(Debug, Clone, Default)]
pub(super) struct Caster {
    pub(super) generation: u32,
    pub(super) ready: bool,
    pub(super) told: bool,
    pub(super) orders: Vec<usize>,
}

impl World {
    /// Does what is asked of or about a mold.
    pub(super) fn mold(&mut self, action: &Action) {
        match action {
            Action::Spawn { slot, generation } => {
                let mut molds = self.molds.values_mut();
                let mold = molds.find(|mold| mold.generation == *generation && mold.ready && !mold.told);
                mold.expect("ordered from nobody").orders.push(*slot);
            }
            Action::ForkMold { generation } if self.chance.one_in(20) => {
                self.queue.push(Event::MoldFailed { generation: *generation });
            }
            Action::ForkMold { generation } => {
                self.next_pid += 1;
                let mold = Caster { generation: *generation, ..Caster::default() };
                self.molds.insert(self.next_pid, mold);
                self.queue.push(Event::MoldForked { generation: *generation, pid: self.next_pid });
            }
            Action::EndMold { pid } => {
                if let Some(mold) = self.molds.get_mut(pid) {
                    assert!(mold.orders.is_empty(), "told to end while workers are on order");
                    mold.told = true;
                }
            }
            _ => {}
        }
    }

    pub(super) fn check_molds(&self) {
        let plan = &self.plan;
        let mut molds: Vec<u32> = plan.molds.iter().map(|mold| mold.generation).collect();
        molds.dedup();
        assert_eq!(molds.len(), plan.molds.len(), "two molds of a generation");
        let unpaid = |worker: &&Worker| worker.pid.is_none() && self.queue.is_empty();
        for worker in plan.slots.iter().filter(unpaid) {
            let has_mold = plan.molds.iter().any(|mold| mold.generation == worker.generation);
            assert!(has_mold, "a worker that nobody will fork");
        }
    }

    /// A mold's turn.
    pub(super) fn cast(&mut self, pid: i32) {
        let (dies, silent, fails) = (self.chance.one_in(20), self.chance.one_in(4), self.chance.one_in(10));
        let Some(mold) = self.molds.get_mut(&pid) else { return };
        let generation = mold.generation;
        let ended = match () {
            () if mold.told => Some(Ended::Code(0)),
            () if !mold.ready && self.broken.contains(&generation) => Some(Ended::Code(4)),
            () if dies => Some(Ended::Signal(9)),
            () => None,
        };
        if let Some(ended) = ended {
            self.molds.remove(&pid);
            return self.step(Event::Exited { pid, ended });
        }
        if silent {
            return;
        }
        if !std::mem::replace(&mut mold.ready, true) {
            return self.step(Event::MoldReady { generation });
        }
        let Some(slot) = mold.orders.pop() else { return };
        if fails {
            return self.step(Event::SpawnFailed { slot });
        }
        let spawned = self.fork(slot, generation);
        self.step(spawned);
    }
}

pub(super) fn is_ready(mold: &Mold) -> bool {
    matches!(mold.stage, MoldStage::Ready { .. })
}
