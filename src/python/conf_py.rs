//! What does a Python configuration file say? It is run, and its variables are carried over.
//!
//! Must not know: settings, but for what their values may be made of.
//!
//! Invariants:
//! 1. What no plain value stands for is held as it is, and shown by its dotted name.
//! 2. A file that fails says on which line, and leaves its traceback.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use super::compat;
use super::object::Kept;
use crate::config::error::Traceback;
use crate::config::raw::{Object, Raw};
use crate::config::sources::Variables;
use crate::config::types::GunicornModule;
use crate::config::{ConfigError, Origin};

/// Containers within containers are followed so far; a list may hold itself.
const DEEPEST: usize = 16;
/// Handed to Python as it was made: it may hold classes and streams.
const KEPT_WHOLE: &str = "logconfig_dict";

/// Runs the file `name`, as seen from `start`.
pub(super) fn read(
    py: Python<'_>,
    name: &str,
    start: &Path,
    module: GunicornModule,
) -> Result<Variables, ConfigError> {
    let shown = PathBuf::from(name.strip_prefix("file:").unwrap_or(name));
    let start = if start.as_os_str().is_empty() { Path::new(".") } else { start };
    let run = || -> PyResult<Bound<'_, PyAny>> {
        compat::provide(py, module)?;
        compat::module(py, "_rwsgi.conf")?.call_method1("run", (name, start))
    };
    let found = run().map_err(|error| complaint(py, &shown, &error))?;
    variables(&found).map_err(|error| complaint(py, &shown, &error))
}

/// What a list of (name, value, line) says.
pub(super) fn variables(list: &Bound<'_, PyAny>) -> PyResult<Variables> {
    let mut variables = Variables::new();
    for item in list.try_iter()? {
        let (name, value, line): (String, Bound<'_, PyAny>, Option<usize>) = item?.extract()?;
        let raw = if name == KEPT_WHOLE { kept(&value)? } else { raw(&value, DEEPEST)? };
        variables.push((name, raw, line));
    }
    Ok(variables)
}

fn complaint(py: Python<'_>, path: &Path, error: &PyErr) -> ConfigError {
    let told: PyResult<(String, Option<usize>, Option<String>)> =
        error.value(py).getattr("args").and_then(|args| args.extract());
    let (problem, line, traceback) = told.unwrap_or_else(|_| (error.to_string(), None, None));
    let origin = Origin::File { path: path.to_owned(), line };
    let complaint = ConfigError::general(origin, problem);
    ConfigError { traceback: traceback.map(|text| Box::new(Traceback(text))), ..complaint }
}

/// A value as the configuration understands it.
fn raw(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Raw> {
    let kind: String =
        compat::module(value.py(), "_rwsgi.conf")?.call_method1("kind", (value,))?.extract()?;
    match kind.as_str() {
        "path" => Ok(Raw::Text(value.extract::<PathBuf>()?.to_string_lossy().into_owned())),
        "plain" if depth > 0 => plain(value, depth - 1),
        _ => object(value, &kind),
    }
}

fn plain(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Raw> {
    if value.is_none() {
        return Ok(Raw::Nothing);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Raw::Flag(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return match value.extract() {
            Ok(number) => Ok(Raw::Integer(number)),
            Err(_) => object(value, "a number beyond all bounds"),
        };
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Raw::Decimal(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return match value.extract() {
            Ok(text) => Ok(Raw::Text(text)),
            Err(_) => object(value, "text with lone surrogates"),
        };
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return match pairs(dict, depth) {
            Some(pairs) => Ok(Raw::Pairs(pairs?)),
            None => object(value, "a dictionary"),
        };
    }
    value.try_iter()?.map(|item| raw(&item?, depth)).collect::<PyResult<Vec<_>>>().map(Raw::List)
}

/// `None`: a key is no text.
fn pairs(dict: &Bound<'_, PyDict>, depth: usize) -> Option<PyResult<Vec<(String, Raw)>>> {
    let mut pairs = Vec::new();
    for (key, value) in dict.iter() {
        let Ok(key) = key.extract::<String>() else { return None };
        match raw(&value, depth) {
            Ok(value) => pairs.push((key, value)),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(pairs))
}

fn kept(value: &Bound<'_, PyAny>) -> PyResult<Raw> {
    match value.is_truthy()? {
        false => Ok(Raw::Nothing),
        true => object(value, "a dictionary"),
    }
}

fn object(value: &Bound<'_, PyAny>, shown: &str) -> PyResult<Raw> {
    Ok(Raw::Object(Object::new(shown, Arc::new(Kept::new(value)))))
}

/// A value of the configuration as Python has it.
pub(super) fn python<'py>(py: Python<'py>, raw: &Raw) -> PyResult<Bound<'py, PyAny>> {
    Ok(match raw {
        Raw::Nothing => py.None().into_bound(py),
        Raw::Flag(on) => on.into_pyobject(py)?.to_owned().into_any(),
        Raw::Integer(number) => number.into_pyobject(py)?.into_any(),
        Raw::Decimal(number) => number.into_pyobject(py)?.into_any(),
        Raw::Text(text) => text.into_pyobject(py)?.into_any(),
        Raw::List(items) => {
            let items: Vec<_> = items.iter().map(|item| python(py, item)).collect::<PyResult<_>>()?;
            items.into_pyobject(py)?.into_any()
        }
        Raw::Pairs(pairs) => {
            let dict = PyDict::new(py);
            for (name, value) in pairs {
                dict.set_item(name, python(py, value)?)?;
            }
            dict.into_any()
        }
        Raw::Object(object) => match object.held().downcast_ref::<Kept>() {
            Some(kept) => kept.bind(py),
            None => py.None().into_bound(py),
        },
    })
}
