//! Which files have changed? By the kernel's word (inotify(7)), or by looking.
//!
//! Must not know: whose files, and what a change means.
//!
//! Directories are watched, not files: editors write a new file and rename it over the old one,
//! and a watch on the old one would follow it into oblivion.
//!
//! Invariants:
//! 1. A file is said to have changed when its writer has closed it, never half written.
//! 2. What cannot be watched (it is gone, there are too many) is left out, and tried again by the
//!    next [`Watcher::watch`].

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// Watches files and directories.
#[derive(Debug)]
pub struct Watcher(Engine);

#[derive(Debug)]
enum Engine {
    Kernel { inotify: Inotify, directories: HashMap<WatchDescriptor, PathBuf> },
    Looks { seen: HashMap<PathBuf, Option<Sight>> },
}

/// What a file looked like: when it was changed, its length, and which file it was.
type Sight = (i64, i64, u64, u64);

impl Watcher {
    /// By the kernel's word.
    pub fn of_kernel() -> io::Result<Watcher> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Watcher(Engine::Kernel { inotify, directories: HashMap::new() }))
    }

    /// By looking.
    pub fn of_looks() -> Watcher {
        Watcher(Engine::Looks { seen: HashMap::new() })
    }

    /// Watches these files, and the directories for what appears in them, too.
    pub fn watch(&mut self, files: &BTreeSet<PathBuf>, directories: &BTreeSet<PathBuf>) {
        match &mut self.0 {
            Engine::Kernel { inotify, directories: watched } => {
                let parents = files.iter().filter_map(|file| file.parent());
                let wanted: BTreeSet<&Path> =
                    parents.chain(directories.iter().map(PathBuf::as_path)).collect();
                for directory in wanted {
                    if !watched.values().any(|known| known == directory)
                        && let Ok(descriptor) = inotify.add_watch(directory, interest())
                    {
                        watched.insert(descriptor, directory.to_owned());
                    }
                }
            }
            Engine::Looks { seen } => {
                for path in files.iter().chain(directories) {
                    seen.entry(path.clone()).or_insert_with(|| sight(path));
                }
            }
        }
    }

    /// Waits for changes, at most so long. Says which paths have changed, if any.
    pub fn wait(&mut self, span: Duration) -> Vec<PathBuf> {
        match &mut self.0 {
            Engine::Kernel { inotify, directories } => wait_for_kernel(inotify, directories, span),
            Engine::Looks { seen } => {
                thread::sleep(span);
                look(seen)
            }
        }
    }
}

fn interest() -> AddWatchFlags {
    AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_ONLYDIR
}

fn wait_for_kernel(
    inotify: &Inotify,
    directories: &mut HashMap<WatchDescriptor, PathBuf>,
    span: Duration,
) -> Vec<PathBuf> {
    let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
    // Interrupted or not: what happened is found by reading.
    let _ = poll(&mut fds, PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX));
    let mut changed = Vec::new();
    while let Ok(events) = inotify.read_events() {
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                directories.remove(&event.wd);
            }
            // A new file is not written yet; a new directory, or a link, is all there is to come.
            let unfinished = event.mask.contains(AddWatchFlags::IN_CREATE)
                && !event.mask.contains(AddWatchFlags::IN_ISDIR);
            let (Some(directory), Some(name)) = (directories.get(&event.wd), event.name) else { continue };
            let path = directory.join(name);
            if !unfinished || path.is_symlink() {
                changed.push(path);
            }
        }
    }
    changed
}

fn sight(path: &Path) -> Option<Sight> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.mtime(), facts.mtime_nsec(), facts.size(), facts.ino()))
}

fn look(seen: &mut HashMap<PathBuf, Option<Sight>>) -> Vec<PathBuf> {
    let mut changed = Vec::new();
    for (path, before) in seen {
        let now = sight(path);
        if now != *before {
            *before = now;
            changed.push(path.clone());
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(5);

    fn both() -> [Watcher; 2] {
        [Watcher::of_kernel().unwrap(), Watcher::of_looks()]
    }

    fn until_changed(watcher: &mut Watcher) -> Vec<PathBuf> {
        let span = match watcher.0 {
            Engine::Kernel { .. } => LONG,
            Engine::Looks { .. } => Duration::from_millis(5),
        };
        watcher.wait(span)
    }

    #[test]
    fn files_written_renamed_over_and_removed() {
        for mut watcher in both() {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join("a.py");
            fs::write(&file, "1").unwrap();
            watcher.watch(&BTreeSet::from([file.clone()]), &BTreeSet::new());
            assert_eq!(watcher.wait(Duration::from_millis(1)), Vec::<PathBuf>::new());

            fs::write(&file, "22").unwrap();
            assert!(until_changed(&mut watcher).contains(&file));
            fs::write(root.path().join("new"), "333").unwrap();
            fs::rename(root.path().join("new"), &file).unwrap();
            assert!(until_changed(&mut watcher).contains(&file));
            fs::remove_file(&file).unwrap();
            assert!(until_changed(&mut watcher).contains(&file));
        }
    }

    #[test]
    fn what_appears_in_a_directory() {
        for mut watcher in both() {
            let root = tempfile::tempdir().unwrap();
            let directory = root.path().to_owned();
            watcher.watch(&BTreeSet::new(), &BTreeSet::from([directory.clone()]));
            fs::create_dir(directory.join("package")).unwrap();
            let changed = until_changed(&mut watcher);
            assert!(changed.iter().any(|path| path.starts_with(&directory)), "{changed:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        for mut watcher in both() {
            watcher.watch(&BTreeSet::from(["/nowhere/at/all.py".into()]), &BTreeSet::new());
            assert_eq!(watcher.wait(Duration::from_millis(1)), Vec::<PathBuf>::new());
        }
    }
}
