//! How do bytes reach a log target that may be full, slow or gone?

use std::fs::{File, OpenOptions};
use std::io::Write;

use super::{LogError, Target};

/// An open log target.
pub struct Sink {
    target: Target,
    file: Option<File>,
    dropped: u64,
}

impl Sink {
    /// Opens a target.
    pub fn open(target: Target) -> Result<Sink, LogError> {
        let file = match &target {
            Target::File(path) => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .map_err(|error| LogError { target: target.clone(), error })?,
            ),
            Target::Stdout | Target::Stderr => None,
        };
        Ok(Sink { target, file, dropped: 0 })
    }

    /// Writes what the target takes now, and removes it from `lines`.
    pub fn write(&mut self, lines: &mut Vec<u8>) {
        let done = match &mut self.file {
            Some(file) => file.write_all(lines),
            None => std::io::stdout().write_all(lines),
        };
        if done.is_err() {
            self.dropped += 1;
        }
        lines.clear();
    }

    /// Opens the file anew.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        *self = Sink { dropped: self.dropped, ..Sink::open(self.target.clone())? };
        Ok(())
    }

    /// Lines lost.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
