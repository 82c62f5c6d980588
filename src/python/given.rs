//! Which objects did the application give `start_response` the last time? Most give the same constants
//! again and again: an object that is the same need not be read again, as strings do not change.
//!
//! Must not know: what a status or a field means.
//!
//! Invariants:
//! 1. A field kept here is the one that the response head remembers at the same place.
//! 2. Only `str` itself is kept, as long as the response head remembers what was made of it: no
//!    object of the application's own lives longer because of that.

use pyo3::ffi;

use super::object::Owned;

/// The status and the fields of the response before.
#[derive(Default)]
pub(super) struct Given {
    status: Option<Owned>,
    fields: Vec<[Owned; 2]>,
}

impl Given {
    /// Whether this is the status that was given.
    pub(super) fn is_status(&self, status: *mut ffi::PyObject) -> bool {
        self.status.as_ref().is_some_and(|known| known.as_ptr() == status)
    }

    /// Whether this field was given at this place.
    pub(super) fn is_field(&self, place: usize, field: [*mut ffi::PyObject; 2]) -> bool {
        self.fields.get(place).is_some_and(|known| [known[0].as_ptr(), known[1].as_ptr()] == field)
    }

    /// Keeps the status.
    ///
    /// # Safety
    /// A valid object; the thread is attached.
    pub(super) unsafe fn keep_status(&mut self, status: *mut ffi::PyObject) {
        // SAFETY: as promised.
        self.status = unsafe { constant(status) };
    }

    /// Keeps a field, of which the response head remembers now `remembered` with all before it.
    ///
    /// # Safety
    /// Two valid objects; the thread is attached.
    pub(super) unsafe fn keep_field(
        &mut self,
        place: usize,
        field: [*mut ffi::PyObject; 2],
        remembered: usize,
    ) {
        // SAFETY: as promised.
        let both = unsafe { constant(field[0]).zip(constant(field[1])) };
        match both.filter(|_| remembered == place + 1) {
            Some((name, value)) if place < self.fields.len() => self.fields[place] = [name, value],
            Some((name, value)) if place == self.fields.len() => self.fields.push([name, value]),
            _ => self.fields.truncate(place),
        }
    }
}

/// # Safety
/// As above.
unsafe fn constant(object: *mut ffi::PyObject) -> Option<Owned> {
    // SAFETY: valid, attached.
    unsafe {
        match ffi::PyUnicode_CheckExact(object) {
            0 => None,
            _ => Owned::share(object),
        }
    }
}
