//! What does a whole configuration come to, from arguments, variables and files together?
//!
//! Must not know: the file system. Files are a table of names and texts.

use std::time::Duration;

use super::*;
use crate::config::setting::Section;
use crate::config::{BindAddress, LogLevel, LogTarget, ProxyProtocol};

#[derive(Default)]
struct World<'a> {
    args: &'a str,
    env: &'a [(&'a str, &'a str)],
    files: &'a [(&'a str, &'a str)],
}

impl World<'_> {
    fn load(&self) -> Result<Loaded, ConfigError> {
        let read = |path: &Path| {
            let file = self.files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let env = self.env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let invocation = Invocation { args: words::split(self.args).unwrap(), env, ..Invocation::default() };
        load(&invocation, &Readers { text: &read, python: None })
    }

    fn config(&self) -> Config {
        match self.load() {
            Ok(Loaded::Run(config)) => *config,
            other => panic!("{}: {other:?}", self.args),
        }
    }

    fn complaint(&self) -> (u8, String) {
        match self.load() {
            Err(error) => (error.exit, error.to_string()),
            Ok(loaded) => panic!("{}: {loaded:?}", self.args),
        }
    }
}

fn args(args: &str) -> Config {
    World { args, ..World::default() }.config()
}

fn complaint(args: &str) -> (u8, String) {
    World { args, ..World::default() }.complaint()
}

#[test]
fn clap_accepts_the_command() {
    command::command().debug_assert();
}

#[test]
fn options_as_gunicorn_users_type_them() {
    for line in [
        "myapp:app --workers 4",
        "--workers 4 myapp:app",
        "--workers=4 myapp:app",
        "-w4 myapp:app",
        "-w 4 myapp:app",
        "-w=4 myapp:app",
        "--workers=1 myapp:app -w4",
        "-w 4 -- myapp:app",
    ] {
        let config = if line.contains("--work=1") {
            args(&line.replace("--work=1", "--workers=1"))
        } else {
            args(line)
        };
        assert_eq!((config.workers, config.app_name().as_str()), (4, "myapp:app"), "{line}");
    }
    let config = args(
        "-b a:1 -b unix:/x -e A=1 --env B=2,3 -k gthread --threads 8 -t 120 --keep 5 --log-l DEBUG --error-log e.log \
         --access-logfile - -n shop -p x.pid -m 007 -u www -g 33 --preload --no-sendfile --reuse-port app",
    );
    let tcp = BindAddress::Tcp { host: "a".into(), port: 1 };
    assert_eq!(config.bind, [tcp, BindAddress::Unix("/x".into())]);
    assert_eq!(config.raw_env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2,3".to_owned())]);
    assert_eq!((config.threads, config.timeout), (8, Some(Duration::from_secs(120))));
    assert_eq!((config.keepalive, config.loglevel), (Some(Duration::from_secs(5)), LogLevel::Debug));
    assert_eq!((config.accesslog, config.errorlog), (LogTarget::Stdout, LogTarget::File("e.log".into())));
    assert_eq!((config.proc_name.as_deref(), config.umask), (Some("shop"), 7));
    assert_eq!((config.user.as_deref(), config.group.as_deref()), (Some("www"), Some("33")));
    assert!(config.preload_app && !config.sendfile && config.reuse_port);
}

#[test]
fn switches() {
    assert!(!args("--preload=false app").preload_app);
    assert!(args("-Dw4 app").daemon);
    assert!(args("--no-sendfile --sendfile app").sendfile);
    assert!(!args("--sendfile --no-sendfile app").sendfile);
    assert_eq!(args("app --proxy-protocol").proxy_protocol, ProxyProtocol::Auto);
    assert_eq!(args("--proxy-protocol v1 app").proxy_protocol, ProxyProtocol::V1);
    assert_eq!(args("--log-file x app").errorlog, LogTarget::File("x".into()));
    assert_eq!(args("--limit-request-field_size 100 app").limit_request_field_size, 100);
    assert_eq!(args("--limit-request-field-size 100 app").limit_request_field_size, 100);
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    assert_eq!(args("-w 2 -w 3 app").workers, 3);
}

#[test]
fn gunicorns_other_flags() {
    args(
        "--control-socket /x --no-control-socket --http-parser fast --log-syslog-to udp://x --protocol http app",
    );
    args("--cert-reqs 0 --logger-class gunicorn.glogging.Logger app");
    let cases = [
        (
            "--http-protocols h2 app",
            "http_protocols (command line, --http-protocols): HTTP/2 is not spoken; leave it at h1",
        ),
        (
            "-k gevent app",
            "worker_class = \"gevent\" (command line, --worker-class): not a worker class of rwsgi; ",
        ),
    ];
    for (line, expected) in cases {
        let (exit, text) = complaint(line);
        assert!(exit == exit::CONFIGURATION && text.starts_with(expected), "{line}: {exit} {text}");
    }
}

#[test]
fn exit_codes_and_complaints() {
    let cases = [
        ("--wrokers 3 app", exit::USAGE, "command line, --wrokers: no such option; did you mean --workers?"),
        ("-Z app", exit::USAGE, "command line, -Z: no such option; see rwsgi --help"),
        ("app --workers", exit::USAGE, "command line, --workers: a value is missing; e.g. --workers 4"),
        ("app two", exit::USAGE, "command line, two: APP was named before; there is one application"),
        (
            "app --no-sendfile=1",
            exit::USAGE,
            "command line, --no-sendfile: takes no value; leave out what follows the =",
        ),
        (
            "app --workers -1",
            exit::CONFIGURATION,
            "workers = \"-1\" (command line, --workers): not a whole number; use 0 to 10000, e.g. --workers 4",
        ),
        (
            "app -b 8000",
            exit::CONFIGURATION,
            "bind = [\"8000\"] (command line, --bind): a port alone is not an address; use 127.0.0.1:8000 or 0.0.0.0:8000",
        ),
        (
            "",
            exit::CONFIGURATION,
            "No application module specified.; say which, e.g. rwsgi myproject.wsgi:application",
        ),
        (
            "-c nowhere.toml app",
            exit::CONFIGURATION,
            "config = \"nowhere.toml\" (command line, --config): cannot be read: entity not found",
        ),
    ];
    for (line, exit, expected) in cases {
        assert_eq!(complaint(line), (exit, expected.to_owned()), "{line}");
    }
    let (exit, text) = complaint("'app:a b'");
    assert_eq!(exit, exit::APP);
    assert!(text.contains("Failed to parse \"a b\" as an attribute name or function call."), "{text}");
}

#[test]
fn stronger_sources_win() {
    let mut world = World { args: "app -w 6", ..World::default() };
    world.env = &[("WEB_CONCURRENCY", "2"), ("GUNICORN_CMD_ARGS", "-w 4"), ("RWSGI_WORKERS", "5")];
    world.files = &[("rwsgi.toml", "workers = 3")];
    let workers = |world: &World<'_>| {
        let config = world.config();
        (config.workers, config.origin("workers").to_string())
    };
    assert_eq!(workers(&world), (6, "command line, --workers".to_owned()));
    world.args = "app";
    assert_eq!(workers(&world), (5, "environment variable RWSGI_WORKERS".to_owned()));
    world.env = &[("WEB_CONCURRENCY", "2"), ("GUNICORN_CMD_ARGS", "-w 4")];
    assert_eq!(workers(&world), (4, "GUNICORN_CMD_ARGS, --workers".to_owned()));
    world.env = &[("WEB_CONCURRENCY", "2")];
    assert_eq!(workers(&world), (3, "rwsgi.toml line 1".to_owned()));
    world.files = &[];
    assert_eq!(workers(&world), (2, "environment variable WEB_CONCURRENCY".to_owned()));
    world.env = &[];
    assert_eq!(workers(&world), (1, "default".to_owned()));
}

