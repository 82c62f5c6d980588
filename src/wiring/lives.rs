//! What do the server's processes do with their lives, once the master has forked them?
//!
//! A room's entry each, with what it needs of the configuration. No policy.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;

use super::{Started, Surroundings, worker};
use crate::config::{Config, exit};
use crate::door::{App, Hooks, Runtime, Secure};
use crate::master::Seat;
use crate::master::settings::{Hook, Preload, Preloaded, WorkerLife};
use crate::metrics::seat::Desk;
use crate::status;
use crate::worker::{self as worker_room, WorkerSettings};

/// A worker's life under this configuration.
pub(super) fn life(recruit: Recruit, surroundings: Surroundings) -> WorkerLife {
    WorkerLife(Rc::new(move |seat| match surroundings.enter() {
        Ok(()) => recruit.work(seat, None),
        Err(error) => {
            tracing::error!("Worker failed to boot: {error}");
            i32::from(exit::BOOT)
        }
    }))
}

/// The same where the application is loaded, and the surroundings are entered, before the fork.
pub(super) fn preload(recruit: Recruit, surroundings: Surroundings) -> Preload {
    Preload(Rc::new(move || {
        surroundings.enter().map_err(|error| {
            tracing::error!("Mold failed to boot: {error}");
            i32::from(exit::BOOT)
        })?;
        let app = worker_room::preload(&recruit.settings, &*recruit.runtime)?;
        let worker = recruit.clone();
        let (woken, finish) = (Arc::clone(&recruit.runtime), Arc::clone(&recruit.runtime));
        Ok(Preloaded {
            worker: WorkerLife(Rc::new(move |seat| worker.work(seat, Some(Arc::clone(&app))))),
            // A handler that wants the process to end is not asked: its workers' master decides.
            woken: Hook(Rc::new(move || {
                let _ = woken.check_signals();
            })),
            finish: Hook(Rc::new(move || finish.finish())),
        })
    }))
}

/// A worker yet to be born.
#[derive(Clone)]
pub(super) struct Recruit {
    settings: WorkerSettings,
    max_requests: Option<u64>,
    jitter: u64,
    runtime: Arc<dyn Runtime>,
}

impl Recruit {
    pub(super) fn of(
        config: &Config,
        started: &Started,
        hooks: Option<Arc<dyn Hooks>>,
        tls: Option<Arc<dyn Secure>>,
    ) -> Result<Self, String> {
        Ok(Recruit {
            settings: WorkerSettings { hooks, tls, ..worker(config, started)? },
            max_requests: config.max_requests,
            jitter: config.max_requests_jitter,
            runtime: Arc::clone(&started.runtime) as Arc<dyn Runtime>,
        })
    }

    fn work(&self, seat: Seat, app: Option<Arc<dyn App>>) -> i32 {
        let mut settings = self.settings.clone();
        settings.max_requests = self.max_requests.map(|most| most + random_below(self.jitter + 1));
        worker_room::run(seat, settings, Arc::clone(&self.runtime), app)
    }
}

/// The status process's life under this configuration.
pub(super) fn status_life(config: &Config, started: &Started) -> impl Fn(Desk) -> i32 + use<> {
    let surroundings = Surroundings::of(config, started);
    move |desk| {
        if let Err(error) = surroundings.enter() {
            tracing::error!("Status process failed to boot: {error}");
            return i32::from(exit::BOOT);
        }
        status::run(desk)
    }
}

/// A number from 0 to below `bound`, different in each worker.
fn random_below(bound: u64) -> u64 {
    RandomState::new().hash_one(std::process::id()) % bound.max(1)
}
