//! What did each source say, about which setting?
//!
//! Turns names and words of a source into [`Given`]s. Understands the environment; TOML is in
//! [`super::toml_file`], the command line in `cli`.
//!
//! Must not know: the process's environment, files, which source is stronger.
//!
//! Invariants:
//! 1. A name no setting has is an error with a suggestion, from every source but Python files,
//!    whose other variables are the file's own business.
//! 2. An empty `PORT`, `WEB_CONCURRENCY`, ... is as good as none; an empty `RWSGI_` variable is a value.

use std::collections::BTreeMap;
use std::path::Path;

use super::compat::{self, Row, Status};
use super::error::ConfigError;
use super::kinds::Kind;
use super::origin::Origin;
use super::raw::Raw;
use super::setting::Setting;
use super::suggest;
use super::table;

/// One value from one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// For this setting.
    pub setting: &'static Setting,
    /// As it was said.
    pub raw: Raw,
    /// By whom.
    pub origin: Origin,
}

/// Everything one source said; of two values for one setting the later counts.
pub type Source = Vec<Given>;

/// The prefix of our environment variables.
pub const PREFIX: &str = "RWSGI_";

/// `RWSGI_` variables that are not settings: the launcher's, those between our own processes, and
/// those of our tests.
pub const RESERVED_VARIABLES: &[&str] = &[
    "RWSGI_BLESS",
    "RWSGI_CORE",
    "RWSGI_EXECUTABLE",
    "RWSGI_LAUNCH",
    "RWSGI_TEST_PYTHONS",
    "RWSGI_UPGRADE_FD",
    "RWSGI_UPGRADE_FOREIGN",
    "RWSGI_UPGRADE_PID",
    "RWSGI_UPGRADE_STATUS",
    "RWSGI_WHEEL",
];

