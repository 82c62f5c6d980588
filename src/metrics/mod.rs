//! What do the processes tell each other and the operator about their state?
//!
//! [`scoreboard`] is the shared page per worker with its [`counters`], [`ledger`] the master's,
//! [`seat`] what a worker is born with. [`report`] is all of that at one moment, and
//! [`exposition`] how monitoring reads it. Imports only the kernel's room, so
//! that master, worker and status process can all stand on it.

pub mod counters;
pub mod exposition;
pub mod ledger;
pub mod report;
pub mod scoreboard;
pub mod seat;
pub mod statsd;
