//! When has the application's code changed, and what then? Development only.
//!
//! A thread of the worker watches the files its code came from. When one of them changes, the
//! worker asks the master for a successor, which loads the new code while this one serves on.
//!
//! Must not know: Python; which successor comes, and when.
//!
//! Invariants:
//! 1. One request for a successor, then the thread is done: the successor watches on.
//! 2. A change between the start of loading and the first watch is noticed, by its time.
//! 3. While the application cannot be loaded, whatever may mend it counts: new modules, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::context::Context;
use super::settings::{Engine, Watch};
use crate::system::watch::Watcher;

/// How often the list of loaded modules is read again.
const RESCAN: Duration = Duration::from_secs(1);
/// How often files are looked at where the kernel does not tell.
const LOOK: Duration = Duration::from_millis(500);
/// A change is acted upon when nothing else changes for so long: editors and version control
/// touch several files.
const QUIET: Duration = Duration::from_millis(30);
/// But not later than this.
const NOT_LATER: Duration = Duration::from_millis(200);

/// What loading the application came to, for whoever watches its files.
#[derive(Debug, Default)]
pub struct Attempt {
    /// When it began.
    pub began: Option<SystemTime>,
    /// The files that made it fail. `None`: it did not.
    pub failed: Option<Vec<PathBuf>>,
}

/// Starts watching, if it is asked for.
pub fn start(context: &Arc<Context>, attempt: Attempt) {
    let Some(watch) = context.settings.reload.clone() else { return };
    let context = Arc::clone(context);
    let body = move || Reloader::new(&context, watch, attempt).run();
    if let Err(error) = thread::Builder::new().name("rwsgi-reload".into()).spawn(body) {
        tracing::error!("Cannot watch for changes: {error}");
    }
}

