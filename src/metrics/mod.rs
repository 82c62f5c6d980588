//! What do the processes tell each other and the operator about their state?
//!
//! [`scoreboard`] is the shared page per worker, [`seat`] what a worker is born with. Imports
//! only the kernel's room, so that master and worker can both stand on it.

pub mod scoreboard;
pub mod seat;
pub mod statsd;
