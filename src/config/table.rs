//! Which settings are there? The one table.
//!
//! Flags, TOML keys, `RWSGI_` variables, `--help`, `--print-config` and docs/settings.md are
//! derived from it. To add a setting: a row here, a field in [`super::Config`], and, if it is
//! Gunicorn's, a row in gunicorn-compat.toml. The tests say what is missing.
//!
//! Must not know: what a setting does; only how it is said.
//!
//! Invariants:
//! 1. Names and flags are unique; Gunicorn's names and flags are ours.
//! 2. `default` and `example` are values of the row's kind, and differ.

use super::kinds::Kind;
use super::setting::Change::{Live, Reexec};
use super::setting::Section::{
    ConfigFile, Debugging, Interpreter, Logging, Monitoring, ProcessNaming, Security, ServerHooks,
    ServerMechanics, ServerSocket, SlowClients, WorkerProcesses,
};
use super::setting::Setting;

const ANY: Kind = Kind::Count(0, u64::MAX >> 1);
/// Most bytes of anything that is held in memory for one connection.
const IN_MEMORY: u64 = 1 << 30;

/// Apache's combined format, Gunicorn's default.
const COMBINED: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;
const SCHEME_HEADERS: &str = "X-FORWARDED-PROTOCOL=ssl,X-FORWARDED-PROTO=https,X-FORWARDED-SSL=on";