struct Reloader<'a> {
    context: &'a Context,
    extra: Vec<String>,
    attempt: Attempt,
    watcher: Watcher,
    span: Duration,
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl<'a> Reloader<'a> {
    fn new(context: &'a Context, watch: Watch, attempt: Attempt) -> Self {
        let kernel = match watch.engine {
            Engine::Poll => None,
            Engine::Auto => Watcher::of_kernel().ok(),
            Engine::Inotify => match Watcher::of_kernel() {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    tracing::warn!("No inotify ({error}): looking for changes instead");
                    None
                }
            },
        };
        let span = if kernel.is_some() { RESCAN } else { LOOK };
        let watcher = kernel.unwrap_or_else(Watcher::of_looks);
        let (files, directories) = (BTreeSet::new(), BTreeSet::new());
        Reloader { context, extra: watch.extra, attempt, watcher, span, files, directories }
    }

    fn run(mut self) {
        self.scan();
        if let Some(path) = self.changed_while_loading() {
            return self.ask(&[path]);
        }
        loop {
            let changed = self.relevant();
            if !changed.is_empty() {
                let changed = self.settle(changed);
                return self.ask(&changed);
            }
            self.scan();
        }
    }

    /// Reads anew which files there are to watch.
    fn scan(&mut self) {
        let mut found: BTreeSet<PathBuf> = self.context.runtime.sources(&self.extra).into_iter().collect();
        if let Some(failed) = &self.attempt.failed {
            found.extend(failed.iter().cloned());
            let search = self.context.settings.app.search.iter().map(PathBuf::from);
            self.directories.extend(search);
            self.directories.extend(found.iter().filter_map(|file| Some(file.parent()?.to_owned())));
        }
        // Behind a link, the file that is written has another name.
        let real: Vec<PathBuf> = found
            .difference(&self.files)
            .filter_map(|file| fs::canonicalize(file).ok().filter(|real| real != file))
            .collect();
        self.files.extend(found);
        self.files.extend(real);
        self.watcher.watch(&self.files, &self.directories);
    }

    fn changed_while_loading(&self) -> Option<PathBuf> {
        let began = self.attempt.began?;
        let newer = |file: &PathBuf| {
            fs::metadata(file).and_then(|facts| facts.modified()).is_ok_and(|changed| changed > began)
        };
        let appeared = || {
            let entries = self.directories.iter().filter_map(|directory| fs::read_dir(directory).ok());
            let paths = entries.flatten().flatten().map(|entry| entry.path());
            paths.into_iter().find(|path| may_mend(path) && newer(path))
        };
        self.files.iter().find(|file| newer(file)).cloned().or_else(appeared)
    }

    fn relevant(&mut self) -> Vec<PathBuf> {
        let changed = self.watcher.wait(self.span);
        changed.into_iter().filter(|path| self.matters(path)).collect()
    }

    fn matters(&self, path: &Path) -> bool {
        if self.files.contains(path) {
            return true;
        }
        self.attempt.failed.is_some() && may_mend(path) || self.is_new_match(path)
    }

    /// A file that is there only now may be meant by a pattern.
    fn is_new_match(&self, path: &Path) -> bool {
        let patterns = self.extra.iter().any(|entry| entry.contains(['*', '?', '[']));
        patterns && self.context.runtime.sources(&self.extra).iter().any(|file| file == path)
    }

    /// Waits until all that changes together has changed.
    fn settle(&mut self, mut changed: Vec<PathBuf>) -> Vec<PathBuf> {
        let until = Instant::now() + NOT_LATER;
        while Instant::now() < until {
            let more = self.watcher.wait(QUIET);
            if more.is_empty() {
                break;
            }
            changed.extend(more.into_iter().filter(|path| self.matters(path)));
        }
        changed
    }

    fn ask(&self, changed: &[PathBuf]) {
        changed.iter().for_each(|path| forget_compiled(path));
        let name = changed.first().map(|path| path.display().to_string()).unwrap_or_default();
        tracing::info!("Worker reloading: {name} modified");
        self.context.outdated.store(true, Ordering::Relaxed);
        self.context.row.set_wants_retire();
        if let Err(error) = self.context.bell.look() {
            tracing::error!("Cannot ask the master for a successor: {error}");
        }
    }
}

/// Whether a new or changed path could mend an application that cannot be loaded.
fn may_mend(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let code = path.extension().is_some_and(|extension| extension == "py" || extension == "so");
    !name.starts_with('.') && name != "__pycache__" && (code || path.is_dir())
}

/// Python takes a compiled file for current if the source has the same length and was changed in
/// the same second: two quick edits, and the first would stay.
fn forget_compiled(source: &Path) {
    let (Some(directory), Some(stem)) = (source.parent(), source.file_stem()) else { return };
    let Ok(entries) = fs::read_dir(directory.join("__pycache__")) else { return };
    let start = format!("{}.", stem.to_string_lossy());
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&start) && name.ends_with(".pyc") {
            // Somebody else may have removed it; who may not remove it has no newer one either.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_mend_a_broken_application() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("package");
        fs::create_dir(&package).unwrap();
        assert!(may_mend(&package));
        for (name, mends) in [
            ("a.py", true),
            ("a.so", true),
            (".a.py", false),
            ("a.py~", false),
            ("a.pyc", false),
            ("__pycache__", false),
        ] {
            assert_eq!(may_mend(&root.path().join(name)), mends, "{name}");
        }
    }

    #[test]
    fn compiled_files_of_one_source_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("__pycache__");
        fs::create_dir(&cache).unwrap();
        for name in ["app.cpython-311.pyc", "app.cpython-311.opt-1.pyc", "apple.cpython-311.pyc", "app.txt"] {
            fs::write(cache.join(name), "").unwrap();
        }
        forget_compiled(&root.path().join("app.py"));
        let mut left: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["app.txt", "apple.cpython-311.pyc"]);
        forget_compiled(Path::new("/nowhere/app.py"));
    }
}
