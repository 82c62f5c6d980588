//! How does the interpreter take over this process?
//!
//! An executable that is recognised is executed. Of one that had to be asked it depends on how it
//! works itself: one that is linked to a libpython has exactly that file loaded and its
//! `Py_BytesMain` called, which is all its own executable does; one that holds the interpreter
//! itself is executed, because the libpython beside it may be missing and is slower. Either way
//! the interpreter gets the same arguments and reads the environment itself, so that site, virtual
//! environment, encodings and flags are its own.
//!
//! Must not know: PyConfig or any structure of CPython's, which change with every version.
//!
//! Invariants:
//! 1. A libpython is initialised only if it reports the version the probed interpreter reported:
//!    another build of the same name mixes two standard libraries.
//! 2. `Py_BytesMain` is called once, on the main thread, with no other thread in the process.
//! 3. The core's path travels as an argument, not inside the program text: it may hold any byte.

#![allow(unsafe_code, reason = "dlopen, dlsym and the two calls into libpython have no safe form")]

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::ptr::NonNull;

use super::core_file::Core;
use super::error::LaunchError;
use super::probe::Interpreter;

/// Names this executable to the core, which needs it to start itself again on an upgrade.
const EXECUTABLE_VARIABLE: &str = "RWSGI_EXECUTABLE";

/// What the interpreter runs. Its first argument is the core's path, or empty for the package's;
/// its second is where to find one if there is no such package.
///
/// The import machinery is taken from the frozen modules, and the current directory is off
/// sys.path until the core puts it there: a file of the user's must not be taken for ours.
const BOOT: &str = r#"
import sys
if sys.implementation.name != 'cpython' or sys.version_info < (3, 10) or 't' in sys.abiflags:
    sys.exit('rwsgi: needs CPython 3.10 or later with the GIL, and this is not: ' + sys.executable)
sys.argv[0] = 'rwsgi'
core, spare = sys.argv[1:3]
del sys.argv[1:3]
if sys.path[:1] == ['']:
    del sys.path[0]
try:
    if not core:
        try:
            from rwsgi import _core as m
        except ModuleNotFoundError as e:
            if e.name not in ('rwsgi', 'rwsgi._core') or not spare:
                raise
            core = spare
    if core:
        import _frozen_importlib as b, _frozen_importlib_external as x
        m = b._load(b.ModuleSpec('rwsgi_core', x.ExtensionFileLoader('rwsgi_core', core), origin=core))
except ModuleNotFoundError as e:
    if e.name not in ('rwsgi', 'rwsgi._core'):
        raise
    sys.exit('rwsgi: found no core: librwsgi_core.so is not beside the executable, and %s has no '
             'package rwsgi; install it there, or name the file in RWSGI_CORE' % sys.executable)
except ImportError as e:
    sys.exit('rwsgi: cannot load the core into %s: %s' % (sys.executable, e))
sys.exit(m.main(sys.argv[1:]))
"#;

/// How the interpreter takes over. Chosen by RWSGI_LAUNCH, for debugging only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As suits the interpreter.
    Fitting,
    /// Always execute it.
    Exec,
    /// Always load its libpython; fail if that cannot be done.
    Dlopen,
}

impl Mode {
    /// From the value of RWSGI_LAUNCH.
    pub fn from_env(value: Option<OsString>) -> Result<Mode, LaunchError> {
        match value.as_deref().map(OsStr::as_bytes) {
            None | Some(b"") => Ok(Mode::Fitting),
            Some(b"exec") => Ok(Mode::Exec),
            Some(b"dlopen") => Ok(Mode::Dlopen),
            Some(other) => {
                Err(LaunchError::UnknownMode { given: String::from_utf8_lossy(other).into_owned() })
            }
        }
    }
}

/// Everything that is handed over.
#[derive(Debug)]
pub struct Handover {
    /// To whom.
    pub interpreter: Interpreter,
    /// Where the core is.
    pub core: Core,
    /// This executable.
    pub executable: Option<PathBuf>,
    /// The arguments after the executable's name.
    pub args: Vec<OsString>,
}

impl Handover {
    /// Hands over. Returns only what went wrong.
    pub fn perform(&self, mode: Mode) -> LaunchError {
        let main = match (mode, &self.interpreter.libpython) {
            (Mode::Exec, _) => Err("RWSGI_LAUNCH=exec".to_owned()),
            (_, None) => Err(format!("{} has no libpython", self.interpreter.executable.display())),
            (_, Some(libpython)) => PyMain::load(libpython, &self.interpreter.version),
        };
        match main {
            Ok(main) => self.call(main),
            Err(why) if mode == Mode::Dlopen => LaunchError::NoDlopen { why },
            Err(_) => self.exec(),
        }
    }

