//! Which types can a setting have once it has been understood?
//!
//! Must not know: how they are spelled, sockets, users, files.
//!
//! Invariants:
//! 1. Plain immutable values over std; a room that may not know `config` can be given their fields.

use std::net::IpAddr;
use std::path::PathBuf;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// A host name or address (IPv6 without brackets) and a port.
    Tcp {
        /// Name or address; not resolved.
        host: String,
        /// Port; 0 lets the kernel choose.
        port: u16,
    },
    /// A unix socket in the file system.
    Unix(PathBuf),
    /// A unix socket in Linux's abstract name space; the name without its leading NUL.
    Abstract(String),
    /// An inherited file descriptor.
    Fd(i32),
}

/// Which peers are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks {
    /// `*`: everybody.
    pub any: bool,
    /// Network address and prefix length; a single address has 32 or 128. No host bits are set.
    pub list: Vec<(IpAddr, u8)>,
}

/// Where a log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// The least severe error-log line that is written; in order of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Normal events.
    Info,
    /// Something an operator may want to look at.
    Warning,
    /// Something failed.
    Error,
    /// The service is at risk.
    Critical,
}

/// Which of Gunicorn's worker classes was asked for. rwsgi has one worker for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerClass {
    /// `sync`, the default.
    Sync,
    /// `gthread`: applications see `wsgi.multithread` true even with one thread.
    Gthread,
}

/// What becomes of a header field whose name contains an underscore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderMap {
    /// Left out of environ.
    Drop,
    /// The request is refused.
    Refuse,
    /// Let through: `a_b` and `a-b` look the same to the application.
    Dangerous,
}

/// Which field of a trusted proxy says something about its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedBy {
    /// None.
    Off,
    /// The `X-Forwarded-` field of that name.
    Own,
    /// RFC 7239's `Forwarded`.
    Standard,
}

/// Whether connections begin with a PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// Version 1 (text).
    V1,
    /// Version 2 (binary).
    V2,
    /// Either.
    Auto,
}

/// How changed files are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadEngine {
    /// By the kernel, where it does that.
    Auto,
    /// By looking again and again.
    Poll,
    /// By the kernel.
    Inotify,
}

/// A syslog facility (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(pub u8);

/// When a module `gunicorn` is provided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GunicornModule {
    /// Where there is none.
    #[default]
    Auto,
    /// Also in place of the real one.
    Always,
    /// Not at all.
    Never,
}
