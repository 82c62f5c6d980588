//! Which Python modules does the server bring along? Their texts, and how they become importable.
//!
//! Must not know: what is in them.
//!
//! Invariant: a module of these names that is installed is never shadowed, unless it is asked for.

use std::ffi::CString;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

use crate::config::types::GunicornModule;

/// Module, whether it is a package, text.
const SOURCES: &[(&str, bool, &str)] = &[
    ("_rwsgi", true, include_str!("compat/_rwsgi/__init__.py")),
    ("_rwsgi.application", false, include_str!("compat/_rwsgi/application.py")),
    ("_rwsgi.conf", false, include_str!("compat/_rwsgi/conf.py")),
    ("_rwsgi.lending", false, include_str!("compat/_rwsgi/lending.py")),
    ("_rwsgi.lent", false, include_str!("compat/_rwsgi/lent.py")),
    ("_rwsgi.logger", false, include_str!("compat/_rwsgi/logger.py")),
    ("_rwsgi.request", false, include_str!("compat/_rwsgi/request.py")),
    ("_rwsgi.server", false, include_str!("compat/_rwsgi/server.py")),
    ("_rwsgi.settings", false, include_str!("compat/_rwsgi/settings.py")),
    ("_rwsgi.tls", false, include_str!("compat/_rwsgi/tls.py")),
    ("gunicorn", true, include_str!("compat/gunicorn/__init__.py")),
    ("gunicorn.__main__", false, include_str!("compat/gunicorn/__main__.py")),
    ("gunicorn.app", true, include_str!("compat/gunicorn/app/__init__.py")),
    ("gunicorn.app.base", false, include_str!("compat/gunicorn/app/base.py")),
    ("gunicorn.app.wsgiapp", false, include_str!("compat/gunicorn/app/wsgiapp.py")),
    ("gunicorn.arbiter", false, include_str!("compat/gunicorn/arbiter.py")),
    ("gunicorn.config", false, include_str!("compat/gunicorn/config.py")),
    ("gunicorn.errors", false, include_str!("compat/gunicorn/errors.py")),
    ("gunicorn.glogging", false, include_str!("compat/gunicorn/glogging.py")),
    ("gunicorn.http", true, include_str!("compat/gunicorn/http/__init__.py")),
    ("gunicorn.http.errors", false, include_str!("compat/gunicorn/http/errors.py")),
    ("gunicorn.http.wsgi", false, include_str!("compat/gunicorn/http/wsgi.py")),
    ("gunicorn.instrument", true, include_str!("compat/gunicorn/instrument/__init__.py")),
    ("gunicorn.instrument.statsd", false, include_str!("compat/gunicorn/instrument/statsd.py")),
    ("gunicorn.sock", false, include_str!("compat/gunicorn/sock.py")),
    ("gunicorn.util", false, include_str!("compat/gunicorn/util.py")),
    ("gunicorn.workers", true, include_str!("compat/gunicorn/workers/__init__.py")),
    ("gunicorn.workers.base", false, include_str!("compat/gunicorn/workers/base.py")),
    ("gunicorn.workers.base_async", false, include_str!("compat/gunicorn/workers/base_async.py")),
    ("gunicorn.workers.ggevent", false, include_str!("compat/gunicorn/workers/ggevent.py")),
    ("gunicorn.workers.gthread", false, include_str!("compat/gunicorn/workers/gthread.py")),
    ("gunicorn.workers.gtornado", false, include_str!("compat/gunicorn/workers/gtornado.py")),
    ("gunicorn.workers.sync", false, include_str!("compat/gunicorn/workers/sync.py")),
];

static FINDER: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// Puts functions of the program's among the globals of the modules of `_rwsgi`.
pub(super) fn lend(py: Python<'_>, name: &str, function: Bound<'_, PyAny>) -> PyResult<()> {
    let finder = FINDER.get_or_try_init(py, || finder(py).map(Bound::unbind))?;
    finder.bind(py).getattr("NATIVE")?.set_item(name, function)
}

/// Makes the module `gunicorn` importable, or not.
pub(super) fn provide(py: Python<'_>, when: GunicornModule) -> PyResult<()> {
    let finder = FINDER.get_or_try_init(py, || finder(py).map(Bound::unbind))?;
    let when = match when {
        GunicornModule::Auto => "auto",
        GunicornModule::Always => "always",
        GunicornModule::Never => "never",
    };
    finder.bind(py).call_method1("provide", (when,)).map(drop)
}

/// One of them, imported.
pub(super) fn module<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
    FINDER.get_or_try_init(py, || finder(py).map(Bound::unbind))?;
    py.import(name)
}

/// `_log(level, text)`: a line of the error log.
#[pyfunction]
fn log_event(level: &str, text: &Bound<'_, PyAny>) -> PyResult<()> {
    let bytes = super::errors::utf8(text)?;
    let text = String::from_utf8_lossy(&bytes);
    text_event(level, &text);
    Ok(())
}

fn text_event(level: &str, text: &str) {
    match level {
        "critical" => tracing::error!(critical = true, "{text}"),
        "error" => tracing::error!("{text}"),
        "warning" => tracing::warn!("{text}"),
        "info" => tracing::info!("{text}"),
        _ => tracing::debug!("{text}"),
    }
}

fn finder(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let text = CString::new(include_str!("compat/finder.py"))
        .map_err(|_| PyRuntimeError::new_err("finder.py holds a NUL"))?;
    let module = PyModule::from_code(py, &text, c"<rwsgi>/finder.py", c"_rwsgi_finder")?;
    let (sources, native) = (PyDict::new(py), PyDict::new(py));
    native.set_item("_log", pyo3::wrap_pyfunction!(log_event, &module)?)?;
    for (name, package, text) in SOURCES {
        sources.set_item(name, (*package, *text))?;
    }
    module.setattr("SOURCES", sources)?;
    module.setattr("NATIVE", native)?;
    Ok(module)
}