    fn argv(&self) -> impl Iterator<Item = &OsStr> {
        let none = OsStr::new("");
        let (core, spare) = match &self.core {
            Core::File(file) => (file.as_os_str(), none),
            Core::Package { or } => (none, or.as_deref().map_or(none, Path::as_os_str)),
        };
        let python = self.interpreter.executable.as_os_str();
        let boot = [python, OsStr::new("-c"), OsStr::new(BOOT), core, spare];
        boot.into_iter().chain(self.args.iter().map(OsString::as_os_str))
    }

    fn exec(&self) -> LaunchError {
        let mut command = Command::new(&self.interpreter.executable);
        command.args(self.argv().skip(1));
        if let Some(executable) = &self.executable {
            command.env(EXECUTABLE_VARIABLE, executable);
        }
        let error = command.exec();
        LaunchError::NotRunnable {
            python: self.interpreter.executable.clone(),
            origin: self.interpreter.origin,
            error,
        }
    }

    fn call(&self, main: PyMain) -> LaunchError {
        let args: Result<Vec<CString>, _> = self.argv().map(|arg| CString::new(arg.as_bytes())).collect();
        let Ok(args) = args else { return LaunchError::NulByte };
        if let Some(executable) = &self.executable {
            // SAFETY: the launcher has no thread but this one (invariant 2), so nothing reads the
            // environment meanwhile.
            unsafe { env::set_var(EXECUTABLE_VARIABLE, executable) };
        }
        main.run(&args)
    }
}

// Declared here, as dlfcn.h of glibc and musl have it: with nothing but the standard library to
// link, the launcher is compiled by one call of rustc wherever a wheel is made (see build.rs).
unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}
const RTLD_NOW: c_int = 2;
const RTLD_GLOBAL: c_int = 0x100;

type GetVersion = unsafe extern "C" fn() -> *const c_char;
type BytesMain = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;

/// `Py_BytesMain` of a loaded libpython that is the probed interpreter's own.
struct PyMain {
    bytes_main: BytesMain,
}

impl PyMain {
    /// Loads a libpython and checks that it is the one `version` was reported by.
    fn load(libpython: &Path, version: &OsStr) -> Result<PyMain, String> {
        let name = CString::new(libpython.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // GLOBAL: extension modules expect the interpreter's symbols in the process.
        // SAFETY: `name` is NUL-terminated. The file's initialisers are those the interpreter runs
        // when it starts by itself. It is never unloaded.
        let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW | RTLD_GLOBAL) };
        let Some(library) = NonNull::new(library) else {
            return Err(last_dl_error());
        };
        let get_version = symbol(library, c"Py_GetVersion")?;
        // SAFETY: since Python 1 this is `const char *Py_GetVersion(void)`, callable before
        // initialisation.
        let get_version = unsafe { mem::transmute::<NonNull<c_void>, GetVersion>(get_version) };
        // SAFETY: as above; the string it returns is static.
        let loaded = unsafe { CStr::from_ptr(get_version()) };
        if loaded.to_bytes() != version.as_bytes() {
            return Err(format!("{} is another build: {}", libpython.display(), loaded.to_string_lossy()));
        }
        let bytes_main = symbol(library, c"Py_BytesMain")?;
        // SAFETY: stable ABI since 3.8: `int Py_BytesMain(int argc, char **argv)`.
        let bytes_main = unsafe { mem::transmute::<NonNull<c_void>, BytesMain>(bytes_main) };
        Ok(PyMain { bytes_main })
    }

    /// Is the interpreter until it ends, and the process with it.
    fn run(self, args: &[CString]) -> ! {
        // The kernel bounds arguments far below this.
        let count = c_int::try_from(args.len()).unwrap_or(c_int::MAX);
        let mut pointers: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
        pointers.push(std::ptr::null_mut());
        // SAFETY: `pointers` holds `count` NUL-terminated strings and a final null, all alive until
        // the call returns; Python copies them and does not write to them.
        let code = unsafe { (self.bytes_main)(count, pointers.as_mut_ptr()) };
        process::exit(code)
    }
}

fn symbol(library: NonNull<c_void>, name: &CStr) -> Result<NonNull<c_void>, String> {
    // SAFETY: `library` is a handle dlopen gave, and `name` is NUL-terminated.
    let found = unsafe { dlsym(library.as_ptr(), name.as_ptr()) };
    NonNull::new(found).ok_or_else(last_dl_error)
}

fn last_dl_error() -> String {
    // SAFETY: the pointer is null or a string that lives until the next dl call of this thread.
    let message = unsafe { dlerror() };
    if message.is_null() {
        return "unknown error of dlopen".to_owned();
    }
    // SAFETY: not null, see above; copied at once.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}
