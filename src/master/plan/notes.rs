//! What does the master say about what it does?
//!
//! One event, one line. Texts are Gunicorn's where the meaning is the same, because operators
//! grep for them. Must not know where lines go.

use std::fmt;
use std::time::Duration;

use crate::master::slots::Reason;
use crate::system::signals::{Signal, signal_name};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of interest while looking for something.
    Debug,
    /// The course of things.
    Info,
    /// Not as wished, and coped with.
    Warn,
    /// Something is broken.
    Error,
}

/// One line of the error log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A signal is acted upon.
    Handling(Signal),
    /// A signal is not acted upon now.
    SignalIgnored(Signal, &'static str),
    /// A worker was forked.
    Forked { pid: i32, slot: usize, generation: u32 },
    /// The number of workers wanted changed.
    Wanted { before: usize, now: usize },
    /// A worker ended without being told to.
    Died { pid: i32, ended: Ended, booting: bool },
    /// A worker that had been told to go is gone.
    Gone { pid: i32, ended: Ended, killed: Option<Reason> },
    /// A process that is not ours was reaped (the duty of process 1).
    Foreign { pid: i32 },
    /// The next try waits, because workers keep dying young.
    BackingOff { failures: u32, wait: Duration },
    /// fork(2) failed.
    ForkFailed,
    /// A mold was forked.
    MoldForked { pid: i32, generation: u32 },
    /// A mold has loaded the application.
    MoldReady { pid: i32, generation: u32 },
    /// A mold ended without being told to.
    MoldDied { pid: i32, ended: Ended, booting: bool },
    /// A mold that had been told to go is gone.
    MoldGone { pid: i32, ended: Ended },
    /// A mold did not load the application in time.
    MoldBootTimeout { pid: i32, after: Duration },
    /// A mold did not fork the worker it was asked for.
    MoldSilent { pid: i32 },
    /// The next mold waits, because molds keep dying.
    MoldBackingOff { failures: u32, wait: Duration },
    /// A worker was told to go.
    Retiring { pid: i32, reason: Reason },
    /// A worker will be replaced.
    Replacing { pid: i32, reason: Reason },
    /// A worker is killed because it outlived its graceful time.
    Outlived { pid: i32 },
    /// A worker did not come up in time.
    BootTimeout { pid: i32, after: Duration },
    /// A worker is killed because a request in it is stuck.
    GivenUp { pid: i32, thread: usize },
    /// A reload begins.
    HangUp,
    /// A reload was asked for while one runs; it follows.
    ReloadQueued,
    /// The new configuration is no good.
    ReloadRejected,
    /// The new generation did not come up.
    ReloadFailed { generation: u32 },
    /// The first worker of the new generation serves.
    ReloadAdopted { generation: u32 },
    /// The last worker of older generations has been replaced.
    ReloadComplete { generation: u32 },
    /// The server stops because no worker could boot.
    BootFailed { app: bool },
    /// Shutdown began; the quick kind.
    QuickShutdown,
    /// All workers are being sent away, the master stays (WINCH).
    StoppingWorkers,
    /// A new master runs beside this one.
    Upgrading { pid: i32 },
    /// The new master could not be started.
    UpgradeFailed,
    /// The new master is gone.
    UpgradeEnded { pid: i32, ended: Ended },
    /// The old master is gone.
    Promoted,
    /// The status process ended without being told to.
    AideDied { pid: i32, ended: Ended },
    /// The end.
    ShuttingDown { code: i32 },
}

