//! How is it said in CPython? The only room that knows pyo3; it implements the door.
//!
//! Must not know: worker, master, sockets, tokens, timers, signal numbers.
//!
//! The safe API serves everywhere but on the request path (`environ`, `start_response`,
//! `iterable`), where the raw C API costs a third of the instructions.
#![allow(unsafe_code)]

mod app;
mod blocks;
mod client;
mod compat;
mod conf_py;
mod environ;
mod errors;
mod exchange;
mod file_region;
mod given;
mod guests;
mod hooks;
mod iterable;
mod keys;
mod logger;
#[cfg(feature = "measure")]
mod measure;
mod module;
mod object;
mod observer;
mod parked;
mod program;
mod runtime;
mod start_response;
mod support;
mod tls;
mod watch;

pub use program::{lend, lend_titles, of as program};
pub use runtime::PyRuntime;
