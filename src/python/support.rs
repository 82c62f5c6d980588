//! Which Python objects does the server itself need? Those of `support.py` and of the library,
//! looked up once in a process.
//!
//! Must not know: requests.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyModule};

use super::client;
use super::object::Owned;

/// The objects, each a strong reference for the life of the process.
pub(super) struct Support {
    /// `support.load(target, search)`.
    pub(super) load: Owned,
    /// `support.sources(extra)`.
    pub(super) sources: Owned,
    /// `support.spew()`.
    pub(super) spew: Owned,
    /// `support.load_by(loader, search)`.
    pub(super) load_by: Owned,
    /// `support.load_failure(error, target)`.
    pub(super) load_failure: Owned,
    /// `support.format_exception(error)`.
    pub(super) format_exception: Owned,
    /// `support.describe(error)`.
    pub(super) describe: Owned,
    /// `support.finish()`.
    pub(super) finish: Owned,
    /// `support.prepare_watchdog(signum, stack_file, threads)`.
    pub(super) prepare_watchdog: Owned,
    /// `support.thread_stack(ident)`.
    pub(super) thread_stack: Owned,
    /// `support.RequestTimeout`.
    pub(super) request_timeout: Owned,
    /// `support.file_region(wrapper)`.
    pub(super) file_region: Owned,
    /// `support.open_spool(fd)`.
    pub(super) open_spool: Owned,
    /// The class behind `wsgi.file_wrapper`.
    pub(super) file_wrapper: Owned,
    /// `gunicorn.socket` of all requests that ask for no upgrade.
    pub(super) socket: Owned,
    /// The class of those that do.
    pub(super) client_socket: Owned,
    /// `wsgi.early_hints` of all requests.
    pub(super) early_hints: Owned,
    /// `wsgi.errors` of all requests.
    pub(super) errors: Owned,
    /// `wsgi.input` of all requests without a body.
    pub(super) empty_input: Owned,
    /// `io.BytesIO`.
    pub(super) bytes_io: Owned,
}

/// `_log(text)`: what the application writes to `wsgi.errors`, as it is.
#[pyfunction]
fn log_text(text: &Bound<'_, PyAny>) -> PyResult<()> {
    let bytes = super::errors::utf8(text)?;
    let lines = String::from_utf8_lossy(&bytes);
    text.py().detach(|| crate::log::plain(&lines));
    Ok(())
}

/// Whether some thread wrote part of a line to `wsgi.errors` since it was last asked.
static PARTIAL: AtomicBool = AtomicBool::new(false);

/// `_partial()`: part of a line is waiting for its end.
#[pyfunction]
fn mark_partial() {
    PARTIAL.store(true, Ordering::Relaxed);
}

/// This process was forked by the application, and is not a worker.
static CHILD: AtomicBool = AtomicBool::new(false);

/// `_child()`: runs in every child of `os.fork`.
#[pyfunction]
fn mark_child() {
    CHILD.store(true, Ordering::Relaxed);
}

/// Whether this process is a child of the application's that came back from it.
pub(super) fn is_stray() -> bool {
    CHILD.load(Ordering::Relaxed)
}

/// This process is one of the server's own after all.
pub(super) fn is_ours() {
    CHILD.store(false, Ordering::Relaxed);
}

impl Support {
    /// Writes out what a request left without an end of line.
    pub(super) fn flush_errors(&self, py: Python<'_>) {
        if PARTIAL.swap(false, Ordering::Relaxed)
            && let Err(error) = self.errors.bind(py).call_method0("flush")
        {
            tracing::error!("Cannot write wsgi.errors: {}", super::errors::describe(py, self, &error));
        }
    }

    /// Runs `support.py` and looks everything up.
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let source = CString::new(include_str!("support.py"))
            .map_err(|_| PyRuntimeError::new_err("support.py holds a NUL"))?;
        let module = PyModule::from_code(py, &source, c"<rwsgi>", c"_rwsgi_support")?;
        module.setattr("_log", pyo3::wrap_pyfunction!(log_text, &module)?)?;
        let child = pyo3::wrap_pyfunction!(mark_child, &module)?;
        let hooks = [("after_in_child", child)].into_py_dict(py)?;
        py.import("os")?.call_method("register_at_fork", (), Some(&hooks))?;
        module.setattr("_partial", pyo3::wrap_pyfunction!(mark_partial, &module)?)?;
        module.setattr("_client", pyo3::wrap_pyfunction!(client::client, &module)?)?;
        module.setattr("_secured", pyo3::wrap_pyfunction!(client::secured, &module)?)?;
        module.setattr("_take_over", pyo3::wrap_pyfunction!(client::take_over, &module)?)?;
        let early_hints = pyo3::wrap_pyfunction!(client::early_hints, &module)?;
        module.setattr("_interrupted", pyo3::wrap_pyfunction!(super::guests::interrupted, &module)?)?;
        let get = |name: &str| module.getattr(name).map(|object| Owned::of(&object));
        let make = |name: &str| module.getattr(name)?.call0().map(|object| Owned::of(&object));
        Ok(Self {
            load: get("load")?,
            sources: get("sources")?,
            spew: get("spew")?,
            load_by: get("load_by")?,
            load_failure: get("load_failure")?,
            format_exception: get("format_exception")?,
            describe: get("describe")?,
            finish: get("finish")?,
            prepare_watchdog: get("prepare_watchdog")?,
            thread_stack: get("thread_stack")?,
            request_timeout: get("RequestTimeout")?,
            file_region: get("file_region")?,
            open_spool: get("open_spool")?,
            file_wrapper: get("FileWrapper")?,
            socket: make("SharedSocket")?,
            client_socket: get("ClientSocket")?,
            early_hints: Owned::of(&early_hints),
            errors: make("ErrorStream")?,
            empty_input: make("EmptyInput")?,
            bytes_io: Owned::of(&py.import("io")?.getattr("BytesIO")?),
        })
    }
}
