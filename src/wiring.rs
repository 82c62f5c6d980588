//! What does each room need of the configuration? Translations, one function per room.
//!
//! No policy, no effects but for looking up users, and random numbers for jitter.

mod lives;
mod logs;
pub mod variables;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use logs::{access_log, counts, error_log, prepare_access_log, statsd};

use crate::cli::Invocation;
use crate::config::Config;
use crate::config::raw::Raw;
use crate::config::types::{
    BindAddress, ForwardedBy, HeaderMap, Networks, ProxyProtocol, ReloadEngine, WorkerClass,
};
use crate::door::{AppSpec, HookSpec, Hooks, Interpreter, LoggerSpec, Paste, Program, Secure, WrongHook};
use crate::http::forwarded::{AddrSet, SchemeHeader};
use crate::http::limits::{self, Limits, Policy};
use crate::http::proxy_protocol::Mode;
use crate::log::{self, Owner};
use crate::master::MasterSettings;
use crate::master::settings::{Bind, Hook, Reexec, StatusLife};
use crate::system::user;
use crate::worker::WorkerSettings;
use crate::worker::settings::{Engine, Forwarding, Said, Watch};
use lives::{Recruit, life, preload, status_life};

/// Loggers that write what we write.
const DEFAULT_LOGGERS: [&str; 3] = ["gunicorn.glogging.Logger", "_rwsgi.logger.Logger", "simple"];

/// What this process is, for applications that ask whether Gunicorn runs them.
const SOFTWARE: &str = concat!("gunicorn/27.0.1 (rwsgi/", env!("CARGO_PKG_VERSION"), ")");

/// What stays the same over reloads.
pub struct Started {
    /// How the program was started.
    pub invocation: Invocation,
    /// The launcher, if there was one.
    pub executable: Option<PathBuf>,
    /// The interpreter.
    pub runtime: Arc<dyn Interpreter>,
    /// The program that asked to be served, if it was not the operator.
    pub program: Option<Program>,
}

/// What the application's loader needs.
pub fn app(config: &Config, started: &Started) -> AppSpec {
    AppSpec {
        target: config.wsgi_app.as_ref().map(ToString::to_string).unwrap_or_default(),
        loader: started.program.as_ref().map(|program| program.loader.clone()),
        search: search(config, started),
        paste: config.paste.as_ref().map(|paste| Paste {
            file: started.invocation.directory.join(paste).to_string_lossy().into_owned(),
            defaults: config.raw_paste_global_conf.clone(),
        }),
        spew: config.spew,
        multithread: config.threads > 1 || config.worker_class == WorkerClass::Gthread,
        multiprocess: config.workers > 1,
        log_environ: Vec::new(),
        sendfile: config.sendfile,
    }
}

/// Where Python modules are looked for first. In full: the application may change its directory.
fn search(config: &Config, started: &Started) -> Vec<String> {
    let directory = directory(config, started);
    let named = config.pythonpath.iter().map(|entry| directory.join(entry));
    let all = named.chain([directory.clone()]);
    all.map(|path| straight(&path).to_string_lossy().into_owned()).collect()
}

/// The path without `.` and `..`, by the letter, as `os.path.abspath` does it.
fn straight(path: &Path) -> PathBuf {
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(straight.pop()),
            other => straight.push(other),
        }
    }
    straight
}

