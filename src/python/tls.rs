//! How is TLS done? By the interpreter's own module `ssl`, over memory: no second TLS library is
//! brought along, and what a hook `ssl_context` returns keeps its full meaning.
//!
//! Must not know: sockets, HTTP, the configuration (`_rwsgi.tls` makes contexts).
//!
//! Invariants:
//! 1. The methods of the C object are called, not those around it that are Python: no bytecode of
//!    ours runs here into which an exception for the application could be raised.
//! 2. An OpenSSL session is used by one thread at a time. The worker sees to that as long as it has the
//!    connection; once the application has it, too, `Held` does.
//! 3. No exception is left pending.

use std::any::Any;
use std::fmt;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::compat;
use super::hooks::wrong;
use super::object::Kept;
use crate::door::{Next, Opened, Secure, Session, WrongHook};

/// Most plaintext asked for at once: a whole record.
const RECORD: usize = 16 * 1024;

/// What sessions are made of.
pub(super) struct Context {
    names: Arc<Names>,
    context: Kept,
    /// The end of a socket is taken for the end of its session.
    ragged: bool,
}

/// What the module `ssl` calls things.
struct Names {
    memory: Kept,
    wants: Kept,
    returned_zero: Kept,
    error: Kept,
}

/// Makes the context of a configuration, whose hooks (`_rwsgi.server.Hooks`) are `hooks`.
pub(super) fn secure(
    py: Python<'_>,
    hooks: &Bound<'_, PyAny>,
    directory: &std::path::Path,
) -> Result<Arc<dyn Secure>, WrongHook> {
    if let Err(error) = py.import("ssl") {
        let problem = format!(
            "TLS (certfile, keyfile or the hook ssl_context) needs the module ssl, which this Python cannot \
             import ({error}): run rwsgi with a Python that has it, or take these settings out"
        );
        return Err(WrongHook { name: String::new(), problem });
    }
    let made = || -> PyResult<Context> {
        let made = compat::module(py, "_rwsgi.tls")?.call_method1("secure", (hooks, directory))?;
        let ssl = py.import("ssl")?;
        let get = |name: &str| ssl.getattr(name).map(|object| Kept::new(&object));
        let names = Names {
            memory: get("MemoryBIO")?,
            wants: get("SSLWantReadError")?,
            returned_zero: get("SSLZeroReturnError")?,
            error: get("SSLError")?,
        };
        let ragged = hooks.getattr("cfg")?.getattr("suppress_ragged_eofs")?.is_truthy()?;
        Ok(Context { names: Arc::new(names), context: Kept::new(&made), ragged })
    };
    let context = made().map_err(|error| wrong(py, &error))?;
    Ok(Arc::new(context))
}

impl Secure for Context {
    fn session(&self) -> Result<Arc<dyn Session>, String> {
        Python::attach(|py| {
            let made = || -> PyResult<TlsSession> {
                let memory = self.names.memory.bind(py);
                let (incoming, outgoing) = (memory.call0()?, memory.call0()?);
                let kwargs = PyDict::new(py);
                kwargs.set_item("server_side", true)?;
                let whole =
                    self.context.bind(py).call_method("wrap_bio", (&incoming, &outgoing), Some(&kwargs))?;
                // Tests, or a class of the hook's, may have put something else there.
                let inner = whole.getattr("_sslobj").unwrap_or_else(|_| whole.clone());
                Ok(TlsSession {
                    names: Arc::clone(&self.names),
                    incoming: Kept::new(&incoming),
                    outgoing: Kept::new(&outgoing),
                    whole: Kept::new(&whole),
                    inner: Kept::new(&inner),
                    ragged: self.ragged,
                    established: AtomicBool::new(false),
                    lock: OnceLock::new(),
                })
            };
            let session = made().map_err(|error| describe(py, &error))?;
            Ok(Arc::new(session) as Arc<dyn Session>)
        })
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// A session of the module `ssl`.
pub(super) struct TlsSession {
    names: Arc<Names>,
    /// `ssl.MemoryBIO`s.
    incoming: Kept,
    outgoing: Kept,
    /// The `ssl.SSLObject`, which callbacks are given.
    whole: Kept,
    /// The C object inside.
    inner: Kept,
    ragged: bool,
    established: AtomicBool,
    /// What the application and the worker take turns by, once the application has the session, too.
    lock: OnceLock<Kept>,
}

/// The session is this thread's as long as this lives.
struct Held<'py>(Option<Bound<'py, PyAny>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(lock) = &self.0
            && let Err(error) = lock.call_method0("release")
        {
            tracing::error!("A TLS session is blocked: {error}");
        }
    }
}

