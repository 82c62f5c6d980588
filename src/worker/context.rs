//! What do all threads of a worker share that does not change, or only counts?
//!
//! Must not know: which connections there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::courier::Courier;
use super::refuse::Complaints;
use super::reply::KeptFields;
use super::settings::WorkerSettings;
use super::spool::Spool;
use crate::door::{App, Runtime};
use crate::http::response::ResponseHead;
use crate::log::AccessLog;
use crate::metrics::scoreboard::Row;
use crate::metrics::seat::Bell;
use crate::metrics::statsd::Statsd;
use crate::system::clock::{now_ms, now_ns};
use crate::system::signals::{Signal, Signals};

/// Shared by the threads of a worker.
pub struct Context {
    /// The configuration.
    pub settings: WorkerSettings,
    /// The interpreter.
    pub runtime: Arc<dyn Runtime>,
    /// The application.
    pub app: Arc<dyn App>,
    /// Temporary files.
    pub spool: Spool,
    /// The access log, if there is one.
    pub access: Option<AccessLog>,
    /// Sends blocks while the application makes the next ones.
    pub courier: Arc<Courier>,
    /// Who is told of each request, if anybody is.
    pub statsd: Option<Statsd>,
    /// Lets lines about peers into the log, a few at a time.
    pub complaints: Complaints,
    /// This worker's row on the scoreboard.
    pub row: Row,
    /// The way to the master.
    pub bell: Bell,
    /// What the master says.
    pub signals: Signals,
    /// No further request is read from any connection after the one at hand.
    pub draining: AtomicBool,
    requests: AtomicU64,
    /// Somebody wants to know how long the application took.
    timed: bool,
}

impl Context {
    /// Puts the parts together.
    pub fn new(
        settings: WorkerSettings,
        runtime: Arc<dyn Runtime>,
        app: Arc<dyn App>,
        access: Option<AccessLog>,
        row: Row,
        bell: Bell,
        signals: Signals,
    ) -> Self {
        let spool = Spool::new(settings.spool_dir.clone());
        let draining = AtomicBool::new(false);
        let statsd = settings.statsd.as_ref().map(Statsd::open);
        let (complaints, requests) = (Complaints::default(), AtomicU64::new(0));
        let timed = settings.slow_request.is_some() || access.as_ref().is_some_and(AccessLog::wants_phases);
        Context {
            timed,
            settings,
            runtime,
            app,
            spool,
            access,
            courier: Arc::default(),
            statsd,
            complaints,
            row,
            bell,
            signals,
            draining,
            requests,
        }
    }

    /// The application got on with the request of `thread`.
    pub fn progress(&self, thread: usize) {
        self.row.progress(thread, now_ms());
    }

    /// Nanoseconds on the monotonic clock, where phases are measured; else 0.
    pub fn clock_ns(&self) -> u64 {
        if self.timed { now_ns() } else { 0 }
    }

    /// Nanoseconds since `since`, where phases are measured; else 0.
    pub fn spent_since(&self, since: u64) -> u64 {
        self.clock_ns().saturating_sub(since)
    }

    /// Whether connections are to be closed after the response at hand: a drain has begun, or the
    /// order for it has arrived and waits until this thread is done.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.signals.has_arrived(Signal::Term)
    }

    /// One more request is served. At max_requests the master is asked for a successor; until it
    /// serves, this worker goes on.
    pub fn count_request(&self) {
        let Some(most) = self.settings.max_requests else { return };
        if self.requests.fetch_add(1, Ordering::Relaxed) + 1 == most {
            tracing::info!("Autorestarting worker after current request.");
            self.row.set_wants_retire();
            if let Err(error) = self.bell.look() {
                tracing::warn!("Cannot ask the master for a successor: {error}");
            }
        }
    }

    /// Keeps the response fields the access log will ask for.
    pub fn note_fields(&self, head: &ResponseHead, kept: &mut KeptFields) {
        let Some(access) = &self.access else { return };
        let wanted = &access.needs().response_fields;
        if wanted.is_empty() {
            return;
        }
        kept.clear();
        for (name, value) in head.fields() {
            if wanted.iter().any(|want| want.as_bytes().eq_ignore_ascii_case(name)) {
                kept.push((name.into(), value.into()));
            }
        }
        if wanted.iter().any(|want| want == "content-length")
            && let Some(length) = head.content_length()
        {
            kept.push(((*b"content-length").into(), length.to_string().into_bytes().into()));
        }
    }
}
