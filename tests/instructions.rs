//! Has a request become dearer? Instructions per request of the straight path, counted by
//! valgrind's callgrind, against the figures in `benches/instructions.toml`.
//!
//! Counted are 2000 requests with 14 header fields on four kept-alive connections: a run with 3000
//! less a run with 1000, so that starting and stopping fall out. Once with an application in Rust
//! (the server alone), once with the real program and the interpreter it finds, if that one's
//! figure is known. Unlike times, the counts hardly depend on the machine, or on what else it does.
//!
//! `cargo test --release --test instructions`; with RWSGI_BLESS=1 the figures are written anew.
//!
//! Invariants:
//! 1. A figure fails the test when it grew by more than [`TOLERATED`]; what cannot be counted is
//!    skipped, and says so.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test, without a harness of its own")]

#[path = "../benches/floor/fake.rs"]
mod fake;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, exit};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How much a figure may grow.
const TOLERATED: f64 = 1.05;
/// Set in the process that is counted.
const SERVE: &str = "COUNTED_SERVER";
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
const COMMENT: &str = "\
# Instructions per request of the straight path; held by tests/instructions.rs, written by
# RWSGI_BLESS=1 cargo test --release --test instructions
";
const REQUEST: &[u8] = b"GET /accounts/profile/?page=2&sort=name HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Referer: https://www.example.com/accounts/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
Cookie: sessionid=0a1b2c3d4e5f60718293a4b5c6d7e8f9; csrftoken=AbCdEfGhIjKlMnOpQrStUvWxYz012345\r\n\r\n";
const APPLICATION: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'Hello, world!\\n']
";

/// The figures that are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Figures {
    /// The server alone.
    server: Figure,
    /// The whole path, by the interpreter's own description of itself.
    #[serde(default)]
    python: BTreeMap<String, Figure>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Figure {
    instructions: u64,
    /// What compiled the server when it was counted.
    rustc: String,
}

fn main() {
    if std::env::var_os(SERVE).is_some() {
        exit(rwsgi_core::root::main(std::env::args_os().skip(1).collect(), Arc::new(fake::Fake)));
    }
    if let Some(reason) = obstacle() {
        eprintln!("instructions: skipped: {reason}");
        return;
    }
    let kept: Figures =
        fs::read_to_string(FILE).ok().map_or_else(Figures::default, |text| toml::from_str(&text).unwrap());
    let bless = std::env::var_os("RWSGI_BLESS").is_some();
    let measured = Figures { server: figure(Contestant::Server), python: kept.python.clone() };
    let mut good = judge("the server alone", &measured.server, Some(&kept.server), bless);
    let mut measured = measured;
    if let Some(version) = interpreter() {
        let known = kept.python.get(&version);
        if known.is_some() || bless {
            let counted = figure(Contestant::Python);
            good &= judge(&format!("with Python {version}"), &counted, known, bless);
            measured.python.insert(version, counted);
        } else {
            eprintln!("instructions: skipped: there is no figure for Python {version}");
        }
    }
    if bless {
        fs::write(FILE, format!("{COMMENT}\n{}", toml::to_string(&measured).unwrap())).unwrap();
    }
    exit(i32::from(!good));
}

/// Why nothing can be counted here.
fn obstacle() -> Option<&'static str> {
    // A filter on the command line that means other tests.
    let mut filters = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|word| "instructions".contains(word.as_str())) {
        return Some("another test was asked for");
    }
    if cfg!(debug_assertions) {
        return Some("only a release build says something: cargo test --release --test instructions");
    }
    let valgrind = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !valgrind.is_ok_and(|status| status.success()) {
        return Some("valgrind is not installed");
    }
    None
}