#[test]
fn port_is_a_default() {
    let env = &[("PORT", "5000")];
    let config = World { args: "app", env, ..World::default() }.config();
    assert_eq!(config.bind, [BindAddress::Tcp { host: "0.0.0.0".into(), port: 5000 }]);
    let config = World { args: "app -b h:1", env, ..World::default() }.config();
    assert_eq!(config.bind, [BindAddress::Tcp { host: "h".into(), port: 1 }]);
    let (exit, text) = World { args: "app", env: &[("PORT", "x")], ..World::default() }.complaint();
    assert_eq!(exit, exit::CONFIGURATION);
    assert!(text.contains("environment variable PORT") && text.contains("not a port number"), "{text}");
}

#[test]
fn one_configuration_file_is_read() {
    let files = &[("rwsgi.toml", "workers = 3"), ("a.toml", "threads = 2"), ("b.toml", "threads = 3")];
    let config = World { args: "app -c a.toml", files, ..World::default() }.config();
    assert_eq!((config.threads, config.workers), (2, 1));
    let env = &[("GUNICORN_CMD_ARGS", "-c a.toml"), ("RWSGI_CONFIG", "b.toml")];
    let config = World { args: "app", files, env }.config();
    assert_eq!((config.threads, config.workers), (3, 1));
    let config = World { args: "", files: &[("rwsgi.toml", "wsgi_app = \"m:a\"")], env: &[] }.config();
    assert_eq!(config.app_name(), "m:a");
}

#[test]
fn files_count_from_the_start_directory() {
    let read = |path: &Path| match path.to_str() {
        Some("/start/conf/a.toml") => Ok("workers = 3".to_owned()),
        other => panic!("{other:?}"),
    };
    let args = ["-c", "conf/a.toml", "app"].map(str::to_owned).to_vec();
    let invocation = Invocation { args, directory: "/start".into(), ..Invocation::default() };
    let loaded = load(&invocation, &Readers { text: &read, python: None }).unwrap();
    let Loaded::Run(config) = loaded else { panic!("{loaded:?}") };
    assert_eq!(config.origin("workers").to_string(), "conf/a.toml line 1");
}

