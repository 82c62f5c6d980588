//! What does a worker need to know from the configuration?
//!
//! Built by the composition root. Must not know setting names or where a value came from.
//! Immutable; each generation of workers is born with its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::door::{AppSpec, Hooks};
use crate::http::forwarded::{AddrSet, SchemeHeader};
use crate::http::limits::{Limits, Policy};
use crate::http::proxy_protocol::Mode;
use crate::log::AccessSettings;
use crate::metrics::statsd::StatsdSettings;

/// What is watched for changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// How.
    pub engine: Engine,
    /// Files and patterns beside the code.
    pub extra: Vec<String>,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// By the kernel, or else by looking.
    Auto,
    /// By looking again and again.
    Poll,
    /// By the kernel.
    Inotify,
}

/// What trusted peers are believed about their clients, apart from the scheme. Each has to be
/// asked for: a proxy that does not set a field itself passes on what its client made up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Where the client's address is said.
    pub client: Said,
    /// Where the host it asked for is said.
    pub host: Said,
    /// X-Forwarded-Port is believed.
    pub port: bool,
    /// X-Forwarded-Prefix is believed.
    pub prefix: bool,
}

impl Forwarding {
    /// Whether anything is.
    pub fn is_any(&self) -> bool {
        *self != Forwarding::default()
    }
}

/// Where a trusted peer says something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Said {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In an `X-Forwarded-` field of its own.
    Own,
    /// In RFC 7239's Forwarded.
    Forwarded,
}

/// Everything a worker needs.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The application.
    pub app: AppSpec,
    /// Threads that may be inside the application at once; at least 1.
    pub threads: usize,
    /// Most connections kept open.
    pub connections: usize,
    /// Requests after which the worker asks to be replaced.
    pub max_requests: Option<u64>,
    /// Connections are accepted once they say something.
    pub defer_accept: bool,
    /// Time an idle connection is kept; `None`: connections are closed after each response.
    pub keepalive: Option<Duration>,
    /// Requests after which a connection is closed.
    pub keepalive_requests: Option<u64>,
    /// Time for a whole request head, from the connection's beginning or its first byte.
    pub header_timeout: Option<Duration>,
    /// Time between two pieces of a request body.
    pub body_timeout: Option<Duration>,
    /// Bytes per second a request body has to arrive with, on average.
    pub body_min_rate: Option<u64>,
    /// Time a client may take nothing of a reply.
    pub write_timeout: Option<Duration>,
    /// Time a refused client is listened to, so that it can read why.
    pub linger_timeout: Duration,
    /// Time to finish everything once asked to stop.
    pub graceful_timeout: Duration,
    /// Bytes of a request body kept in memory.
    pub spool_threshold: usize,
    /// Where temporary files go, if not to the system's place.
    pub spool_dir: Option<PathBuf>,
    /// Bytes of a reply queued before the application waits.
    pub high_water: usize,
    /// Budgets of a request.
    pub limits: Limits,
    /// What is tolerated.
    pub policy: Policy,
    /// Peers whose forwarding fields are believed.
    pub trusted: AddrSet,
    /// Fields by which they say https.
    pub scheme_headers: Vec<SchemeHeader>,
    /// What else they are believed.
    pub forwarding: Forwarding,
    /// Mount prefix unless a trusted peer says another.
    pub script_name: String,
    /// Whether connections begin with a PROXY header.
    pub proxy: Option<Mode>,
    /// Peers that may send one.
    pub proxy_allowed: AddrSet,
    /// The Server header's value; empty: none.
    pub server_header: Vec<u8>,
    /// The operator's functions, if there are any.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// The access log.
    pub access: Option<AccessSettings>,
    /// Who is told of each request.
    pub statsd: Option<StatsdSettings>,
    /// What is watched for changes, in development.
    pub reload: Option<Watch>,
    /// Requests have ids, told to the application, the client and the log.
    pub request_id: bool,
    /// Requests that take longer are told to the error log, with where their time went.
    pub slow_request: Option<Duration>,
}
