//! How do buffered lines reach a log target that may be full, slow or gone?
//!
//! Must not know: what a line says, when the caller has time.
//!
//! Invariants:
//! 1. What cannot be written now stays with the caller; what can never be written is counted.
//! 2. A file gets whole lines in one write. A line the target cut (a full disk) is followed by a
//!    line break before anything else, so that it spoils no line but itself.

use std::io;
use std::time::{Duration, Instant};

use super::losses::{Lost, lost};
use super::output::{Output, piece_end};
use super::{LogError, Target};

/// Where lines go.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    output: Output,
    /// The last thing written is the start of a line whose end was dropped.
    torn: bool,
    dropped: u64,
}

impl Sink {
    /// Opens a target.
    pub fn open(target: Target) -> Result<Sink, LogError> {
        Ok(Sink { output: Output::open(&target)?, target, torn: false, dropped: 0 })
    }

    /// Writes what the target takes now and removes it from `lines`. What remains after that is to
    /// be offered again, at its head possibly the rest of a line.
    pub fn write(&mut self, lines: &mut Vec<u8>) {
        if self.torn && !lines.is_empty() {
            lines.insert(0, b'\n');
            self.torn = false;
        }
        let mut done = 0;
        while done < lines.len() {
            let end = done + piece_end(&lines[done..], self.output.piece());
            match self.output.write(&lines[done..end]) {
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.torn = done > 0 && lines[done - 1] != b'\n';
                    self.drop_lines(&lines[done..]);
                    done = lines.len();
                }
            }
        }
        lines.drain(..done);
    }

    /// As [`Sink::write`], but waits for a slow target; what it has not taken then is dropped.
    pub fn finish(&mut self, lines: &mut Vec<u8>, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.write(lines);
        while !lines.is_empty() && self.output.wait(deadline.saturating_duration_since(Instant::now())) {
            self.write(lines);
        }
        self.drop_lines(lines);
        lines.clear();
    }

    /// Opens the file anew. On failure the old one stays in use.
    pub fn reopen(&mut self) -> Result<(), LogError> {
        if let Target::File(_) = self.target {
            self.output = Output::open(&self.target)?;
            self.torn = false;
        }
        Ok(())
    }

    /// Counts a line that was not even buffered.
    pub fn drop_line(&mut self) {
        self.lose(1);
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_lines(&mut self, lines: &[u8]) {
        self.lose(memchr::memchr_iter(b'\n', lines).count() as u64);
    }

    fn lose(&mut self, lines: u64) {
        self.dropped += lines;
        if lines > 0 {
            lost(Lost::Access, lines);
        }
    }

    #[cfg(test)]
    pub(super) fn on(output: Output) -> Sink {
        Sink { target: Target::Stdout, output, torn: false, dropped: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_the_target_cut_is_ended_before_the_next() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        let mut sink = Sink::open(Target::File(path.clone())).unwrap();
        sink.write(&mut b"half a li".to_vec());
        sink.torn = true;
        sink.write(&mut Vec::new());
        for mut lines in [b"one\n".to_vec(), b"two\n".to_vec()] {
            sink.write(&mut lines);
            assert!(lines.is_empty());
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), "half a li\none\ntwo\n");
    }

    #[test]
    fn the_line_that_is_cut_is_counted_as_dropped() {
        let mut sink = Sink::open(Target::File("/dev/full".into())).unwrap();
        let mut lines = b"one\ntwo\n".to_vec();
        sink.write(&mut lines);
        assert_eq!((lines.len(), sink.dropped(), sink.torn), (0, 2, false));
    }
}
