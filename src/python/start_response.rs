//! How does an application begin its reply? The `start_response` callable and the `write`
//! callable it returns (PEP 3333, "The start_response() Callable").
//!
//! Own types with a vectorcall slot, a pair of objects for each request: an application that keeps
//! one holds an object that says the request is over, not one that answers for another request.
//! A pair that nobody kept serves the next request: nobody can tell.
//!
//! Must not know: environ, iterables, sockets.
//!
//! Invariants:
//! 1. `Callable::shared` is valid or NULL; it is cleared before the state is reused, unless nobody
//!    but the server has the object.
//! 2. `Callable::write` is valid while `shared` is not NULL.
//! 3. No panic leaves the `extern "C"` functions.

use std::borrow::Cow;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pyo3::exceptions::{PyAssertionError, PyBrokenPipeError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use super::exchange::Shared;
use super::object::{NotNative, Owned, bytes_of, native};

/// Offsets flag bit of `nargsf` (PEP 590).
const ARGUMENTS_OFFSET: usize = 1 << (usize::BITS - 1);
/// Py_TPFLAGS_HAVE_VECTORCALL; in the limited API's headers since 3.12, the same bit since 3.9.
const HAVE_VECTORCALL: c_uint = 1 << 11;

unsafe extern "C" {
    // Exported since 3.8, in the limited API's headers since 3.12.
    fn PyVectorcall_Call(
        callable: *mut ffi::PyObject,
        args: *mut ffi::PyObject,
        kwargs: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

type VectorCall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// `start_response` or `write`.
#[repr(C)]
struct Callable {
    base: ffi::PyObject,
    vectorcall: VectorCall,
    shared: *const Shared,
    /// Of `start_response`: the `write` that belongs to it, borrowed. Of `write`: NULL.
    write: *mut ffi::PyObject,
}

/// The types of `start_response` and `write` objects.
pub(super) struct StarterType {
    start: Owned,
    write: Owned,
}

/// A `start_response` and its `write`.
pub(super) struct Starter {
    start: Owned,
    write: Owned,
}

impl StarterType {
    /// Makes the types.
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { start: callable(py, c"rwsgi.start_response")?, write: callable(py, c"rwsgi.write")? })
    }

    /// A `start_response` for one request.
    ///
    /// # Safety
    /// `shared` stays valid until [`Starter::release`] gave the result back, or it was dropped there.
    pub(super) unsafe fn make(&self, py: Python<'_>, shared: &Shared) -> PyResult<Starter> {
        // SAFETY: types of ours, and `shared` as promised.
        unsafe {
            let write = instance(py, &self.write, write_called, shared, null_mut())?;
            let start = instance(py, &self.start, start_response_called, shared, write.as_ptr())?;
            Ok(Starter { start, write })
        }
    }
}

impl Starter {
    /// The `start_response` object.
    pub(super) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.start.as_ptr()
    }

    /// The exchange is over. Cuts the pair off from it, or gives it back for the next one with the
    /// same state if the application kept neither.
    pub(super) fn release(self, _py: Python<'_>) -> Option<Self> {
        // SAFETY: two objects of ours, attached. A count that says more than there is (as newer
        // interpreters keep flags in it) only costs a new pair.
        unsafe {
            if ffi::Py_REFCNT(self.start.as_ptr()) == 1 && ffi::Py_REFCNT(self.write.as_ptr()) == 1 {
                return Some(self);
            }
            for object in [&self.start, &self.write] {
                (*object.as_ptr().cast::<Callable>()).shared = std::ptr::null();
            }
            None
        }
    }
}

/// A type whose instances are [`Callable`]s.
fn callable(py: Python<'_>, name: &'static CStr) -> PyResult<Owned> {
    let mut members = [
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: std::mem::offset_of!(Callable, vectorcall) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        },
        ffi::PyMemberDef::default(),
    ];
    let mut slots = [
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_call, PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        ffi::PyType_Slot::default(),
    ];
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size_of::<Callable>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT as c_uint) | HAVE_VECTORCALL,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: name is static; slots and members live through the call, which copies them.
    let object = unsafe { Owned::steal(ffi::PyType_FromSpec(&mut spec)) };
    object.ok_or_else(|| PyErr::fetch(py))
}

/// # Safety
/// `kind` is one of [`callable`]'s types; `shared` as in [`StarterType::make`].
unsafe fn instance(
    py: Python<'_>,
    kind: &Owned,
    vectorcall: VectorCall,
    shared: &Shared,
    write: *mut ffi::PyObject,
) -> PyResult<Owned> {
    // SAFETY: GenericAlloc returns a new, zeroed object of the type's size.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        let owned = Owned::steal(object).ok_or_else(|| PyErr::fetch(py))?;
        let callable = object.cast::<Callable>();
        (&raw mut (*callable).vectorcall).write(vectorcall);
        (&raw mut (*callable).shared).write(shared);
        (&raw mut (*callable).write).write(write);
        Ok(owned)
    }
}

