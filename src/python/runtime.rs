//! How do the server's processes ask things of the interpreter? The door's [`Runtime`].
//!
//! Must not know: which process it is called in, and why.
//!
//! Invariant: every method leaves no Python exception pending and no panic unwinds through Python.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi;
use pyo3::prelude::*;

use super::app::{Inner, PyApp};
use super::environ::Constants;
use super::errors;
use super::guests;
use super::hooks::PyHooks;
use super::object::Owned;
use super::start_response::StarterType;
use super::support::{self, Support};
use super::watch::{self, Watch};
use super::{compat, conf_py, logger, program};
use crate::config::ConfigError;
use crate::config::raw::{Object, Raw};
use crate::config::sources::Variables;
use crate::config::types::GunicornModule;
use crate::door::{
    App, AppSpec, Configures, Forks, HookSpec, Hooks, LoadFailure, LoadFailureKind, LoggerSpec, Runtime,
    WrongHook,
};

/// The interpreter this process lives in.
#[derive(Default)]
pub struct PyRuntime {
    support: OnceLock<Arc<Support>>,
    logger: logger::Current,
    watch: OnceLock<Watch>,
}

impl PyRuntime {
    fn support(&self, py: Python<'_>) -> PyResult<Arc<Support>> {
        if let Some(support) = self.support.get() {
            return Ok(Arc::clone(support));
        }
        let support = Arc::new(Support::new(py)?);
        Ok(Arc::clone(self.support.get_or_init(|| support)))
    }

    /// Parts of the module `gunicorn` are the server's own; a failure shows when they are imported.
    fn import_support(&self, py: Python<'_>) {
        if let Err(error) = self.support(py) {
            tracing::error!("The interpreter cannot run the server's own Python code: {error}");
        }
    }

    fn call_support(&self, py: Python<'_>, name: &str, function: impl FnOnce(&Support) -> &Owned) {
        let result = self.support(py).and_then(|support| function(&support).bind(py).call0());
        if let Err(error) = result {
            tracing::error!("Python failed in {name}: {error}");
        }
    }
}

impl Forks for PyRuntime {
    fn before_fork(&self) {
        // SAFETY: the calling thread is attached; `Python::attach` makes sure of it.
        Python::attach(|_| unsafe { ffi::PyOS_BeforeFork() });
    }

    fn after_fork_parent(&self) {
        // SAFETY: as above; paired with `before_fork` by the caller.
        Python::attach(|_| unsafe { ffi::PyOS_AfterFork_Parent() });
    }

    fn after_fork_child(&self) {
        // SAFETY: as above; the forking thread is the only one left.
        Python::attach(|_| unsafe { ffi::PyOS_AfterFork_Child() });
        support::is_ours();
    }

    fn freeze(&self) {
        // Without a collection before it: that would only punch holes into pages that are to be
        // shared, and new objects of the children would then fill them.
        collector("freeze");
    }

    fn resume_collecting(&self) {
        collector("enable");
    }

    fn released(&self, work: &mut (dyn FnMut() + Send)) {
        // Attaching first gives a thread of ours one thread state for its whole life: made anew
        // for each request it would cost a microsecond and lose the application's thread-locals.
        Python::attach(|py| py.detach(work));
    }

    fn entered(&self, work: &mut dyn FnMut()) {
        Python::attach(|_| work());
    }
}

impl Configures for PyRuntime {
    fn set_env(&self, name: &str, value: Option<&OsStr>) {
        Python::attach(|py| {
            let changed =
                py.import("os").and_then(|os| os.getattr("environ")).and_then(|environ| match value {
                    Some(value) => environ.set_item(name, value),
                    None => environ.call_method1("pop", (name, py.None())).map(drop),
                });
            if let Err(error) = changed {
                tracing::error!("Cannot set the environment variable {name}: {error}");
            }
        });
    }

    fn choose_logger(&self, spec: Option<&Arc<LoggerSpec>>, level: &str) -> Result<(), String> {
        Python::attach(|py| {
            let support = self.support(py).map_err(|error| error.to_string())?;
            self.logger.choose(py, &support, spec, level)
        })
    }

    fn settings_of(&self, application: &Object, again: bool) -> Result<Variables, ConfigError> {
        Python::attach(|py| program::settings(py, application, again))
    }

    fn run_script(&self, file: &str, arguments: &[String]) -> i32 {
        Python::attach(|py| program::run_script(py, file, arguments))
    }

    fn read_configuration(
        &self,
        name: &str,
        start: &Path,
        module: GunicornModule,
    ) -> Result<Variables, ConfigError> {
        Python::attach(|py| {
            self.import_support(py);
            conf_py::read(py, name, start, module)
        })
    }

    fn provide_gunicorn(&self, when: GunicornModule) {
        Python::attach(|py| {
            self.import_support(py);
            if let Err(error) = compat::provide(py, when) {
                tracing::error!("Cannot provide a module gunicorn: {error}");
            }
        });
    }

    fn hooks(&self, spec: &HookSpec) -> Result<Arc<dyn Hooks>, WrongHook> {
        Python::attach(|py| PyHooks::make(py, spec))
    }
}

