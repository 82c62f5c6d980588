//! Does the settings table keep its promises, towards users, the documentation and Gunicorn?
//!
//! Invariants:
//! 1. docs/settings.md and docs/rwsgi.1 are what the table says; `RWSGI_BLESS=1` writes them anew.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use rwsgi_core::cli::{self, Invocation, Loaded, Readers};
use rwsgi_core::config::compat::{self, Status};
use rwsgi_core::config::kinds::Kind;
use rwsgi_core::config::setting::Setting;
use rwsgi_core::config::table::SETTINGS;
use rwsgi_core::config::value::Value;
use rwsgi_core::config::{Config, Origin};

const GUNICORN: &str = include_str!("data/gunicorn-settings.txt");

fn load(args: &[String], env: &[(String, String)], toml: Option<&str>) -> Config {
    let read = |path: &Path| match toml {
        Some(text) if path == Path::new("rwsgi.toml") => Ok(text.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let env: BTreeMap<String, String> = env.iter().cloned().collect();
    let mut args = args.to_vec();
    let app_elsewhere =
        env.contains_key("RWSGI_WSGI_APP") || toml.is_some_and(|text| text.starts_with("wsgi"));
    if !app_elsewhere && args.last().is_none_or(|arg| arg.starts_with('-')) {
        args.push("app".to_owned());
    }
    match cli::load(
        &Invocation { args, env, ..Invocation::default() },
        &Readers { text: &read, python: None },
    ) {
        Ok(Loaded::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn value<'a>(config: &'a Config, setting: &Setting) -> (&'a Value, &'a Origin) {
    let line = config.rows().iter().find(|line| line.setting.name == setting.name).unwrap();
    (&line.value, &line.origin)
}

/// Each setting with its default and its example. `config` names files, and APP has no default.
fn values() -> impl Iterator<Item = (&'static Setting, Value)> {
    SETTINGS.iter().filter(|setting| setting.name != "config").flat_map(|setting| {
        let texts = if setting.kind == Kind::App {
            vec![setting.example]
        } else {
            vec![setting.default, setting.example]
        };
        texts.into_iter().map(move |text| (setting, setting.kind.parse_text(text).unwrap()))
    })
}

#[test]
fn names_and_flags_are_unique() {
    let mut seen = BTreeSet::new();
    let mut add = |word: String| assert!(seen.insert(word.clone()), "{word} is there twice");
    for setting in SETTINGS {
        add(setting.name.to_owned());
        setting.flags.iter().chain(setting.negations).for_each(|flag| add((*flag).to_owned()));
        setting.short.into_iter().for_each(|short| add(format!("-{short}")));
    }
    for row in compat::rows().values() {
        row.flags.iter().for_each(|flag| add(flag.clone()));
    }
    ["-h", "--help", "-v", "--version"].into_iter().for_each(|flag| add(flag.to_owned()));
}

#[test]
fn names_are_keys_and_flags_are_flags() {
    for setting in SETTINGS {
        let lower = setting.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(lower, "{}", setting.name);
        for flag in setting.flags.iter().chain(setting.negations) {
            assert!(flag.starts_with("--"), "{flag}");
        }
        let reachable =
            !setting.flags.is_empty() || matches!(setting.kind, Kind::App | Kind::Callable | Kind::Table);
        assert!(reachable, "{} has no flag", setting.name);
    }
}

#[test]
fn helps_are_one_line() {
    for setting in SETTINGS {
        let help = setting.help;
        assert!(!help.is_empty() && help.len() <= 66 && !help.contains('\n'), "{}: {help:?}", setting.name);
        assert!(help.ends_with(['.', ']']), "{}: {help:?} has no end", setting.name);
        assert!(
            setting.more.is_empty() || setting.more.ends_with('.'),
            "{}: {:?}",
            setting.name,
            setting.more
        );
    }
}

#[test]
fn defaults_and_examples_are_values_and_differ() {
    for setting in SETTINGS {
        let default = setting.kind.parse_text(setting.default);
        let example = setting.kind.parse_text(setting.example);
        assert!(default.is_ok(), "{}: {default:?}", setting.name);
        assert!(example.is_ok(), "{}: {example:?}", setting.name);
        assert_ne!(default, example, "{}", setting.name);
    }
}

#[test]
fn values_come_through_the_command_line() {
    for (setting, expected) in values() {
        let args: Vec<String> = match (&expected, setting.flag()) {
            (Value::Python(_), None) => continue,
            (_, None) => vec![expected.plain()],
            // A repeatable flag cannot say "none".
            (Value::Pairs(pairs), Some(_)) if pairs.is_empty() => continue,
            (Value::Addresses(list), Some(_)) if list.is_empty() => continue,
            (Value::Pairs(pairs), Some(flag)) => {
                pairs.iter().map(|(n, v)| format!("{flag}={n}={v}")).collect()
            }
            (Value::Addresses(list), Some(flag)) => {
                list.iter().map(|item| format!("{flag}={item}")).collect()
            }
            (_, Some(flag)) => vec![format!("{flag}={}", expected.plain())],
        };
        let config = load(&args, &[], None);
        let (value, origin) = value(&config, setting);
        assert_eq!(*value, expected, "{args:?}");
        assert!(matches!(origin, Origin::CommandLine(_)), "{args:?}: {origin}");
    }
}

#[test]
fn values_come_through_variables() {
    for (setting, expected) in values() {
        let variable = (setting.variable(), expected.plain());
        let config = load(&[], std::slice::from_ref(&variable), None);
        assert_eq!(
            value(&config, setting),
            (&expected, &Origin::Environment(variable.0.clone())),
            "{variable:?}"
        );
    }
}

#[test]
fn values_come_through_toml() {
    for (setting, expected) in values() {
        let text = format!("{} = {}\n", setting.name, expected.toml());
        let config = load(&[], &[], Some(&text));
        let origin = Origin::File { path: "rwsgi.toml".into(), line: Some(1) };
        assert_eq!(value(&config, setting), (&expected, &origin), "{text}");
        let dashed = text.replacen(setting.name, &setting.name.replace('_', "-"), 1);
        assert_eq!(value(&load(&[], &[], Some(&dashed)), setting).0, &expected, "{dashed}");
    }
}

#[test]
fn texts_and_toml_types_mean_the_same() {
    let cases = [
        ("workers", "4", "4"),
        ("timeout", "1.5", "1.5"),
        ("timeout", "90", "\"1.5m\""),
        ("limit_request_body", "1048576", "\"1M\""),
        ("umask", "0o022", "\"022\""),
        ("preload_app", "true", "\"yes\""),
        ("proxy_protocol", "true", "\"auto\""),
        ("bind", "\"a:1\"", "[\"a:1\"]"),
        ("pythonpath", "\"a, b\"", "[\"a\", \"b\"]"),
        ("forwarded_allow_ips", "\"::1,10.0.0.0/8\"", "[\"::1\", \"10.0.0.0/8\"]"),
        ("secure_scheme_headers", "\"X-A=on\"", "{ x-a = \"on\" }"),
        ("raw_env", "[\"A=1\"]", "{ A = \"1\" }"),
    ];
    for (name, one, other) in cases {
        let setting = SETTINGS.iter().find(|setting| setting.name == name).unwrap();
        let [one, other] = [one, other].map(|text| load(&[], &[], Some(&format!("{name} = {text}"))));
        assert_eq!(value(&one, setting).0, value(&other, setting).0, "{name}");
    }
}

#[test]
fn every_setting_of_gunicorns_is_accounted_for() {
    let theirs: BTreeSet<&str> = GUNICORN.lines().collect();
    let rows: BTreeSet<&str> = compat::rows().keys().map(String::as_str).collect();
    assert_eq!(theirs.len(), 120);
    assert_eq!(
        theirs.difference(&rows).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "not in gunicorn-compat.toml"
    );
    assert_eq!(rows.difference(&theirs).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in Gunicorn");
}

#[test]
fn the_compatibility_table_and_the_settings_agree() {
    for (name, row) in compat::rows() {
        let ours = SETTINGS.iter().find(|setting| setting.gunicorn == Some(name));
        let expected = matches!(row.status, Status::Same | Status::Differs) && !row.is_idle();
        assert_eq!(ours.is_some(), expected, "{name} is {:?}", row.status);
    }
    for setting in SETTINGS {
        if let Some(name) = setting.gunicorn {
            assert!(compat::rows().contains_key(name), "{name}");
        } else {
            assert!(!compat::rows().contains_key(setting.name), "{} is Gunicorn's, too", setting.name);
        }
    }
}

#[test]
fn the_reference_page_is_current() {
    is_current("docs/settings.md", &cli::reference::settings_page());
}

#[test]
fn the_manual_page_is_current() {
    is_current("docs/rwsgi.1", &cli::man::page());
    // What the wheel installs.
    is_current("python/data/data/share/man/man1/rwsgi.1", &cli::man::page());
}

fn is_current(path: &str, page: &str) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("RWSGI_BLESS").is_some() {
        std::fs::write(&full, page).unwrap();
    }
    let stored = std::fs::read_to_string(&full).unwrap_or_default();
    assert!(stored == page, "{path} is not what the table says: run this test with RWSGI_BLESS=1");
}

#[test]
fn the_help_fits_a_terminal_and_is_in_groups() {
    let invocation = Invocation { args: vec!["--help".to_owned()], ..Invocation::default() };
    let read = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let Ok(Loaded::Print { text, .. }) = cli::load(&invocation, &Readers { text: &read, python: None })
    else {
        panic!("no help")
    };
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
    for setting in SETTINGS.iter().filter(|setting| setting.flag().is_some()) {
        let title = setting.section.title();
        assert!(text.contains(&format!("\n{title}:\n")), "{title}");
    }
    for setting in SETTINGS.iter().filter(|setting| setting.negations.is_empty()) {
        assert!(setting.flag().is_none_or(|flag| text.contains(flag)), "{} is not in the help", setting.name);
    }
}
