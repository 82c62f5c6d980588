//! How does an event become a line of the error log?
//!
//! `[2026-11-20 02:48:10 +0000] [PID] [INFO] message`, Gunicorn's. An event is whatever `tracing`'s
//! macros are called with; at ERROR with `critical = true` it is CRITICAL; `exception = true` says that it has a
//! traceback, for whoever counts. Other fields follow the message as ` name=value`. A message of several lines, a traceback, stays one event:
//! only its first line has a prefix.
//!
//! Must not know: who logs, and what about.
//!
//! Invariants:
//! 1. A line is written by its caller, with write(2), at once: what was logged before a crash is
//!    there after it. No thread, no buffer.
//! 2. The one lock is held to copy or exchange a pointer, never while a system call runs; a
//!    process that was forked at just that moment goes without the lock rather than waiting.
//! 3. The process id is read for each line: the log outlives forks.
//! 4. A target that does not take a line within `PATIENCE` is not waited for again until it has
//!    taken one. What it did not take is counted.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::clock::{Zone, push_decimal};
use super::elsewhere;
use super::escape::{Text, push_escaped};
use super::level::Level;
use super::losses::{Lost, lost};
use super::output::{Output, piece_end};
use super::syslog::{Syslog, SyslogSettings};
use super::{LogError, Target};

/// What one line may wait for a slow target.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often a taken lock is looked at again. It is held for nanoseconds, or was forked as held.
const LOOKS: usize = 1000;

/// What the error log is to be.
#[derive(Debug, Clone)]
pub struct ErrorLog {
    /// Where it goes.
    pub target: Target,
    /// The least severe level that is written.
    pub level: Level,
    /// Who a file belongs to.
    pub owner: Owner,
    /// Standard output and error of the process go to the file, too.
    pub capture: bool,
    /// Lines go to syslog, too.
    pub syslog: Option<SyslogSettings>,
    /// Who is told of each line.
    pub tally: Option<Tally>,
}

impl ErrorLog {
    /// Lines of this level and above to this target, and nothing else.
    pub fn new(target: Target, level: Level) -> ErrorLog {
        ErrorLog { target, level, owner: Owner::default(), capture: false, syslog: None, tally: None }
    }
}

/// Who log files belong to: those who have to open them anew after they gave up their rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User id.
    pub user: Option<u32>,
    /// Group id.
    pub group: Option<u32>,
}

impl Owner {
    /// Gives the file to the owner. Who may not do that is the owner already, or will do without.
    fn take(self, file: &Output) {
        if self != Owner::default() {
            file.give_to(self.user, self.group);
        }
    }
}

/// Called with the level of each line, and whether it has a traceback.
#[derive(Clone)]
pub struct Tally(pub Arc<dyn Fn(Level, bool) + Send + Sync>);

impl fmt::Debug for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tally")
    }
}

/// Creates a log file for others to open, and gives it to its owner.
pub fn prepare(target: &Target, owner: Owner) -> Result<(), LogError> {
    if let Target::File(_) = target {
        owner.take(&Output::open(target)?);
    }
    Ok(())
}

static LOG: OnceLock<Arc<Writer>> = OnceLock::new();

/// Opens the error log and makes it the process's `tracing` subscriber. Called again (HUP), it
/// changes target and level; when the new target cannot be opened, all stays as it was.
pub fn init(settings: ErrorLog) -> Result<(), LogError> {
    let (target, level) = (settings.target.clone(), settings.level);
    if let Some(writer) = LOG.get() {
        writer.redirect(settings)?;
        set_level(level);
        return Ok(());
    }
    let writer = LOG.get_or_init(|| Arc::new(Writer::closed(level)));
    writer.redirect(settings)?;
    let subscriber = tracing_subscriber::registry().with(Lines(Arc::clone(writer)));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| LogError { target, error: io::Error::other(error) })
}

/// Opens the file anew, after it was moved away (USR1). On failure the old one stays in use.
pub fn reopen() -> Result<(), LogError> {
    elsewhere::reopen();
    LOG.get().map_or(Ok(()), |writer| writer.reopen())
}

