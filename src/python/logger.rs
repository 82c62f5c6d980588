//! How do lines get to a logger of the operator's? Over `_rwsgi.logger`.
//!
//! Must not know: what is logged, and where it is written in the end.
//!
//! Invariants:
//! 1. A logger that raises has the line written by the server, and what it raised after it.
//! 2. A configuration's logger is made once in a process, not again in each worker.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::object::Kept;
use super::support::Support;
use super::{compat, conf_py, errors};
use crate::door::LoggerSpec;
use crate::log::{self, Elsewhere, Level};

const MODULE: &str = "_rwsgi.logger";

/// The configuration whose logger is in use.
#[derive(Default)]
pub(super) struct Current(Mutex<Option<Arc<LoggerSpec>>>);

impl Current {
    /// Makes this configuration's logger the one in use; without one, lines are the server's.
    pub(super) fn choose(
        &self,
        py: Python<'_>,
        support: &Arc<Support>,
        spec: Option<&Arc<LoggerSpec>>,
        level: &str,
    ) -> Result<(), String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let chosen = match (spec, known) {
            (Some(spec), Some(known)) if Arc::ptr_eq(spec, &known) => return Ok(()),
            (Some(spec), _) => activate(py, support, spec),
            (None, Some(_)) => deactivate(py).and_then(|()| lend(py, level)),
            (None, None) => lend(py, level),
        };
        chosen.map_err(|error| errors::describe(py, support, &error))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = spec.cloned();
        Ok(())
    }
}

fn activate(py: Python<'_>, support: &Arc<Support>, spec: &LoggerSpec) -> PyResult<()> {
    let rows = PyDict::new(py);
    for (name, value) in &spec.settings {
        rows.set_item(name, conf_py::python(py, value)?)?;
    }
    compat::module(py, "_rwsgi.lending")?.call_method0("take_back")?;
    let module = compat::module(py, MODULE)?;
    // Only a logger that could be made takes the place of the one before.
    let level: String = module.call_method1("activate", (rows, &spec.search))?.extract()?;
    let logger = PyLogger { write: Kept::new(&module.getattr("write")?), support: Arc::clone(support) };
    log::divert(Some(Arc::new(logger)));
    if let Ok(level) = level.parse() {
        log::set_level(level);
    }
    Ok(())
}

fn deactivate(py: Python<'_>) -> PyResult<()> {
    log::divert(None);
    compat::module(py, MODULE)?.call_method0("deactivate").map(drop)
}

fn lend(py: Python<'_>, level: &str) -> PyResult<()> {
    compat::module(py, "_rwsgi.lending")?.call_method1("lend", (level,)).map(drop)
}

/// The logger in use.
struct PyLogger {
    write: Kept,
    support: Arc<Support>,
}

impl Elsewhere for PyLogger {
    fn line(&self, level: Level, message: &str) -> bool {
        Python::attach(|py| {
            let name = level.name().to_ascii_lowercase();
            let written = self.write.bind(py).call1((name, message));
            if let Err(error) = &written {
                let traceback = errors::traceback(py, &self.support, error);
                tracing::error!("Exception in the logger\n{traceback}");
            }
            written.is_ok()
        })
    }

    fn reopen(&self) {
        Python::attach(|py| {
            let reopened = compat::module(py, MODULE).and_then(|module| module.call_method0("reopen"));
            if let Err(error) = reopened {
                tracing::error!("The logger cannot open its files anew: {error}");
            }
        });
    }
}
