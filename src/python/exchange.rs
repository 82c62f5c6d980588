//! What do the callables that an application holds share with the server while one request runs?
//!
//! `start_response` and `write` may be kept by the application for ever and called from anywhere,
//! so they reach this state through a pointer that is cut when the exchange is over.
//!
//! Must not know: environ, iterables.
//!
//! Invariants:
//! 1. Only shared references to a [`Shared`] exist; the interpreter lock serialises access to it.
//! 2. The sink is reachable from [`Shared::open`] to [`Shared::shut`], and by one user at a time.
//! 3. [`Shared::shut`] and [`Shared::reset`] return only when nobody uses the sink any more: a
//!    thread of the application may be inside `write()` with the interpreter given back.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::client;
use super::given::Given;
use super::object::Owned;
use crate::door::Sink;
use crate::http::response::ResponseHead;

/// The state of one exchange; reused for the next.
pub(super) struct Shared {
    /// What `start_response` said last.
    pub(super) response: RefCell<ResponseHead>,
    /// The objects it was given.
    pub(super) given: RefCell<Given>,
    /// `start_response` was called.
    pub(super) started: Cell<bool>,
    /// The client is gone: writing is in vain.
    pub(super) gone: Cell<bool>,
    /// The application talks to the client itself.
    pub(super) taken: Cell<bool>,
    /// The client's socket, once it was asked for.
    pub(super) socket: RefCell<Option<Owned>>,
    /// Bytes of the body handed over.
    pub(super) sent: Cell<u64>,
    sink: Cell<Option<NonNull<dyn Sink>>>,
    /// Somebody has taken the sink and will bring it back.
    busy: Cell<bool>,
    /// Which exchange this is: whoever waited for the sink of one must not get that of the next.
    number: Cell<u64>,
}

// SAFETY: used only with the interpreter attached, which one thread is at a time (invariant 1).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Ends the use of the sink, also by a panic.
struct BroughtBack<'a>(&'a Cell<bool>);

impl Drop for BroughtBack<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// The exchange is over, or its reply waits for the client.
pub(super) struct Unreachable;

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            response: RefCell::new(ResponseHead::default()),
            given: RefCell::new(Given::default()),
            started: Cell::new(false),
            gone: Cell::new(false),
            taken: Cell::new(false),
            socket: RefCell::new(None),
            sent: Cell::new(0),
            sink: Cell::new(None),
            busy: Cell::new(false),
            number: Cell::new(0),
        }
    }

    /// Makes the sink reachable.
    ///
    /// # Safety
    /// The sink outlives the call of [`Shared::shut`], and is used through `self` alone until then.
    pub(super) unsafe fn open(&self, sink: &mut (dyn Sink + '_)) {
        let sink: NonNull<dyn Sink + '_> = NonNull::from(sink);
        // SAFETY: only the lifetime changes; the caller answers for it.
        let sink =
            unsafe { std::mem::transmute::<NonNull<dyn Sink + '_>, NonNull<dyn Sink + 'static>>(sink) };
        self.sink.set(Some(sink));
    }

    /// Cuts the sink off.
    pub(super) fn shut(&self, py: Python<'_>) {
        self.await_sink(py);
        self.sink.set(None);
    }

    /// Lets whoever uses the sink finish. Sinks do not block, so this is short.
    fn await_sink(&self, py: Python<'_>) {
        while self.busy.get() {
            py.detach(|| std::thread::sleep(std::time::Duration::from_micros(50)));
        }
    }

    /// Uses the sink. While `work` runs, others wait, even if `work` gives the interpreter back.
    pub(super) fn with_sink<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut dyn Sink) -> T,
    ) -> Result<T, Unreachable> {
        let number = self.number.get();
        self.await_sink(py);
        let mut sink = self.sink.get().filter(|_| self.number.get() == number).ok_or(Unreachable)?;
        self.busy.set(true);
        let _brought_back = BroughtBack(&self.busy);
        // SAFETY: alive by the contract of `open` until `shut`, which waits for `busy`; and nobody
        // else gets past `await_sink` meanwhile: the only reference.
        Ok(work(unsafe { sink.as_mut() }))
    }

    /// Sends the head if it was not. `length`: the whole body's, where it is known.
    pub(super) fn send_head(&self, sink: &mut dyn Sink, length: Option<u64>) -> PyResult<()> {
        if sink.head_sent() {
            return Ok(());
        }
        sink.head(&self.response.borrow(), length).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Counts bytes of the body.
    pub(super) fn count(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// Ready for the next exchange.
    pub(super) fn reset(&self, py: Python<'_>) {
        self.await_sink(py);
        self.number.set(self.number.get().wrapping_add(1));
        self.started.set(false);
        self.gone.set(false);
        self.sent.set(0);
        self.taken.set(false);
        self.sink.set(None);
        // Taken out first: closing it runs Python.
        if let Some(socket) = self.socket.take() {
            client::close(py, &socket);
        }
        if let Ok(mut response) = self.response.try_borrow_mut() {
            response.clear();
        }
    }
}
