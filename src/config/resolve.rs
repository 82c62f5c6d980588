//! What did the operator ask for, once every source has spoken?
//!
//! Must not know: files, the process's environment, clap. It is given what they said.
//!
//! Invariants:
//! 1. A [`Config`] never changes; a reload makes a new one.
//! 2. Every row of the table is one field of [`Config`], of the type its consumer needs.
//! 3. Where 0 means "off", the field is an `Option` and off is `None`.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::fields::{Field, Statsd, Syslog};
use super::head_limits::HeadLimits;
use super::log_address::SocketAddress;
use super::origin::Origin;
use super::raw::Raw;
use super::setting::Section;
use super::sheet::{Line, Sheet};
use super::target::AppTarget;
use super::types::{
    BindAddress, Facility, ForwardedBy, GunicornModule, HeaderMap, LogLevel, LogTarget, Networks,
    ProxyProtocol, ReloadEngine, WorkerClass,
};

/// The whole configuration, typed. Rooms are handed the few values they need, never this.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The configuration file that was asked for.
    pub config: Option<String>,
    /// The application. `None`: `paste` says it.
    pub wsgi_app: Option<AppTarget>,
    /// The PasteDeploy file, and section, the application is in.
    pub paste: Option<String>,
    /// Defaults for that file.
    pub raw_paste_global_conf: Vec<(String, String)>,
    /// The interpreter to run on.
    pub python: Option<PathBuf>,
    /// The virtual environment to run in.
    pub venv: Option<PathBuf>,
    /// When a module `gunicorn` is provided.
    pub gunicorn_module: GunicornModule,

    /// Where to listen; never empty.
    pub bind: Vec<BindAddress>,
    /// Length of the accept queues.
    pub backlog: u32,
    /// Every worker listens for itself (SO_REUSEPORT).
    pub reuse_port: bool,
    /// TCP connections are accepted once they say something.
    pub defer_accept: bool,

    /// Number of worker processes; 0 is allowed.
    pub workers: usize,
    /// Threads per worker; at least 1.
    pub threads: usize,
    /// Which of Gunicorn's worker classes was named.
    pub worker_class: WorkerClass,
    /// Most connections a worker keeps open.
    pub worker_connections: usize,
    /// Requests after which a worker is replaced.
    pub max_requests: Option<u64>,
    /// Most of the random number added to `max_requests`, per worker.
    pub max_requests_jitter: u64,
    /// Resident bytes over which a worker is replaced.
    pub max_worker_memory: Option<u64>,
    /// Age at which a worker is replaced.
    pub max_worker_age: Option<Duration>,
    /// Most of the random time added to `max_worker_age`, per worker.
    pub max_worker_age_jitter: Duration,
    /// Time an application may take without progress.
    pub timeout: Option<Duration>,
    /// Time between a request's end by exception and the worker's end by force.
    pub timeout_grace: Duration,
    /// Time a worker may take to boot.
    pub boot_timeout: Option<Duration>,
    /// Time for requests to finish at a stop or reload.
    pub graceful_timeout: Duration,
    /// Idle time of a kept-alive connection; `None`: connections are not kept alive.
    pub keepalive: Option<Duration>,
    /// Requests after which a kept-alive connection is closed.
    pub keepalive_requests: Option<u64>,

    /// Time for a whole request head.
    pub header_timeout: Option<Duration>,
    /// Time between two pieces of a request body.
    pub body_timeout: Option<Duration>,
    /// Bytes per second a request body has to arrive with.
    pub body_min_rate: Option<u64>,
    /// Time a client may take nothing of a reply.
    pub write_timeout: Option<Duration>,
    /// Time for a client to take the rest of a reply before its connection is closed.
    pub linger_timeout: Duration,
    /// Bytes of a request body kept in memory before it goes to a file.
    pub spool_threshold: usize,
    /// Bytes of a reply queued for a client before the application is made to wait.
    pub high_water: usize,

    /// Longest request line without CRLF; `None`: bounded by `limit_request_head` only.
    pub limit_request_line: Option<usize>,
    /// Most header fields.
    pub limit_request_fields: usize,
    /// Longest header field line.
    pub limit_request_field_size: usize,
    /// Longest request head as a whole.
    pub limit_request_head: usize,
    /// Longest request body.
    pub limit_request_body: Option<u64>,
    /// Longest trailer section.
    pub limit_trailers: usize,

    /// Peers whose `secure_scheme_headers` and `forwarder_headers` are believed.
    pub forwarded_allow_ips: Networks,
    /// Upper-case header names and the value that means https.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// Which field of theirs becomes REMOTE_ADDR.
    pub forwarded_for: ForwardedBy,
    /// Which field of theirs becomes Host and SERVER_NAME.
    pub forwarded_host: ForwardedBy,
    /// Whether their X-Forwarded-Port becomes SERVER_PORT.
    pub forwarded_port: bool,
    /// Whether their X-Forwarded-Prefix goes before SCRIPT_NAME.
    pub forwarded_prefix: bool,
    /// Whether forwarding fields of other peers are left out of environ.
    pub drop_untrusted_forwarded: bool,
    /// Upper-case names with underscores that trusted peers may send; `*`: all.
    pub forwarder_headers: Vec<String>,
    /// What becomes of other names with underscores.
    pub header_map: HeaderMap,
    /// Accepts folded header lines.
    pub permit_obsolete_folding: bool,
    /// Accepts white space between name and colon.
    pub strip_header_spaces: bool,
    /// Accepts any token as a method.
    pub permit_unconventional_http_method: bool,
    /// Accepts versions other than 1.x.
    pub permit_unconventional_http_version: bool,
    /// Turns methods into upper case.
    pub casefold_http_method: bool,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// Peers that may send one.
    pub proxy_allow_ips: Networks,
    /// Value of the Server header; `None`: there is none.
    pub server_header: Option<String>,
    /// Whether files may leave by sendfile.
    pub sendfile: bool,

    /// Directory to change to before the application is loaded.
    pub chdir: Option<PathBuf>,
    /// Directories put before everything else in `sys.path`.
    pub pythonpath: Vec<String>,
    /// Environment variables to set.
    pub raw_env: Vec<(String, String)>,
    /// Import the application before forking.
    pub preload_app: bool,
    /// Run in the background.
    pub daemon: bool,
    /// Keep standard streams that are files, in the background.
    pub enable_stdio_inheritance: bool,
    /// File that holds the master's process id.
    pub pidfile: Option<PathBuf>,
    /// Directory for temporary files.
    pub worker_tmp_dir: Option<PathBuf>,
    /// User name or id of the workers.
    pub user: Option<String>,
    /// Group name or id of the workers.
    pub group: Option<String>,
    /// Set the supplementary groups too.
    pub initgroups: bool,
    /// File mode mask of unix sockets.
    pub umask: u32,
    /// Name in process titles; `None`: the application's.
    pub proc_name: Option<String>,

    /// Where the access log goes.
    pub accesslog: LogTarget,
    /// Its format, not yet compiled.
    pub access_log_format: String,
    /// Whether it is JSON.
    pub access_log_json: bool,
    /// Whether it is JSON under the names of the Elastic Common Schema.
    pub access_log_json_ecs: bool,
    /// Request headers a JSON access log shows.
    pub access_log_request_headers: Vec<String>,
    /// Response headers a JSON access log shows.
    pub access_log_response_headers: Vec<String>,
    /// Paths without access log lines.
    pub access_log_skip: Vec<String>,
    /// One in so many requests gets an access log line; at least 1.
    pub access_log_sample: u64,
    /// Time from which a request is slow.
    pub slow_request: Option<Duration>,
    /// Requests have ids.
    pub request_id: bool,
    /// Where the error log goes.
    pub errorlog: LogTarget,
    /// Its least severe line.
    pub loglevel: LogLevel,
    /// Send stdout and stderr of the application to the error log's file.
    pub capture_output: bool,
    /// The Python class that writes the logs; nothing: we do.
    pub logger_class: Raw,
    /// File for `logging.config.fileConfig`.
    pub logconfig: Option<PathBuf>,
    /// Table for `logging.config.dictConfig`.
    pub logconfig_dict: Raw,
    /// JSON file for the same.
    pub logconfig_json: Option<PathBuf>,

    /// The hooks that are set, by name.
    pub hooks: Vec<(&'static str, Raw)>,

    /// Send both logs to syslog, too.
    pub syslog: bool,
    /// Where it listens.
    pub syslog_addr: SocketAddress,
    /// What lines there begin with.
    pub syslog_prefix: Option<String>,
    /// Their facility.
    pub syslog_facility: Facility,
    /// Keep the access log out of syslog.
    pub disable_redirect_access_to_syslog: bool,
    /// Where statsd listens.
    pub statsd_host: Option<SocketAddress>,
    /// What the names of metrics begin with.
    pub statsd_prefix: String,
    /// Tags behind each metric.
    pub dogstatsd_tags: String,
    /// Tell statsd how many connections wait.
    pub enable_backlog_metric: bool,

    /// Replace workers when code changes.
    pub reload: bool,
    /// How changes are noticed.
    pub reload_engine: ReloadEngine,
    /// What else is watched: files and patterns.
    pub reload_extra_files: Vec<String>,
    /// Print every line of Python that is run.
    pub spew: bool,
    /// Where the operator is answered; empty: nowhere.
    pub status_bind: Vec<BindAddress>,

    /// Load everything, say what is wrong, end.
    pub check_config: bool,
    /// Print the configuration, then as `check_config`.
    pub print_config: bool,

    /// What is not wrong but may not be meant, a line each.
    pub warnings: Vec<String>,

    sheet: Sheet,
}

