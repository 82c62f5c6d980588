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

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::client;
use super::object::Owned;
use crate::door::Sink;
use crate::http::response::ResponseHead;

/// The state of one exchange; reused for the next.
pub(super) struct Shared {
    /// What `start_response` said last.
    pub(super) response: RefCell<ResponseHead>,
    /// `start_response` was called.
    pub(super) started: Cell<bool>,
    /// The client is gone: writing is in vain.
    pub(super) gone: Cell<bool>,
    /// The application talks to the client itself.
    pub(super) taken: Cell<bool>,
    /// The client's socket, once it was asked for.
    pub(super) socket: RefCell<Option<Owned>>,
    sink: Cell<Option<NonNull<dyn Sink>>>,
}

// SAFETY: used only with the interpreter attached, which one thread is at a time (invariant 1).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Somebody else is using the sink right now, or the exchange is over.
pub(super) struct Unreachable;

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            response: RefCell::new(ResponseHead::default()),
            started: Cell::new(false),
            gone: Cell::new(false),
            taken: Cell::new(false),
            socket: RefCell::new(None),
            sink: Cell::new(None),
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
    pub(super) fn shut(&self) {
        self.sink.set(None);
    }

    /// Uses the sink. While `work` runs, it is unreachable for others, even if `work` gives the
    /// interpreter back.
    pub(super) fn with_sink<T>(
        &self,
        _py: Python<'_>,
        work: impl FnOnce(&mut dyn Sink) -> T,
    ) -> Result<T, Unreachable> {
        let mut sink = self.sink.take().ok_or(Unreachable)?;
        // SAFETY: alive by the contract of `open`, and taken out of the cell: the only reference.
        let result = work(unsafe { sink.as_mut() });
        self.sink.set(Some(sink));
        Ok(result)
    }

    /// Sends the head if it was not. `length`: the whole body's, where it is known.
    pub(super) fn send_head(&self, sink: &mut dyn Sink, length: Option<u64>) -> PyResult<()> {
        if sink.head_sent() {
            return Ok(());
        }
        sink.head(&self.response.borrow(), length).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Ready for the next exchange.
    pub(super) fn reset(&self, py: Python<'_>) {
        self.started.set(false);
        self.gone.set(false);
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
