//! How is a reference to a Python object kept? Owned references and the few conversions the
//! request path needs, over the raw C API.
//!
//! Must not know: requests, environ, applications.
//!
//! Invariants:
//! 1. An [`Owned`] is made, cloned and dropped with the interpreter attached.
//! 2. Text crosses as latin-1, PEP 3333's "native strings".

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;

/// One strong reference to a Python object.
pub(super) struct Owned(NonNull<ffi::PyObject>);

// SAFETY: a Python object may be used from any thread that is attached (invariant 1).
unsafe impl Send for Owned {}
// SAFETY: as above; the interpreter lock serialises access.
unsafe impl Sync for Owned {}

impl Owned {
    /// Takes over a new reference; `None` for NULL.
    ///
    /// # Safety
    /// `object` is NULL or a strong reference that the caller gives up; the thread is attached.
    pub(super) unsafe fn steal(object: *mut ffi::PyObject) -> Option<Self> {
        NonNull::new(object).map(Self)
    }

    /// Adds a reference to a borrowed object; `None` for NULL.
    ///
    /// # Safety
    /// `object` is NULL or valid; the thread is attached.
    pub(super) unsafe fn share(object: *mut ffi::PyObject) -> Option<Self> {
        let object = NonNull::new(object)?;
        // SAFETY: valid and attached, by the contract above.
        unsafe { ffi::Py_INCREF(object.as_ptr()) };
        Some(Self(object))
    }

    /// The object of a pyo3 smart pointer.
    pub(super) fn of(object: &Bound<'_, PyAny>) -> Self {
        let object = object.clone().into_ptr();
        // SAFETY: `into_ptr` gives up one strong reference, never NULL.
        Self(unsafe { NonNull::new_unchecked(object) })
    }

    /// Gives the reference up, to a caller that takes it over.
    pub(super) fn into_ptr(self) -> *mut ffi::PyObject {
        std::mem::ManuallyDrop::new(self).as_ptr()
    }

    /// The borrowed pointer, valid as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// As pyo3 sees it.
    pub(super) fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: a valid object, attached by the token; the call adds its own reference.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }

    /// Another reference to the same object.
    pub(super) fn another(&self, _py: Python<'_>) -> Self {
        // SAFETY: valid, attached by the token.
        unsafe { ffi::Py_INCREF(self.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the thread is attached (invariant 1).
        unsafe { ffi::Py_DECREF(self.as_ptr()) };
    }
}

/// A reference that is dropped by somebody who knows nothing of interpreters.
pub(super) struct Kept(Option<Owned>);

impl Kept {
    /// Keeps this object.
    pub(super) fn new(object: &Bound<'_, PyAny>) -> Self {
        Kept(Some(Owned::of(object)))
    }

    /// As pyo3 sees it.
    pub(super) fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.0.as_ref().map_or_else(|| py.None().into_bound(py), |object| object.bind(py))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let object = self.0.take();
        Python::attach(|_| drop(object));
    }
}

/// A `str` from bytes, each byte one code point.
pub(super) fn latin1(py: Python<'_>, bytes: &[u8]) -> PyResult<Owned> {
    // SAFETY: pointer and length describe `bytes`; attached by the token.
    let made = unsafe {
        Owned::steal(ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
            std::ptr::null(),
        ))
    };
    made.ok_or_else(|| PyErr::fetch(py))
}

/// An interned `str`.
pub(super) fn interned(py: Python<'_>, text: &CStr) -> PyResult<Owned> {
    // SAFETY: a NUL-terminated string; attached by the token.
    let made = unsafe { Owned::steal(ffi::PyUnicode_InternFromString(text.as_ptr())) };
    made.ok_or_else(|| PyErr::fetch(py))
}

/// A `bytes` object with a copy of `bytes`.
pub(super) fn bytes_object(py: Python<'_>, bytes: &[u8]) -> PyResult<Owned> {
    // SAFETY: pointer and length describe `bytes`; attached by the token.
    let made = unsafe {
        Owned::steal(ffi::PyBytes_FromStringAndSize(
            bytes.as_ptr().cast::<c_char>(),
            bytes.len() as ffi::Py_ssize_t,
        ))
    };
    made.ok_or_else(|| PyErr::fetch(py))
}

/// The contents of a `bytes` object (or of a subclass), `None` for any other type.
///
/// # Safety
/// `object` is valid and stays so for `'a`; the thread is attached.
pub(super) unsafe fn bytes_of<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: valid by contract; the buffer of a bytes object never moves or changes.
    unsafe {
        if ffi::PyBytes_Check(object) == 0 {
            return None;
        }
        let start = ffi::PyBytes_AsString(object).cast::<u8>();
        Some(std::slice::from_raw_parts(start, ffi::PyBytes_Size(object) as usize))
    }
}

/// Why a `str` cannot be sent.
pub(super) enum NotNative {
    /// Not a `str` at all.
    Type,
    /// A `str` with code points above U+00FF (or lone surrogates).
    Range,
}

/// The latin-1 bytes of a `str` (or of a subclass). Borrowed when it is ASCII.
///
/// # Safety
/// `object` is valid and stays so for `'a`; the thread is attached.
pub(super) unsafe fn native<'a>(object: *mut ffi::PyObject) -> Result<Cow<'a, [u8]>, NotNative> {
    // SAFETY: valid by contract; the UTF-8 form is cached in the object and lives as long as it.
    let utf8 = unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            return Err(NotNative::Type);
        }
        let mut size: ffi::Py_ssize_t = 0;
        let start = ffi::PyUnicode_AsUTF8AndSize(object, &mut size);
        if start.is_null() {
            ffi::PyErr_Clear();
            return Err(NotNative::Range);
        }
        std::slice::from_raw_parts(start.cast::<u8>(), size as usize)
    };
    if utf8.is_ascii() {
        return Ok(Cow::Borrowed(utf8));
    }
    let text = std::str::from_utf8(utf8).map_err(|_| NotNative::Range)?;
    let narrow: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    narrow.map(Cow::Owned).ok_or(NotNative::Range)
}