/// What the master needs; the error is a line for the operator.
pub fn master(
    config: &Config,
    started: &Started,
    surroundings: Surroundings,
) -> Result<MasterSettings, String> {
    let owner = owner(config)?;
    let (count_workers, count_backlog) = counts(config);
    let prepare = prepare_access_log(config, owner);
    prepare()?;
    let (hooks, tls) = hooks_and_tls(config, started)?;
    let recruit = Recruit::of(config, started, hooks.clone(), tls)?;
    Ok(MasterSettings {
        worker: life(recruit.clone(), surroundings.clone()),
        // Code that changes is not worth keeping.
        preload: (config.preload_app && !config.reload).then(|| preload(recruit, surroundings.clone())),
        status: StatusLife(Rc::new(status_life(config, started))),
        status_binds: config.status_bind.iter().map(bind).collect(),
        hooks,
        binds: config.bind.iter().map(bind).collect(),
        secured: config.is_secured(),
        backlog: i32::try_from(config.backlog).unwrap_or(i32::MAX),
        workers: config.workers,
        surge: 1,
        threads: if config.threads > 1 { config.threads + 1 } else { 1 },
        timeout: config.timeout.unwrap_or_default(),
        timeout_grace: config.timeout_grace,
        boot_timeout: config.boot_timeout.unwrap_or_default(),
        graceful_timeout: config.graceful_timeout,
        max_worker_memory: config.max_worker_memory.unwrap_or_default(),
        max_worker_age: config.max_worker_age.unwrap_or_default(),
        max_worker_age_jitter: config.max_worker_age_jitter,
        pidfile: config.pidfile.clone(),
        user: owner.user,
        group: owner.group,
        initgroups: config.initgroups,
        umask: config.umask,
        daemon: config.daemon,
        proc_name: name(config),
        reexec: reexec(started),
        stdio_inheritance: config.enable_stdio_inheritance,
        reuse_port: config.reuse_port,
        defer_accept: defer_accept(config),
        count_workers,
        count_backlog,
        reopen_logs: Hook(Rc::new(move || {
            if let Err(error) = log::reopen() {
                tracing::error!("Cannot reopen the error log: {error}");
            }
            if let Err(error) = prepare() {
                tracing::error!("Cannot reopen the access log: {error}");
            }
        })),
        in_force: Hook(Rc::new(move || {
            if let Err(error) = surroundings.enter() {
                tracing::error!("{error}");
            }
        })),
    })
}

/// The operator's hooks, where there are any; and what secures connections. That is made here and
/// now: while root may read the key, and so that what is wrong with it keeps a server from starting,
/// and a reload from happening.
fn hooks_and_tls(config: &Config, started: &Started) -> Result<Guests, String> {
    let hooks = hooks(config, started)?;
    let tls = match &hooks {
        Some(hooks) if config.is_secured() => Some(hooks.secure(&directory(config, started))),
        _ => None,
    };
    let tls = tls.transpose().map_err(|wrong| complaint(config, wrong))?;
    Ok((hooks.filter(|_| !config.hooks.is_empty()), tls))
}

type Guests = (Option<Arc<dyn Hooks>>, Option<Arc<dyn Secure>>);

fn complaint(config: &Config, WrongHook { name, problem }: WrongHook) -> String {
    match name.as_str() {
        "" => problem,
        name => format!("{name} ({}): {problem}", config.origin(name)),
    }
}

/// The operator's hooks; none where there is nothing they could be needed for.
fn hooks(config: &Config, started: &Started) -> Result<Option<Arc<dyn Hooks>>, String> {
    if config.hooks.is_empty() && !config.is_secured() {
        return Ok(None);
    }
    let spec =
        HookSpec { hooks: config.hooks.clone(), settings: values(config), search: search(config, started) };
    started.runtime.hooks(&spec).map(Some).map_err(|wrong| complaint(config, wrong))
}

/// What a Python logger is made of, if the configuration asks for one.
fn logger(config: &Config, started: &Started) -> Option<Arc<LoggerSpec>> {
    let default = has_default_logger(config);
    let configured = config.logconfig.is_some()
        || config.logconfig_json.is_some()
        || config.logconfig_dict != Raw::Nothing;
    (!default || configured)
        .then(|| Arc::new(LoggerSpec { settings: values(config), search: search(config, started) }))
}

/// Whether no class of the operator's logs.
fn has_default_logger(config: &Config) -> bool {
    match &config.logger_class {
        Raw::Nothing => true,
        Raw::Text(name) => DEFAULT_LOGGERS.contains(&name.as_str()),
        Raw::Object(class) => DEFAULT_LOGGERS.contains(&class.shown()),
        _ => false,
    }
}

/// Every setting, as Python gets to see it, and the name Gunicorn falls back to.
fn values(config: &Config) -> Vec<(&'static str, Raw)> {
    let rows = config.rows().iter().map(|line| (line.setting.name, line.value.raw()));
    rows.chain([("default_proc_name", Raw::Text(config.app_name()))]).collect()
}

/// What a process lives in: its directory, its environment, its error log.
#[derive(Clone)]
pub struct Surroundings {
    directory: PathBuf,
    chosen: bool,
    variables: Vec<(String, String)>,
    log: log::ErrorLog,
    logger: Option<Arc<LoggerSpec>>,
    runtime: Arc<dyn Interpreter>,
}

