//! What does rwsgi cost when the application costs nothing? A runtime and an application in Rust,
//! behind the same door as Python's: what is left is the server.
//!
//! Must not know: Python, connections.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rwsgi_core::config::raw::Object;
use rwsgi_core::config::sources::Variables;
use rwsgi_core::config::types::GunicornModule;
use rwsgi_core::config::{ConfigError, Origin};
use rwsgi_core::door::{
    App, AppSpec, Configures, Exchange, Flow, Forks, HookSpec, Hooks, LoadFailure, LoggerSpec, Reply,
    Resumed, Runtime, Sink, Step, WrongHook,
};
use rwsgi_core::http::response::{HeadError, ResponseHead};

/// A runtime without an interpreter.
pub struct Fake;

impl Forks for Fake {
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

impl Configures for Fake {
    fn set_env(&self, _: &str, _: Option<&std::ffi::OsStr>) {}
    fn read_configuration(&self, name: &str, _: &Path, _: GunicornModule) -> Result<Variables, ConfigError> {
        Err(ConfigError::general(Origin::Default, format!("there is no Python here to run {name}")))
    }
    fn provide_gunicorn(&self, _: GunicornModule) {}
    fn hooks(&self, _: &HookSpec) -> Result<Arc<dyn Hooks>, WrongHook> {
        Err(WrongHook { name: String::new(), problem: "there is no Python here".to_owned() })
    }
    fn settings_of(&self, _: &Object, _: bool) -> Result<Variables, ConfigError> {
        Err(ConfigError::general(Origin::Default, "there is no Python here"))
    }
    fn run_script(&self, _: &str, _: &[String]) -> i32 {
        1
    }
    fn choose_logger(&self, _: Option<&Arc<LoggerSpec>>, _: &str) -> Result<(), String> {
        Ok(())
    }
}

impl Runtime for Fake {
    fn sources(&self, _: &[String]) -> Vec<PathBuf> {
        Vec::new()
    }
    fn load(&self, _: &AppSpec) -> Result<Arc<dyn App>, LoadFailure> {
        let (small, large) = (vec![b'x'; 10 << 10], vec![b'x'; 1 << 20]);
        Ok(Arc::new(FakeApp { small: small.into(), large: large.into() }))
    }
    fn preload(&self, spec: &AppSpec) -> Result<Arc<dyn App>, LoadFailure> {
        self.load(spec)
    }
    fn check_signals(&self) -> bool {
        false
    }
    fn prepare_watchdog(&self, _threads: usize) {}
    fn stack(&self, _: u64) -> Option<String> {
        None
    }
    fn stack_by_force(&self, _: u64) -> Option<String> {
        None
    }
    fn interrupt(&self, _: usize) -> bool {
        false
    }
    fn finish(&self) {}
}

thread_local! {
    /// Reused, as Python's side does it.
    static HEAD: RefCell<ResponseHead> = RefCell::new(ResponseHead::new());
}

/// Answers the plain workloads of the comparison.
struct FakeApp {
    small: Arc<[u8]>,
    large: Arc<[u8]>,
}

/// A body that waits for its client.
struct FakeReply {
    body: Arc<[u8]>,
    at: usize,
}

impl Reply for FakeReply {
    fn resume(&mut self, _: usize, out: &mut dyn Sink) -> Resumed {
        match out.block(&self.body[self.at..], false) {
            Flow::Full { taken } => {
                self.at += taken;
                if self.at < self.body.len() { Resumed::Parked } else { Resumed::Done }
            }
            Flow::More | Flow::Gone => Resumed::Done,
        }
    }

    fn abandon(self: Box<Self>) {}
}

impl FakeApp {
    fn answer(&self, exchange: &Exchange<'_>, out: &mut dyn Sink) -> Result<Step, HeadError> {
        let read;
        let mut kept = None;
        let body: &[u8] = match exchange.head.path_bytes(exchange.bytes) {
            b"/body/10k" => kept.insert(&self.small),
            b"/body/1m" => kept.insert(&self.large),
            b"/post" => {
                read = format!("{:14}", exchange.body.len());
                read.as_bytes()
            }
            _ => b"Hello, world!\n",
        };
        HEAD.with_borrow_mut(|head| {
            head.start(b"200 OK")?;
            head.field(b"Content-Type", b"text/plain")?;
            out.head(head, Some(body.len() as u64))
        })?;
        // What is short fits into an empty socket.
        Ok(match (out.block(body, false), kept) {
            (Flow::Full { taken: at }, Some(body)) if at < body.len() => {
                Step::Parked(Box::new(FakeReply { body: Arc::clone(body), at }))
            }
            _ => Step::Done,
        })
    }
}

impl App for FakeApp {
    fn call(&self, exchange: &mut Exchange<'_>, out: &mut dyn Sink) -> Step {
        self.answer(exchange, out).unwrap_or(Step::Failed)
    }
}