impl Config {
    /// Types every line of the sheet.
    pub fn new(sheet: Sheet) -> Result<Self, ConfigError> {
        require_app(&sheet)?;
        let limits = HeadLimits::of(&sheet)?;
        Ok(Self {
            config: field(&sheet, "config")?,
            wsgi_app: field(&sheet, "wsgi_app").ok(),
            paste: field(&sheet, "paste")?,
            raw_paste_global_conf: field(&sheet, "raw_paste_global_conf")?,
            python: field(&sheet, "python")?,
            venv: field(&sheet, "venv")?,
            gunicorn_module: field(&sheet, "gunicorn_module")?,
            bind: field(&sheet, "bind")?,
            backlog: field(&sheet, "backlog")?,
            reuse_port: field(&sheet, "reuse_port")?,
            defer_accept: field(&sheet, "defer_accept")?,
            workers: field(&sheet, "workers")?,
            // Gunicorn takes 0 as well; somebody has to do the work.
            threads: field::<usize>(&sheet, "threads")?.max(1),
            worker_class: field(&sheet, "worker_class")?,
            worker_connections: field(&sheet, "worker_connections")?,
            max_requests: field(&sheet, "max_requests")?,
            max_requests_jitter: field(&sheet, "max_requests_jitter")?,
            max_worker_memory: field(&sheet, "max_worker_memory")?,
            max_worker_age: field(&sheet, "max_worker_age")?,
            max_worker_age_jitter: field(&sheet, "max_worker_age_jitter")?,
            timeout: field(&sheet, "timeout")?,
            timeout_grace: field(&sheet, "timeout_grace")?,
            boot_timeout: field(&sheet, "boot_timeout")?,
            graceful_timeout: field(&sheet, "graceful_timeout")?,
            keepalive: field(&sheet, "keepalive")?,
            keepalive_requests: field(&sheet, "keepalive_requests")?,
            header_timeout: field(&sheet, "header_timeout")?,
            body_timeout: field(&sheet, "body_timeout")?,
            body_min_rate: field(&sheet, "body_min_rate")?,
            write_timeout: field(&sheet, "write_timeout")?,
            linger_timeout: field(&sheet, "linger_timeout")?,
            spool_threshold: field(&sheet, "spool_threshold")?,
            high_water: field(&sheet, "high_water")?,
            limit_request_line: limits.line,
            limit_request_fields: limits.fields,
            limit_request_field_size: limits.field_size,
            limit_request_head: limits.head,
            limit_request_body: field(&sheet, "limit_request_body")?,
            limit_trailers: field(&sheet, "limit_trailers")?,
            forwarded_allow_ips: field(&sheet, "forwarded_allow_ips")?,
            secure_scheme_headers: field(&sheet, "secure_scheme_headers")?,
            forwarded_for: field(&sheet, "forwarded_for")?,
            forwarded_host: field(&sheet, "forwarded_host")?,
            forwarded_port: field(&sheet, "forwarded_port")?,
            forwarded_prefix: field(&sheet, "forwarded_prefix")?,
            drop_untrusted_forwarded: field(&sheet, "drop_untrusted_forwarded")?,
            forwarder_headers: field(&sheet, "forwarder_headers")?,
            header_map: field(&sheet, "header_map")?,
            permit_obsolete_folding: field(&sheet, "permit_obsolete_folding")?,
            strip_header_spaces: field(&sheet, "strip_header_spaces")?,
            permit_unconventional_http_method: field(&sheet, "permit_unconventional_http_method")?,
            permit_unconventional_http_version: field(&sheet, "permit_unconventional_http_version")?,
            casefold_http_method: field(&sheet, "casefold_http_method")?,
            proxy_protocol: field(&sheet, "proxy_protocol")?,
            proxy_allow_ips: field(&sheet, "proxy_allow_ips")?,
            server_header: field(&sheet, "server_header")?,
            sendfile: field(&sheet, "sendfile")?,
            chdir: field(&sheet, "chdir")?,
            pythonpath: field(&sheet, "pythonpath")?,
            raw_env: field(&sheet, "raw_env")?,
            preload_app: field(&sheet, "preload_app")?,
            daemon: field(&sheet, "daemon")?,
            enable_stdio_inheritance: field(&sheet, "enable_stdio_inheritance")?,
            pidfile: field(&sheet, "pidfile")?,
            worker_tmp_dir: field(&sheet, "worker_tmp_dir")?,
            user: field(&sheet, "user")?,
            group: field(&sheet, "group")?,
            initgroups: field(&sheet, "initgroups")?,
            umask: field(&sheet, "umask")?,
            proc_name: field(&sheet, "proc_name")?,
            accesslog: field(&sheet, "accesslog")?,
            access_log_format: field(&sheet, "access_log_format")?,
            access_log_json: field(&sheet, "access_log_json")?,
            access_log_json_ecs: field(&sheet, "access_log_json_ecs")?,
            access_log_request_headers: field(&sheet, "access_log_request_headers")?,
            access_log_response_headers: field(&sheet, "access_log_response_headers")?,
            access_log_skip: field(&sheet, "access_log_skip")?,
            access_log_sample: field(&sheet, "access_log_sample")?,
            slow_request: field(&sheet, "slow_request")?,
            request_id: field(&sheet, "request_id")?,
            errorlog: field(&sheet, "errorlog")?,
            loglevel: field(&sheet, "loglevel")?,
            capture_output: field(&sheet, "capture_output")?,
            syslog: field(&sheet, "syslog")?,
            syslog_addr: field::<Syslog>(&sheet, "syslog_addr")?.0,
            syslog_prefix: field(&sheet, "syslog_prefix")?,
            syslog_facility: field(&sheet, "syslog_facility")?,
            disable_redirect_access_to_syslog: field(&sheet, "disable_redirect_access_to_syslog")?,
            statsd_host: field::<Statsd>(&sheet, "statsd_host")?.0,
            statsd_prefix: field(&sheet, "statsd_prefix")?,
            dogstatsd_tags: field(&sheet, "dogstatsd_tags")?,
            enable_backlog_metric: field(&sheet, "enable_backlog_metric")?,
            reload: field(&sheet, "reload")?,
            reload_engine: field(&sheet, "reload_engine")?,
            reload_extra_files: field(&sheet, "reload_extra_files")?,
            spew: field(&sheet, "spew")?,
            logger_class: field(&sheet, "logger_class")?,
            logconfig: field(&sheet, "logconfig")?,
            logconfig_dict: field(&sheet, "logconfig_dict")?,
            logconfig_json: field(&sheet, "logconfig_json")?,
            hooks: hooks(&sheet)?,
            status_bind: field(&sheet, "status_bind")?,
            check_config: field(&sheet, "check_config")?,
            print_config: field(&sheet, "print_config")?,
            warnings: Vec::new(),
            sheet,
        })
    }

