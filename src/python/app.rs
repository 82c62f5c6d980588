//! How does one exchange run in Python? The application is called, its iterable is taken block by
//! block, and closed exactly once (PEP 3333, "The Server/Gateway Side").
//!
//! Must not know: connections, timers; when to stop is said by the sink.
//!
//! Invariants:
//! 1. Every way out of [`PyApp::call`] and [`PyReply::resume`] that ends the exchange goes through
//!    `finish`: the iterable is closed, `start_response` is cut off, the state goes back to the pool.
//! 2. The pool's lock is never held while Python code can run.
//! 3. No Python exception is pending between two calls from the worker.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::client;
use super::environ::{Constants, Environs};
use super::errors;
use super::exchange::Shared;
use super::file_region;
use super::guests::Inside;
use super::iterable::{Block, Source};
use super::object::Owned;
use super::observer::{Observed, Observer, logged};
use super::parked::PyReply;
use super::runtime;
use super::start_response::{Starter, StarterType};
use super::support::{self, Support};
use crate::door::{App, AppSpec, Exchange, Flow, LoadFailure, Refused, Sink, Step};
use crate::log;

/// Blocks from this size on are handed over with the interpreter given back.
const LARGE: usize = 16 * 1024;

/// A loaded application with everything its exchanges need.
pub(super) struct PyApp(pub(super) Arc<Inner>);

/// What all exchanges of a process share.
pub(super) struct Inner {
    pub(super) callable: Owned,
    pub(super) support: Arc<Support>,
    pub(super) constants: Constants,
    pub(super) starter: StarterType,
    pub(super) spec: AppSpec,
    /// Made in the process that serves, for that process.
    pub(super) observer: OnceLock<Observer>,
    pub(super) pool: Mutex<Pool>,
}

/// What exchanges leave for those that follow.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "moved twice for each request: a pointer is cheaper than the state")]
pub(super) struct Pool {
    /// As many as `environs`: those of a crowd whose replies were parked are not kept.
    running: Vec<Box<Running>>,
    /// As many as were ever needed at once, which is one for each thread: a reply that is parked
    /// needs none, and there may be thousands of them.
    environs: Vec<Box<Environs>>,
}

/// One exchange's state; pooled, because its buffers and caches are worth keeping.
pub(super) struct Running {
    /// From the beginning until the reply is over or parked.
    environs: Option<Box<Environs>>,
    pub(super) shared: Box<Shared>,
    /// The pair that is called, or that nobody kept of the exchange before.
    starter: Option<Starter>,
    environ: Option<Owned>,
    iterable: Option<Owned>,
    source: Source,
    /// A block of which the sink took only the first bytes.
    pending: Option<(Block, usize)>,
    /// What the observer has to be told at the end.
    observed: Option<Observed>,
    request: String,
}

/// How far `drive` came.
pub(super) enum Driven {
    Done,
    Parked,
    Failed,
}

impl Inner {
    fn take(&self) -> Box<Running> {
        let (pooled, environs) = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            (pool.running.pop(), pool.environs.pop())
        };
        let mut running = pooled.unwrap_or_else(|| {
            Box::new(Running {
                environs: None,
                shared: Box::new(Shared::new()),
                starter: None,
                environ: None,
                iterable: None,
                source: Source::None,
                pending: None,
                observed: None,
                request: String::new(),
            })
        });
        running.environs = environs;
        running
    }

    /// Keeps what the next exchange can use. Whatever is not kept is dropped attached.
    pub(super) fn give_back(&self, _py: Python<'_>, mut running: Box<Running>) {
        let environs = running.environs.take();
        // Where the application kept the pair, a thread of its own may still be inside of it, and
        // come back to what it points at.
        let kept = running.starter.is_none();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.environs.extend(environs);
        if kept || pool.running.len() < pool.environs.len() {
            pool.running.push(running);
        } else {
            // Dropping it may run Python.
            drop(pool);
        }
    }

    /// Takes from an exchange what it does not need while it is parked.
    fn lighten(&self, running: &mut Running) {
        let environs = running.environs.take();
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).environs.extend(environs);
    }
}

impl App for PyApp {
    fn refused(&self, refused: &Refused<'_>) {
        if let Some(observer) = self.0.observer.get() {
            observer.refused(&self.0.support, refused);
        }
    }

    fn settle(&self) -> Result<(), LoadFailure> {
        Python::attach(|py| {
            let found = Observer::find(py, &self.0.callable.bind(py));
            if let Some(observer) = found.map_err(|error| runtime::broken(&error))? {
                // Settled twice it keeps the first, which is the same.
                let _ = self.0.observer.set(observer);
            }
            Ok(())
        })
    }

