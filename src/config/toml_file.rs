//! What does a rwsgi.toml say, and on which line?
//!
//! Must not know: files. It is given the text and the path to blame.
//!
//! Invariants:
//! 1. Keys stand at the top level; dashes are as good as underscores, but not both in one file.
//! 2. Every complaint has the line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::origin::Origin;
use super::raw::Raw;
use super::sources::{self, Given, Named, Source};
use super::suggest;

/// Reads the text of a configuration file.
pub fn parse(path: &Path, text: &str) -> Result<Source, ConfigError> {
    let document = DeTable::parse(text).map_err(|error| {
        let start = error.span().map(|span| span.start);
        ConfigError::general(origin(path, text, start), format!("not TOML: {}", one_line(error.message())))
    })?;
    let mut entries: Vec<_> = document.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut source = Source::new();
    for (key, value) in entries {
        let origin = origin(path, text, Some(key.span().start));
        let name: &str = key.get_ref();
        let raw = raw(value).map_err(|problem| ConfigError::about(name, origin.clone(), problem))?;
        match sources::named(name) {
            Named::Ours(setting) if setting.name == "config" => {
                let problem = "a configuration file cannot name another";
                return Err(ConfigError::about(name, origin, problem).hint("use -c on the command line"));
            }
            Named::Ours(setting) => {
                if let Some(first) = source.iter().find(|given: &&Given| given.setting.name == setting.name) {
                    let problem = format!("said before ({})", first.origin);
                    return Err(ConfigError::about(name, origin, problem).hint("keep one of the two"));
                }
                source.push(Given { setting, raw, origin });
            }
            Named::Foreign(known, row) => sources::foreign(known, row, &raw, origin)?,
            Named::Nobody => return Err(unknown(name, &raw, origin)),
        }
    }
    Ok(source)
}

fn unknown(name: &str, raw: &Raw, origin: Origin) -> ConfigError {
    if let Raw::Pairs(_) = raw {
        let problem = "there is no such section";
        return ConfigError::about(format!("[{name}]"), origin, problem)
            .hint("settings stand at the top level, without a section");
    }
    let error = ConfigError::about(name, origin, "unknown setting");
    match suggest::setting(name) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("see the settings with rwsgi --help"),
    }
}

fn origin(path: &Path, text: &str, at: Option<usize>) -> Origin {
    let line = at
        .and_then(|at| text.as_bytes().get(..at))
        .map(|before| before.iter().filter(|byte| **byte == b'\n').count() + 1);
    Origin::File { path: path.to_owned(), line }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One value, as it would stand behind a key.
pub fn value(text: &str) -> Option<Raw> {
    let line = format!("value = {text}");
    let document = DeTable::parse(&line).ok()?;
    let (_, only) = document.get_ref().iter().next().filter(|_| document.get_ref().len() == 1)?;
    raw(only).ok()
}

fn raw(value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Boolean(on) => Raw::Flag(*on),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => return Err(format!("{} is too large", number.as_str())),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Raw::Decimal(number),
            Err(_) => return Err(format!("{} is not a number", number.as_str())),
        },
        DeValue::Datetime(_) => return Err("a date is no value of any setting".to_owned()),
        DeValue::Array(items) => Raw::List(items.iter().map(raw).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let key: &toml::de::DeString<'_> = key.get_ref();
                raw(value).map(|value| (key.to_string(), value))
            };
            Raw::Pairs(table.iter().map(pair).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Source, ConfigError> {
        parse(Path::new("rwsgi.toml"), text)
    }

    #[test]
    fn values_and_their_lines() {
        let source = read(
            "# ours\nworkers = 4\nbind = [\n  \"a:1\",\n  \"b:2\",\n]\nkeepalive = 0.5\nmax-requests = 1_000\n\
             umask = 0o022\npreload_app = true\nsecure_scheme_headers.X-A = \"on\"\n",
        )
        .unwrap();
        let said: Vec<_> =
            source.iter().map(|g| (g.setting.name, g.raw.to_string(), g.origin.to_string())).collect();
        let expected = [
            ("workers", "4", "rwsgi.toml line 2"),
            ("bind", r#"["a:1", "b:2"]"#, "rwsgi.toml line 3"),
            ("keepalive", "0.5", "rwsgi.toml line 7"),
            ("max_requests", "1000", "rwsgi.toml line 8"),
            ("umask", "18", "rwsgi.toml line 9"),
            ("preload_app", "true", "rwsgi.toml line 10"),
            ("secure_scheme_headers", r#"{ "X-A" = "on" }"#, "rwsgi.toml line 11"),
        ]
        .map(|(name, value, origin)| (name, value.to_owned(), origin.to_owned()));
        assert_eq!(said, expected);
    }

    #[test]
    fn complaints() {
        let cases = [
            ("\nworkrs = 1", "workrs (rwsgi.toml line 2): unknown setting; did you mean workers?"),
            ("qqq = 1", "qqq (rwsgi.toml line 1): unknown setting; see the settings with rwsgi --help"),
            (
                "[server]\nworkers = 1",
                "[server] (rwsgi.toml line 1): there is no such section; settings stand at the top level, without a section",
            ),
            (
                "max_requests = 1\nmax-requests = 2",
                "max-requests (rwsgi.toml line 2): said before (rwsgi.toml line 1); keep one of the two",
            ),
            (
                "config = \"x\"",
                "config (rwsgi.toml line 1): a configuration file cannot name another; use -c on the command line",
            ),
            ("workers = 1979-05-27", "workers (rwsgi.toml line 1): a date is no value of any setting"),
            (
                "backlog = 99999999999999999999",
                "backlog (rwsgi.toml line 1): 99999999999999999999 is too large",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
        let error = read("a = 1\nb = = 2").unwrap_err().to_string();
        assert!(error.starts_with("rwsgi.toml line 2: not TOML: "), "{error}");
    }

    #[test]
    fn gunicorns_other_settings() {
        assert_eq!(read("control_socket = \"x\"\ndirty_workers = 0\n").unwrap(), []);
        let error = read("threads = 1\nhttp_protocols = \"h2\"").unwrap_err().to_string();
        assert!(error.starts_with("http_protocols (rwsgi.toml line 2): "), "{error}");
    }
}
