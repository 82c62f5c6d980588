//! What has to be told to the linker, and, for a wheel, where does its launcher come from?
//!
//! The core's Python symbols are found at load time, in the interpreter. Test and bench
//! executables link the same code without one: they never call it, so the linker is told to
//! leave those symbols open.
//!
//! A wheel holds both artefacts, but maturin builds one: the core. With the feature `wheel`, which
//! only pyproject.toml asks for, the launcher is built here and put where maturin takes files for
//! the `bin` directory from. So `pip install .`, `maturin build` and a cross build in a container
//! need no step before them. One call of rustc does it, because the launcher uses the standard
//! library alone; a cargo inside cargo would need the registry, a lock file and a target directory.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// From where maturin puts files into `bin`: `scripts` in the directory that `data` of
/// pyproject.toml names.
const SCRIPTS: &str = "python/data/scripts";
/// What the launcher is made of.
const SOURCES: [&str; 2] = ["src/main.rs", "src/launcher"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_PYTHON").is_some() {
        println!("cargo:rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    }
    if env::var_os("CARGO_FEATURE_WHEEL").is_some() {
        let output = Path::new(SCRIPTS).join("rwsgi");
        fs::create_dir_all(SCRIPTS)?;
        build_launcher(&output)?;
        for source in SOURCES {
            println!("cargo:rerun-if-changed={source}");
        }
        // A build for another target overwrites it, `git clean` removes it: made again then.
        println!("cargo:rerun-if-changed={}", output.display());
    }
    Ok(())
}

fn build_launcher(output: &Path) -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    rustc.args(["--edition=2024", "--crate-name=rwsgi", "--crate-type=bin", SOURCES[0]]);
    rustc.arg("--target").arg(variable("TARGET")?).arg("-o").arg(output);
    rustc.args(["-Copt-level=2", "-Clto=fat", "-Ccodegen-units=1", "-Cpanic=abort", "-Cstrip=symbols"]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = OsString::from("-Clinker=");
        flag.push(linker);
        rustc.arg(flag);
    }
    // The flags of whoever builds (distributions harden executables with them) hold here, too.
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if variable("CARGO_CFG_TARGET_ENV")? == "musl" {
        // Otherwise it needs a libgcc_s, which Alpine's Python images are without. The core brings
        // its own in the wheel; a static launcher cannot load a libpython, and executes Python.
        rustc.arg("-Ctarget-feature=+crt-static");
    }
    let status = rustc.status()?;
    if status.success() { Ok(()) } else { Err(format!("cannot build the launcher: {status}").into()) }
}
