//! What did the operator ask for, and where did each value come from?
//!
//! Pure: it parses and validates shape, and opens no socket, looks up no user and runs no Python.
//!
//! Invariants:
//! 1. Everything known about a setting is in its row of the table.
//! 2. Each value carries its origin, and every complaint names it.

pub mod address;
pub mod compat;
pub mod error;
pub mod exit;
pub mod fields;
mod head_limits;
pub mod kinds;
pub mod log_address;
pub mod origin;
pub mod raw;
pub mod reload;
pub mod resolve;
pub mod setting;
pub mod sheet;
pub mod sources;
pub mod suggest;
pub mod table;
pub mod target;
pub mod toml_file;
pub mod types;
pub mod units;
pub mod value;

pub use error::ConfigError;
pub use origin::Origin;
pub use resolve::Config;
pub use target::AppTarget;
pub use types::{BindAddress, HeaderMap, LogLevel, LogTarget, Networks, ProxyProtocol, WorkerClass};
