//! Which number does a process of rwsgi end with? The one place that says so.
//!
//! Must not know: who ends, or why.
//!
//! Invariants:
//! 1. The numbers are Gunicorn's; scripts and unit files test for them.

/// All went well.
pub const OK: u8 = 0;
/// The configuration is wrong, or an address could not be bound.
pub const CONFIGURATION: u8 = 1;
/// The command line could not be understood.
pub const USAGE: u8 = 2;
/// A worker failed to boot.
pub const BOOT: u8 = 3;
/// The application could not be loaded.
pub const APP: u8 = 4;
