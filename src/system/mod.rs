//! How is this asked of the kernel?
//!
//! Thin, safe wrappers, one noun each. Must not know what a worker or a request is, and holds
//! no policy: which signal means what, and who drops which privilege when, is decided above.
//!
//! Invariants:
//! 1. `unsafe` stands in [`raw`] only.
//! 2. Every descriptor made here is close-on-exec.

pub mod accept_queue;
pub mod clock;
pub mod daemon;
pub mod fds;
pub mod listener;
pub mod messenger;
pub mod orphans;
pub mod proctitle;
pub mod raw;
pub mod signals;
pub mod systemd;
pub mod tasks;
pub mod user;
pub mod watch;