impl TlsSession {
    fn hold<'py>(&self, py: Python<'py>) -> PyResult<Held<'py>> {
        let Some(lock) = self.lock.get() else { return Ok(Held(None)) };
        let lock = lock.bind(py);
        lock.call_method0("acquire")?;
        Ok(Held(Some(lock)))
    }

    /// A socket object for the application.
    pub(super) fn socket<'py>(&self, py: Python<'py>, handle: OwnedFd) -> PyResult<Bound<'py, PyAny>> {
        let lock = match self.lock.get() {
            Some(lock) => lock.bind(py),
            None => {
                let made = py.import("_thread")?.call_method0("allocate_lock")?;
                self.lock.get_or_init(|| Kept::new(&made)).bind(py)
            }
        };
        let [whole, inner, incoming, outgoing] =
            [&self.whole, &self.inner, &self.incoming, &self.outgoing].map(|kept| kept.bind(py));
        let make = compat::module(py, "_rwsgi.tls")?.getattr("Socket")?;
        // The object owns the descriptor from here on, so nothing that can fail comes between.
        let fileno = handle.into_raw_fd();
        make.call1((whole, inner, incoming, outgoing, lock, self.ragged, fileno))
    }

    /// What is to be sent.
    fn drain(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        let read = self.outgoing.bind(py).call_method0(pyo3::intern!(py, "read"))?;
        out.extend_from_slice(read.cast::<PyBytes>()?.as_bytes());
        Ok(())
    }

    fn shake_hands(&self, py: Python<'_>) -> PyResult<()> {
        if !self.established.load(Ordering::Relaxed) {
            self.inner.bind(py).call_method0(pyo3::intern!(py, "do_handshake"))?;
            self.established.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads into `buffer`; `None`: it is full.
    fn fill(&self, py: Python<'_>, buffer: &mut [u8], filled: &mut usize) -> PyResult<Option<Next>> {
        let inner = self.inner.bind(py);
        while *filled < buffer.len() {
            let room = (buffer.len() - *filled).min(RECORD);
            let read = inner.call_method1(pyo3::intern!(py, "read"), (room,))?;
            let bytes = read.cast::<PyBytes>()?.as_bytes();
            if bytes.is_empty() {
                return Ok(Some(Next::Ended));
            }
            buffer[*filled..*filled + bytes.len()].copy_from_slice(bytes);
            *filled += bytes.len();
            if !self.has_more(py)? {
                return Ok(Some(Next::Wants));
            }
        }
        Ok(None)
    }

    /// Whether there is anything to read from. Asking costs less than an exception that says there is not.
    fn has_more(&self, py: Python<'_>) -> PyResult<bool> {
        let waiting = self.incoming.bind(py).getattr(pyo3::intern!(py, "pending"))?.is_truthy()?;
        Ok(waiting || self.inner.bind(py).call_method0(pyo3::intern!(py, "pending"))?.is_truthy()?)
    }

    fn take(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        if !bytes.is_empty() {
            let incoming = self.incoming.bind(py);
            incoming.call_method1(pyo3::intern!(py, "write"), (PyBytes::new(py, bytes),))?;
        }
        Ok(())
    }

    /// How it goes on after an exception.
    fn next(&self, py: Python<'_>, error: &PyErr) -> Next {
        let is = |kind: &Kept| error.is_instance(py, &kind.bind(py));
        if is(&self.names.wants) {
            return Next::Wants;
        }
        if is(&self.names.returned_zero) {
            return Next::Ended;
        }
        let handshake = !self.established.load(Ordering::Relaxed);
        if !is(&self.names.error) {
            // A handler of a signal ran, or memory is short: which of them, the line says.
            tracing::error!("A TLS session was interrupted: {error}");
        }
        Next::Failed { handshake, reason: describe(py, error) }
    }
}

impl Session for TlsSession {
    fn open(&self, buffer: &mut [u8], came: usize, out: &mut Vec<u8>) -> Opened {
        Python::attach(|py| {
            let mut filled = 0;
            let mut read = || {
                let _held = self.hold(py)?;
                self.take(py, &buffer[..came])?;
                let read = self.shake_hands(py).and_then(|()| self.fill(py, buffer, &mut filled));
                // An alert has to leave whatever happened.
                self.drain(py, out)?;
                read
            };
            let next = match read() {
                Ok(next) => next.unwrap_or(Next::More),
                Err(error) => self.next(py, &error),
            };
            Opened { plaintext: filled, next }
        })
    }

    fn seal(&self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        Python::attach(|py| {
            let mut sealed = || -> PyResult<()> {
                let _held = self.hold(py)?;
                let mut rest = plaintext;
                while !rest.is_empty() {
                    let written = self
                        .inner
                        .bind(py)
                        .call_method1(pyo3::intern!(py, "write"), (PyBytes::new(py, rest),))?
                        .extract::<usize>()?;
                    rest = rest.get(written..).unwrap_or_default();
                }
                self.drain(py, out)
            };
            sealed().map_err(|error| describe(py, &error))
        })
    }

    fn close(&self, out: &mut Vec<u8>) {
        if !self.established.load(Ordering::Relaxed) {
            return;
        }
        Python::attach(|py| {
            let mut closed = || -> PyResult<()> {
                let _held = self.hold(py)?;
                // It wants the peer's word, too, and says so; ours is out by then.
                let _ = self.inner.bind(py).call_method0("shutdown");
                self.drain(py, out)
            };
            if let Err(error) = closed() {
                tracing::debug!("Closing a TLS session: {error}");
            }
        });
    }

    fn any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("established", &self.established).finish_non_exhaustive()
    }
}

/// What OpenSSL says, without the place in CPython's source.
fn describe(py: Python<'_>, error: &PyErr) -> String {
    let text = error.value(py).str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let text = text.split(" (_ssl.c").next().unwrap_or_default();
    if text.is_empty() { error.to_string() } else { crate::log::escape(text.as_bytes()).to_string() }
}
