//! How does a forked child become a worker?
//!
//! Between the fork and the worker's own life: everything of the master is closed, privileges
//! are dropped, the tie to the master is made. Must not know what a worker does.
//!
//! Invariants:
//! 1. The child never returns into the master's stack: it ends here, whatever happens.
//! 2. Nothing can be reported into the master's pipes: signals are held until the child has
//!    let go of them.
//! 3. PR_SET_PDEATHSIG comes after the change of user, which clears it, and is followed by a
//!    look at the parent, which may have died before.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::prctl::set_pdeathsig;
use nix::unistd::{Pid, getpid, getppid};

use super::settings::{MasterSettings, exit};
use crate::door::{Runtime, WorkerMoment};
use crate::metrics::seat::Seat;
use crate::system::signals::{Held, Signals};
use crate::system::{proctitle, raw, user};

/// Lives a worker's life, then ends the process.
pub fn live(
    runtime: &dyn Runtime,
    settings: &MasterSettings,
    slot: usize,
    held: Held,
    seat: impl FnOnce() -> io::Result<Seat>,
) -> ! {
    // A panic must not unwind into the master's frames, which believe to be the master.
    let life = catch_unwind(AssertUnwindSafe(|| {
        runtime.after_fork_child();
        let born = seat().map_err(failed("descriptors"));
        let born = born.and_then(|seat| become_worker(settings, slot, held, seat.master).map(|()| seat));
        let seat = match born {
            Ok(seat) => seat,
            Err(why) => {
                tracing::error!(target: "rwsgi", "Worker failed to boot: {why}");
                return exit::BOOT;
            }
        };
        seat.row.enter(getpid().as_raw());
        let code = (settings.worker.0)(seat);
        tracing::info!(target: "rwsgi", "Worker exiting (pid: {})", getpid());
        code
    }));
    raw::exit_now(life.unwrap_or(exit::BUG))
}

fn become_worker(settings: &MasterSettings, slot: usize, held: Held, master: i32) -> Result<(), String> {
    Signals::reset_in_child().map_err(failed("signals"))?;
    proctitle::set_title(&format!("rwsgi: worker [{}]", settings.proc_name));
    tracing::info!(target: "rwsgi", "Booting worker with pid: {}", getpid());
    // A hook may start processes, which would be born deaf while signals are held.
    held.release_all().map_err(failed("signal mask"))?;
    if let Some(hooks) = &settings.hooks {
        hooks.in_worker(WorkerMoment::Forked { slot }).map_err(|error| error.to_string())?;
    }
    user::drop_privileges(settings.user, settings.group, settings.initgroups)
        .map_err(failed("user and group"))?;
    set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(|error| failed("prctl")(error.into()))?;
    if getppid() != Pid::from_raw(master) {
        return Err("the master is gone".to_owned());
    }
    Ok(())
}

/// In a child that is to execute a new master: runs `exec`, which returns only what went wrong.
pub fn become_master(runtime: &dyn Runtime, held: Held, exec: impl FnOnce() -> io::Result<()>) -> ! {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        runtime.after_fork_child();
        let freed = Signals::reset_in_child().and_then(|()| held.release_all());
        if let Err(error) = freed.and_then(|()| exec()) {
            tracing::error!(target: "rwsgi", "The new master cannot start: {error}");
        }
    }));
    raw::exit_now(if failed.is_ok() { exit::CONFIG } else { exit::BUG })
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}