/// Whose name it is.
pub enum Named {
    /// A setting's.
    Ours(&'static Setting),
    /// Only Gunicorn's.
    Foreign(&'static str, &'static Row),
    /// Nobody's.
    Nobody,
}

/// Looks a setting's name up; dashes are as good as underscores.
pub fn named(name: &str) -> Named {
    let name = name.replace('-', "_");
    match (table::find(&name), compat::foreign(&name)) {
        (Some(setting), _) => Named::Ours(setting),
        (None, Some((name, row))) => Named::Foreign(name, row),
        (None, None) => Named::Nobody,
    }
}

/// A value for one of Gunicorn's settings that is not ours: nothing, or why it is refused.
pub fn foreign(name: &str, row: &Row, raw: &Raw, origin: Origin) -> Result<(), ConfigError> {
    let switched_off =
        row.is_switch() && raw.text().is_some_and(|text| super::units::flag(text) == Some(false));
    if row.status == Status::NoEffect || row.is_idle() || switched_off || row.allows(raw) {
        return Ok(());
    }
    Err(ConfigError::about(name, origin, row.why.clone()).hint(row.instead.clone()))
}

/// What environment variables say that other programs know, too: they change defaults, so they
/// are weaker than anything said to rwsgi itself.
pub fn surroundings(env: &BTreeMap<String, String>) -> Source {
    let said = |variable: &str| env.get(variable).filter(|text| !text.is_empty());
    let given = |name: &str, variable: &str, raw: Raw| {
        table::find(name).map(|setting| Given {
            setting,
            raw,
            origin: Origin::Environment(variable.to_owned()),
        })
    };
    let mut source = Source::new();
    if let Some(port) = said("PORT") {
        source.extend(given("bind", "PORT", Raw::List(vec![Raw::Text(format!("0.0.0.0:{port}"))])));
    }
    if let Some(count) = said("WEB_CONCURRENCY") {
        source.extend(given("workers", "WEB_CONCURRENCY", Raw::from(count.as_str())));
    }
    if let Some(peers) = said("FORWARDED_ALLOW_IPS") {
        source.extend(given("forwarded_allow_ips", "FORWARDED_ALLOW_IPS", Raw::from(peers.as_str())));
    }
    if let Some(word) = said("SENDFILE") {
        // Gunicorn's rule: four words mean yes, any other no.
        let on = ["y", "1", "yes", "true"].contains(&word.to_ascii_lowercase().as_str());
        source.extend(given("sendfile", "SENDFILE", Raw::Flag(on)));
    }
    source
}

/// What the `RWSGI_` variables say.
pub fn environment(env: &BTreeMap<String, String>) -> Result<Source, ConfigError> {
    let mut source = Source::new();
    for (variable, text) in env.range(PREFIX.to_owned()..) {
        let Some(name) = variable.strip_prefix(PREFIX) else { break };
        if is_reserved(variable) {
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        match named(&name.to_ascii_lowercase()) {
            Named::Ours(setting) => source.push(Given { setting, raw: setting.kind.split(text), origin }),
            Named::Foreign(name, row) => foreign(name, row, &Raw::from(text.as_str()), origin)?,
            Named::Nobody => return Err(unknown_variable(variable, name)),
        }
    }
    Ok(source)
}

/// A service called "rwsgi" in a Kubernetes name space sets `RWSGI_PORT=tcp://...`,
/// `RWSGI_SERVICE_HOST` and their like in every container.
fn is_reserved(variable: &str) -> bool {
    let by_kubernetes = ["RWSGI_SERVICE_", "RWSGI_PORT_"].iter().any(|prefix| variable.starts_with(prefix));
    by_kubernetes || variable == "RWSGI_PORT" || RESERVED_VARIABLES.contains(&variable)
}

fn unknown_variable(variable: &str, name: &str) -> ConfigError {
    let problem = format!("no setting has the variable {variable}");
    let error = ConfigError::general(Origin::Environment(variable.to_owned()), problem);
    match suggest::setting(&name.to_ascii_lowercase()) {
        Some(near) => error.hint(format!("did you mean {PREFIX}{}?", near.to_ascii_uppercase())),
        None => error.hint("see the settings with rwsgi --help"),
    }
}

/// The variables of a Python configuration file, with their lines where known.
pub type Variables = Vec<(String, Raw, Option<usize>)>;

/// What a source says, and what is odd about it: warnings, a line each.
pub type Commented = (Source, Vec<String>);

/// What a Python configuration file says: its variables and the lines they stand on, where known.
pub fn python_file(path: &Path, variables: Variables) -> Result<Commented, ConfigError> {
    let mut source = Source::new();
    let mut strays = Vec::new();
    for (name, raw, line) in variables {
        let origin = Origin::File { path: path.to_owned(), line };
        // Exact names only, as in Gunicorn: `user` is a setting, `User` a class of the file's.
        match named(&name) {
            Named::Ours(setting) if setting.name == name => {
                source.extend(pythonic(setting, raw).filter(|_| name != "config").map(|raw| Given {
                    setting,
                    raw,
                    origin,
                }));
            }
            Named::Foreign(known, row) if known == name => foreign(known, row, &raw, origin)?,
            _ => strays.extend(suggest::typo(&name).map(|near| (name, near, origin))),
        }
    }
    // A file may well compute a setting from a variable of nearly the same name.
    strays.retain(|(_, near, _)| source.iter().all(|given| given.setting.name != *near));
    let warning = |(name, near, origin)| {
        format!("{name} ({origin}) is no setting and has no effect; did you mean {near}?")
    };
    Ok((source, strays.into_iter().map(warning).collect()))
}

/// Spellings only Python files have: ids of users as numbers, None for "no" and "as usual", and
/// blanks around a text, which may come from a file or a variable.
fn pythonic(setting: &Setting, raw: Raw) -> Option<Raw> {
    match (setting.kind, stripped(raw)) {
        (Kind::Flag, Raw::Nothing) => None,
        (Kind::Text, Raw::Integer(id)) if ["user", "group"].contains(&setting.name) => {
            Some(Raw::Text(id.to_string()))
        }
        (_, raw) => Some(raw),
    }
}

fn stripped(raw: Raw) -> Raw {
    match raw {
        Raw::Text(text) if text.trim().len() < text.len() => Raw::Text(text.trim().to_owned()),
        Raw::List(items) => Raw::List(items.into_iter().map(stripped).collect()),
        raw => raw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn texts(source: &Source) -> Vec<(&str, String)> {
        source.iter().map(|given| (given.setting.name, given.raw.to_string())).collect()
    }

    #[test]
    fn variables_of_other_programs() {
        let env = env(&[
            ("PORT", "5000"),
            ("WEB_CONCURRENCY", "3"),
            ("FORWARDED_ALLOW_IPS", "*"),
            ("SENDFILE", "no"),
        ]);
        let expected = [
            ("bind", r#"["0.0.0.0:5000"]"#.to_owned()),
            ("workers", r#""3""#.to_owned()),
            ("forwarded_allow_ips", r#""*""#.to_owned()),
            ("sendfile", "false".to_owned()),
        ];
        assert_eq!(texts(&surroundings(&env)), expected);
        let empty = super::tests::env(&[("PORT", ""), ("WEB_CONCURRENCY", "")]);
        assert!(surroundings(&empty).is_empty());
    }

    #[test]
    fn our_variables() {
        let env = env(&[
            ("RWSGI_BIND", "a:1, b:2"),
            ("RWSGI_WORKERS", "2"),
            ("RWSGIX", "3"),
            ("RWSGI_SERVER_HEADER", ""),
        ]);
        let source = environment(&env).unwrap();
        let expected = [("bind", r#"["a:1", "b:2"]"#), ("server_header", r#""""#), ("workers", r#""2""#)]
            .map(|(n, t)| (n, t.to_owned()));
        assert_eq!(texts(&source), expected);
        assert_eq!(source[0].origin, Origin::Environment("RWSGI_BIND".into()));
    }

    #[test]
    fn variables_that_are_not_settings() {
        let quiet = [
            ("RWSGI_PORT", "tcp://10.0.0.1:80"),
            ("RWSGI_PORT_80_TCP", "x"),
            ("RWSGI_SERVICE_HOST", "10.0.0.1"),
            ("RWSGI_BLESS", "1"),
            ("RWSGI_CONTROL_SOCKET", "/x"),
        ];
        assert_eq!(environment(&env(&quiet)).unwrap(), []);
        let error = environment(&env(&[("RWSGI_WORKER", "2")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable RWSGI_WORKER: no setting has the variable RWSGI_WORKER; did you mean RWSGI_WORKERS?"
        );
        assert!(environment(&env(&[("RWSGI_HTTP_PROTOCOLS", "h2")])).is_err());
    }

    #[test]
    fn python_files_may_hold_other_variables() {
        let variables = vec![
            ("workers".to_owned(), Raw::Integer(3), Some(4)),
            ("Workers".to_owned(), Raw::Integer(5), None),
            ("helper".to_owned(), Raw::Nothing, None),
            ("control_socket".to_owned(), Raw::from("/x"), None),
            ("config".to_owned(), Raw::from("other.py"), None),
        ];
        let (source, warnings) = python_file(Path::new("gunicorn.conf.py"), variables).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(texts(&source), [("workers", "3".to_owned())]);
        assert_eq!(source[0].origin.to_string(), "gunicorn.conf.py line 4");
        let http2 = vec![("http_protocols".to_owned(), Raw::from("h2"), Some(1))];
        let error = python_file(Path::new("gunicorn.conf.py"), http2).unwrap_err();
        assert!(error.to_string().starts_with("http_protocols (gunicorn.conf.py line 1): "), "{error}");
    }

    #[test]
    fn python_files_are_warned_of_near_misses() {
        let variables = |names: &[&str]| {
            names.iter().map(|name| ((*name).to_owned(), Raw::Integer(4), Some(1))).collect::<Vec<_>>()
        };
        let warnings =
            |names: &[&str]| python_file(Path::new("gunicorn.conf.py"), variables(names)).unwrap().1;
        assert_eq!(
            warnings(&["wokers"]),
            ["wokers (gunicorn.conf.py line 1) is no setting and has no effect; did you mean workers?"]
        );
        assert_eq!(warnings(&["log_level", "time_out", "max_request"]).len(), 3);
        let quiet =
            ["WORKERS", "workers", "Timeout", "timeout", "_threads", "max_workers", "port", "host", "os"];
        assert_eq!(warnings(&quiet), Vec::<String>::new());
    }

    #[test]
    fn python_files_spell_ids_as_numbers_and_no_as_none() {
        let variables = vec![
            ("user".to_owned(), Raw::Integer(1000), None),
            ("sendfile".to_owned(), Raw::Nothing, None),
            ("proc_name".to_owned(), Raw::Text(" a b\n".to_owned()), None),
        ];
        let (source, _) = python_file(Path::new("gunicorn.conf.py"), variables).unwrap();
        let expected = [("user", r#""1000""#.to_owned()), ("proc_name", r#""a b""#.to_owned())];
        assert_eq!(texts(&source), expected);
    }
}
