//! Which bytes of which file does a `wsgi.file_wrapper` stand for? (PEP 3333, "Optional
//! Platform-Specific File Handling")
//!
//! Must not know: who sends them.
//!
//! Invariant: the descriptor handed out is our own, so that the application may close its file.

use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::prelude::*;

use super::object::Owned;
use super::support::Support;

/// Descriptor (our own), offset and length of what is left of a wrapped regular file.
pub(super) fn find(
    py: Python<'_>,
    support: &Support,
    wrapper: &Owned,
) -> PyResult<Option<(OwnedFd, u64, u64)>> {
    let region = support.file_region.bind(py).call1((wrapper.bind(py),))?;
    if region.is_none() {
        return Ok(None);
    }
    let (fd, offset): (i32, u64) = region.extract()?;
    if fd < 0 {
        return Ok(None);
    }
    // SAFETY: the wrapped file, held by `wrapper`, keeps the descriptor open while it is borrowed.
    let file = match unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned() {
        Ok(fd) => std::fs::File::from(fd),
        Err(_) => return Ok(None),
    };
    match file.metadata() {
        Ok(facts) if facts.is_file() => {
            Ok(Some((OwnedFd::from(file), offset, facts.len().saturating_sub(offset))))
        }
        _ => Ok(None),
    }
}
