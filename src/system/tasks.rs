//! How many threads has this process?
//!
//! Must not know whose they are.

use std::fs;

/// Threads of this process, the calling one included; at least 1.
pub fn count() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, |tasks| tasks.count().max(1))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    #[test]
    fn a_new_thread_is_counted() {
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || ended.recv().is_ok());
        assert!(super::count() >= 2);
        drop(end);
        thread.join().unwrap();
    }
}