impl Runtime for PyRuntime {
    fn load(&self, spec: &AppSpec) -> Result<Arc<dyn App>, LoadFailure> {
        Python::attach(|py| {
            let support = self.support(py).map_err(|error| broken(&error))?;
            if spec.spew {
                self.call_support(py, "spew", |support| &support.spew);
            }
            let load = support.load.bind(py);
            let loaded = match (&spec.loader, &spec.paste) {
                (Some(loader), _) => conf_py::python(py, &Raw::Object(loader.clone()))
                    .and_then(|loader| support.load_by.bind(py).call1((loader, &spec.search))),
                (None, Some(paste)) => {
                    load.call1((&spec.target, &spec.search, &paste.file, paste.defaults.as_slice()))
                }
                (None, None) => load.call1((&spec.target, &spec.search)),
            };
            let callable = loaded.map_err(|error| load_failure(py, &support, spec, &error))?;
            let inner = Inner {
                observer: OnceLock::new(),
                callable: Owned::of(&callable),
                constants: Constants::new(py, &support, spec).map_err(|error| broken(&error))?,
                starter: StarterType::new(py).map_err(|error| broken(&error))?,
                support,
                spec: spec.clone(),
                pool: Mutex::default(),
            };
            let app: Arc<dyn App> = Arc::new(PyApp(Arc::new(inner)));
            Ok(app)
        })
    }

    fn sources(&self, extra: &[String]) -> Vec<PathBuf> {
        Python::attach(|py| {
            let found = self
                .support(py)
                .and_then(|support| support.sources.bind(py).call1((extra,)))
                .and_then(|list| paths(&list));
            found.unwrap_or_else(|error| {
                tracing::error!("Cannot list the source files: {error}");
                Vec::new()
            })
        })
    }

    fn preload(&self, spec: &AppSpec) -> Result<Arc<dyn App>, LoadFailure> {
        collector("disable");
        let loaded = self.load(spec);
        flush_streams();
        loaded
    }

    fn wake_by(&self, end: BorrowedFd<'_>) {
        Python::attach(|py| {
            let told = py
                .import("_rwsgi_support")
                .and_then(|support| support.call_method1("wake_by", (end.as_raw_fd(),)));
            if let Err(error) = told {
                tracing::error!("Signals of the application's may be noticed late: {error}");
            }
        });
    }

    fn check_signals(&self) -> bool {
        Python::attach(|py| match py.check_signals() {
            Ok(()) => false,
            Err(error) => {
                let asked = error.is_instance_of::<PySystemExit>(py)
                    || error.is_instance_of::<PyKeyboardInterrupt>(py);
                if !asked && let Ok(support) = self.support(py) {
                    let traceback = errors::traceback(py, &support, &error);
                    tracing::error!("A signal handler raised\n{traceback}");
                }
                asked
            }
        })
    }

    fn prepare_watchdog(&self, threads: usize) {
        Python::attach(|py| match self.support(py).and_then(|support| Watch::new(py, &support, threads)) {
            Ok(watch) => drop(self.watch.set(watch)),
            Err(error) => tracing::error!("Overdue requests cannot be interrupted: {error}"),
        });
    }

    fn stack(&self, ident: u64) -> Option<String> {
        Python::attach(|py| {
            let support = self.support(py).ok()?;
            let stack = support.thread_stack.bind(py).call1((ident,)).ok()?;
            if stack.is_none() {
                return None;
            }
            errors::utf8(&stack).ok().map(|text| lossy(&text))
        })
    }

    fn stack_by_force(&self, ident: u64) -> Option<String> {
        self.watch.get()?.stack_by_force(ident)
    }

    fn interrupt(&self, thread: usize) -> bool {
        Python::attach(|py| {
            let support = self.support(py);
            support.is_ok_and(|support| guests::interrupt(py, &support, thread, watch::signal()))
        })
    }

    fn finish(&self) {
        Python::attach(|py| self.call_support(py, "finish", |support| &support.finish));
    }
}

/// What waits in a buffer at a fork is written by every child.
fn flush_streams() {
    Python::attach(|py| {
        for name in ["stdout", "stderr"] {
            // The application may have put anything there, or nothing.
            let _ = py.import("sys").and_then(|sys| sys.getattr(name)?.call_method0("flush"));
        }
    });
}

/// Calls a function of the module `gc`.
fn collector(function: &str) {
    Python::attach(|py| {
        if let Err(error) = py.import("gc").and_then(|gc| gc.call_method0(function)) {
            tracing::error!("gc.{function} failed: {error}");
        }
    });
}

pub(super) fn broken(error: &PyErr) -> LoadFailure {
    LoadFailure {
        kind: LoadFailureKind::Boot,
        message: format!("The interpreter cannot run the server's own Python code: {error}"),
        traceback: String::new(),
        files: Vec::new(),
    }
}

/// A list of `bytes` as paths.
fn paths(list: &Bound<'_, PyAny>) -> PyResult<Vec<PathBuf>> {
    let names: Vec<Vec<u8>> = list.extract()?;
    Ok(names.into_iter().map(|name| PathBuf::from(OsString::from_vec(name))).collect())
}

fn load_failure(py: Python<'_>, support: &Support, spec: &AppSpec, error: &PyErr) -> LoadFailure {
    let described = support
        .load_failure
        .bind(py)
        .call1((errors::whole(py, error), &spec.target))
        .and_then(|all| Ok((all.get_item(0)?, all.get_item(1)?, paths(&all.get_item(2)?)?)))
        .and_then(|(line, traceback, files)| Ok((errors::utf8(&line)?, errors::utf8(&traceback)?, files)));
    let (message, traceback, files) = match described {
        Ok((line, traceback, files)) => (lossy(&line), lossy(&traceback), files),
        Err(second) => {
            (format!("Failed to load {:?}: {error} ({second})", spec.target), String::new(), Vec::new())
        }
    };
    LoadFailure { kind: LoadFailureKind::App, message, traceback, files }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
