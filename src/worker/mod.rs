//! Which connection is served next, and what has it sent and taken so far?
//!
//! A worker's life, in order: [`run`] boots it (signals, application, logs), tells the master,
//! serves until it is asked to end, and takes its leave. `crew` says which thread does what,
//! `hand` what a thread does with one connection, `run` how a request becomes a reply.
//!
//! Must not know: the master's plans, Python, settings by name, how long a body is.

mod accept;
mod access;
mod body;
mod boot;
mod conn;
mod context;
mod courier;
mod crew;
mod deadlines;
mod failure_page;
mod hand;
mod intake;
mod listeners;
mod marks;
mod orders;
mod output;
mod pace;
mod refuse;
mod reloader;
mod reply;
mod row;
mod run;
pub mod settings;
mod spool;
mod stamp;
mod tally;
mod threads;
mod timers;
mod tls;
mod transport;
mod trust;
mod watchdog;

pub use boot::{preload, run};
pub use settings::WorkerSettings;
