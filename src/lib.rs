//! rwsgi's core: a pre-fork WSGI application server that lives in a CPython process.
//!
//! Pure rooms decide, thin rooms act, one door leads to Python. Imports go only down:
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`door`] | What crosses between the server and Python? |
//! | [`config`] | What did the operator ask for, and where did each value come from? |
//! | [`cli`] | How is it said on a command line? |
//! | [`http`] | What do these bytes mean? Which bytes answer them? |
//! | [`worker`] | Which connection is served next, and what has it sent and taken so far? |
//! | [`master`] | Which processes should be alive, and what is done about it? |
//! | [`status`] | How does the operator ask the server how it is? |
//! | [`log`] | What is written down, and where? |
//! | [`metrics`] | What do the processes tell each other and the operator about their state? |
//! | [`system`] | How is this asked of the kernel? |
//! | `python` | How is it said in CPython? |

pub mod cli;
pub mod config;
pub mod door;
pub mod http;
pub mod log;
pub mod master;
pub mod metrics;
#[cfg(feature = "python")]
pub mod python;
pub mod root;
pub mod status;
pub mod system;
mod wiring;
pub mod worker;

/// The extension module the launcher loads: `main(arguments)` is the whole server.
#[cfg(feature = "python")]
#[pyo3::pymodule]
mod rwsgi_core {
    use std::ffi::OsString;
    use std::sync::{Arc, LazyLock};

    use pyo3::prelude::*;

    use crate::config::types::GunicornModule;
    use crate::door::Runtime;
    use crate::python::{self, PyRuntime};
    use crate::root;

    /// One for the process: a program may call in more than once.
    static RUNTIME: LazyLock<Arc<PyRuntime>> = LazyLock::new(Arc::default);

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Runs the server; returns the exit code.
    #[pyfunction]
    pub(super) fn main(arguments: Vec<OsString>) -> i32 {
        root::main(arguments, RUNTIME.clone())
    }

    /// Serves an object derived from `gunicorn.app.base.BaseApplication`; returns the exit code.
    #[pyfunction]
    pub(super) fn serve(application: &Bound<'_, PyAny>) -> PyResult<i32> {
        let program = python::program(application, root::executable().as_deref())?;
        Ok(root::serve(program, RUNTIME.clone()))
    }

    /// Makes a module `gunicorn` importable that leads here, also in place of the real one.
    #[pyfunction]
    pub(super) fn provide_gunicorn() {
        RUNTIME.provide_gunicorn(GunicornModule::Always);
    }

    #[pymodule_init]
    pub(super) fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        python::lend(py, "_serve", module.getattr("serve")?)?;
        python::lend(py, "_main", module.getattr("main")?)
    }
}

/// The same module by the name it has in the wheel, `rwsgi._core`: an extension module's name is
/// that of the symbol the interpreter looks for, and one file serves both ways of installing it.
#[cfg(feature = "python")]
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
