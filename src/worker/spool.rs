//! Where are bytes kept that are too many for memory? In temporary files that have no name.
//!
//! Must not know: requests, replies.
//!
//! Invariants:
//! 1. A file is never visible in a directory (or only for the moment of its making).
//! 2. A directory that refuses is not tried again for every body: the first that works is kept.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// The places for temporary files, best first.
#[derive(Debug)]
pub struct Spool {
    places: Vec<PathBuf>,
    /// Index of the place that worked last; one past the end is memory (a memfd).
    working: AtomicUsize,
}

impl Spool {
    /// `preferred` first, then the system's usual places.
    pub fn new(preferred: Option<PathBuf>) -> Self {
        let mut places: Vec<PathBuf> = preferred.into_iter().collect();
        places.push(std::env::temp_dir());
        places.extend(["/tmp", "/var/tmp", "/dev/shm", "."].map(PathBuf::from));
        Spool { places, working: AtomicUsize::new(0) }
    }

    /// A new, empty file.
    pub fn create(&self) -> io::Result<File> {
        let start = self.working.load(Ordering::Relaxed);
        for (index, place) in self.places.iter().enumerate().skip(start) {
            match tempfile::tempfile_in(place) {
                Ok(file) => {
                    self.working.store(index, Ordering::Relaxed);
                    return Ok(file);
                }
                Err(error) => {
                    tracing::warn!("Cannot make temporary files in {}: {error}", place.display());
                }
            }
        }
        // A container without any writable place: the kernel keeps the file in memory.
        self.working.store(self.places.len(), Ordering::Relaxed);
        Ok(memfd_create("rwsgi-spool", MFdFlags::MFD_CLOEXEC).map(File::from)?)
    }
}
