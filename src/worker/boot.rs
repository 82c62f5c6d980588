//! How does a worker come to serve, and how does it leave?
//!
//! Must not know: what a request is.
//!
//! Invariants:
//! 1. The master hears "booted" only when connections are accepted.
//! 2. Signals that arrive while the application is imported are kept, not lost.
//! 3. The worker leaves with the exit code that says who is to blame.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::SystemTime;

use mio::Interest;
use mio::unix::SourceFd;

use super::context::Context;
use super::crew::{Crew, LIFELINE, SIGNALS};
use super::failure_page::FailurePage;
use super::listeners::Listeners;
use super::reloader::{self, Attempt};
use super::settings::WorkerSettings;
use super::{threads, watchdog};
use crate::door::{App, HookRaised, LoadFailure, LoadFailureKind, Runtime, WorkerMoment};
use crate::log::{AccessLog, AccessSettings, Lost, tell_losses};
use crate::metrics::scoreboard::{LogKind, State};
use crate::metrics::seat::Seat;
use crate::system::clock::Moment;
use crate::system::fds;
use crate::system::orphans::{self, Tie};
use crate::system::signals::{Signal, Signals};

/// Exit code: asked to end, and did.
const OK: i32 = 0;
/// Exit code: failed to boot.
const BOOT: i32 = 3;
/// Exit code: the application cannot be loaded.
const APP: i32 = 4;

/// What a worker listens to.
const WANTED: [Signal; 4] = [Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1];

/// Loads the application for workers that are forked later. The error is the exit code.
pub fn preload(settings: &WorkerSettings, runtime: &dyn Runtime) -> Result<Arc<dyn App>, i32> {
    let mut spec = settings.app.clone();
    spec.log_environ = match settings.access.as_ref().map(AccessSettings::needs).transpose() {
        Ok(needs) => needs.map(|needs| needs.environ).unwrap_or_default(),
        Err(error) => {
            tracing::error!("Cannot open the access log: {error}");
            return Err(BOOT);
        }
    };
    runtime.preload(&spec).map_err(|failure| loading_failed(&failure))
}

/// A worker's whole life, with the application loaded or to be loaded. Returns its exit code.
pub fn run(
    seat: Seat,
    mut settings: WorkerSettings,
    runtime: Arc<dyn Runtime>,
    loaded: Option<Arc<dyn App>>,
) -> i32 {
    let pid = std::process::id();
    let hooks = settings.hooks.clone();
    let code = match boot(seat, &mut settings, &runtime, loaded) {
        Ok(crew) => {
            serve(&crew);
            OK
        }
        Err(Failure::Load(failure)) => loading_failed(&failure),
        Err(Failure::Hook(error)) => {
            tracing::error!("Exception in worker process: {error}");
            BOOT
        }
        Err(Failure::Os(what, error)) => {
            tracing::error!("Worker (pid: {pid}) cannot boot: {what}: {error}");
            BOOT
        }
    };
    // A hook that raised is in the log; the worker is as good as gone.
    let _ = hooks.map(|hooks| hooks.in_worker(WorkerMoment::Exiting));
    runtime.finish();
    code
}

/// Descriptors a worker has beside its connections, roughly.
const OTHERS: usize = 128;

