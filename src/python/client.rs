//! How does an application reach its client beside the reply? `gunicorn.socket`, for protocols that
//! take the connection over, and `wsgi.early_hints` (RFC 8297).
//!
//! Both stand in environ as one shared object each, so that a request that does not use them pays
//! for a dictionary entry and nothing else. Which request is meant follows from the thread. Only
//! requests that ask for an upgrade get a socket object of their own.
//!
//! Must not know: environ, iterables, sockets (a descriptor goes from the sink to Python).
//!
//! Invariants:
//! 1. A thread is inside one exchange from [`enter`] to [`leave`] or the end of [`Entered`], and
//!    the exchange's [`Shared`] is alive between.

use std::cell::Cell;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use super::exchange::Shared;
use super::object::Owned;
use super::start_response::fields;
use super::tls::TlsSession;
use crate::http::response::ResponseHead;

thread_local! {
    static CURRENT: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// The calling thread is inside an exchange as long as this lives.
pub(super) struct Entered(());

/// Enters an exchange.
///
/// # Safety
/// `shared` outlives the result or the next call of [`leave`]; the result stays with this thread.
pub(super) unsafe fn enter(shared: &Shared) -> Entered {
    CURRENT.set(shared);
    Entered(())
}

/// The exchange is over: what runs in this thread from here on is none of it.
pub(super) fn leave() {
    CURRENT.set(ptr::null());
}

impl Drop for Entered {
    fn drop(&mut self) {
        leave();
    }
}

/// Works on the exchange of the calling thread.
fn current<T>(what: &str, work: impl FnOnce(&Shared) -> PyResult<T>) -> PyResult<T> {
    // SAFETY: not null only inside `Entered`, whose maker promised that it is alive.
    match unsafe { CURRENT.get().as_ref() } {
        Some(shared) => work(shared),
        None => Err(PyRuntimeError::new_err(format!(
            "{what} can be used in the thread that runs the request, and until it is over"
        ))),
    }
}

fn busy() -> PyErr {
    PyRuntimeError::new_err("the reply is being sent just now")
}

/// `_client()`: the real socket of the request at hand, made when it is first asked for.
#[pyfunction]
pub(super) fn client(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    current("gunicorn.socket", |shared| {
        if let Some(socket) = shared.socket.borrow().as_ref() {
            return Ok(socket.bind(py).clone());
        }
        let (handle, session) =
            shared.with_sink(py, |sink| (sink.connection(), sink.session())).map_err(|_| busy())?;
        let handle = handle.map_err(PyOSError::new_err)?;
        let session = session.as_ref().and_then(|session| session.any().downcast_ref::<TlsSession>());
        let made = match session {
            Some(session) => session.socket(py, handle)?,
            None => plain(py, handle)?,
        };
        *shared.socket.borrow_mut() = Some(Owned::of(&made));
        Ok(made)
    })
}

/// `_secured()`: whether the client of the request at hand is spoken to in TLS; outside of one, no.
#[pyfunction]
pub(super) fn secured(py: Python<'_>) -> bool {
    let asked = current("gunicorn.socket", |shared| {
        shared.with_sink(py, |sink| sink.session().is_some()).map_err(|_| busy())
    });
    asked.unwrap_or(false)
}

/// Closes the application's handle at the end of its request, as Gunicorn does. Copies it made stay.
pub(super) fn close(py: Python<'_>, socket: &Owned) {
    if let Err(error) = socket.bind(py).call_method0("close") {
        tracing::debug!("Closing gunicorn.socket: {error}");
    }
}

fn plain(py: Python<'_>, handle: OwnedFd) -> PyResult<Bound<'_, PyAny>> {
    let make = py.import("socket")?.getattr("socket")?;
    let kwargs = pyo3::types::PyDict::new(py);
    kwargs.set_item("fileno", handle.as_raw_fd())?;
    // Given up as late as can be: what fails before closes it. From here on the object owns it.
    let _ = handle.into_raw_fd();
    make.call((), Some(&kwargs))
}

/// `_take_over()`: from now on the application talks to the client itself.
#[pyfunction]
pub(super) fn take_over(py: Python<'_>) -> PyResult<()> {
    current("gunicorn.socket", |shared| {
        if !shared.taken.replace(true) {
            shared.with_sink(py, |sink| sink.take_over()).map_err(|_| busy())?;
        }
        Ok(())
    })
}

/// `early_hints(headers)`: sends a 103 with these fields. After the reply has begun it does nothing.
#[pyfunction]
pub(super) fn early_hints(headers: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = headers.py();
    current("wsgi.early_hints", |shared| {
        let mut head = ResponseHead::new();
        head.start_interim();
        // SAFETY: a valid object, attached by the token.
        unsafe { fields(headers.as_ptr(), |name, value| head.field(name, value))? };
        if head.content_length().is_some() {
            return Err(PyValueError::new_err("a 103 has no Content-Length"));
        }
        shared.with_sink(py, |sink| sink.interim(&head)).map_err(|_| busy())
    })
}
