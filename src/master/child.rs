//! How does a forked child become a worker, or the status process?
//!
//! Between the fork and the child's own life: everything of the parent is closed, privileges
//! are dropped, the tie to the master is made. Must not know what a child does.
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

use super::settings::{MasterSettings, WorkerLife, exit};
use crate::door::{Forks, WorkerMoment};
use crate::metrics::seat::Seat;
use crate::system::signals::{Held, Signals};
use crate::system::{proctitle, raw, user};

/// What a child is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Its name in process titles, as in "rwsgi: worker [NAME]".
    pub name: &'static str,
    /// The master it belongs to.
    pub master: i32,
    /// A worker's slot; `None`: it is not a worker.
    pub slot: Option<usize>,
}

/// A worker's life.
pub fn work(life: &WorkerLife, seat: Seat) -> i32 {
    seat.row.enter(std::process::id().cast_signed());
    let code = (life.0)(seat);
    tracing::info!(target: "rwsgi", "Worker exiting (pid: {})", std::process::id());
    code
}

/// Lives the life of a `role`, then ends the process. `born` closes what is the master's and
/// makes what the child is given.
pub fn live<T>(
    runtime: &dyn Forks,
    settings: &MasterSettings,
    held: Held,
    role: Role,
    born: impl FnOnce() -> io::Result<T>,
    life: impl FnOnce(T) -> i32,
) -> ! {
    // A panic must not unwind into the master's frames, which believe to be the master.
    let code = catch_unwind(AssertUnwindSafe(|| {
        runtime.after_fork_child();
        let born = born().map_err(failed("descriptors"));
        match born.and_then(|given| take_up(settings, held, role).map(|()| given)) {
            Ok(given) => life(given),
            Err(why) => {
                let who = if role.slot.is_some() { "Worker" } else { "Status process" };
                tracing::error!(target: "rwsgi", "{who} failed to boot: {why}");
                exit::BOOT
            }
        }
    }));
    raw::exit_now(code.unwrap_or(exit::BUG))
}

fn take_up(settings: &MasterSettings, held: Held, role: Role) -> Result<(), String> {
    Signals::reset_in_child().map_err(failed("signals"))?;
    proctitle::set_title(&format!("rwsgi: {} [{}]", role.name, settings.proc_name));
    if role.slot.is_some() {
        tracing::info!(target: "rwsgi", "Booting worker with pid: {}", getpid());
    }
    // A hook may start processes, which would be born deaf while signals are held.
    held.release_all().map_err(failed("signal mask"))?;
    if let (Some(slot), Some(hooks)) = (role.slot, &settings.hooks) {
        hooks.in_worker(WorkerMoment::Forked { slot }).map_err(|error| error.to_string())?;
    }
    user::drop_privileges(settings.user, settings.group, settings.initgroups)
        .map_err(failed("user and group"))?;
    set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(|error| failed("prctl")(error.into()))?;
    if getppid() != Pid::from_raw(role.master) {
        return Err("the master is gone".to_owned());
    }
    Ok(())
}

/// In a child that is to execute a new master: runs `exec`, which returns only what went wrong.
pub fn become_master(runtime: &dyn Forks, held: Held, exec: impl FnOnce() -> io::Result<()>) -> ! {
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