const FACILITIES: &[&str] = &[
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "user", "uucp",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Every setting, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    Setting::theirs(ConfigFile, "config", Kind::Text, "")
        .flags(&["--config"])
        .short('c')
        .example("deploy/rwsgi.toml")
        .change(Reexec)
        .help("Configuration file. [./rwsgi.toml or ./gunicorn.conf.py]")
        .more("A path, `file:PATH` or `python:MODULE`; what does not end in `.toml` is run as Python, as Gunicorn \
             does. Read from the directory rwsgi is started in. One file is read. A file cannot name another.",
        ),
    Setting::theirs(ConfigFile, "wsgi_app", Kind::App, "")
        .example("myproject.wsgi:application")
        .help("The application, where APP is not given.")
        .more(
            "`MODULE` (its `application`), `MODULE:NAME`, `MODULE:NAME.ATTRIBUTE`, `MODULE:FACTORY()` or \
             `MODULE:FACTORY(ARGUMENTS)` with literal arguments. On the command line it is the argument APP.",
        ),
    Setting::ours(Interpreter, "python", Kind::Path, "")
        .flags(&["--python"])
        .example("/usr/bin/python3.12")
        .change(Reexec)
        .help("Python interpreter, or the directory it is in.")
        .more(
            "Without it and `venv`: the virtual environment rwsgi is installed in, `$VIRTUAL_ENV`, \
             `$CONDA_PREFIX`, a python3 beside rwsgi, then `PATH`.",
        ),
    Setting::ours(Interpreter, "venv", Kind::Path, "")
        .flags(&["--venv"])
        .example("/srv/app/.venv")
        .change(Reexec)
        .help("Virtual environment to run in."),
    Setting::ours(Interpreter, "gunicorn_module", Kind::Choice(&["auto", "always", "never"], &[]), "auto")
        .flags(&["--gunicorn-module"])
        .example("always")
        .change(Reexec)
        .help("Provide a module gunicorn: auto, always, never. [auto]")
        .more(
            "For configurations and programs that import it. `auto`: where Gunicorn itself is not installed; \
             `always`: also in its place.",
        ),
    Setting::theirs(ServerSocket, "bind", Kind::Addresses, "127.0.0.1:8000")
        .flags(&["--bind"])
        .short('b')
        .example("0.0.0.0:80,unix:/run/app.sock")
        .help("Address to listen on; may be repeated. [127.0.0.1:8000]")
        .more(
            "`HOST`, `HOST:PORT` (port 8000 if left out), `[IPV6]:PORT`, `unix:PATH`, `unix:@NAME` (abstract) \
             or `fd://NUMBER` (inherited). A variable `PORT` turns the default into `0.0.0.0:$PORT`.",
        ),
    Setting::theirs(ServerSocket, "backlog", Kind::Count(0, 1 << 30), "2048")
        .flags(&["--backlog"])
        .example("512")
        .help("Connections that may wait to be accepted. [2048]"),
    Setting::theirs(ServerSocket, "reuse_port", Kind::Flag, "false")
        .flags(&["--reuse-port"])
        .example("true")
        .change(Reexec)
        .help("Let every worker listen for itself (SO_REUSEPORT).")
        .more("Connections that wait for one worker cannot go to another: leave it off unless measured."),
    Setting::ours(ServerSocket, "defer_accept", Kind::Flag, "true")
        .flags(&["--defer-accept"])
        .negations(&["--no-defer-accept"])
        .example("false")
        .help("Accept connections before they say something.")
        .more(
            "The kernel keeps a TCP connection to itself until its first bytes are there, for at most a \
             second (TCP_DEFER_ACCEPT). That saves a third of what a connection costs. Without meaning \
             for unix sockets and with `reuse_port`.",
        ),
    Setting::theirs(WorkerProcesses, "workers", Kind::Count(0, 10_000), "1")
        .flags(&["--workers"])
        .short('w')
        .example("4")
        .change(Live)
        .help("Number of worker processes. [1]")
        .more("A variable `WEB_CONCURRENCY` changes the default."),
    Setting::theirs(WorkerProcesses, "worker_class", Kind::WorkerClass, "sync")
        .flags(&["--worker-class"])
        .short('k')
        .example("gthread")
        .help("sync or gthread, for Gunicorn's sake: there is one worker.")
        .more("With `gthread` an application sees `wsgi.multithread` true even with one thread."),
    Setting::theirs(WorkerProcesses, "threads", Kind::Count(0, 10_000), "1")
        .flags(&["--threads"])
        .example("8")
        .help("Threads per worker that run the application. [1]"),
    Setting::theirs(WorkerProcesses, "worker_connections", Kind::Count(1, 1 << 20), "1000")
        .flags(&["--worker-connections"])
        .example("4000")
        .help("Most connections a worker keeps open. [1000]"),
    Setting::theirs(WorkerProcesses, "max_requests", ANY, "0")
        .flags(&["--max-requests"])
        .example("10000")
        .help("Replace a worker after so many requests. [0: never]")
        .more("Its successor serves before it goes."),
    Setting::theirs(WorkerProcesses, "max_requests_jitter", ANY, "0")
        .flags(&["--max-requests-jitter"])
        .example("500")
        .help("Most of the random number added to max_requests. [0]"),
    Setting::ours(WorkerProcesses, "max_worker_memory", Kind::Bytes, "0")
        .flags(&["--max-worker-memory"])
        .example("512M")
        .help("Replace a worker that occupies so many bytes. [0: never]")
        .more("Resident memory. Its successor serves before it goes."),
    Setting::ours(WorkerProcesses, "max_worker_age", Kind::Seconds, "0")
        .flags(&["--max-worker-age"])
        .example("12h")
        .help("Replace a worker of this age. [0: never]"),
    Setting::ours(WorkerProcesses, "max_worker_age_jitter", Kind::Seconds, "0")
        .flags(&["--max-worker-age-jitter"])
        .example("10m")
        .help("Most of the random time added to max_worker_age. [0]"),
    Setting::theirs(WorkerProcesses, "timeout", Kind::Seconds, "30")
        .flags(&["--timeout"])
        .short('t')
        .example("120")
        .change(Live)
        .help("Time a request may take without progress. [30; 0: any]")
        .more(
            "Measured per request and thread, only while the application runs: idle or slow clients do not \
             count, and each block the application yields starts it anew. Over it, the stack is logged and an \
             exception raised in the request; see `timeout_grace`.",
        ),
    Setting::ours(WorkerProcesses, "timeout_grace", Kind::Seconds, "5")
        .flags(&["--timeout-grace"])
        .example("1.5")
        .change(Live)
        .help("Time from that exception to the worker's end by force. [5]"),
    Setting::ours(WorkerProcesses, "boot_timeout", Kind::Seconds, "60")
        .flags(&["--boot-timeout"])
        .example("120")
        .change(Live)
        .help("Time a worker may take to load the application. [60; 0: any]"),
    Setting::theirs(WorkerProcesses, "graceful_timeout", Kind::Seconds, "30")
        .flags(&["--graceful-timeout"])
        .example("10")
        .change(Live)
        .help("Time for requests to finish at a stop or reload. [30]"),
    Setting::theirs(WorkerProcesses, "keepalive", Kind::Seconds, "2")
        .flags(&["--keep-alive"])
        .example("75")
        .help("Time an idle connection is kept open. [2; 0: not at all]")
        .more("Behind a proxy that keeps connections open, take more than the proxy does."),
    Setting::ours(WorkerProcesses, "keepalive_requests", ANY, "0")
        .flags(&["--keepalive-requests"])
        .example("1000")
        .help("Close a connection after so many requests. [0: never]"),
    Setting::ours(SlowClients, "header_timeout", Kind::Seconds, "30")
        .flags(&["--header-timeout"])
        .example("10")
        .help("Time for a whole request head. [30; 0: any]")
        .more("Over it: 408 and the connection is closed."),
    Setting::ours(SlowClients, "body_timeout", Kind::Seconds, "30")
        .flags(&["--body-timeout"])
        .example("60")
        .help("Time between two pieces of a request body. [30; 0: any]"),
    Setting::ours(SlowClients, "body_min_rate", ANY, "240")
        .flags(&["--body-min-rate"])
        .example("1000")
        .help("Bytes per second a body has to come with. [240; 0: any]")
        .more("An average over the body's life, looked at after `body_timeout` has passed once."),
    Setting::ours(SlowClients, "write_timeout", Kind::Seconds, "60")
        .flags(&["--write-timeout"])
        .example("30")
        .help("Time a client may take nothing of a reply. [60; 0: any]")
        .more("Also told to the kernel, so that a client that vanished without a word is noticed in time."),
    Setting::ours(SlowClients, "linger_timeout", Kind::Seconds, "2")
        .flags(&["--linger-timeout"])
        .example("0.5")
        .help("Time to wait for a client's end of a closed connection. [2]")
        .more("Without it, a reply can be lost when the client is still sending. It costs nobody else time."),
    Setting::ours(SlowClients, "spool_threshold", Kind::Bytes, "512K")
        .flags(&["--spool-threshold"])
        .example("1M")
        .help("Longest request body kept in memory. [512K]")
        .more("Longer ones go to an unlinked file in `worker_tmp_dir`."),
    Setting::ours(SlowClients, "high_water", Kind::Bytes, "256K")
        .flags(&["--high-water"])
        .example("1M")
        .help("Bytes of a reply queued before the application waits. [256K]"),
    Setting::theirs(Security, "limit_request_line", ANY, "8190")
        .flags(&["--limit-request-line"])
        .example("4094")
        .help("Longest request line in bytes. [8190; 0: any, at most 8190]")
        .more(
            "Without its line end. RFC 9112 section 3 recommends at least 8000. Values over 8190 count as 8190, \
             as in Gunicorn. Over it: 414.",
        ),
    Setting::theirs(Security, "limit_request_fields", ANY, "100")
        .flags(&["--limit-request-fields"])
        .example("50")
        .help("Most header fields of a request. [100; at most 32768]")
        .more("0 counts as 32768, as in Gunicorn. Over it: 431."),
    Setting::theirs(Security, "limit_request_field_size", Kind::Count(0, IN_MEMORY), "8190")
        .flags(&["--limit-request-field_size", "--limit-request-field-size"])
        .example("16380")
        .help("Longest header field in bytes. [8190]")
        .more("The whole line. 0 counts as 8190, as in Gunicorn. Over it: 431."),
    Setting::ours(Security, "limit_request_head", Kind::Bytes, "0")
        .flags(&["--limit-request-head"])
        .example("64K")
        .help("Longest request head as a whole. [0: as the limits above allow]")
        .more("Over it: 431."),
    Setting::ours(Security, "limit_request_body", Kind::Bytes, "0")
        .flags(&["--limit-request-body"])
        .example("100M")
        .help("Longest request body. [0: any]")
        .more("Over it: 413, before the application is called."),
    Setting::ours(Security, "limit_trailers", Kind::Bytes, "32K")
        .flags(&["--limit-trailers"])
        .example("8K")
        .help("Longest trailer section of a chunked body. [32K]"),
    Setting::theirs(Debugging, "reload", Kind::Flag, "false")
        .flags(&["--reload"])
        .example("true")
        .help("Replace workers when the application's code changes.")
        .more(
            "For development. An application that cannot be loaded is answered for by its traceback, until \
             it can. `preload_app` is left out.",
        ),
    Setting::theirs(Debugging, "reload_engine", Kind::Choice(&["auto", "poll", "inotify"], &[]), "auto")
        .flags(&["--reload-engine"])
        .example("poll")
        .help("How changes are noticed: auto, poll or inotify. [auto]")
        .more("`auto` is inotify where the kernel grants it, else `poll`, which looks every half second."),
    Setting::theirs(Debugging, "reload_extra_files", Kind::Files, "")
        .flags(&["--reload-extra-file"])
        .example("settings.ini,templates/**/*.html")
        .help("Other file to watch, may be a pattern; may be repeated.")
        .more("In patterns `*` and `?` stay within a directory, `**` goes through directories."),
    Setting::theirs(Debugging, "spew", Kind::Flag, "false")
        .flags(&["--spew"])
        .example("true")
        .help("Print every line of Python as it is run. Very slow."),
    Setting::theirs(Debugging, "check_config", Kind::Flag, "false")
        .flags(&["--check-config"])
        .example("true")
        .change(Reexec)
        .help("Check configuration and application, then end."),
    Setting::theirs(Debugging, "print_config", Kind::Flag, "false")
        .flags(&["--print-config"])
        .example("true")
        .change(Reexec)
        .help("Print every setting and its origin, then as --check-config."),
    Setting::theirs(ServerMechanics, "preload_app", Kind::Flag, "false")
        .flags(&["--preload"])
        .example("true")
        .help("Load the application once, before workers are forked.")
        .more(
            "Saves memory and time. It is imported in a process of its own, the mold, from which workers are \
             forked; a reload boots a new mold, so that new code is loaded all the same. The import runs \
             before `user` and `group` take effect.",
        ),
    Setting::theirs(ServerMechanics, "sendfile", Kind::Flag, "true")
        .flags(&["--sendfile"])
        .negations(&["--no-sendfile"])
        .example("false")
        .help("Do not send files by sendfile.")
        .more("A variable `SENDFILE` changes the default."),
    Setting::ours(ServerMechanics, "server_header", Kind::Text, "rwsgi")
        .flags(&["--server-header"])
        .example("web")
        .help("Value of the Server header; empty: none. [rwsgi]"),
    Setting::theirs(ServerMechanics, "chdir", Kind::Path, "")
        .flags(&["--chdir"])
        .example("/srv/app")
        .change(Reexec)
        .help("Directory to change to; first in sys.path."),
    Setting::theirs(ServerMechanics, "pythonpath", Kind::Words, "")
        .flags(&["--pythonpath"])
        .example("/srv/lib,/srv/vendor")
        .help("Directories to put before everything in sys.path."),
    Setting::theirs(ServerMechanics, "paste", Kind::Text, "")
        .flags(&["--paste", "--paster"])
        .example("production.ini#main")
        .help("Load the application from this PasteDeploy file. [none]")
        .more("`FILE.ini` or `FILE.ini#SECTION`. It takes the place of APP; the package PasteDeploy has to be there."),
    Setting::theirs(ServerMechanics, "raw_paste_global_conf", Kind::Environment, "")
        .flags(&["--paste-global"])
        .example("debug=false")
        .help("Default for that file, NAME=VALUE; may be repeated."),
    Setting::theirs(ServerMechanics, "raw_env", Kind::Environment, "")
        .flags(&["--env"])
        .short('e')
        .example("DEBUG=1,REGION=eu")
        .help("Environment variable to set, NAME=VALUE; may be repeated.")
        .more("In `RWSGI_RAW_ENV`, separated by line ends, or else by commas."),
    Setting::theirs(ServerMechanics, "daemon", Kind::Flag, "false")
        .flags(&["--daemon"])
        .short('D')
        .example("true")
        .change(Reexec)
        .help("Run in the background."),
    Setting::theirs(ServerMechanics, "enable_stdio_inheritance", Kind::Flag, "false")
        .flags(&["--enable-stdio-inheritance"])
        .short('R')
        .example("true")
        .change(Reexec)
        .help("In the background, keep stdout and stderr that are files.")
        .more("Terminals are let go of all the same."),
    Setting::theirs(ServerMechanics, "pidfile", Kind::Path, "")
        .flags(&["--pid"])
        .short('p')
        .example("/run/app.pid")
        .change(Live)
        .help("File for the master's process id."),
    Setting::theirs(ServerMechanics, "worker_tmp_dir", Kind::Path, "")
        .flags(&["--worker-tmp-dir"])
        .example("/dev/shm")
        .help("Directory for temporary files.")
        .more("Heartbeats need none here: it holds request bodies over `spool_threshold`."),
    Setting::theirs(ServerMechanics, "user", Kind::Text, "")
        .flags(&["--user"])
        .short('u')
        .example("www-data")
        .help("User the workers run as; name or id."),
    Setting::theirs(ServerMechanics, "group", Kind::Text, "")
        .flags(&["--group"])
        .short('g')
        .example("www-data")
        .help("Group the workers run as; name or id."),
    Setting::theirs(ServerMechanics, "initgroups", Kind::Flag, "false")
        .flags(&["--initgroups"])
        .example("true")
        .help("Give workers all groups of their user."),
    Setting::theirs(ServerMechanics, "umask", Kind::Mode, "0")
        .flags(&["--umask"])
        .short('m')
        .example("0027")
        .help("Mask of the modes of unix sockets, octal. [0]")
        .more("Octal with a leading 0 (`007`, `0o007`), decimal without, as in Gunicorn."),
    Setting::theirs(ServerMechanics, "forwarded_allow_ips", Kind::Networks, "127.0.0.1,::1")
        .flags(&["--forwarded-allow-ips"])
        .example("10.0.0.0/8,::1")
        .help("Proxies that may say https and more. [127.0.0.1,::1]")
        .more(
            "Addresses and networks, or `*`. A peer on a unix socket is always trusted. A variable \
             `FORWARDED_ALLOW_IPS` changes the default.",
        ),
    Setting::theirs(ServerMechanics, "secure_scheme_headers", Kind::Headers, SCHEME_HEADERS)
        .flags(&["--secure-scheme-headers"])
        .example("X-FORWARDED-PROTO=https")
        .help("Headers, and their values, by which such proxies say https.")
        .more("If two of them disagree, the request is refused."),
    Setting::ours(
        Security,
        "forwarded_for",
        Kind::Choice(&["off", "x-forwarded-for", "forwarded"], &[("false", "off"), ("none", "off")]),
        "off",
    )
    .flags(&["--forwarded-for"])
    .example("x-forwarded-for")
    .help("Header by which such proxies say REMOTE_ADDR. [off]")
    .more(
        "`x-forwarded-for` or RFC 7239's `forwarded`, walked from the right as far as `forwarded_allow_ips` \
         trusts. Only for a proxy that sets or extends the header itself. REMOTE_PORT is left out then. With \
         `forwarded`, here or below, its `proto` counts as one of `secure_scheme_headers`.",
    ),
    Setting::ours(
        Security,
        "forwarded_host",
        Kind::Choice(&["off", "x-forwarded-host", "forwarded"], &[("false", "off"), ("none", "off")]),
        "off",
    )
    .flags(&["--forwarded-host"])
    .example("x-forwarded-host")
    .help("Header by which such proxies say Host. [off]")
    .more("It becomes HTTP_HOST, SERVER_NAME and SERVER_PORT. Only for a proxy that sets it itself."),
    Setting::ours(Security, "forwarded_port", Kind::Flag, "false")
        .flags(&["--forwarded-port"])
        .example("true")
        .help("Take SERVER_PORT from such proxies' X-Forwarded-Port."),
    Setting::ours(Security, "forwarded_prefix", Kind::Flag, "false")
        .flags(&["--forwarded-prefix"])
        .example("true")
        .help("Take SCRIPT_NAME from such proxies' X-Forwarded-Prefix.")
        .more("For proxies that cut the prefix off the path: PATH_INFO stays as it comes."),
    Setting::ours(Security, "drop_untrusted_forwarded", Kind::Flag, "false")
        .flags(&["--drop-untrusted-forwarded"])
        .example("true")
        .help("Hide forwarding headers of other peers from the application.")
        .more("`Forwarded`, `X-Forwarded-*`, `X-Real-IP` of peers that `forwarded_allow_ips` does not name."),
    Setting::theirs(ServerMechanics, "forwarder_headers", Kind::UpperWords, "SCRIPT_NAME,PATH_INFO")
        .flags(&["--forwarder-headers"])
        .example("REMOTE_USER")
        .help("Names with underscores such proxies may send; *: all.")
        .more("Default: `SCRIPT_NAME,PATH_INFO`."),
    Setting::theirs(ServerMechanics, "header_map", Kind::Choice(&["drop", "refuse", "dangerous"], &[]), "drop")
        .flags(&["--header-map"])
        .example("refuse")
        .help("Other names with underscores: drop, refuse, dangerous. [drop]")
        .more("`dangerous` lets them through: an application cannot tell `X_A` from `X-A`."),
    Setting::theirs(ServerMechanics, "permit_obsolete_folding", Kind::Flag, "false")
        .flags(&["--permit-obsolete-folding"])
        .example("true")
        .help("Accept folded header lines."),
    Setting::theirs(ServerMechanics, "strip_header_spaces", Kind::Flag, "false")
        .flags(&["--strip-header-spaces"])
        .example("true")
        .help("Accept white space between a header's name and its colon."),
    Setting::theirs(ServerMechanics, "permit_unconventional_http_method", Kind::Flag, "false")
        .flags(&["--permit-unconventional-http-method"])
        .example("true")
        .help("Accept any token as a method.")
        .more("Otherwise 3 to 20 characters, none of them lower case or `#`."),
    Setting::theirs(ServerMechanics, "permit_unconventional_http_version", Kind::Flag, "false")
        .flags(&["--permit-unconventional-http-version"])
        .example("true")
        .help("Accept HTTP versions other than 1.x."),
    Setting::theirs(ServerMechanics, "casefold_http_method", Kind::Flag, "false")
        .flags(&["--casefold-http-method"])
        .example("true")
        .help("Turn methods into upper case."),
    Setting::theirs(
        ServerMechanics,
        "proxy_protocol",
        Kind::Choice(
            &["off", "v1", "v2", "auto"],
            &[("false", "off"), ("none", "off"), ("0", "off"), ("true", "auto"), ("1", "auto")],
        ),
        "off",
    )
    .flags(&["--proxy-protocol"])
    .bare("auto")
    .example("v2")
    .help("PROXY protocol: off, v1, v2, auto. [off; flag alone: auto]"),
    Setting::theirs(ServerMechanics, "proxy_allow_ips", Kind::Networks, "127.0.0.1,::1")
        .flags(&["--proxy-allow-from"])
        .example("10.0.0.0/8")
        .help("Peers that may speak it. [127.0.0.1,::1]"),
    Setting::theirs(Logging, "accesslog", Kind::OutLog, "")
        .flags(&["--access-logfile"])
        .example("/var/log/app/access.log")
        .help("Access log; -: stdout. [none]"),
    Setting::theirs(Logging, "access_log_format", Kind::Text, COMBINED)
        .flags(&["--access-logformat"])
        .example("%(h)s %(r)s %(s)s %(D)s")
        .help("Access log format. [Apache's combined]"),
    Setting::ours(Logging, "access_log_json", Kind::Flag, "false")
        .flags(&["--access-log-json"])
        .example("true")
        .help("Write the access log as JSON.")
        .more(
            "One object a line: times, sizes, request id, where the time went. `access_log_format = \"json\"` \
             says the same. See docs/metrics.md.",
        ),
    Setting::ours(Logging, "access_log_json_ecs", Kind::Flag, "false")
        .flags(&["--access-log-json-ecs"])
        .example("true")
        .help("The same, with the names of the Elastic Common Schema.")
        .more("`access_log_format = \"ecs\"` says the same."),
    Setting::ours(Logging, "access_log_request_headers", Kind::Words, "")
        .flags(&["--access-log-request-headers"])
        .example("x-tenant,accept-language")
        .help("Request headers to show in a JSON access log."),
    Setting::ours(Logging, "access_log_response_headers", Kind::Words, "")
        .flags(&["--access-log-response-headers"])
        .example("content-type,x-cache")
        .help("Response headers to show in a JSON access log."),
    Setting::ours(Logging, "access_log_skip", Kind::Words, "")
        .flags(&["--access-log-skip"])
        .example("/health,/static/*")
        .help("Paths without access log lines; * at the end: all below.")
        .more("Compared with the path as it is sent. Requests answered with 5xx are logged all the same."),
    Setting::ours(Logging, "access_log_sample", Kind::Count(1, 1 << 30), "1")
        .flags(&["--access-log-sample"])
        .example("100")
        .help("Log one in so many requests. [1: all]")
        .more("Each worker counts for itself. Requests answered with 5xx are logged all the same."),
    Setting::ours(Logging, "slow_request", Kind::Seconds, "0")
        .flags(&["--slow-request"])
        .example("1.5")
        .help("Tell the error log of requests that take so long. [0: none]")
        .more("The line says where the time went: queue, receive, wait, application, write."),
    Setting::ours(Logging, "request_id", Kind::Flag, "false")
        .flags(&["--request-id"])
        .example("true")
        .help("Give each request an id, in environ, response and log.")
        .more(
            "Taken over from X-Request-Id where the peer is trusted (`forwarded_allow_ips`), else a new UUID \
             (version 7). The application finds it as `rwsgi.request_id` and `HTTP_X_REQUEST_ID`.",
        ),
    Setting::theirs(Logging, "errorlog", Kind::ErrLog, "-")
        .flags(&["--error-logfile", "--log-file"])
        .example("/var/log/app/error.log")
        .help("Error log; -: stderr. [-]"),
    Setting::theirs(
        Logging,
        "loglevel",
        Kind::Choice(
            &["debug", "info", "warning", "error", "critical"],
            &[("warn", "warning"), ("fatal", "critical")],
        ),
        "info",
    )
    .flags(&["--log-level"])
    .example("debug")
    .help("debug, info, warning, error or critical. [info]"),
    Setting::theirs(Logging, "capture_output", Kind::Flag, "false")
        .flags(&["--capture-output"])
        .example("true")
        .help("Send stdout and stderr to the error log's file."),
    Setting::theirs(Logging, "syslog", Kind::Flag, "false")
        .flags(&["--log-syslog"])
        .example("true")
        .help("Send both logs to syslog, too.")
        .more("Lines still go where `errorlog` and `accesslog` say."),
    Setting::theirs(Logging, "syslog_addr", Kind::SyslogAddress, "udp://localhost:514")
        .flags(&["--log-syslog-to"])
        .example("unix:///dev/log#dgram")
        .help("Where syslog listens. [udp://localhost:514]")
        .more("`udp://HOST[:PORT]`, `tcp://HOST[:PORT]`, `unix://PATH`, `unix://PATH#dgram` or `unix://PATH#stream`."),
    Setting::theirs(Logging, "syslog_prefix", Kind::Text, "")
        .flags(&["--log-syslog-prefix"])
        .example("shop")
        .help("Lines there begin with gunicorn.PREFIX.error or .access. [APP]"),
    Setting::theirs(Logging, "syslog_facility", Kind::Choice(FACILITIES, &[("security", "auth")]), "user")
        .flags(&["--log-syslog-facility"])
        .example("daemon")
        .help("Syslog facility. [user]"),
    Setting::theirs(Logging, "disable_redirect_access_to_syslog", Kind::Flag, "false")
        .flags(&["--disable-redirect-access-to-syslog"])
        .example("true")
        .help("Keep the access log out of syslog."),
    Setting::theirs(Logging, "statsd_host", Kind::StatsdAddress, "")
        .flags(&["--statsd-host"])
        .example("localhost:8125")
        .help("Where statsd listens: HOST:PORT or unix://PATH. [none]")
        .more("Three datagrams for each request, as Gunicorn sends them."),
    Setting::theirs(Logging, "statsd_prefix", Kind::Text, "")
        .flags(&["--statsd-prefix"])
        .example("shop")
        .help("Put before the names of metrics."),
    Setting::theirs(Logging, "dogstatsd_tags", Kind::Text, "")
        .flags(&["--dogstatsd-tags"])
        .example("region:eu,env:test")
        .help("Tags put behind each metric, for DogStatsD."),
    Setting::theirs(Logging, "enable_backlog_metric", Kind::Flag, "false")
        .flags(&["--enable-backlog-metric"])
        .example("true")
        .help("Tell statsd each second how many connections wait."),
    Setting::theirs(Logging, "logger_class", Kind::Callable, "")
        .flags(&["--logger-class"])
        .example("myproject.logs.Logger")
        .help("Python class that writes the logs. [none: rwsgi itself]")
        .more(
            "A class with the methods of gunicorn.glogging.Logger, or derived from it. Every line of the \
             error log and every access line is then written in Python, after the reply has left, \
             while the interpreter could run requests.",
        ),
    Setting::theirs(Logging, "logconfig", Kind::Path, "")
        .flags(&["--log-config"])
        .example("deploy/logging.ini")
        .help("File for Python's logging.config.fileConfig.")
        .more("Lines go through Python's logging then; see `logger_class` for what that costs."),
    Setting::theirs(Logging, "logconfig_dict", Kind::Table, "")
        .example("{ version = 1 }")
        .help("Table for Python's logging.config.dictConfig.")
        .more("Laid over Gunicorn's own; stronger than `logconfig_json` and `logconfig`."),
    Setting::theirs(Logging, "logconfig_json", Kind::Path, "")
        .flags(&["--log-config-json"])
        .example("deploy/logging.json")
        .help("JSON file for Python's logging.config.dictConfig.")
        .more("Laid over Gunicorn's own; stronger than `logconfig`."),
    Setting::ours(Monitoring, "status_bind", Kind::MaybeAddresses, "")
        .flags(&["--status-bind"])
        .example("127.0.0.1:9100")
        .help("Address for the operator; may be repeated. [none]")
        .more(
            "Spelled as for `bind`. There a process of its own answers `/healthz`, `/readyz`, `/metrics` \
             (Prometheus, OpenMetrics) and `/status.json`, also when every worker is busy and while the server \
             stops. `/status.json` shows request lines: do not let strangers reach it.",
        ),
    Setting::theirs(ProcessNaming, "proc_name", Kind::Text, "")
        .flags(&["--name"])
        .short('n')
        .example("shop")
        .help("Name in process titles. [APP]"),
    Setting::theirs(ServerHooks, "on_starting", Kind::Callable, "")
        .example("myproject.hooks.on_starting")
        .help("In the master, before it listens.")
        .more("Called with `server`."),
    Setting::theirs(ServerHooks, "on_reload", Kind::Callable, "")
        .example("myproject.hooks.on_reload")
        .help("In the master, at a reload, before the first new worker is forked.")
        .more("Called with `server`."),
    Setting::theirs(ServerHooks, "when_ready", Kind::Callable, "")
        .example("myproject.hooks.when_ready")
        .help("In the master, when it listens.")
        .more("Called with `server`."),
    Setting::theirs(ServerHooks, "pre_fork", Kind::Callable, "")
        .example("myproject.hooks.pre_fork")
        .help("In the master, before a worker is forked.")
        .more("Called with `server, worker`."),
    Setting::theirs(ServerHooks, "post_fork", Kind::Callable, "")
        .example("myproject.hooks.post_fork")
        .help("In a worker, right after its fork, before privileges are dropped.")
        .more("Called with `server, worker`."),
    Setting::theirs(ServerHooks, "post_worker_init", Kind::Callable, "")
        .example("myproject.hooks.post_worker_init")
        .help("In a worker, when the application is loaded.")
        .more("Called with `worker`."),
    Setting::theirs(ServerHooks, "worker_int", Kind::Callable, "")
        .example("myproject.hooks.worker_int")
        .help("In a worker that is told to end at once (INT, QUIT).")
        .more("Called with `worker`."),
    Setting::theirs(ServerHooks, "worker_abort", Kind::Callable, "")
        .example("myproject.hooks.worker_abort")
        .help("In a worker that gets ABRT: a request is over its timeout.")
        .more("Called with `worker`."),
    Setting::theirs(ServerHooks, "pre_exec", Kind::Callable, "")
        .example("myproject.hooks.pre_exec")
        .help("In the process that is to become the new master (USR2).")
        .more("Called with `server`."),
    Setting::theirs(ServerHooks, "pre_request", Kind::Callable, "")
        .example("myproject.hooks.pre_request")
        .help("In a worker, before each request.")
        .more("Called with `worker, req`."),
    Setting::theirs(ServerHooks, "post_request", Kind::Callable, "")
        .example("myproject.hooks.post_request")
        .help("In a worker, after each request.")
        .more("Called with `worker, req, environ, resp`. The last one or two may be left out."),
    Setting::theirs(ServerHooks, "child_exit", Kind::Callable, "")
        .example("myproject.hooks.child_exit")
        .help("In the master, when a worker has ended.")
        .more("Called with `server, worker`."),
    Setting::theirs(ServerHooks, "worker_exit", Kind::Callable, "")
        .example("myproject.hooks.worker_exit")
        .help("In a worker, when it ends.")
        .more("Called with `server, worker`."),
    Setting::theirs(ServerHooks, "nworkers_changed", Kind::Callable, "")
        .example("myproject.hooks.nworkers_changed")
        .help("In the master, when the number of workers is set.")
        .more("Called with `server, new, old`."),
    Setting::theirs(ServerHooks, "on_exit", Kind::Callable, "")
        .example("myproject.hooks.on_exit")
        .help("In the master, when everything else has ended.")
        .more("Called with `server`."),
];

/// The row of this name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
