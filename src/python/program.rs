//! How does a Python program of the operator's come to be served? Gunicorn's `BaseApplication`,
//! over `_rwsgi.application`.
//!
//! Must not know: how it is served.
//!
//! Invariant: no Python exception is pending after any of these.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use pyo3::prelude::*;

use super::object::Kept;
use super::{compat, conf_py};
use crate::config::raw::{Object, Raw};
use crate::config::sources::Variables;
use crate::config::{ConfigError, Origin};
use crate::door::Program;

const MODULE: &str = "_rwsgi.application";

/// The program behind `application`; `executable` is what has started the interpreter, if we did.
pub fn of(application: &Bound<'_, PyAny>, executable: Option<&Path>) -> PyResult<Program> {
    let module = compat::module(application.py(), MODULE)?;
    let name: String = module.call_method1("name", (application,))?.extract()?;
    let keep = |object: &Bound<'_, PyAny>| Object::new(name.as_str(), Arc::new(Kept::new(object)));
    let arguments: Option<Vec<OsString>> = module.call_method1("arguments", (application,))?.extract()?;
    Ok(Program {
        application: keep(application),
        loader: keep(&module.call_method1("loader", (application,))?),
        command: module.call_method1("command", (executable,))?.extract()?,
        arguments,
        name,
    })
}

/// Makes a function of the program's known to `_rwsgi`.
pub fn lend(py: Python<'_>, name: &str, function: Bound<'_, PyAny>) -> PyResult<()> {
    compat::lend(py, name, function)
}

/// Has the package `setproctitle`, if and when it is imported, write titles as the server does.
pub fn lend_titles(py: Python<'_>) {
    let lent = compat::module(py, "_rwsgi.lending").and_then(|module| module.call_method0("lend_titles"));
    if let Err(error) = lent {
        tracing::warn!("The package setproctitle will have no effect: {error}");
    }
}

/// What the program has set.
pub(super) fn settings(py: Python<'_>, application: &Object, again: bool) -> Result<Variables, ConfigError> {
    let found = || -> PyResult<Variables> {
        let application = conf_py::python(py, &Raw::Object(application.clone()))?;
        let found = compat::module(py, MODULE)?.call_method1("settings", (application, again))?;
        conf_py::variables(&found)
    };
    found().map_err(|error| {
        let origin = Origin::File { path: application.shown().into(), line: None };
        ConfigError::general(origin, error.to_string())
    })
}

/// Runs a program; returns its exit code.
pub(super) fn run_script(py: Python<'_>, file: &str, arguments: &[String]) -> i32 {
    let code = || -> PyResult<i32> {
        compat::module(py, MODULE)?.call_method1("script", (file, arguments.to_vec()))?.extract()
    };
    code().unwrap_or_else(|error| {
        tracing::error!("Cannot run {file}: {error}");
        1
    })
}