    fn call(&self, exchange: &mut Exchange<'_>, out: &mut dyn Sink) -> Step {
        Python::attach(|py| {
            let _inside = Inside::enter(py, exchange.thread);
            let mut running = self.0.take();
            // SAFETY: `out` outlives this scope, which shuts the sink off before it ends, and is
            // not used here but through `shared`.
            unsafe { running.shared.open(out) };
            // SAFETY: `shared` is alive until `finish`, which has the thread leave before.
            let _entered = unsafe { client::enter(&running.shared) };
            let driven = match self.begin(py, &mut running, exchange) {
                Ok(()) => running.pump(py).unwrap_or_else(|error| {
                    running.name(exchange);
                    running.failed(py, &self.0, &error)
                }),
                Err(error) => running.failed(py, &self.0, &error),
            };
            match driven {
                Driven::Done => {
                    running.finish(py, &self.0, &driven);
                    self.0.give_back(py, running);
                    Step::Done
                }
                Driven::Failed => {
                    running.finish(py, &self.0, &driven);
                    self.0.give_back(py, running);
                    Step::Failed
                }
                Driven::Parked => {
                    running.shared.shut(py);
                    running.name(exchange);
                    self.0.lighten(&mut running);
                    Step::Parked(Box::new(PyReply::new(running, Arc::clone(&self.0))))
                }
            }
        })
    }
}

/// A child the application forked has come back from it. It holds the worker's connections, its
/// listeners and its epoll: whatever it did from here on would be done twice.
fn end_stray(request: &str) -> ! {
    tracing::error!(
        "Error handling request {request}: the application forked, and its child (pid: {}) came back; \
         ended it. A child of os.fork has to end with os._exit",
        std::process::id()
    );
    // SAFETY: ends the process without running anything of the worker's.
    unsafe { libc::_exit(70) }
}

impl PyApp {
    /// Environ, the call, and the iterable it returned.
    fn begin(&self, py: Python<'_>, running: &mut Running, exchange: &mut Exchange<'_>) -> PyResult<()> {
        let inner = &*self.0;
        if let Some(observer) = inner.observer.get() {
            let observed = observer.begin(py, exchange);
            running.observed = Some(observed.inspect_err(|_| running.name(exchange))?);
        }
        let environs = running.environs.get_or_insert_with(|| Box::new(Environs::new()));
        let built = environs.build(py, &inner.constants, &inner.support, exchange);
        let environ = built.inspect_err(|_| running.name(exchange))?;
        if let (Some(observer), Some(observed)) = (inner.observer.get(), &mut running.observed) {
            observer.built(py, observed, &environ).inspect_err(|_| running.name(exchange))?;
        }
        let starter = match running.starter.take() {
            Some(starter) => starter,
            // SAFETY: `shared` is boxed in `running`, and `finish` releases the starter.
            None => unsafe { inner.starter.make(py, &running.shared)? },
        };
        if !inner.spec.log_environ.is_empty() {
            running.environ = Some(environ.another(py));
        }
        // SAFETY: two valid arguments and the terminating NULL; attached.
        let result = unsafe {
            Owned::steal(ffi::PyObject_CallFunctionObjArgs(
                inner.callable.as_ptr(),
                environ.as_ptr(),
                starter.as_ptr(),
                std::ptr::null_mut::<ffi::PyObject>(),
            ))
        };
        running.starter = Some(starter);
        if support::is_stray() {
            running.name(exchange);
            end_stray(&running.request);
        }
        let Some(result) = result else {
            running.name(exchange);
            return Err(PyErr::fetch(py));
        };
        let taken = running.take_result(py, inner, result);
        taken.inspect_err(|_| running.name(exchange))?;
        if !matches!(running.source, Source::List { .. } | Source::None) {
            running.name(exchange);
        }
        Ok(())
    }
}

impl Running {
    /// "METHOD target" for the log; kept for exchanges that can fail later.
    fn name(&mut self, exchange: &Exchange<'_>) {
        let (head, bytes) = (exchange.head, exchange.bytes);
        self.request.clear();
        self.request.push_str(&String::from_utf8_lossy(head.method.of(bytes)));
        self.request.push(' ');
        self.request.push_str(&log::escape(head.target.of(bytes)).to_string());
    }

    /// Looks at what the application returned and says where the blocks come from.
    fn take_result(&mut self, py: Python<'_>, inner: &Inner, result: Owned) -> PyResult<()> {
        let kind = Source::of(py, inner.support.file_wrapper.as_ptr(), &result);
        let source = match kind {
            Ok(Source::File) => self.send_file(py, inner, &result),
            other => other,
        };
        self.iterable = Some(result);
        self.source = source?;
        Ok(())
    }

    /// Hands a wrapped regular file to the sink, or falls back to reading it.
    fn send_file(&mut self, py: Python<'_>, inner: &Inner, wrapper: &Owned) -> PyResult<Source> {
        let region = match inner.spec.sendfile && self.shared.started.get() {
            true => file_region::find(py, &inner.support, wrapper)?,
            false => None,
        };
        let Some((file, offset, len)) = region else {
            return Source::iterate(py, wrapper);
        };
        let declared = self.shared.response.borrow().content_length();
        let sent = self.shared.with_sink(py, |sink| {
            if sink.head_sent() {
                return Ok(false);
            }
            self.shared.send_head(sink, Some(len))?;
            if len > 0 {
                let len = declared.map_or(len, |declared| declared.min(len));
                sink.file(file, offset, len);
                self.shared.count(len);
            }
            Ok::<_, PyErr>(true)
        });
        match sent {
            Ok(Err(error)) => Err(error),
            Ok(Ok(true)) => Ok(Source::None),
            // write() was called before: the wrapper's blocks follow what it sent.
            _ => Source::iterate(py, wrapper),
        }
    }