fn judge(what: &str, measured: &Figure, kept: Option<&Figure>, bless: bool) -> bool {
    let before = kept.map_or(0, |figure| figure.instructions);
    eprintln!("instructions: {what}: {} per request, kept: {before}", measured.instructions);
    let good = bless || (measured.instructions as f64) <= before as f64 * TOLERATED;
    if !good {
        let compiler = kept.map_or("none", |figure| &figure.rustc);
        eprintln!(
            "instructions: {what}: more than {TOLERATED} x {before}. Make it cheaper, or, if it is worth it (or the\n\
             compiler is another: {} instead of {compiler}), set RWSGI_BLESS=1 and commit benches/instructions.toml",
            measured.rustc
        );
    }
    good
}

fn rustc() -> String {
    let output = Command::new(option_env!("RUSTC").unwrap_or("rustc")).arg("-V").output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the interpreter that the launcher would find says of itself, in one line.
fn interpreter() -> Option<String> {
    if !cfg!(feature = "python") {
        return None;
    }
    let python = std::env::var("RWSGI_TEST_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let question = "import sys; print(' '.join(sys.version.split()))";
    let output = Command::new(python).args(["-c", question]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[derive(Clone, Copy)]
enum Contestant {
    Server,
    Python,
}

fn figure(contestant: Contestant) -> Figure {
    let (few, many) = (1000, 3000);
    let [less, more] = [few, many].map(|requests| count(contestant, requests));
    Figure { instructions: more.saturating_sub(less) / (many - few), rustc: rustc() }
}

/// Instructions of a worker that served so many requests, from its birth to its end.
fn count(contestant: Contestant, requests: u64) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("counted.py"), APPLICATION).unwrap();
    let log = directory.path().join("log");
    let mut server = start(contestant, directory.path(), &log);
    let port = wait_for(&log, &mut server, "Listening at: http://127.0.0.1:", |rest| {
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u16>().ok()
    });
    let worker = wait_for(&log, &mut server, "Booting worker with pid: ", |rest| {
        rest.lines().next()?.trim().parse::<u32>().ok()
    });
    ask(port, requests);
    // SIGTERM, so that it writes down what it counted.
    Command::new("kill").arg(server.id().to_string()).status().unwrap();
    server.wait().unwrap();
    let profile = fs::read_to_string(directory.path().join(format!("profile.{worker}"))).unwrap();
    let total =
        profile.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    total.and_then(|total| total.trim().parse().ok()).unwrap()
}

fn start(contestant: Contestant, directory: &Path, log: &Path) -> Child {
    let python = std::env::var("RWSGI_TEST_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let mut command = Command::new("valgrind");
    // The real program overwrites its arguments, and valgrind's with them: options go by the environment.
    let options =
        format!("--callgrind-out-file={}/profile.%p --trace-children=yes", directory.to_str().unwrap());
    command.args(["--tool=callgrind", "--trace-children=yes"]).env("VALGRIND_OPTS", options);
    match contestant {
        Contestant::Server => command.arg(std::env::current_exe().unwrap()).env(SERVE, "1"),
        Contestant::Python => command.arg(program()).args(["--python", &python]).env("PYTHONHASHSEED", "0"),
    };
    // Those of this test are no settings.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RWSGI_")) {
        command.env_remove(name);
    }
    let output = fs::File::create(log).unwrap();
    command
        .args(["counted:application", "--bind", "127.0.0.1:0", "--keep-alive", "60", "--chdir"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// The program as users run it.
fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rwsgi"))
}

fn wait_for<T>(log: &Path, server: &mut Child, text: &str, read: impl Fn(&str) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let written = fs::read_to_string(log).unwrap_or_default();
        if let Some(found) = written.split_once(text).and_then(|(_, rest)| read(rest)) {
            return found;
        }
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended ({ended:?}):\n{written}");
        assert!(start.elapsed() < Duration::from_secs(60), "no '{text}' in the log:\n{written}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks in turn on four connections.
fn ask(port: u16, requests: u64) {
    let mut clients: Vec<TcpStream> =
        (0..4).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let mut answer = [0; 4096];
    for turn in 0..requests as usize {
        let client = &mut clients[turn % 4];
        client.write_all(REQUEST).unwrap();
        let count = client.read(&mut answer).unwrap();
        assert!(
            answer[..count].starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer[..count])
        );
    }
}