#[test]
fn python_files_wait_for_somebody_who_runs_them() {
    for (args, files) in [("app -c conf.py", &[][..]), ("app", &[("gunicorn.conf.py", "workers = 3")])] {
        let (exit, text) = World { args, files, ..World::default() }.complaint();
        assert_eq!(exit, exit::CONFIGURATION);
        assert!(text.contains("there is no Python to run it; put the settings into a rwsgi.toml"), "{text}");
    }
    let run = |name: &str, module| {
        assert_eq!((name, module), ("gunicorn.conf.py", GunicornModule::Never));
        Ok(vec![("workers".to_owned(), Raw::Integer(3), Some(1))])
    };
    let read = |path: &Path| match path.to_str() {
        Some("gunicorn.conf.py") => Ok(String::new()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let args = ["app", "--gunicorn-module=never"].map(str::to_owned).to_vec();
    let invocation = Invocation { args, ..Invocation::default() };
    let loaded = load(&invocation, &Readers { text: &read, python: Some(&run) }).unwrap();
    let Loaded::Run(config) = loaded else { panic!("{loaded:?}") };
    assert_eq!(
        (config.workers, config.origin("workers").to_string().as_str()),
        (3, "gunicorn.conf.py line 1")
    );
}

#[test]
fn of_two_unnamed_files_one_is_read_with_a_warning() {
    let files = &[("rwsgi.toml", "workers = 3"), ("gunicorn.conf.py", "")];
    let config = World { args: "app", files, ..World::default() }.config();
    assert_eq!(config.workers, 3);
    assert!(config.warnings[0].contains("only rwsgi.toml is read"), "{:?}", config.warnings);
}

#[test]
fn gunicorn_cmd_args_are_split_as_a_shell_does() {
    let env = &[("GUNICORN_CMD_ARGS", "--workers 3 --threads 4 --access-logformat '%(h)s \"%(r)s\"'")];
    let config = World { args: "app:app", env, ..World::default() }.config();
    assert_eq!((config.workers, config.threads), (3, 4));
    assert_eq!(config.access_log_format, "%(h)s \"%(r)s\"");
    let wrong = [("GUNICORN_CMD_ARGS", "--bogus"), ("GUNICORN_CMD_ARGS", "'open")];
    for env in wrong {
        let (exit, text) = World { args: "app", env: &[env], ..World::default() }.complaint();
        assert_eq!(exit, exit::USAGE);
        assert!(
            text.starts_with("GUNICORN_CMD_ARGS") || text.contains("variable GUNICORN_CMD_ARGS"),
            "{text}"
        );
    }
}

fn printed(args: &str) -> String {
    match (World { args, ..World::default() }.load()) {
        Ok(Loaded::Print { text, code: exit::OK }) => text,
        other => panic!("{args}: {other:?}"),
    }
}

#[test]
fn version_and_help() {
    let version = concat!("rwsgi (version ", env!("CARGO_PKG_VERSION"), ")\n");
    assert_eq!(printed("-v"), version);
    assert_eq!(printed("--version"), version);
    let help = printed("--help");
    assert_eq!(help, printed("-h app --workers 3"));
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    let flagless = [Section::ServerHooks];
    for section in Section::ALL.into_iter().filter(|section| !flagless.contains(section)) {
        assert!(help.contains(&format!("\n{}:\n", section.title())), "{}", section.title());
    }
    assert!(help.contains("--no-sendfile") && !help.contains("--control-socket"));
}

#[test]
fn a_printed_configuration_can_be_used_as_a_file() {
    let line = "app -w 3 -b a:1 -b unix:/x -e 'A=x,y' --keep-alive 0.5 -m 027 --access-logformat '%(h)s \"%(r)s\"' --log-file ''";
    let config = args(line);
    let text = print_config(config.rows());
    let again = World { args: "", files: &[("rwsgi.toml", &text)], env: &[] }.config();
    for (before, after) in config.rows().iter().zip(again.rows()) {
        assert_eq!(before.value, after.value, "{}", before.setting.name);
    }
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), config.rows().len());
    let names: Vec<&str> =
        lines.iter().map(|line| line.trim_start_matches("# ").split(' ').next().unwrap()).collect();
    assert!(names.is_sorted());
    assert!(text.contains("workers                            = 3  # command line, --workers\n"), "{text}");
}

#[test]
fn printing_needs_no_application() {
    assert!(printed("--print-config").contains("\nwsgi_app "));
    assert!(args("--print-config app").print_config);
}

#[test]
fn checking_tells_what_differs() {
    let text = check_config(&args("--check-config --timeout 3 --backlog 5 app"));
    assert!(text.starts_with("The configuration is right.\n"));
    assert!(text.contains("\ntimeout (command line, --timeout) differs from Gunicorn's: "), "{text}");
    assert!(!text.contains("backlog"));
    let text = check_config(&args("--print-config --timeout 3 app"));
    assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
}
