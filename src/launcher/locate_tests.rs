//! Which interpreter is found, over directories made for each test.

use std::collections::HashMap;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A file system with executables in it, and what the search is told.
struct Scene {
    root: TempDir,
    variables: HashMap<&'static str, OsString>,
    executable: Executable,
}

impl Scene {
    fn new(files: &[&str]) -> Scene {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Scene { root, variables: HashMap::new(), executable: Executable::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn set(mut self, name: &'static str, paths: &[&str]) -> Scene {
        let paths = paths.iter().map(|path| self.at(path));
        let value = env::join_paths(paths).unwrap();
        self.variables.insert(name, value);
        self
    }

    /// Starts `typed` (relative to the root), the file at `resolved`.
    fn start(mut self, typed: &str, resolved: &str) -> Scene {
        let typed = self.at(typed).into_os_string();
        self.executable = Executable::find(Some(typed), None, Some(self.at(resolved)));
        self
    }

    fn locate(&self, args: &[&str]) -> Result<Found, LaunchError> {
        let args: Vec<OsString> =
            args.iter().map(|arg| arg.replace("ROOT", self.root.path().to_str().unwrap()).into()).collect();
        Search::new(&args, &self.executable, |name| self.variables.get(name).cloned()).locate()
    }

    #[track_caller]
    fn finds(&self, args: &[&str], python: &str, origin: Origin) {
        let found = self.locate(args).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found, Found { python: self.at(python), origin });
    }

    #[track_caller]
    fn misses(&self, args: &[&str], said: &str) {
        let error = self.locate(args).expect_err("nothing is to be found").to_string();
        assert!(error.contains(&said.replace("ROOT", self.root.path().to_str().unwrap())), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

const ALL: &[&str] = &[
    "flag/bin/python3",
    "flag/bin/python",
    "old/bin/python",
    "own/bin/python3",
    "own/bin/rwsgi",
    "own/pyvenv.cfg",
    "active/bin/python3",
    "conda/bin/python",
    "tools/rwsgi",
    "tools/python3",
    "path/python3",
    "path/python3.12",
    "pathonly/python",
];

#[test]
fn each_place_gives_way_to_the_one_before() {
    let mut scene = Scene::new(ALL)
        .set("RWSGI_PYTHON", &["old/bin/python"])
        .set("RWSGI_VENV", &["flag"])
        .set("VIRTUAL_ENV", &["active"])
        .set("CONDA_PREFIX", &["conda"])
        .set("PATH", &["nowhere", "path"])
        .start("own/bin/rwsgi", "own/bin/rwsgi");
    scene.finds(&["--venv", "ROOT/flag", "app"], "flag/bin/python3", Origin::VenvFlag);
    scene.finds(&[], "old/bin/python", Origin::PythonVariable);
    scene.variables.remove("RWSGI_PYTHON");
    scene.finds(&[], "flag/bin/python3", Origin::VenvVariable);
    scene.variables.insert("RWSGI_VENV", OsString::new());
    scene.finds(&[], "own/bin/python3", Origin::OwnVenv);
    let mut scene = scene.start("tools/rwsgi", "tools/rwsgi");
    scene.finds(&[], "active/bin/python3", Origin::VirtualEnv);
    scene.variables.remove("VIRTUAL_ENV");
    scene.finds(&[], "conda/bin/python", Origin::Conda);
    scene.variables.remove("CONDA_PREFIX");
    scene.finds(&[], "tools/python3", Origin::Beside);
    let mut scene = Scene { executable: Executable::default(), ..scene };
    scene.finds(&[], "path/python3", Origin::Path);
    scene.variables.insert("PATH", scene.at("pathonly").into());
    scene.finds(&[], "pathonly/python", Origin::Path);
    scene.variables.remove("PATH");
    scene.misses(&[], "name one with --python FILE or --venv DIR");
}

#[test]
fn flags_are_read_in_every_spelling() {
    let scene = Scene::new(ALL).set("PATH", &["path"]);
    for (args, python, origin) in [
        (&["--python", "ROOT/old/bin/python"][..], "old/bin/python", Origin::PythonFlag),
        (&["app", "--python=ROOT/old/bin/python"], "old/bin/python", Origin::PythonFlag),
        (&["--python", "ROOT/flag"], "flag/bin/python3", Origin::PythonFlag),
        (&["--python=ROOT/flag/bin"], "flag/bin/python3", Origin::PythonFlag),
        (&["--python", "python3.12"], "path/python3.12", Origin::PythonFlag),
        (&["--venv=ROOT/old"], "old/bin/python", Origin::VenvFlag),
        (&["--ven", "ROOT/old"], "old/bin/python", Origin::VenvFlag),
        // The later one is meant.
        (&["--venv=ROOT/old", "--python", "ROOT/flag"], "flag/bin/python3", Origin::PythonFlag),
        (&["--python=ROOT/flag", "--venv", "ROOT/old"], "old/bin/python", Origin::VenvFlag),
        // These are the core's.
        (&["--pythonpath", "ROOT/old"], "path/python3", Origin::Path),
        (&["--python"], "path/python3", Origin::Path),
        (&["--", "--python", "ROOT/flag"], "path/python3", Origin::Path),
    ] {
        scene.finds(args, python, origin);
    }
}

#[test]
fn what_was_named_is_not_passed_over() {
    let scene = Scene::new(ALL).set("PATH", &["path"]);
    scene.misses(&["--python", "ROOT/none"], "at ROOT/none, named by --python;");
    scene.misses(&["--python=python3.99"], "at python3.99, named by --python;");
    scene.misses(&["--python="], "named by --python;");
    scene.misses(&["--venv", "ROOT/path"], "at ROOT/path, named by --venv;");
    scene.set("VIRTUAL_ENV", &["gone"]).misses(&[], "at ROOT/gone, named by VIRTUAL_ENV;");
    // Happens to be there, but holds no Python.
    Scene::new(ALL).set("PATH", &["path"]).set("CONDA_PREFIX", &["path"]).finds(
        &[],
        "path/python3",
        Origin::Path,
    );
}

#[test]
fn a_file_that_cannot_be_executed_is_no_interpreter() {
    let scene = Scene::new(ALL).set("PATH", &["path", "tools"]);
    fs::set_permissions(scene.at("path/python3"), fs::Permissions::from_mode(0o644)).unwrap();
    scene.finds(&[], "tools/python3", Origin::Path);
    scene.misses(&["--python", "ROOT/path/python3"], "named by --python;");
}

#[test]
fn links_lead_to_the_environment_on_either_side() {
    let scene = Scene::new(ALL);
    fs::create_dir_all(scene.at("home")).unwrap();
    symlink(scene.at("own/bin/rwsgi"), scene.at("home/rwsgi")).unwrap();
    symlink("../../tools/rwsgi", scene.at("active/bin/rwsgi")).unwrap();
    fs::write(scene.at("active/pyvenv.cfg"), "").unwrap();
    // From elsewhere into an environment, as pipx does it.
    let scene = scene.start("home/rwsgi", "own/bin/rwsgi");
    scene.finds(&[], "own/bin/python3", Origin::OwnVenv);
    assert_eq!(scene.executable.path(), Some(scene.at("home/rwsgi")));
    // From an environment to a shared installation.
    let scene = scene.start("active/bin/rwsgi", "tools/rwsgi");
    scene.finds(&[], "active/bin/python3", Origin::OwnVenv);
}

#[test]
fn a_name_that_leads_elsewhere_is_not_believed() {
    let scene = Scene::new(ALL).start("own/bin/rwsgi", "tools/rwsgi");
    assert_eq!(scene.executable.names, [scene.at("tools/rwsgi")]);
    let typed = Some(OsString::from("rwsgi"));
    let path = Some(scene.at("own/bin").into_os_string());
    let executable = Executable::find(typed, path, Some(scene.at("own/bin/rwsgi")));
    assert_eq!(executable.names, [scene.at("own/bin/rwsgi"), scene.at("own/bin/rwsgi")]);
    assert_eq!(Executable::find(None, None, None).path(), None);
}

#[test]
fn an_executable_replaced_while_running_keeps_its_name() {
    let scene = Scene::new(ALL);
    let marked = scene.at("tools/rwsgi (deleted)");
    assert_eq!(without_deleted_mark(marked.clone()), scene.at("tools/rwsgi"));
    fs::write(&marked, "").unwrap();
    assert_eq!(without_deleted_mark(marked.clone()), marked);
}

#[test]
fn a_loop_of_links_ends() {
    let scene = Scene::new(ALL);
    symlink(scene.at("b"), scene.at("a")).unwrap();
    symlink(scene.at("a"), scene.at("b")).unwrap();
    let executable = Executable::find(Some(scene.at("a").into()), None, Some(scene.at("tools/rwsgi")));
    assert_eq!(executable.names, [scene.at("tools/rwsgi")]);
}