fn slot(number: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: number, pfunc: function }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once by the interpreter for an object of our heap type, whose instances own
    // a reference to it.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// Runs `work`, turning errors and panics into a raised exception.
fn guarded(work: impl FnOnce(Python<'_>) -> PyResult<*mut ffi::PyObject>) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls us attached.
    let py = unsafe { Python::assume_attached() };
    let result = catch_unwind(AssertUnwindSafe(|| work(py)))
        .unwrap_or_else(|_| Err(PyRuntimeError::new_err("internal error in the server")));
    result.unwrap_or_else(|error| {
        error.restore(py);
        null_mut()
    })
}

unsafe extern "C" fn start_response_called(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: the vectorcall protocol: `nargsf` positional arguments, then one for each name.
        unsafe {
            let positional = nargsf & !ARGUMENTS_OFFSET;
            let named = if names.is_null() { 0 } else { ffi::PyTuple_Size(names) as usize };
            let all =
                if args.is_null() { &[][..] } else { std::slice::from_raw_parts(args, positional + named) };
            let given = arguments(all, positional, names)?;
            let starter = callable.cast::<Callable>();
            let shared = (*starter).shared.as_ref().ok_or_else(over)?;
            // Shared first: waiting for the sink lets other threads end the exchange.
            let write = Owned::share((*starter).write).ok_or_else(over)?;
            start(py, shared, &given)?;
            Ok(write.into_ptr())
        }
    })
}

/// status, headers, exc_info: by position or by the names PEP 3333 and its readers use.
///
/// # Safety
/// `all` holds the positional arguments, then those of the tuple `names` (or NULL).
unsafe fn arguments(
    all: &[*mut ffi::PyObject],
    positional: usize,
    names: *mut ffi::PyObject,
) -> PyResult<[*mut ffi::PyObject; 3]> {
    let mut given = [null_mut(); 3];
    if positional > 3 {
        return Err(PyTypeError::new_err(format!(
            "start_response takes status, response_headers and exc_info, not {positional} arguments"
        )));
    }
    given[..positional].copy_from_slice(&all[..positional]);
    for (i, value) in all[positional..].iter().enumerate() {
        // SAFETY: within the tuple's size.
        let name = unsafe { native(ffi::PyTuple_GetItem(names, i as ffi::Py_ssize_t)) };
        let place = match name.as_deref().unwrap_or(b"") {
            b"status" => 0,
            b"response_headers" | b"headers" => 1,
            b"exc_info" => 2,
            _ => return Err(PyTypeError::new_err("start_response got an unexpected keyword argument")),
        };
        if !given[place].is_null() {
            return Err(PyTypeError::new_err("start_response got an argument twice"));
        }
        given[place] = *value;
    }
    if given[0].is_null() || given[1].is_null() {
        return Err(PyTypeError::new_err("start_response needs a status and a list of headers"));
    }
    Ok(given)
}

