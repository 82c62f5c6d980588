//! A server without Python for tests of the master: the test executable runs itself again as
//! the master, with a small worker written here, and drives it by signals and sockets.
//!
//! The configuration is a file of `key=value` lines, read again at every reload.

#![allow(dead_code, reason = "each test program uses its own part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by them, its helpers included"
)]

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal as Sig, kill};
use nix::unistd::Pid;
use rwsgi_core::door::Forks;
use rwsgi_core::master::settings::{
    Bind, Hook, MasterSettings, Preload, Preloaded, Reexec, StatusLife, WorkerLife,
};
use rwsgi_core::master::{self, Seat};
use rwsgi_core::metrics::scoreboard::{Row, State};
use rwsgi_core::system::clock::{Moment, now_ms};
use rwsgi_core::system::signals::{Signal, Signals};

/// Names the configuration file; set in the executable that is to be a master.
const CONFIG: &str = "RWSGI_TEST_MASTER";

/// The test that is the master when [`CONFIG`] is set, and nothing otherwise.
pub fn be_master() {
    let Some(config) = std::env::var_os(CONFIG).map(PathBuf::from) else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(config.with_extension("log")).unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::layer::SubscriberExt::with(
        tracing_subscriber::registry(),
        Lines(file),
    ))
    .unwrap();
    let settings = read_config(&config).expect("the first configuration is good");
    let reload = move || read_config(&config);
    std::process::exit(master::run(settings, &NoPython, &reload));
}

fn read_config(path: &Path) -> Result<MasterSettings, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let values: HashMap<String, String> = text
        .lines()
        .map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or("config line 1: no '='")?;
    let get = |key: &str, default: &str| values.get(key).map_or(default, |value| value.as_str()).to_owned();
    let number = |key: &str, default: u64| get(key, "").parse().unwrap_or(default);
    let millis = |key: &str, default: u64| Duration::from_millis(number(key, default));
    let optional = |key: &str| values.get(key).map(PathBuf::from);
    let (boot, mark) = (get("boot", "ok"), get("mark", "-"));
    let preload = (number("preload", 0) == 1).then(|| preload(&boot, &mark));
    Ok(MasterSettings {
        status: StatusLife(Rc::new(rwsgi_core::status::run)),
        status_binds: optional("status_bind").map(Bind::Unix).into_iter().collect(),
        worker: WorkerLife(Rc::new(move |seat| worker(&seat, &boot, &mark))),
        preload,
        hooks: None,
        secured: false,
        binds: get("bind", "").split(',').map(|path| Bind::Unix(path.into())).collect(),
        backlog: 1024,
        workers: number("workers", 2) as usize,
        surge: number("surge", 1) as usize,
        threads: 1,
        timeout: millis("timeout", 30_000),
        timeout_grace: millis("timeout_grace", 1_000),
        boot_timeout: millis("boot_timeout", 10_000),
        graceful_timeout: millis("graceful_timeout", 5_000),
        max_worker_memory: number("max_worker_memory", 0),
        max_worker_age: millis("max_worker_age", 0),
        max_worker_age_jitter: Duration::ZERO,
        pidfile: optional("pidfile"),
        user: None,
        group: None,
        initgroups: false,
        umask: 0,
        daemon: number("daemon", 0) == 1,
        stdio_inheritance: false,
        reuse_port: false,
        defer_accept: true,
        count_workers: None,
        count_backlog: None,
        proc_name: "test".to_owned(),
        reexec: Reexec {
            command: std::env::args_os().collect(),
            directory: std::env::current_dir().unwrap(),
            environment: std::env::vars_os().collect(),
        },
        reopen_logs: Hook(Rc::new(|| tracing::info!(target: "rwsgi", "logs reopened"))),
        in_force: Hook::default(),
    })
}

