//! Where do the blocks of a reply come from? What an application returned, read as PEP 3333 allows:
//! any iterable of bytes.
//!
//! An exact list or tuple is indexed: no iterator, and no lookup of a `close` it cannot have.
//! Measured, that lookup alone costs as much as copying a whole environ.
//!
//! Must not know: sinks, start_response.
//!
//! Invariant: empty blocks are never handed out; they are not the end either (PEP 3333,
//! "Buffering and Streaming").

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::object::{Owned, bytes_of};

/// A source of blocks.
pub(super) enum Source {
    /// Nothing (more) to read.
    None,
    /// A `wsgi.file_wrapper` object, not yet looked into.
    File,
    /// An exact list or tuple.
    List {
        /// It.
        items: Owned,
        /// Index of the next item.
        next: isize,
    },
    /// Anything else: its iterator.
    Iterator(Owned),
}

/// A `bytes` object that stays as it is while it is held.
pub(super) struct Block(Owned);

impl Block {
    /// Its contents.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: checked to be bytes when it was made; held by `self`.
        unsafe { bytes_of(self.0.as_ptr()) }.unwrap_or(&[])
    }
}

impl Source {
    /// What kind of source `result` is.
    pub(super) fn of(py: Python<'_>, file_wrapper: *mut ffi::PyObject, result: &Owned) -> PyResult<Self> {
        let object = result.as_ptr();
        // SAFETY: a valid object, attached.
        let (list, wrapper) = unsafe {
            let kind = ffi::Py_TYPE(object);
            let list = ffi::PyList_CheckExact(object) != 0 || ffi::PyTuple_CheckExact(object) != 0;
            (list, kind.cast() == file_wrapper)
        };
        if list {
            return Ok(Self::List { items: result.another(py), next: 0 });
        }
        if wrapper {
            return Ok(Self::File);
        }
        Self::iterate(py, result)
    }

    /// The iterator of any iterable.
    pub(super) fn iterate(py: Python<'_>, result: &Owned) -> PyResult<Self> {
        // SAFETY: a valid object, attached.
        unsafe {
            let object = result.as_ptr();
            if ffi::PyBytes_Check(object) != 0 || ffi::PyUnicode_Check(object) != 0 {
                return Err(PyTypeError::new_err(format!(
                    "the application returned a {}; it must return an iterable of bytes, such as [b\"...\"]",
                    type_name(py, object)
                )));
            }
            let iterator = Owned::steal(ffi::PyObject_GetIter(object));
            iterator.map(Self::Iterator).ok_or_else(|| PyErr::fetch(py))
        }
    }

    /// The whole body's length, where that can be known without running the application.
    pub(super) fn total(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let Self::List { items, next: 0 } = self else { return Ok(None) };
        let mut total = 0;
        for index in 0..size(items) {
            total += block_at(py, items, index)?.bytes().len() as u64;
        }
        Ok(Some(total))
    }

    /// Whether the application's code runs for each block.
    pub(super) fn is_lazy(&self) -> bool {
        matches!(self, Self::Iterator(_))
    }

    /// The next non-empty block.
    pub(super) fn next(&mut self, py: Python<'_>) -> PyResult<Option<Block>> {
        match self {
            Self::None | Self::File => Ok(None),
            Self::List { items, next } => {
                while *next < size(items) {
                    let block = block_at(py, items, *next)?;
                    *next += 1;
                    if !block.bytes().is_empty() {
                        return Ok(Some(block));
                    }
                }
                Ok(None)
            }
            Self::Iterator(iterator) => loop {
                // SAFETY: an iterator, attached; NULL means exhausted or raised.
                let item = unsafe { Owned::steal(ffi::PyIter_Next(iterator.as_ptr())) };
                let Some(item) = item else {
                    return PyErr::take(py).map_or(Ok(None), Err);
                };
                let block = checked(py, item)?;
                if !block.bytes().is_empty() {
                    return Ok(Some(block));
                }
            },
        }
    }

    /// Calls the iterable's `close()` if it has one (PEP 3333: whatever happened before).
    pub(super) fn close(self, py: Python<'_>, iterable: &Owned) -> PyResult<()> {
        if let Self::List { .. } = self {
            return Ok(());
        }
        drop(self);
        // SAFETY: a valid object, attached.
        let exact = unsafe {
            ffi::PyList_CheckExact(iterable.as_ptr()) != 0 || ffi::PyTuple_CheckExact(iterable.as_ptr()) != 0
        };
        if exact {
            return Ok(());
        }
        match iterable.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

fn size(items: &Owned) -> isize {
    // SAFETY: an exact list or tuple, attached.
    unsafe {
        match ffi::PyList_CheckExact(items.as_ptr()) {
            0 => ffi::PyTuple_Size(items.as_ptr()),
            _ => ffi::PyList_Size(items.as_ptr()),
        }
    }
}

fn block_at(py: Python<'_>, items: &Owned, index: isize) -> PyResult<Block> {
    // SAFETY: an exact list or tuple, attached; a bad index is an exception, and the borrowed
    // item is shared before anything else runs.
    let item = unsafe {
        Owned::share(match ffi::PyList_CheckExact(items.as_ptr()) {
            0 => ffi::PyTuple_GetItem(items.as_ptr(), index),
            _ => ffi::PyList_GetItem(items.as_ptr(), index),
        })
    };
    checked(py, item.ok_or_else(|| PyErr::fetch(py))?)
}

fn checked(py: Python<'_>, item: Owned) -> PyResult<Block> {
    // SAFETY: a valid object, attached.
    if unsafe { ffi::PyBytes_Check(item.as_ptr()) } != 0 {
        return Ok(Block(item));
    }
    // SAFETY: as above.
    let name = unsafe { type_name(py, item.as_ptr()) };
    Err(PyTypeError::new_err(format!("a block of the body is a {name}; it must be bytes")))
}

/// # Safety
/// A valid object.
unsafe fn type_name(py: Python<'_>, object: *mut ffi::PyObject) -> String {
    // SAFETY: valid by contract, attached by the token.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    object.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}
