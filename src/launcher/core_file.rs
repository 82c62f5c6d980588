//! Where is the core, the extension module that is the server?
//!
//! Must not know: interpreters. When the core is not among this executable's files it is expected
//! in the interpreter's packages (the wheel), which only the interpreter can tell.
//!
//! Invariants:
//! 1. A core named by RWSGI_CORE is used or complained about.
//! 2. The interpreter's own package goes before that of the environment this executable sits in:
//!    what is installed beside the application is what was tested with it.

use std::ffi::OsString;
use std::fs;
use std::path::{self, Path, PathBuf};
use std::time::SystemTime;

use super::error::LaunchError;

/// The file's name beside the executable.
const NAME: &str = "librwsgi_core.so";

/// The file's name in the wheel: any interpreter can load it, whoever's package it is in.
const PACKAGED: &str = "rwsgi/_core.abi3.so";

/// Where the core is.
#[derive(Debug, PartialEq, Eq)]
pub enum Core {
    /// In this file.
    File(PathBuf),
    /// In the interpreter's packages.
    Package {
        /// In this file if it is not: rwsgi was installed as a tool, apart from the application.
        or: Option<PathBuf>,
    },
}

/// Looks beside the executable and around it.
pub fn find(named: Option<OsString>, executable: Option<&Path>) -> Result<Core, LaunchError> {
    if let Some(named) = named.filter(|named| !named.is_empty()).map(PathBuf::from) {
        return match path::absolute(&named) {
            Ok(file) if file.is_file() => Ok(Core::File(file)),
            _ => Err(LaunchError::NoCore { named }),
        };
    }
    let Some(directory) = executable.and_then(Path::parent) else { return Ok(Core::Package { or: None }) };
    // Cargo always writes the one under deps, and links it beside the executable only on some
    // commands: the other one can be left over from an older build.
    let built = [directory.join(NAME), directory.join("deps").join(NAME)];
    let newest = built.into_iter().filter_map(|file| Some((modified(&file)?, file))).reduce(newer);
    let installed = || Some(directory.parent()?.join("lib/rwsgi").join(NAME)).filter(|file| file.is_file());
    let file = newest.map(|(_, file)| file).or_else(installed);
    Ok(file.map_or_else(|| Core::Package { or: packaged(directory) }, Core::File))
}

/// The core of the environment whose `bin` directory this is.
fn packaged(directory: &Path) -> Option<PathBuf> {
    let root = directory.parent()?;
    let libraries = ["lib", "lib64"].into_iter().filter_map(|name| fs::read_dir(root.join(name)).ok());
    let versions = libraries.flatten().flatten().map(|entry| entry.path()).filter(|path| is_python(path));
    let places = versions.flat_map(|path| [path.join("site-packages"), path.join("dist-packages")]);
    // The newest, should several interpreters share the directory.
    places
        .map(|place| place.join(PACKAGED))
        .filter_map(|file| Some((modified(&file)?, file)))
        .reduce(newer)
        .map(|(_, file)| file)
}

fn is_python(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"python3"))
}

fn modified(file: &Path) -> Option<SystemTime> {
    let meta = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    Some(meta.modified().unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The first one, unless the second is newer.
fn newer(a: (SystemTime, PathBuf), b: (SystemTime, PathBuf)) -> (SystemTime, PathBuf) {
    if b.0 > a.0 { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, age: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
    }

    #[test]
    fn looks_beside_then_under_lib_then_leaves_it_to_the_interpreter() {
        let root = tempfile::tempdir().unwrap();
        let executable = root.path().join("bin/rwsgi");
        let found = || find(None, Some(&executable)).unwrap();
        assert_eq!(found(), Core::Package { or: None });
        let packaged = root.path().join("lib/python3.12/site-packages").join(PACKAGED);
        file(&packaged, 0);
        file(&root.path().join("lib/other/site-packages").join(PACKAGED), 0);
        assert_eq!(found(), Core::Package { or: Some(packaged) });
        let installed = root.path().join("lib/rwsgi/librwsgi_core.so");
        file(&installed, 0);
        assert_eq!(found(), Core::File(installed));
        let beside = root.path().join("bin/librwsgi_core.so");
        file(&beside, 50);
        assert_eq!(found(), Core::File(beside));
        assert_eq!(find(None, None).unwrap(), Core::Package { or: None });
    }

    #[test]
    fn takes_the_newer_of_the_two_cargo_writes() {
        let root = tempfile::tempdir().unwrap();
        let (executable, beside) = (root.path().join("rwsgi"), root.path().join(NAME));
        let deps = root.path().join("deps").join(NAME);
        file(&deps, 20);
        assert_eq!(find(None, Some(&executable)).unwrap(), Core::File(deps.clone()));
        file(&beside, 10);
        assert_eq!(find(None, Some(&executable)).unwrap(), Core::File(beside));
        file(&deps, 0);
        assert_eq!(find(None, Some(&executable)).unwrap(), Core::File(deps));
    }

    #[test]
    fn a_named_core_is_used_or_complained_about() {
        let root = tempfile::tempdir().unwrap();
        let core = root.path().join("my.so");
        assert!(matches!(
            find(Some(core.clone().into()), None),
            Err(LaunchError::NoCore { named }) if named == core
        ));
        file(&core, 0);
        assert_eq!(find(Some(core.clone().into()), None).unwrap(), Core::File(core));
        assert_eq!(find(Some(OsString::new()), None).unwrap(), Core::Package { or: None });
    }
}