/// What a mold does: the import that a worker would do otherwise, well or ill.
fn preload(boot: &str, mark: &str) -> Preload {
    let (boot, mark) = (boot.to_owned(), mark.to_owned());
    Preload(Rc::new(move || {
        tracing::info!(target: "rwsgi", "imported {mark}");
        match boot.as_str() {
            "app" => return Err(4),
            "boot" => return Err(3),
            "hang" => std::thread::sleep(Duration::from_secs(600)),
            "slow" => std::thread::sleep(Duration::from_millis(300)),
            _ => {}
        }
        let mark = mark.clone();
        let worker = WorkerLife(Rc::new(move |seat| worker(&seat, "ok", &mark)));
        Ok(Preloaded { worker, woken: Hook::default(), finish: Hook::default() })
    }))
}

/// Answers one request per connection with "PID GENERATION MARK"; paths make it misbehave.
fn worker(seat: &Seat, boot: &str, mark: &str) -> i32 {
    match boot {
        "app" => return 4,
        "boot" => return 3,
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "slow" => std::thread::sleep(Duration::from_millis(300)),
        _ => {}
    }
    let wanted = [Signal::Term, Signal::Int, Signal::Quit, Signal::Usr1, Signal::Urg];
    let signals = Signals::install(&wanted).unwrap();
    let listeners: Vec<UnixListener> = seat
        .listeners
        .iter()
        .map(|listener| UnixListener::from(listener.as_fd().try_clone_to_owned().unwrap()))
        .collect();
    seat.row.set_state(State::Serving, Moment::now());
    seat.bell.booted().unwrap();
    let row = seat.row.clone();
    std::thread::spawn(move || watch(&row));
    let mut draining = false;
    loop {
        if !draining {
            let mut fds = vec![signals.as_fd(), seat.lifeline.as_fd()];
            fds.extend(listeners.iter().map(AsFd::as_fd));
            let mut fds: Vec<PollFd<'_>> =
                fds.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, PollTimeout::NONE);
        }
        for signal in signals.drain() {
            match signal {
                Signal::Term | Signal::Int | Signal::Quit => draining = true,
                other => tracing::info!(target: "rwsgi", "worker got {other}"),
            }
        }
        draining |= seat.lifeline.is_cut();
        let answered = listeners
            .iter()
            .filter_map(|listener| listener.accept().ok())
            .map(|(stream, _)| answer(stream, seat, mark))
            .count();
        if draining && answered == 0 {
            return 0;
        }
    }
}