enum Failure {
    Load(LoadFailure),
    Hook(HookRaised),
    Os(&'static str, std::io::Error),
}

fn boot(
    seat: Seat,
    settings: &mut WorkerSettings,
    runtime: &Arc<dyn Runtime>,
    loaded: Option<Arc<dyn App>>,
) -> Result<Arc<Crew>, Failure> {
    let os = |what| move |error| Failure::Os(what, error);
    let Seat { listeners, row, others, bell, lifeline, .. } = seat;
    // An import that hangs would not see the polite signal, and nobody waits for a worker that boots.
    orphans::end_with(Tie::Kill).map_err(os("cannot be tied to the master"))?;
    let early = Signals::install(&WANTED).map_err(os("cannot receive signals"))?;
    fds::make_room(settings.connections.saturating_add(OTHERS), &lifeline);
    watchdog::reserve_poke().map_err(os("cannot block a signal"))?;
    runtime.prepare_watchdog(settings.threads);
    let access = open_access(settings).map_err(os("cannot open the access log"))?;
    settings.app.log_environ = access.as_ref().map(|log| log.needs().environ.clone()).unwrap_or_default();
    let mut attempt = Attempt { began: Some(SystemTime::now()), failed: None };
    let app = match loaded {
        Some(app) => app,
        None => load(settings, &**runtime, &mut attempt).map_err(Failure::Load)?,
    };
    app.settle().map_err(Failure::Load)?;
    // An application that installed handlers of its own for these would make us deaf to the master.
    let signals = early.renew(&WANTED).map_err(os("cannot receive signals"))?;
    runtime.wake_by(signals.wake_end());
    orphans::end_with(Tie::Term).map_err(os("cannot be tied to the master"))?;

    if let Some(hooks) = &settings.hooks {
        hooks.in_worker(WorkerMoment::Loaded).map_err(Failure::Hook)?;
    }

    let counted = row.clone();
    tell_losses(move |which, lines| match which {
        Lost::Access => counted.count_lost(LogKind::Access, lines),
        Lost::Error => counted.count_lost(LogKind::Error, lines),
    });
    let context =
        Arc::new(Context::new(settings.clone(), Arc::clone(runtime), app, access, row, bell, signals));
    let watched = lifeline.duplicate().map_err(os("cannot copy a descriptor"))?;
    watchdog::start(&context, watched).map_err(os("cannot start the watchdog's thread"))?;
    let listeners = Listeners::new(listeners, settings.write_timeout, others);
    let crew = Crew::new(context, listeners, lifeline).map_err(os("cannot make an event loop"))?;
    register(&crew).map_err(os("cannot wait for connections"))?;
    crew.context.row.set_state(State::Serving, Moment::now());
    crew.context.bell.booted().map_err(os("cannot tell the master"))?;
    reloader::start(&crew.context, attempt);
    Ok(Arc::new(crew))
}

/// The application, or in development what answers for one that cannot be loaded.
fn load(
    settings: &WorkerSettings,
    runtime: &dyn Runtime,
    attempt: &mut Attempt,
) -> Result<Arc<dyn App>, LoadFailure> {
    match runtime.load(&settings.app) {
        Err(failure) if settings.reload.is_some() && failure.kind == LoadFailureKind::App => {
            loading_failed(&failure);
            let page = FailurePage::new(&failure.message, &failure.traceback);
            attempt.failed = Some(failure.files);
            Ok(Arc::new(page))
        }
        loaded => loaded,
    }
}

fn register(crew: &Crew) -> std::io::Result<()> {
    let readable = Interest::READABLE;
    crew.registry.register(&mut SourceFd(&crew.context.signals.as_fd().as_raw_fd()), SIGNALS, readable)?;
    crew.registry.register(&mut SourceFd(&crew.lifeline.as_fd().as_raw_fd()), LIFELINE, readable)?;
    crew.state().listeners.open(&crew.registry)
}

fn open_access(settings: &WorkerSettings) -> std::io::Result<Option<AccessLog>> {
    let Some(access) = &settings.access else { return Ok(None) };
    AccessLog::open(access).map(Some).map_err(std::io::Error::other)
}

fn serve(crew: &Arc<Crew>) {
    let runtime = Arc::clone(&crew.context.runtime);
    runtime.released(&mut || {
        threads::work(crew, 0);
        crew.close_all();
        crew.wait_for_threads();
    });
    if let Some(access) = &crew.context.access {
        access.finish();
    }
}

fn loading_failed(failure: &LoadFailure) -> i32 {
    if failure.traceback.is_empty() {
        tracing::error!("{}", failure.message);
    } else {
        tracing::error!("Exception in worker process\n{}", failure.traceback);
        tracing::error!("{}", failure.message);
    }
    match failure.kind {
        LoadFailureKind::App => APP,
        LoadFailureKind::Boot => BOOT,
    }
}
