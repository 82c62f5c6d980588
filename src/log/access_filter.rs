//! Which exchanges get a line in the access log?
//!
//! Must not know: what a line looks like.
//!
//! Invariant: a failure of the server's (5xx) always has its line: nobody samples those away.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is left out.
#[derive(Debug, Default)]
pub struct AccessFilter {
    skip: Vec<Box<[u8]>>,
    /// One in so many is written; 0 and 1: all.
    sample: u64,
    seen: AtomicU64,
}

impl AccessFilter {
    /// Leaves out these paths, with `*` at the end all that begin so, and writes one in `sample`
    /// of the others.
    pub fn new(skip: &[String], sample: u64) -> AccessFilter {
        let skip = skip.iter().map(|path| path.as_bytes().into()).collect();
        AccessFilter { skip, sample, seen: AtomicU64::new(0) }
    }

    /// Whether this exchange gets a line. `path` is as it was sent.
    pub fn admits(&self, path: &[u8], status: u16) -> bool {
        if status >= 500 {
            return true;
        }
        let skipped = |rule: &[u8]| match rule.strip_suffix(b"*") {
            Some(start) => path.starts_with(start),
            None => path == rule,
        };
        if self.skip.iter().any(|rule| skipped(rule)) {
            return false;
        }
        self.sample <= 1 || self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_skipped_whole_or_by_their_start() {
        let filter = AccessFilter::new(&["/health".to_owned(), "/static/*".to_owned()], 1);
        for (path, status, admitted) in [
            ("/", 200, true),
            ("/health", 200, false),
            ("/health", 503, true),
            ("/healthy", 200, true),
            ("/static/", 404, false),
            ("/static/a/b", 200, false),
            ("/static", 200, true),
            ("", 400, true),
        ] {
            assert_eq!(filter.admits(path.as_bytes(), status), admitted, "{path} {status}");
        }
    }

    #[test]
    fn one_in_so_many_is_written_and_every_failure() {
        let filter = AccessFilter::new(&["/skip".to_owned()], 10);
        let written = (0..1000).filter(|_| filter.admits(b"/", 200) | filter.admits(b"/skip", 200)).count();
        assert_eq!(written, 100);
        assert!((0..100).all(|_| filter.admits(b"/", 500)));
        let all = AccessFilter::default();
        assert!((0..100).all(|_| all.admits(b"/", 200)));
    }
}
