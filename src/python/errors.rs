//! How do failures of the application reach the operator?
//!
//! Must not know: sockets, connections. Every function leaves no Python exception pending.
//!
//! Invariant: nothing here can fail. A traceback that cannot be formatted is replaced by the
//! exception's type; a log that cannot be written is the log room's business.

use pyo3::prelude::*;

use super::support::Support;

/// The traceback of `error` as text, without a trailing newline.
pub(super) fn traceback(py: Python<'_>, support: &Support, error: &PyErr) -> String {
    let formatted = support
        .format_exception
        .bind(py)
        .call1((whole(py, error),))
        .and_then(|text| text.extract::<Vec<u8>>().or_else(|_| utf8(&text)));
    match formatted {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => type_name(py, error),
    }
}

/// One line for an exception: its type and text.
pub(super) fn describe(py: Python<'_>, support: &Support, error: &PyErr) -> String {
    match support.describe.bind(py).call1((whole(py, error),)).and_then(|text| utf8(&text)) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => type_name(py, error),
    }
}

/// A `str` as UTF-8 bytes; what UTF-8 cannot hold is escaped, as Python's stderr does.
pub(super) fn utf8(text: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    text.call_method1("encode", ("utf-8", "backslashreplace"))?.extract::<Vec<u8>>()
}

/// Logs a failure while a request was handled.
pub(super) fn request_failed(py: Python<'_>, support: &Support, request: &str, error: &PyErr) {
    let traceback = traceback(py, support, error);
    tracing::error!(exception = true, "Error handling request {request}\n{traceback}");
}

/// The exception with its traceback, which pyo3 keeps beside it before Python 3.12.
pub(super) fn whole<'py>(py: Python<'py>, error: &PyErr) -> Bound<'py, PyAny> {
    error.clone_ref(py).into_value(py).into_bound(py).into_any()
}

fn type_name(py: Python<'_>, error: &PyErr) -> String {
    error.get_type(py).name().map_or_else(|_| "exception".to_owned(), |name| name.to_string())
}
