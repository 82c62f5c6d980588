//! How are the operator's hooks called? The door's [`Hooks`], over `_rwsgi.server`.
//!
//! Must not know: which process it is called in, and why; what a hook does.
//!
//! Invariants:
//! 1. A hook that raises has been logged, with its name, when its call returns.
//! 2. No Python exception is pending between two calls.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::object::Kept;
use super::{compat, conf_py, tls};
use crate::door::{HookRaised, HookSpec, Hooks, MasterMoment, Secure, WorkerMoment, WrongHook};

/// The hooks of one configuration.
pub(super) struct PyHooks {
    names: Vec<&'static str>,
    hooks: Kept,
}

impl PyHooks {
    /// Checks the hooks and makes them callable.
    pub(super) fn make(py: Python<'_>, spec: &HookSpec) -> Result<Arc<dyn Hooks>, WrongHook> {
        let made = || -> PyResult<Kept> {
            let (rows, hooks) = (PyDict::new(py), PyDict::new(py));
            for (name, value) in &spec.settings {
                rows.set_item(name, conf_py::python(py, value)?)?;
            }
            for (name, hook) in &spec.hooks {
                hooks.set_item(name, conf_py::python(py, hook)?)?;
            }
            compat::module(py, "_rwsgi.server")?
                .call_method1("prepare", (rows, hooks, &spec.search))
                .map(|made| Kept::new(&made))
        };
        let hooks = made().map_err(|error| wrong(py, &error))?;
        Ok(Arc::new(PyHooks { names: spec.hooks.iter().map(|(name, _)| *name).collect(), hooks }))
    }

    fn tell<'py>(
        &self,
        py: Python<'py>,
        place: &str,
        moment: &'static str,
        facts: impl IntoIterator<Item = Bound<'py, PyAny>>,
    ) -> Result<(), HookRaised> {
        let told = || -> PyResult<bool> {
            let given = [self.hooks.bind(py), moment.into_pyobject(py)?.into_any()];
            let arguments = PyTuple::new(py, given.into_iter().chain(facts).collect::<Vec<_>>())?;
            compat::module(py, "_rwsgi.server")?.getattr(place)?.call1(arguments)?.extract()
        };
        match told() {
            Ok(true) => Ok(()),
            Ok(false) => Err(HookRaised { name: moment }),
            Err(error) => {
                tracing::error!("The hook {moment} cannot be called: {error}");
                Err(HookRaised { name: moment })
            }
        }
    }
}

/// What `_rwsgi.server.Wrong` says.
pub(super) fn wrong(py: Python<'_>, error: &PyErr) -> WrongHook {
    let told: PyResult<(String, String)> = error.value(py).getattr("args").and_then(|args| args.extract());
    let (name, problem) = told.unwrap_or_else(|_| (String::new(), error.to_string()));
    WrongHook { name, problem }
}

fn object<'py>(py: Python<'py>, value: impl IntoPyObject<'py>) -> Bound<'py, PyAny> {
    value.into_bound_py_any(py).unwrap_or_else(|_| py.None().into_bound(py))
}

impl Hooks for PyHooks {
    fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    fn in_master(&self, moment: MasterMoment<'_>) -> Result<(), HookRaised> {
        Python::attach(|py| {
            let (name, facts) = match moment {
                MasterMoment::Starting => ("on_starting", vec![]),
                MasterMoment::Ready { addresses } => ("when_ready", vec![object(py, addresses.to_vec())]),
                MasterMoment::WorkersChanged { new, old } => {
                    ("nworkers_changed", vec![object(py, new), object(py, old)])
                }
                MasterMoment::Forking { slot } => ("pre_fork", vec![object(py, slot)]),
                MasterMoment::Forked { slot, pid } => ("forked", vec![object(py, slot), object(py, pid)]),
                MasterMoment::Gone { pid, overdue } => {
                    ("child_exit", vec![object(py, pid), object(py, overdue)])
                }
                MasterMoment::Reloading => ("on_reload", vec![]),
                MasterMoment::Executing => ("pre_exec", vec![]),
                MasterMoment::Upgrading { pid } => ("upgrading", vec![object(py, pid)]),
                MasterMoment::Exiting => ("on_exit", vec![]),
            };
            self.tell(py, "in_master", name, facts)
        })
    }

    fn in_worker(&self, moment: WorkerMoment) -> Result<(), HookRaised> {
        Python::attach(|py| {
            let (name, facts) = match moment {
                WorkerMoment::Forked { slot } => ("post_fork", vec![object(py, slot)]),
                WorkerMoment::Loaded => ("post_worker_init", vec![]),
                WorkerMoment::Interrupted => ("worker_int", vec![]),
                WorkerMoment::Aborted => ("worker_abort", vec![]),
                WorkerMoment::Exiting => ("worker_exit", vec![]),
            };
            self.tell(py, "in_worker", name, facts)
        })
    }

    fn secure(&self, directory: &Path) -> Result<Arc<dyn Secure>, WrongHook> {
        Python::attach(|py| tls::secure(py, &self.hooks.bind(py), directory))
    }
}

impl fmt::Debug for PyHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PyHooks").field(&self.names).finish()
    }
}