/// What a watchdog would do, but for the stack and the exception: say which request was raised.
fn watch(row: &Row) {
    let mut seen = 0;
    loop {
        if let Some(request) = row.running(0).filter(|request| request.raised && request.sequence != seen) {
            seen = request.sequence;
            let line = request.line.escape_ascii();
            tracing::info!(target: "rwsgi", "worker was told to end {line}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn answer(mut stream: UnixStream, seat: &Seat, mark: &str) {
    stream.set_nonblocking(false).unwrap();
    let mut buffer = [0; 200];
    let length = stream.read(&mut buffer).unwrap_or(0);
    let path = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
    seat.row.begin(0, now_ms(), format!("GET {path} HTTP/1.1").as_bytes());
    match path.as_str() {
        "/slow" => std::thread::sleep(Duration::from_millis(700)),
        "/stuck" => std::thread::sleep(Duration::from_secs(600)),
        "/exit" => std::process::exit(0),
        "/abort" => std::process::abort(),
        // Leaves a grandchild to whoever adopts orphans here.
        "/orphan" => drop(Command::new("sh").args(["-c", "sleep 0.2 & :"]).status()),
        "/retire" => {
            seat.row.set_wants_retire();
            seat.bell.look().unwrap();
        }
        _ => {}
    }
    seat.row.end(0);
    let _ = writeln!(stream, "{} {} {mark}", std::process::id(), seat.generation);
}

/// A runtime without an interpreter.
struct NoPython;

impl Forks for NoPython {
    fn before_fork(&self) {}
    fn after_fork_parent(&self) {}
    fn after_fork_child(&self) {}
    fn freeze(&self) {}
    fn resume_collecting(&self) {}
    fn entered(&self, work: &mut dyn FnMut()) {
        work();
    }
    fn released(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}

/// Writes each event's message as a line, with one write.
struct Lines(fs::File);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let line =
            format!("{:>8} [{}] {}: {}\n", now_ms(), std::process::id(), event.metadata().level(), text.0);
        (&self.0).write_all(line.as_bytes()).unwrap();
    }
}

/// A running server under test.
pub struct Server {
    child: Child,
    pub directory: tempfile::TempDir,
    config: PathBuf,
}

impl Server {
    /// Starts one without waiting for anything.
    pub fn spawn(config: &str) -> Server {
        Server::spawn_with(config, &[], &[])
    }

    /// The same, with additional environment variables, and started by another program.
    /// `{}` in the program's arguments is the server's directory.
    pub fn spawn_with(config: &str, environment: &[(&str, &str)], wrapper: &[&str]) -> Server {
        let own = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        write_config(directory.path(), config);
        let here = directory.path().to_str().unwrap();
        let wrapper: Vec<String> = wrapper.iter().map(|word| word.replace("{}", here)).collect();
        let child = Command::new(wrapper.first().map_or(own.as_str(), |first| first))
            .args(wrapper.iter().skip(1))
            .args((!wrapper.is_empty()).then_some(own.as_str()))
            .args(["be_master", "--exact", "--test-threads=1", "--nocapture"])
            .env(CONFIG, &path)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Server { child, directory, config: path }
    }

    /// Starts one and waits until it answers.
    pub fn start(config: &str) -> Server {
        let server = Server::spawn(config);
        server.until("it answers", || server.ask("/").is_some());
        server
    }

    /// Writes the configuration; takes effect with the next HUP.
    pub fn configure(&self, config: &str) {
        write_config(self.directory.path(), config);
    }

    /// Writes a configuration nobody can read.
    pub fn misconfigure(&self) {
        replace(&self.config, "rubbish");
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Sig) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// One request: (pid, generation, mark).
    pub fn ask(&self, path: &str) -> Option<(i32, u32, String)> {
        ask(&self.socket(), path)
    }

    /// Waits for a condition; far longer than any of them takes.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn until_logged(&self, text: &str) {
        self.until(text, || self.log().contains(text));
    }

    /// Live children of a process.
    pub fn workers(&self) -> Vec<i32> {
        children(self.pid())
    }

    pub fn until_workers(&self, count: usize) -> Vec<i32> {
        self.until(&format!("{count} workers"), || self.workers().len() == count);
        self.workers()
    }

    /// Waits for the end; the exit code, or `None` for a signal.
    pub fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < Duration::from_secs(20), "still running\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Sig::SIGTERM);
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut stderr = std::io::stderr().lock();
            let _ = stderr.write_all(self.log().as_bytes());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(directory: &Path, config: &str) {
    let here = directory.display();
    let text = format!("bind={here}/socket\npidfile={here}/pid\n{}", config.replace(' ', "\n"));
    replace(&directory.join("config"), &text);
}

/// At once: a reload that was asked for before reads the one file or the other, never half of one.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

pub fn ask(socket: &Path, path: &str) -> Option<(i32, u32, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.write_all(path.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned()))
}

/// Live children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<i32> = pids
        .filter(|child| stat(*child).is_some_and(|(state, parent)| state != 'Z' && parent == pid))
        .collect();
    found.sort_unstable();
    found
}

/// State and parent of a process (proc(5)).
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process runs and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Clients that ask without pause until told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    pub answered: Arc<AtomicUsize>,
    pub failed: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub fn on(socket: &Path, clients: usize) -> Load {
        let mut load = Load {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..clients {
            let (stop, answered, failed) = (load.stop.clone(), load.answered.clone(), load.failed.clone());
            let socket = socket.to_owned();
            load.threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let count = if ask(&socket, "/").is_some() { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
            }));
        }
        load
    }

    /// Ends it: (answered, failed).
    pub fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}
