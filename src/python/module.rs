//! What does the interpreter find in our file? The extension module under its two names.
//!
//! The one place in this room that knows the composition root: the server begins here.
//!
//! Invariant: both names lead to the same functions and the same runtime.

/// The extension module the launcher loads: `main(arguments)` is the whole server.
#[pyo3::pymodule]
mod rwsgi_core {
    use std::ffi::OsString;
    use std::sync::{Arc, LazyLock};

    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    use crate::config::types::GunicornModule;
    use crate::door::Configures;
    use crate::python::{self, PyRuntime};
    use crate::root;
    use crate::system::proctitle;

    /// One for the process: a program may call in more than once.
    static RUNTIME: LazyLock<Arc<PyRuntime>> = LazyLock::new(Arc::default);

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Runs the server; returns the exit code.
    #[pyfunction]
    pub(super) fn main(py: Python<'_>, arguments: Vec<OsString>) -> i32 {
        python::lend_titles(py);
        root::main(arguments, RUNTIME.clone())
    }

    /// Serves an object derived from `gunicorn.app.base.BaseApplication`; returns the exit code.
    #[pyfunction]
    pub(super) fn serve(application: &Bound<'_, PyAny>) -> PyResult<i32> {
        let program = python::program(application, root::executable().as_deref())?;
        python::lend_titles(application.py());
        Ok(root::serve(program, RUNTIME.clone()))
    }

    /// Makes a module `gunicorn` importable that leads here, also in place of the real one.
    #[pyfunction]
    pub(super) fn provide_gunicorn() {
        RUNTIME.provide_gunicorn(GunicornModule::Always);
    }

    /// `_set_title(title)`: what the package `setproctitle` is lent for its function of that name.
    #[pyfunction]
    fn set_title(title: &str) -> PyResult<()> {
        if title.contains('\0') {
            return Err(PyValueError::new_err("embedded null character"));
        }
        proctitle::set_title_as_it_is(title);
        Ok(())
    }

    /// `_title()`: and for `getproctitle`.
    #[pyfunction]
    fn title() -> String {
        proctitle::title()
    }

    /// For benches/environ.rs.
    #[cfg(feature = "measure")]
    #[pyfunction]
    fn measure_environ(py: Python<'_>, request: &[u8], iterations: u64, known: bool) -> PyResult<u64> {
        crate::python::measure::environ(py, request, iterations, known)
    }

    #[pymodule_init]
    pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        python::lend(py, "_serve", module.getattr("serve")?)?;
        python::lend(py, "_set_title", wrap_pyfunction!(set_title, module)?.into_any())?;
        python::lend(py, "_title", wrap_pyfunction!(title, module)?.into_any())?;
        python::lend(py, "_main", module.getattr("main")?)
    }
}

/// The same module by the name it has in the wheel, `rwsgi._core`: an extension module's name is
/// that of the symbol the interpreter looks for, and one file serves both ways of installing it.
#[pyo3::pymodule]
#[pyo3(name = "_core")]
mod packaged {
    use pyo3::prelude::*;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    use super::rwsgi_core::{main, provide_gunicorn, serve};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::rwsgi_core::init(module)
    }
}