    /// Where the value of the setting of this name came from.
    pub fn origin(&self, name: &str) -> &Origin {
        self.sheet.line(name).map_or(&Origin::Default, |line| &line.origin)
    }

    /// What the application is called: APP, or the PasteDeploy file.
    pub fn app_name(&self) -> String {
        match (&self.paste, &self.wsgi_app) {
            (Some(paste), _) => paste.clone(),
            (None, app) => app.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Every setting with its value and origin, in the table's order.
    pub fn rows(&self) -> &[Line] {
        self.sheet.lines()
    }
}

/// The setting of this name as its field's type.
pub(super) fn field<T: Field>(sheet: &Sheet, name: &str) -> Result<T, ConfigError> {
    let line = sheet.line(name).ok_or_else(|| mismatch(name, Origin::Default))?;
    T::from_value(&line.value).ok_or_else(|| mismatch(name, line.origin.clone()))
}

fn hooks(sheet: &Sheet) -> Result<Vec<(&'static str, Raw)>, ConfigError> {
    let rows = sheet.lines().iter().filter(|line| line.setting.section == Section::ServerHooks);
    let all: Result<Vec<_>, _> =
        rows.map(|line| Ok((line.setting.name, field::<Raw>(sheet, line.setting.name)?))).collect();
    Ok(all?.into_iter().filter(|(_, hook)| *hook != Raw::Nothing).collect())
}

fn mismatch(name: &str, origin: Origin) -> ConfigError {
    ConfigError::about(name, origin, "a bug in rwsgi: the table and the configuration's field do not agree")
}

fn require_app(sheet: &Sheet) -> Result<(), ConfigError> {
    let paste = field::<Option<String>>(sheet, "paste")?;
    match field::<AppTarget>(sheet, "wsgi_app") {
        Ok(_) => Ok(()),
        Err(_) if paste.is_some() => Ok(()),
        Err(_) => Err(ConfigError::general(Origin::Default, "No application module specified.")
            .hint("say which, e.g. rwsgi myproject.wsgi:application")),
    }
}

#[cfg(test)]
mod tests;