/// # Safety
/// The three are valid objects; the third may be NULL.
unsafe fn start(py: Python<'_>, shared: &Shared, given: &[*mut ffi::PyObject; 3]) -> PyResult<()> {
    let [status, headers, exc_info] = *given;
    // SAFETY: None is immortal or kept alive by the interpreter; compared by identity only.
    let replacing = !exc_info.is_null() && exc_info != unsafe { ffi::Py_None() };
    if replacing {
        let sent = shared.with_sink(py, |sink| sink.head_sent()).map_err(|_| over())?;
        if sent {
            // SAFETY: valid by contract.
            return Err(unsafe { re_raise(py, exc_info) });
        }
    } else if shared.started.get() {
        return Err(PyAssertionError::new_err(
            "start_response was called a second time without exc_info (PEP 3333)",
        ));
    }
    let mut response = shared
        .response
        .try_borrow_mut()
        .map_err(|_| PyRuntimeError::new_err("start_response is running already"))?;
    let mut given = shared
        .given
        .try_borrow_mut()
        .map_err(|_| PyRuntimeError::new_err("start_response is running already"))?;
    shared.started.set(false);
    // SAFETY: valid by contract.
    unsafe {
        if !given.is_status(status) || !response.start_again() {
            let text = native(status).map_err(|why| refused("status", &why))?;
            response.start(&text).map_err(invalid)?;
            given.keep_status(status);
        }
        pairs(headers, |place, pair| {
            if given.is_field(place, pair)
                && response.remembered() == place
                && response.field_again().map_err(invalid)?
            {
                return Ok(());
            }
            let (name, value) = texts(place, pair)?;
            response.field(&name, &value).map_err(invalid)?;
            given.keep_field(place, pair, response.remembered());
            Ok(())
        })?;
    }
    shared.started.set(true);
    Ok(())
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Hands each field of a list of `(name, value)` to `field`.
///
/// # Safety
/// `headers` is a valid object.
pub(super) unsafe fn fields<E: std::fmt::Display>(
    headers: *mut ffi::PyObject,
    mut field: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> PyResult<()> {
    // SAFETY: valid by contract; what is handed over is used before anything else runs.
    unsafe {
        pairs(headers, |place, pair| {
            let (name, value) = texts(place, pair)?;
            field(&name, &value).map_err(invalid)
        })
    }
}

/// Hands each pair of a list of pairs to `pair`, with its place. The objects are borrowed.
///
/// # Safety
/// `headers` is a valid object; no Python code runs in `pair`.
unsafe fn pairs(
    headers: *mut ffi::PyObject,
    mut pair: impl FnMut(usize, [*mut ffi::PyObject; 2]) -> PyResult<()>,
) -> PyResult<()> {
    // SAFETY: every call below is on a valid object of the checked type; items are borrowed and
    // used before anything else runs.
    unsafe {
        if ffi::PyList_Check(headers) == 0 {
            return Err(PyTypeError::new_err("response headers must be a list of (name, value) tuples"));
        }
        for place in 0..ffi::PyList_Size(headers) {
            let item = ffi::PyList_GetItem(headers, place);
            if item.is_null() || ffi::PyTuple_Check(item) == 0 || ffi::PyTuple_Size(item) != 2 {
                ffi::PyErr_Clear();
                return Err(PyTypeError::new_err(format!(
                    "response header {place} must be a (name, value) tuple"
                )));
            }
            pair(place as usize, [ffi::PyTuple_GetItem(item, 0), ffi::PyTuple_GetItem(item, 1)])?;
        }
    }
    Ok(())
}

/// Name and value of a field.
///
/// # Safety
/// Two valid objects, which outlive the result.
unsafe fn texts<'a>(
    place: usize,
    [name, value]: [*mut ffi::PyObject; 2],
) -> PyResult<(Cow<'a, [u8]>, Cow<'a, [u8]>)> {
    // SAFETY: valid by contract.
    unsafe {
        let name = native(name).map_err(|why| refused(&format!("name of response header {place}"), &why))?;
        let value = native(value).map_err(|why| {
            refused(&format!("value of response header {:?}", String::from_utf8_lossy(&name)), &why)
        })?;
        Ok((name, value))
    }
}

fn refused(what: &str, why: &NotNative) -> PyErr {
    match why {
        NotNative::Type => PyTypeError::new_err(format!("the {what} must be a str")),
        NotNative::Range => PyValueError::new_err(format!("the {what} has characters outside latin-1")),
    }
}

fn over() -> PyErr {
    PyRuntimeError::new_err("the request this start_response belongs to is over")
}

/// # Safety
/// `exc_info` is a valid object.
unsafe fn re_raise(py: Python<'_>, exc_info: *mut ffi::PyObject) -> PyErr {
    // SAFETY: valid by contract.
    let exc_info = unsafe { Bound::from_borrowed_ptr(py, exc_info) };
    match exc_info.get_item(1) {
        Ok(value) if !value.is_none() => {
            if let Ok(traceback) = exc_info.get_item(2)
                && !traceback.is_none()
            {
                // A value that refuses its traceback is raised without it.
                let _ = value.setattr("__traceback__", traceback);
            }
            PyErr::from_value(value)
        }
        _ => PyTypeError::new_err("exc_info must be a sys.exc_info() tuple"),
    }
}

unsafe extern "C" fn write_called(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: the vectorcall protocol; `callable` is an object of ours.
        let (shared, bytes) = unsafe {
            let named = !names.is_null() && ffi::PyTuple_Size(names) != 0;
            if named || nargsf & !ARGUMENTS_OFFSET != 1 {
                return Err(PyTypeError::new_err("write() takes one argument, the bytes to send"));
            }
            let shared = (*callable.cast::<Callable>()).shared.as_ref().ok_or_else(over)?;
            let bytes = bytes_of(*args).ok_or_else(|| PyTypeError::new_err("write() takes bytes"))?;
            (shared, bytes)
        };
        if !bytes.is_empty() {
            write(py, shared, bytes)?;
        }
        // SAFETY: attached.
        unsafe {
            let none = ffi::Py_None();
            ffi::Py_INCREF(none);
            Ok(none)
        }
    })
}

fn write(py: Python<'_>, shared: &Shared, bytes: &[u8]) -> PyResult<()> {
    let taken = shared.with_sink(py, |sink| {
        shared.send_head(sink, None)?;
        Ok::<_, PyErr>(py.detach(|| sink.write(bytes)))
    });
    match taken {
        Ok(Ok(true)) => {
            shared.count(bytes.len() as u64);
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok(false)) => {
            shared.gone.set(true);
            Err(PyBrokenPipeError::new_err("the client is gone"))
        }
        Err(_) => Err(PyRuntimeError::new_err("write() is running already, or its request is over")),
    }
}
