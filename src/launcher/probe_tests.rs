//! What is made of an interpreter's answers. Real interpreters: `tests/launcher_matrix.rs`.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;

fn found() -> Found {
    Found { python: PathBuf::from("/some/python3"), origin: Origin::VirtualEnv }
}

fn answer(stdout: &[u8], stderr: &str, status: i32) -> Result<Interpreter, LaunchError> {
    let output = Output {
        status: ExitStatus::from_raw(status),
        stdout: stdout.to_vec(),
        stderr: stderr.as_bytes().to_vec(),
    };
    understand(&found(), &output)
}

#[test]
fn a_shared_and_a_static_interpreter_are_told_apart() {
    let shared = answer(
        b"cpython\x003\x0012\x00\0/v/bin/python3\0/l/libpython3.12.so.1.0\x003.12.1 (x)\n[GCC]",
        "",
        0,
    );
    assert_eq!(
        shared.unwrap(),
        Interpreter {
            executable: "/v/bin/python3".into(),
            origin: Origin::VirtualEnv,
            libpython: Some("/l/libpython3.12.so.1.0".into()),
            version: "3.12.1 (x)\n[GCC]".into(),
        }
    );
    let fixed = answer(b"cpython\x003\x0010\x00\0\0\x003.10.0", "", 0).unwrap();
    assert_eq!(fixed.libpython, None);
    assert_eq!(fixed.executable, found().python, "it did not say, so the found name is kept");
}

#[test]
fn what_the_core_cannot_run_in_is_named() {
    for (fields, is) in [
        (&b"pypy\x003\x0010\x00\0/p\0\x003.10.14"[..], "pypy, another implementation"),
        (b"cpython\x003\x009\x00\0/p\0\x003.9.18", "Python 3.9, which is too old"),
        (b"cpython\x002\x007\x00\0/p\0\x002.7.18", "Python 2.7, which is too old"),
        (b"cpython\x003\x0014\0t\0/p\0\x003.14.0", "a free-threaded build of Python 3.14"),
    ] {
        let error = answer(fields, "", 0).expect_err("refused").to_string();
        assert!(error.starts_with("/some/python3 (named by VIRTUAL_ENV) is "), "{error}");
        assert!(error.contains(is), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn an_answer_that_is_none_gives_the_last_words() {
    let error = answer(b"", "Traceback:\n  x\nFatal: no\x1b module encodings\n\n", 256).expect_err("none");
    assert!(error.to_string().ends_with(": Fatal: no\\u{1b} module encodings"), "{error}");
    let error = answer(b"hello", "", 9).expect_err("none").to_string();
    assert!(error.contains("signal: 9"), "{error}");
}

#[test]
fn a_file_that_does_not_run_is_named() {
    let error = probe(&found()).expect_err("there is no such file").to_string();
    assert!(error.starts_with("cannot run /some/python3 (named by VIRTUAL_ENV): "), "{error}");
}

#[test]
fn only_programs_by_the_name_of_a_supported_version_are_recognised() {
    let directory = tempfile::tempdir().expect("a directory");
    let recognised = |name: &str, contents: &[u8]| {
        let file = directory.path().join(name);
        fs::write(&file, contents).expect("a file");
        let link = directory.path().join("python3");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let known = recognise(&Found { python: link.clone(), origin: Origin::Path });
        assert!(known.as_ref().is_none_or(|known| known.executable == link), "the link is what is run");
        known.is_some()
    };
    for name in ["python3.10", "python3.14", "python3.100"] {
        assert!(recognised(name, b"\x7fELF and so on"), "{name}");
        assert!(!recognised(name, b"#!/bin/sh\n"), "{name}");
        assert!(!recognised(name, b""), "{name}");
    }
    for name in ["python3.9", "python3.13t", "python", "python3.", "python2.7", "pypy3.10", "sh"] {
        assert!(!recognised(name, b"\x7fELF and so on"), "{name}");
    }
    let nowhere = Found { python: directory.path().join("none"), origin: Origin::Path };
    assert_eq!(recognise(&nowhere), None);
}