impl Note {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Note::Foreign { .. }
            | Note::Forked { .. }
            | Note::Wanted { .. }
            | Note::MoldForked { .. }
            | Note::MoldGone { .. } => Level::Debug,
            Note::Gone { ended: Ended::Code(0), .. } => Level::Debug,
            Note::Died { ended: Ended::Code(0), booting: false, .. } => Level::Info,
            Note::Died { .. }
            | Note::ForkFailed
            | Note::MoldDied { .. }
            | Note::MoldBootTimeout { .. }
            | Note::MoldSilent { .. }
            | Note::BootTimeout { .. }
            | Note::GivenUp { .. }
            | Note::ReloadRejected
            | Note::ReloadFailed { .. }
            | Note::BootFailed { .. }
            | Note::UpgradeFailed => Level::Error,
            Note::SignalIgnored(..)
            | Note::BackingOff { .. }
            | Note::MoldBackingOff { .. }
            | Note::Outlived { .. }
            | Note::AideDied { .. } => Level::Warn,
            Note::ShuttingDown { code } if *code != 0 => Level::Error,
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(out, "exited with code {code}."),
            Ended::Signal(number) => write!(out, "was sent {}!", signal_name(*number)),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Reason::Stuck => "a request is stuck in it",
            Reason::BootTimeout => "it did not boot in time",
            Reason::OldGeneration => "a newer generation serves",
            Reason::Memory => "max_worker_memory is exceeded",
            Reason::Requests => "it asked for a successor",
            Reason::Age => "max_worker_age is reached",
            Reason::Surplus => "fewer workers are wanted",
            Reason::Stop => "the server stops",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Handling(signal) => write!(out, "Handling signal: {signal}"),
            Note::SignalIgnored(signal, why) => {
                write!(out, "{} signal ignored. {why}", signal.to_string().to_uppercase())
            }
            Note::Forked { pid, slot, generation } => {
                write!(out, "Forked worker (pid:{pid}) into slot {slot}, generation {generation}")
            }
            Note::Wanted { before, now } => write!(out, "Number of workers changed from {before} to {now}"),
            Note::AideDied { pid, ended } => write!(out, "Status process (pid:{pid}) {ended}"),
            Note::Foreign { pid } => write!(out, "Reaped foreign process (pid:{pid})"),
            Note::Retiring { pid, reason } => write!(out, "Retiring worker (pid:{pid}): {reason}"),
            Note::Replacing { pid, reason } => write!(out, "Replacing worker (pid:{pid}): {reason}"),
            Note::Outlived { pid } => write!(out, "Worker (pid:{pid}) did not stop in time: killing it"),
            Note::BootTimeout { pid, after } => {
                write!(out, "WORKER BOOT TIMEOUT (pid:{pid}): not serving after {} s", after.as_secs_f32())
            }
            Note::GivenUp { pid, thread } => {
                write!(out, "Worker (pid:{pid}) is given up: the request in thread {thread} did not end")
            }
            Note::Died { .. } | Note::Gone { .. } | Note::BackingOff { .. } | Note::ForkFailed => {
                self.fmt_death(out)
            }
            Note::MoldForked { .. }
            | Note::MoldReady { .. }
            | Note::MoldDied { .. }
            | Note::MoldGone { .. }
            | Note::MoldBootTimeout { .. }
            | Note::MoldSilent { .. }
            | Note::MoldBackingOff { .. } => self.fmt_mold(out),
            Note::Upgrading { .. }
            | Note::UpgradeFailed
            | Note::UpgradeEnded { .. }
            | Note::Promoted
            | Note::HangUp
            | Note::ReloadQueued
            | Note::ReloadRejected
            | Note::ReloadFailed { .. }
            | Note::ReloadAdopted { .. }
            | Note::ReloadComplete { .. } => self.fmt_change(out),
            Note::BootFailed { app: true } => out.write_str("App failed to load."),
            Note::BootFailed { app: false } => out.write_str("Worker failed to boot."),
            Note::QuickShutdown => out.write_str("Quick shutdown requested"),
            Note::StoppingWorkers => out.write_str("graceful stop of workers"),
            Note::ShuttingDown { .. } => out.write_str("Shutting down: Master"),
        }
    }
}

impl Note {
    fn fmt_death(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Died { pid, ended, booting } => {
                write!(out, "Worker (pid:{pid}) {ended}")?;
                if *ended == Ended::Signal(Signal::Kill.number()) {
                    // Ours are told apart, so this one came from outside.
                    out.write_str(" Perhaps out of memory?")?;
                }
                out.write_str(if *booting { " It had not booted." } else { "" })
            }
            Note::Gone { pid, ended, killed: Some(reason) } => {
                write!(out, "Worker (pid:{pid}) {ended} The master killed it: {reason}.")
            }
            Note::Gone { pid, ended, killed: None } => write!(out, "Worker (pid:{pid}) {ended}"),
            Note::BackingOff { failures, wait } => write!(
                out,
                "{failures} workers in a row died young: the next one starts in {} s",
                wait.as_secs_f32()
            ),
            _ => out.write_str("A worker could not be forked"),
        }
    }

    fn fmt_mold(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::MoldForked { pid, generation } => {
                write!(out, "Forked mold (pid:{pid}), generation {generation}")
            }
            Note::MoldReady { pid, generation } => {
                write!(out, "Mold (pid:{pid}) has loaded the application, generation {generation}")
            }
            Note::MoldDied { pid, ended, booting: true } => {
                write!(out, "Mold (pid:{pid}) {ended} It had not loaded the application.")
            }
            Note::MoldDied { pid, ended, booting: false } => {
                write!(out, "Mold (pid:{pid}) {ended} Its workers are not affected.")
            }
            Note::MoldBootTimeout { pid, after } => write!(
                out,
                "MOLD BOOT TIMEOUT (pid:{pid}): the application is not loaded after {} s",
                after.as_secs_f32()
            ),
            Note::MoldSilent { pid } => {
                write!(out, "Mold (pid:{pid}) does not fork the worker it was asked for: killing it")
            }
            Note::MoldBackingOff { failures, wait } => {
                write!(out, "{failures} molds in a row died: the next one starts in {} s", wait.as_secs_f32())
            }
            Note::MoldGone { pid, ended } => write!(out, "Mold (pid:{pid}) {ended}"),
            _ => Ok(()),
        }
    }

    fn fmt_change(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::HangUp => out.write_str("Hang up: Master"),
            Note::ReloadQueued => out.write_str("A reload is running: another one follows it"),
            Note::ReloadRejected => out.write_str("Reload refused: the running configuration stays in force"),
            Note::ReloadFailed { generation } => write!(
                out,
                "Reload failed: no worker of generation {generation} came up. The running generation goes on serving"
            ),
            Note::ReloadAdopted { generation } => {
                write!(out, "Generation {generation} serves: replacing the older workers")
            }
            Note::ReloadComplete { generation } => {
                write!(out, "Reload complete: all workers are of generation {generation}")
            }
            Note::Upgrading { pid } => write!(out, "New master started with pid: {pid}"),
            Note::UpgradeEnded { pid, ended } => write!(out, "New master (pid:{pid}) {ended}"),
            Note::Promoted => out.write_str("Master has been promoted."),
            _ => out.write_str("The new master could not be started"),
        }
    }
}