impl Surroundings {
    /// Those of this configuration.
    pub fn of(config: &Config, started: &Started) -> Self {
        Surroundings {
            directory: directory(config, started),
            chosen: config.chdir.is_some(),
            variables: config.raw_env.clone(),
            log: error_log(config, owner(config).unwrap_or_default()),
            logger: logger(config, started),
            runtime: Arc::clone(&started.runtime),
        }
    }

    /// Makes them this process's.
    pub fn enter(&self) -> Result<(), String> {
        // A start directory that was removed meanwhile is nobody's wish.
        if let Err(error) = std::env::set_current_dir(&self.directory)
            && self.chosen
        {
            return Err(format!("cannot change to {}: {error} (chdir)", self.directory.display()));
        }
        self.runtime.set_env("SERVER_SOFTWARE", Some(SOFTWARE.as_ref()));
        variables::set(&*self.runtime, &self.variables);
        log::init(self.log.clone()).map_err(|error| format!("{error} (errorlog)"))?;
        let level = self.log.level.name().to_ascii_lowercase();
        let chosen = self.runtime.choose_logger(self.logger.as_ref(), &level);
        chosen.map_err(|error| format!("the Python logger cannot be set up: {error}"))
    }
}

fn directory(config: &Config, started: &Started) -> PathBuf {
    let start = &started.invocation.directory;
    config.chdir.as_ref().map_or_else(|| start.clone(), |chosen| start.join(chosen))
}

fn name(config: &Config) -> String {
    config.proc_name.clone().unwrap_or_else(|| config.app_name())
}

fn owner(config: &Config) -> Result<Owner, String> {
    let complaint = |setting: &str, error: user::Unknown| format!("{error} ({})", config.origin(setting));
    for (setting, chosen) in [("user", &config.user), ("group", &config.group)] {
        // A script whose variable is empty would start a server that stays root.
        if chosen.is_none() && config.origin(setting).is_flag() {
            let origin = config.origin(setting);
            return Err(format!(
                "{setting} ({origin}): the name is empty: give one, or leave the option out"
            ));
        }
    }
    let user = config.user.as_deref().map(user::user_id).transpose();
    let group = config.group.as_deref().map(user::group_id).transpose();
    Ok(Owner {
        user: user.map_err(|error| complaint("user", error))?,
        group: group.map_err(|error| complaint("group", error))?,
    })
}

fn bind(address: &BindAddress) -> Bind {
    match address {
        BindAddress::Tcp { host, port } => match host.parse() {
            Ok(ip) => Bind::Tcp(SocketAddr::new(ip, *port)),
            Err(_) => Bind::Host(host.clone(), *port),
        },
        BindAddress::Unix(path) => Bind::Unix(path.clone()),
        BindAddress::Abstract(name) => Bind::Abstract(name.clone().into_bytes()),
        BindAddress::Fd(fd) => Bind::Fd(*fd),
    }
}

fn reexec(started: &Started) -> Reexec {
    if let Some(program) = &started.program {
        let variables = started.invocation.env.iter().map(|(name, value)| (name.into(), value.into()));
        return Reexec {
            command: program.command.clone(),
            directory: started.invocation.directory.clone(),
            environment: variables.collect(),
        };
    }
    let program = started.executable.clone().or_else(|| std::env::current_exe().ok()).unwrap_or_default();
    let arguments = started.invocation.args.iter().map(OsString::from);
    let variables = started.invocation.env.iter().map(|(name, value)| (name.into(), value.into()));
    Reexec {
        command: std::iter::once(program.into_os_string()).chain(arguments).collect(),
        directory: started.invocation.directory.clone(),
        environment: variables.collect(),
    }
}

/// A socket of a worker's own goes with it: what the kernel holds back then would be lost.
fn defer_accept(config: &Config) -> bool {
    config.defer_accept && !config.reuse_port
}

