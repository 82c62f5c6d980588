//! How does a reply go on that had to wait for its client?
//!
//! Must not know: why it had to wait.
//!
//! Invariant: whatever becomes of it, the exchange is finished exactly once.

use std::sync::Arc;

use pyo3::prelude::*;

use super::app::{Driven, Inner, Running};
use super::client;
use super::guests::Inside;
use crate::door::{Reply, Resumed, Sink};

/// A reply that waits for its client.
pub(super) struct PyReply {
    running: Option<Box<Running>>,
    inner: Arc<Inner>,
}

impl PyReply {
    pub(super) fn new(running: Box<Running>, inner: Arc<Inner>) -> Self {
        Self { running: Some(running), inner }
    }

    fn end(&mut self, py: Python<'_>, driven: &Driven) {
        if let Some(mut running) = self.running.take() {
            running.finish(py, &self.inner, driven);
            self.inner.give_back(py, running);
        }
    }
}

impl Reply for PyReply {
    fn resume(&mut self, thread: usize, out: &mut dyn Sink) -> Resumed {
        Python::attach(|py| {
            let _inside = Inside::enter(py, thread);
            let Some(running) = &mut self.running else { return Resumed::Done };
            // SAFETY: as in `PyApp::call`.
            unsafe { running.shared.open(out) };
            // SAFETY: `shared` is alive until `finish`, which has the thread leave before.
            let _entered = unsafe { client::enter(&running.shared) };
            let driven = running.drive(py, &self.inner);
            match driven {
                Driven::Parked => {
                    running.shared.shut(py);
                    Resumed::Parked
                }
                Driven::Done => {
                    self.end(py, &driven);
                    Resumed::Done
                }
                Driven::Failed => {
                    self.end(py, &driven);
                    Resumed::Failed
                }
            }
        })
    }

    fn abandon(mut self: Box<Self>) {
        Python::attach(|py| self.end(py, &Driven::Parked));
    }
}

impl Drop for PyReply {
    fn drop(&mut self) {
        if self.running.is_some() {
            Python::attach(|py| self.end(py, &Driven::Parked));
        }
    }
}