    /// Moves blocks from the source to the sink until one of them has enough.
    pub(super) fn drive(&mut self, py: Python<'_>, inner: &Inner) -> Driven {
        match self.pump(py) {
            Ok(driven) => driven,
            Err(error) => self.failed(py, inner, &error),
        }
    }

    fn pump(&mut self, py: Python<'_>) -> PyResult<Driven> {
        let coalesce = matches!(self.source, Source::List { .. });
        let length = self.source.total(py)?;
        loop {
            let (block, offset) = match self.pending.take() {
                Some(pending) => pending,
                None => match self.source.next(py)? {
                    Some(block) => (block, 0),
                    None => return self.complete(py),
                },
            };
            if support::is_stray() {
                end_stray(&self.request);
            }
            self.must_have_started()?;
            let bytes = &block.bytes()[offset..];
            let flow = self.shared.with_sink(py, |sink| {
                self.shared.send_head(sink, length)?;
                // A write never waits. For a small one the interpreter is not given back: taking it
                // again costs more, and with busy threads beside it, a whole switch interval.
                Ok::<_, PyErr>(match bytes.len() < LARGE {
                    true => sink.block(bytes, !coalesce),
                    false => py.detach(|| sink.block(bytes, !coalesce)),
                })
            });
            match flow.unwrap_or(Ok(Flow::Gone))? {
                Flow::More => self.shared.count(bytes.len() as u64),
                Flow::Full { taken } => {
                    self.shared.count(taken as u64);
                    if taken < bytes.len() {
                        self.pending = Some((block, offset + taken));
                    }
                    return Ok(Driven::Parked);
                }
                Flow::Gone => return Ok(Driven::Done),
            }
        }
    }

    fn must_have_started(&self) -> PyResult<()> {
        match self.shared.started.get() {
            true => Ok(()),
            false => Err(PyTypeError::new_err(
                "the application did not call start_response before its first block (PEP 3333)",
            )),
        }
    }

    /// The source is exhausted.
    fn complete(&mut self, py: Python<'_>) -> PyResult<Driven> {
        self.must_have_started()?;
        let lazily = self.source.is_lazy();
        let ended = self.shared.with_sink(py, |sink| {
            self.shared.send_head(sink, Some(0))?;
            if lazily {
                sink.end();
            }
            Ok::<_, PyErr>(())
        });
        ended.unwrap_or(Ok(()))?;
        Ok(Driven::Done)
    }

    fn failed(&mut self, py: Python<'_>, inner: &Inner, error: &PyErr) -> Driven {
        // How flask-sock says to Gunicorn that the connection is no longer its business.
        if self.shared.taken.get() && error.is_instance_of::<PyStopIteration>(py) {
            return Driven::Done;
        }
        if self.shared.gone.get() {
            tracing::debug!("Client went away during {}", self.request);
            return Driven::Done;
        }
        if error.is_instance(py, &inner.support.request_timeout.bind(py)) {
            tracing::info!("Ended by its deadline: {}", self.request);
            if let Some(observed) = &mut self.observed {
                observed.overdue();
            }
            return Driven::Failed;
        }
        errors::request_failed(py, &inner.support, &self.request, error);
        Driven::Failed
    }

    /// Ends the exchange: closes the iterable and cuts everything off.
    pub(super) fn finish(&mut self, py: Python<'_>, inner: &Inner, driven: &Driven) {
        self.pending = None;
        let source = std::mem::replace(&mut self.source, Source::None);
        if let Some(iterable) = self.iterable.take()
            && let Err(error) = source.close(py, &iterable)
        {
            errors::request_failed(py, &inner.support, &format!("{} (in close())", self.request), &error);
        }
        if let Some(observed) = self.observed.take() {
            self.tell(py, inner, &observed, driven);
        }
        if let Some(environ) = self.environ.take() {
            let values = logged(py, &inner.spec, &environ);
            let _ = self.shared.with_sink(py, |sink| sink.logged_environ(values));
        }
        self.starter = self.starter.take().and_then(|starter| starter.release(py));
        client::leave();
        self.shared.reset(py);
        inner.support.flush_errors(py);
    }
}

impl Running {
    /// Tells the observer, once the reply is on its way.
    #[cold]
    fn tell(&self, py: Python<'_>, inner: &Inner, observed: &Observed, driven: &Driven) {
        let Some(observer) = inner.observer.get() else { return };
        let sent = self.shared.with_sink(py, |sink| {
            if matches!(driven, Driven::Done) {
                py.detach(|| sink.deliver());
            }
            sink.head_sent()
        });
        let failed = matches!(driven, Driven::Failed) && !sent.unwrap_or(true);
        observer.end(py, &inner.support, observed, &self.shared, failed);
    }
}
