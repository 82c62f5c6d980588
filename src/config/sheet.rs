//! Which value has each setting, once every source has spoken?
//!
//! Must not know: types of fields, files, flags.
//!
//! Invariants:
//! 1. One line for each row of the table, in the table's order.
//! 2. A stronger source replaces a whole value: lists are not merged.
//! 3. Every value of every source is checked, also one that a stronger source replaces.

use super::error::ConfigError;
use super::exit;
use super::kinds::{Kind, Problem};
use super::origin::Origin;
use super::setting::Setting;
use super::sources::{Given, Source};
use super::table::SETTINGS;
use super::value::Value;

/// A setting, its value, and who said so.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value.
    pub value: Value,
    /// Where that came from.
    pub origin: Origin,
}

/// All settings with their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    lines: Vec<Line>,
}

impl Sheet {
    /// Lays these sources over the defaults, the weakest first.
    pub fn of(sources: impl IntoIterator<Item = Source>) -> Result<Self, ConfigError> {
        let default = |setting: &'static Setting| Line {
            setting,
            value: setting.default_value(),
            origin: Origin::Default,
        };
        let mut sheet = Self { lines: SETTINGS.iter().map(default).collect() };
        for given in sources.into_iter().flatten() {
            sheet.write(given)?;
        }
        Ok(sheet)
    }

    fn write(&mut self, given: Given) -> Result<(), ConfigError> {
        let Given { setting, raw, origin } = given;
        let value = match setting.kind.parse(&raw) {
            Ok(value) => value,
            Err(problem) => return Err(wrong(setting, raw.to_string(), origin, problem)),
        };
        if let Some(line) = self.lines.iter_mut().find(|line| line.setting.name == setting.name) {
            line.value = value;
            line.origin = origin;
        }
        Ok(())
    }

    /// All lines, in the table's order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The line of the setting of this name.
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.setting.name == name)
    }
}

fn wrong(setting: &Setting, value: String, origin: Origin, problem: Problem) -> ConfigError {
    let hint = match problem.hint.contains("e.g.") || !shows_example(setting.kind) {
        true => problem.hint,
        false => format!("{}, e.g. {}", problem.hint, spelled(setting, &origin)),
    };
    let exit = if setting.kind == Kind::App { exit::APP } else { exit::CONFIGURATION };
    let error = ConfigError::about(setting.name, origin, problem.problem).hint(hint);
    ConfigError { value: Some(value.into()), exit, ..error }
}

/// Where the hint lists what is right, an example adds nothing.
fn shows_example(kind: Kind) -> bool {
    matches!(kind, Kind::Count(..) | Kind::Seconds | Kind::Bytes | Kind::Mode)
}

/// The setting with a right value, as its source would spell it.
fn spelled(setting: &Setting, origin: &Origin) -> String {
    match (origin, setting.flag()) {
        (Origin::Environment(variable), _) if variable.starts_with("RWSGI_") => {
            format!("{variable}={}", setting.example)
        }
        (Origin::CommandLine(_) | Origin::GunicornCmdArgs(_), Some(flag)) => {
            format!("{flag} {}", setting.example)
        }
        _ => {
            let example = setting.kind.parse_text(setting.example).map(|value| value.toml());
            format!("{} = {}", setting.name, example.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::raw::Raw;
    use crate::config::table;

    fn given(name: &str, raw: Raw, origin: Origin) -> Source {
        vec![Given { setting: table::find(name).unwrap(), raw, origin }]
    }

    fn file(line: usize) -> Origin {
        Origin::File { path: PathBuf::from("rwsgi.toml"), line: Some(line) }
    }

    #[test]
    fn stronger_sources_replace_whole_values() {
        let list = |items: &[&str]| Raw::List(items.iter().map(|item| Raw::from(*item)).collect());
        let sheet = Sheet::of([
            given("bind", list(&["a:1", "b:2"]), file(1)),
            given("bind", list(&["c:3"]), Origin::CommandLine("--bind".into())),
        ])
        .unwrap();
        let line = sheet.line("bind").unwrap();
        assert_eq!(line.value.plain(), "c:3");
        assert_eq!(line.origin, Origin::CommandLine("--bind".into()));
        assert_eq!(sheet.line("workers").unwrap().origin, Origin::Default);
        assert_eq!(sheet.lines().len(), SETTINGS.len());
    }

    #[test]
    fn complaints_name_everything() {
        let cases = [
            (
                "workers",
                Raw::from("four"),
                file(3),
                r#"workers = "four" (rwsgi.toml line 3): not a whole number; use 0 to 10000, e.g. workers = 4"#,
            ),
            (
                "workers",
                Raw::Integer(-1),
                file(1),
                "workers = -1 (rwsgi.toml line 1): less than 0; use 0 to 10000, e.g. workers = 4",
            ),
            (
                "timeout",
                Raw::from("soon"),
                Origin::CommandLine("--timeout".into()),
                "timeout = \"soon\" (command line, --timeout): not a time; use seconds, 0 or more, or a unit as in \
                 500ms, 30s, 2m, 1h, e.g. --timeout 120",
            ),
            (
                "limit_request_body",
                Raw::from("big"),
                Origin::Environment("RWSGI_LIMIT_REQUEST_BODY".into()),
                "limit_request_body = \"big\" (environment variable RWSGI_LIMIT_REQUEST_BODY): not a number of \
                 bytes; use 0 or more, or a unit as in 64K, 10M, 2G, e.g. RWSGI_LIMIT_REQUEST_BODY=100M",
            ),
            (
                "workers",
                Raw::from("x"),
                Origin::Environment("WEB_CONCURRENCY".into()),
                "workers = \"x\" (environment variable WEB_CONCURRENCY): not a whole number; use 0 to 10000, \
                 e.g. workers = 4",
            ),
            (
                "header_map",
                Raw::from("keep"),
                file(1),
                r#"header_map = "keep" (rwsgi.toml line 1): not known; use one of drop, refuse, dangerous"#,
            ),
            (
                "preload_app",
                Raw::Integer(1),
                file(1),
                "preload_app = 1 (rwsgi.toml line 1): neither true nor false; use true or false",
            ),
        ];
        for (name, raw, origin, expected) in cases {
            let error = Sheet::of([given(name, raw, origin)]).unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.exit, exit::CONFIGURATION);
        }
    }

    #[test]
    fn a_replaced_value_is_checked_too() {
        let sources = [
            given("workers", Raw::from("x"), file(1)),
            given("workers", Raw::from("1"), Origin::CommandLine("--workers".into())),
        ];
        assert!(Sheet::of(sources).is_err());
    }

    #[test]
    fn an_app_that_cannot_be_one_is_the_apps_fault() {
        let error = Sheet::of([given("wsgi_app", Raw::from("m:1+1"), Origin::CommandLine("APP".into()))]);
        assert_eq!(error.unwrap_err().exit, exit::APP);
    }

    #[test]
    fn worker_classes() {
        for name in ["sync", "gthread", "gunicorn.workers.gthread.ThreadWorker", "egg:gunicorn#sync"] {
            assert!(Sheet::of([given("worker_class", Raw::from(name), file(1))]).is_ok(), "{name}");
        }
        let cases = [
            ("gevent", "threads = 8"),
            ("tornado", "HTTPServer"),
            ("uvicorn.workers.UvicornWorker", "ASGI"),
            ("my.Worker", "own worker"),
        ];
        for (name, instead) in cases {
            let error = Sheet::of([given("worker_class", Raw::from(name), file(1))]).unwrap_err().to_string();
            assert!(error.contains("not a worker class of rwsgi") && error.contains(instead), "{error}");
        }
    }
}