fn worker(config: &Config, started: &Started) -> Result<WorkerSettings, String> {
    Ok(WorkerSettings {
        app: app(config, started),
        threads: config.threads,
        connections: config.worker_connections,
        defer_accept: defer_accept(config),
        max_requests: None,
        keepalive: config.keepalive,
        keepalive_requests: config.keepalive_requests,
        header_timeout: config.header_timeout,
        body_timeout: config.body_timeout,
        body_min_rate: config.body_min_rate,
        write_timeout: config.write_timeout,
        linger_timeout: config.linger_timeout,
        graceful_timeout: config.graceful_timeout,
        spool_threshold: config.spool_threshold,
        spool_dir: spool_dir(config, started)?,
        high_water: config.high_water,
        limits: limits(config),
        policy: policy(config),
        trusted: addresses(&config.forwarded_allow_ips)?,
        scheme_headers: config
            .secure_scheme_headers
            .iter()
            .map(|(name, value)| SchemeHeader::new(name, value))
            .collect(),
        script_name: script_name(config),
        forwarding: Forwarding {
            client: said(config.forwarded_for),
            host: said(config.forwarded_host),
            port: config.forwarded_port,
            prefix: config.forwarded_prefix,
        },
        proxy: match config.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::V1 => Some(Mode::V1),
            ProxyProtocol::V2 => Some(Mode::V2),
            ProxyProtocol::Auto => Some(Mode::Auto),
        },
        proxy_allowed: addresses(&config.proxy_allow_ips)?,
        hooks: None,
        tls: None,
        ragged: config.suppress_ragged_eofs,
        server_header: config.server_header.clone().unwrap_or_default().into_bytes(),
        // A Python logger writes access lines, too.
        access: access_log(config).filter(|_| logger(config, started).is_none()),
        statsd: statsd(config),
        reload: config.reload.then(|| watch(config, started)),
        request_id: config.request_id,
        slow_request: config.slow_request,
    })
}

/// Where long bodies are kept: the first of them is late for finding out that it is not there.
fn spool_dir(config: &Config, started: &Started) -> Result<Option<PathBuf>, String> {
    let Some(chosen) = &config.worker_tmp_dir else { return Ok(None) };
    let path = directory(config, started).join(chosen);
    let wrong = match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Ok(Some(path)),
        Ok(_) => "is no directory".to_owned(),
        Err(error) => error.to_string(),
    };
    let (origin, path) = (config.origin("worker_tmp_dir"), path.display());
    Err(format!("worker_tmp_dir ({origin}): {path}: {wrong}: make this directory, or name another one"))
}

fn watch(config: &Config, started: &Started) -> Watch {
    let directory = directory(config, started);
    let named = |entry: &String| directory.join(entry).to_string_lossy().into_owned();
    Watch {
        engine: match config.reload_engine {
            ReloadEngine::Auto => Engine::Auto,
            ReloadEngine::Poll => Engine::Poll,
            ReloadEngine::Inotify => Engine::Inotify,
        },
        extra: config.reload_extra_files.iter().map(named).collect(),
    }
}

/// The variable of that name, as the workers will have it.
fn script_name(config: &Config) -> String {
    let chosen = config.raw_env.iter().rev().find(|(name, _)| name == "SCRIPT_NAME");
    let value = chosen.map(|(_, value)| value.clone());
    value.unwrap_or_else(|| std::env::var("SCRIPT_NAME").unwrap_or_default()).trim_end_matches('/').to_owned()
}

fn said(by: ForwardedBy) -> Said {
    match by {
        ForwardedBy::Off => Said::Nowhere,
        ForwardedBy::Own => Said::Own,
        ForwardedBy::Standard => Said::Forwarded,
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        request_line: config.limit_request_line.unwrap_or(config.limit_request_head),
        fields: config.limit_request_fields,
        field_size: config.limit_request_field_size,
        head: config.limit_request_head,
        body: config.limit_request_body,
        trailers: config.limit_trailers,
        ..Limits::default()
    }
}

fn policy(config: &Config) -> Policy {
    Policy {
        header_map: match config.header_map {
            HeaderMap::Drop => limits::HeaderMap::Drop,
            HeaderMap::Refuse => limits::HeaderMap::Refuse,
            HeaderMap::Dangerous => limits::HeaderMap::Dangerous,
        },
        forwarder_headers: config.forwarder_headers.clone(),
        permit_obsolete_folding: config.permit_obsolete_folding,
        strip_header_spaces: config.strip_header_spaces,
        permit_unconventional_http_method: config.permit_unconventional_http_method,
        permit_unconventional_http_version: config.permit_unconventional_http_version,
        casefold_http_method: config.casefold_http_method,
        drop_untrusted_forwarded: config.drop_untrusted_forwarded,
        secured: config.is_secured(),
    }
}

fn addresses(networks: &Networks) -> Result<AddrSet, String> {
    let text = match networks.any {
        true => "*".to_owned(),
        false => {
            let entries = networks.list.iter().map(|(address, prefix)| format!("{address}/{prefix}"));
            entries.collect::<Vec<_>>().join(",")
        }
    };
    AddrSet::parse(&text).map_err(|error| error.to_string())
}