/// Changes the least severe level that is written.
pub fn set_level(level: Level) {
    if let Some(writer) = LOG.get() {
        writer.level.store(level as u8, Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The least severe level that is written.
pub fn level() -> Level {
    LOG.get().map_or(Level::Info, |writer| writer.level())
}

/// Lines lost so far, in this process, because the target did not take them.
pub fn dropped() -> u64 {
    LOG.get().map_or(0, |writer| writer.dropped.load(Relaxed))
}

/// Writes text to the error log without a prefix: `wsgi.errors`. A missing line end is added.
pub fn plain(text: &str) {
    if let Some(writer) = LOG.get() {
        let mut line = Vec::with_capacity(text.len() + 1);
        push_text(&mut line, text);
        writer.put(line);
    }
}

/// Logs what ends the start. Whoever has started the server sees it, wherever the log goes.
pub fn fatal(text: &str) {
    tracing::error!(target: "rwsgi", "{text}");
    if !LOG.get().is_some_and(|writer| writer.is_on_stderr()) {
        // Nobody there to see it: nothing that could be done about that.
        let _ = writeln!(io::stderr().lock(), "rwsgi: {text}");
    }
}

/// An error log that is open, or once was.
#[derive(Debug)]
struct Writer {
    zone: Zone,
    level: AtomicU8,
    place: RwLock<Option<Place>>,
    /// The target let a line wait in vain.
    stuck: AtomicBool,
    /// The last thing written is the start of a line whose end was dropped.
    torn: AtomicBool,
    dropped: AtomicU64,
}

#[derive(Debug, Clone)]
struct Place {
    output: Arc<Output>,
    syslog: Option<Syslog>,
    settings: Arc<ErrorLog>,
}

impl Place {
    fn open(settings: ErrorLog) -> Result<Place, LogError> {
        let output = Output::open(&settings.target)?;
        if let Target::File(_) = settings.target {
            settings.owner.take(&output);
            if settings.capture
                && let Err(error) = output.capture_streams()
            {
                return Err(LogError { target: settings.target, error });
            }
        }
        let syslog = settings.syslog.clone().map(Syslog::open);
        Ok(Place { output: Arc::new(output), syslog, settings: Arc::new(settings) })
    }
}

impl Writer {
    fn closed(level: Level) -> Writer {
        Writer {
            zone: Zone::local(),
            level: AtomicU8::new(level as u8),
            place: RwLock::new(None),
            stuck: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }
    }

    fn level(&self) -> Level {
        Level::ALL[usize::from(self.level.load(Relaxed)).min(Level::ALL.len() - 1)]
    }

    fn reopen(&self) -> Result<(), LogError> {
        match self.place() {
            Some(place) if matches!(place.settings.target, Target::File(_)) => {
                self.redirect(ErrorLog::clone(&place.settings))
            }
            _ => Ok(()),
        }
    }

    fn redirect(&self, settings: ErrorLog) -> Result<(), LogError> {
        let target = settings.target.clone();
        let mut place = Some(Place::open(settings)?);
        for _ in 0..LOOKS {
            if let Ok(mut held) = self.place.try_write() {
                std::mem::swap(&mut *held, &mut place);
                self.stuck.store(false, Relaxed);
                self.torn.store(false, Relaxed);
                // `place`, now the old one, is closed after the lock is given back.
                drop(held);
                return Ok(());
            }
            thread::yield_now();
        }
        Err(LogError { target, error: io::ErrorKind::WouldBlock.into() })
    }

    fn place(&self) -> Option<Place> {
        for _ in 0..LOOKS {
            if let Ok(held) = self.place.try_read() {
                return held.clone();
            }
            thread::yield_now();
        }
        None
    }

    /// Whether its lines, or all of standard error, are seen by who looks at standard error.
    fn is_on_stderr(&self) -> bool {
        let settings = self.place().map(|place| place.settings);
        settings.is_some_and(|settings| settings.target == Target::Stderr || settings.capture)
    }

    fn lose(&self) {
        self.dropped.fetch_add(1, Relaxed);
        lost(Lost::Error, 1);
    }

    /// Writes one event, or counts it as dropped.
    fn put(&self, mut event: Vec<u8>) {
        let Some(Place { output, .. }) = self.place() else {
            self.lose();
            return;
        };
        if self.torn.swap(false, Relaxed) {
            event.insert(0, b'\n');
        }
        let mut deadline = None;
        let mut done = 0;
        while done < event.len() {
            let end = done + piece_end(&event[done..], output.piece());
            match output.write(&event[done..end]) {
                Ok(count) => {
                    self.stuck.store(false, Relaxed);
                    done += count;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && self.wait(&output, &mut deadline) => {}
                Err(_) => {
                    self.torn.store(done > 0 && event[done - 1] != b'\n', Relaxed);
                    self.lose();
                    return;
                }
            }
        }
    }

    /// Waits for a full target, once per time it gets stuck.
    fn wait(&self, output: &Output, deadline: &mut Option<Instant>) -> bool {
        let now = Instant::now();
        let deadline = *deadline.get_or_insert(now + PATIENCE);
        let waited = !self.stuck.load(Relaxed) && output.wait(deadline.saturating_duration_since(now));
        if !waited {
            self.stuck.store(true, Relaxed);
        }
        waited
    }

    /// Writes one event with its prefix.
    fn line(&self, level: Level, message: &[u8]) {
        let mut line = Vec::with_capacity(48 + message.len());
        self.prefix(&mut line, level);
        line.extend_from_slice(message);
        end_line(&mut line);
        self.put(line);
    }

    /// Hands an event on to syslog, where that is asked for.
    fn send_to_syslog(&self, event: &Parts) {
        if let Some(syslog) = self.place().and_then(|place| place.syslog)
            && let Err(complaint) = syslog.send(event.level, &event.message)
        {
            self.line(Level::Warning, complaint.as_bytes());
        }
    }

    /// Tells whoever counts of an event that was written, here or elsewhere.
    fn count(&self, event: &Parts) {
        if let Some(Tally(tell)) = self.place().and_then(|place| place.settings.tally.clone()) {
            tell(event.level, event.exception);
        }
    }

    fn prefix(&self, line: &mut Vec<u8>, level: Level) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        line.push(b'[');
        self.zone.push_iso(line, i64::try_from(now).unwrap_or(0));
        line.extend_from_slice(b"] [");
        push_decimal(line, process::id().into(), 1);
        line.extend_from_slice(b"] [");
        line.extend_from_slice(level.name().as_bytes());
        line.extend_from_slice(b"] ");
    }
}

/// The subscriber's side of a [`Writer`].
struct Lines(Arc<Writer>);

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= self.0.level().filter()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.level().filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut parts = Parts { level: Level::of(event.metadata()), ..Parts::default() };
        event.record(&mut parts);
        if parts.level < self.0.level() {
            return;
        }
        parts.message.append(&mut parts.fields);
        if !elsewhere::take(parts.level, &parts.message) {
            self.0.line(parts.level, &parts.message);
            self.0.send_to_syslog(&parts);
        }
        self.0.count(&parts);
    }
}

/// An event taken apart.
#[derive(Default)]
struct Parts {
    level: Level,
    message: Vec<u8>,
    fields: Vec<u8>,
    /// It has a traceback.
    exception: bool,
}

impl Parts {
    fn named(&mut self, field: &Field) {
        self.fields.push(b' ');
        self.fields.extend_from_slice(field.name().as_bytes());
        self.fields.push(b'=');
    }
}

impl Visit for Parts {
    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" if value && self.level == Level::Error => self.level = Level::Critical,
            "critical" => {}
            "exception" => self.exception = value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            return self.record_debug(field, &format_args!("{value}"));
        }
        self.named(field);
        push_escaped(&mut self.fields, value.as_bytes());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let out = if field.name() == "message" {
            &mut self.message
        } else {
            self.named(field);
            &mut self.fields
        };
        // An error here is the value's own; what it had written so far is kept.
        let _ = write!(Text(out), "{value:?}");
        let kept = out.trim_ascii_end().len();
        out.truncate(kept);
    }
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    // Writing to memory has no error.
    let _ = Text(line).write_str(text);
    end_line(line);
}

fn end_line(line: &mut Vec<u8>) {
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
}

#[cfg(test)]
#[path = "error_log_tests.rs"]
mod tests;
