//! What kinds of value are there, and how does a source's word become one?
//!
//! Must not know: the settings, where a value came from.
//!
//! Invariants:
//! 1. A kind accepts the same spellings from every source; a source may add types (TOML's
//!    numbers, booleans, arrays), never meanings.
//! 2. A [`Problem`] says what is wrong and what would be right, without naming the setting.

use std::path::PathBuf;

use super::log_address::SocketAddress;
use super::raw::Raw;
use super::target::AppTarget;
use super::types::{BindAddress, LogTarget, Networks};
use super::units;
use super::value::Value;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub hint: String,
}

impl Problem {
    /// Both halves.
    pub fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }
}

/// The kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Text; empty: none.
    Text,
    /// A path; empty: none. Not looked at.
    Path,
    /// APP.
    App,
    /// Yes or no.
    Flag,
    /// A whole number in these bounds.
    Count(u64, u64),
    /// A time.
    Seconds,
    /// A number of bytes.
    Bytes,
    /// A file mode mask.
    Mode,
    /// One of these words; the other spellings stand for one of them.
    Choice(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// One of Gunicorn's worker classes.
    WorkerClass,
    /// Addresses to listen on.
    Addresses,
    /// Addresses to listen on, or none.
    MaybeAddresses,
    /// `NAME=VALUE`, several.
    Environment,
    /// Words separated by commas.
    Words,
    /// Files, several; patterns are not understood here.
    Files,
    /// Where syslog listens.
    SyslogAddress,
    /// Where statsd listens; empty: nowhere.
    StatsdAddress,
    /// As words, in upper case.
    UpperWords,
    /// Addresses and networks of peers.
    Networks,
    /// Header names and values.
    Headers,
    /// Where a log goes; `-` is standard output.
    OutLog,
    /// Where a log goes; `-` is standard error.
    ErrLog,
    /// A function or class: its dotted name, or itself in a Python file; empty: none.
    Callable,
    /// A table that is handed to Python as a dictionary; empty: none.
    Table,
}

impl Kind {
    /// Whether repeating the flag adds a value instead of replacing it.
    pub fn repeats(self) -> bool {
        matches!(self, Kind::Addresses | Kind::MaybeAddresses | Kind::Environment | Kind::Files)
    }

    /// What a flag's value is called in the help.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::Text => "TEXT",
            Kind::Path => "PATH",
            Kind::App => "APP",
            Kind::Flag => "BOOL",
            Kind::Count(..) | Kind::Mode => "INT",
            Kind::Seconds => "SECONDS",
            Kind::Bytes => "BYTES",
            Kind::Choice(..) | Kind::WorkerClass => "NAME",
            Kind::Addresses | Kind::MaybeAddresses | Kind::SyslogAddress | Kind::StatsdAddress => "ADDRESS",
            Kind::Environment | Kind::Headers => "NAME=VALUE",
            Kind::Words | Kind::UpperWords => "LIST",
            Kind::Networks => "IPS",
            Kind::OutLog | Kind::ErrLog | Kind::Files => "FILE",
            Kind::Callable => "MODULE.NAME",
            Kind::Table => "TABLE",
        }
    }

    /// Which values it takes, for the reference.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::Path => "path".into(),
            Kind::App => "`MODULE[:NAME]`".into(),
            Kind::Flag => "true or false".into(),
            Kind::Count(low, u64::MAX) => format!("whole number, {low} or more"),
            Kind::Count(low, high) => format!("whole number, {low} to {high}"),
            Kind::Seconds => "seconds (`0.5`, `30`), or with `ms`, `s`, `m`, `h`, `d`".into(),
            Kind::Bytes => "bytes, or with `K`, `M`, `G`".into(),
            Kind::Mode => "octal mode (`022`, `0o022`)".into(),
            Kind::Choice(words, _) => format!("one of `{}`", words.join("`, `")),
            Kind::WorkerClass => "`sync` or `gthread`".into(),
            Kind::Addresses | Kind::MaybeAddresses => "list of addresses".into(),
            Kind::Environment => "list of `NAME=VALUE`".into(),
            Kind::Words | Kind::UpperWords => "list, separated by commas".into(),
            Kind::Files => "list of files and patterns".into(),
            Kind::SyslogAddress => "`udp://`, `tcp://` or `unix://` address".into(),
            Kind::StatsdAddress => "`HOST:PORT` or `unix://PATH`; empty: none".into(),
            Kind::Networks => "list of addresses and networks, separated by commas; `*`: everybody".into(),
            Kind::Headers => "header names and values (`NAME=VALUE`)".into(),
            Kind::OutLog => "file; `-`: stdout; empty: off".into(),
            Kind::ErrLog => "file; `-`: stderr; empty: off".into(),
            Kind::Callable => "dotted name (`MODULE.NAME`); in a Python file the object itself, too".into(),
            Kind::Table => "table".into(),
        }
    }

    /// The text of a variable as a source's word.
    pub fn split(self, text: &str) -> Raw {
        let list = |separator| {
            let parts = text.split(separator).map(str::trim);
            Raw::List(parts.filter(|part| !part.is_empty()).map(Raw::from).collect())
        };
        match self {
            // A value among them may contain commas: lines separate then.
            Kind::Environment if text.contains('\n') => list('\n'),
            Kind::Environment | Kind::Addresses | Kind::MaybeAddresses | Kind::Files => list(','),
            _ => Raw::from(text),
        }
    }

    /// Reads one text that stands for the whole value, as a variable holds it.
    pub fn parse_text(self, text: &str) -> Result<Value, Problem> {
        self.parse(&self.split(text))
    }

    /// Understands what a source said.
    pub fn parse(self, raw: &Raw) -> Result<Value, Problem> {
        match self {
            Kind::Text => one_text(raw).map(Value::Text),
            Kind::Path => one_text(raw).map(|text| Value::Path(PathBuf::from(text))),
            Kind::App => app(raw),
            Kind::Flag => flag(raw),
            Kind::Count(low, high) => count(raw, low, high),
            Kind::Seconds => seconds(raw),
            Kind::Bytes => bytes(raw),
            Kind::Mode => mode(raw),
            Kind::Choice(words, aliases) => choice(raw, words, aliases),
            Kind::WorkerClass => worker_class(raw),
            Kind::Addresses => addresses(raw),
            Kind::MaybeAddresses if items(raw)?.iter().all(String::is_empty) => {
                Ok(Value::Addresses(Vec::new()))
            }
            Kind::MaybeAddresses => addresses(raw),
            Kind::Environment => environment(raw),
            Kind::Words | Kind::Files => Ok(Value::Words(words(raw)?)),
            Kind::SyslogAddress => checked(raw, |text| SocketAddress::syslog(text).map(drop)),
            Kind::StatsdAddress => checked(raw, |text| SocketAddress::statsd(text).map(drop)),
            Kind::UpperWords => {
                Ok(Value::Words(words(raw)?.iter().map(|w| w.to_ascii_uppercase()).collect()))
            }
            Kind::Networks => {
                let words = words(raw)?;
                Networks::parse(words.iter().map(String::as_str)).map(Value::Networks)
            }
            Kind::Headers => headers(raw),
            Kind::OutLog => log(raw, LogTarget::Stdout),
            Kind::ErrLog => log(raw, LogTarget::Stderr),
            Kind::Callable => callable(raw),
            Kind::Table => table(raw),
        }
    }
}

fn one_text(raw: &Raw) -> Result<String, Problem> {
    match raw {
        Raw::Nothing => Ok(String::new()),
        Raw::Text(text) if text.contains('\0') => Err(Problem::new("contains a NUL", "leave it out")),
        Raw::Text(text) => Ok(text.clone()),
        _ => Err(Problem::new("not text", "put it in quotes")),
    }
}

/// A text whose shape is checked; empty: none.
fn checked(raw: &Raw, check: impl FnOnce(&str) -> Result<(), Problem>) -> Result<Value, Problem> {
    let text = one_text(raw)?;
    if !text.is_empty() {
        check(&text)?;
    }
    Ok(Value::Text(text))
}

fn app(raw: &Raw) -> Result<Value, Problem> {
    match one_text(raw)?.as_str() {
        "" => Ok(Value::App(None)),
        text => AppTarget::parse(text).map(|target| Value::App(Some(target))),
    }
}

fn flag(raw: &Raw) -> Result<Value, Problem> {
    match raw {
        Raw::Flag(on) => Some(*on),
        Raw::Text(text) => units::flag(text),
        _ => None,
    }
    .map(Value::Flag)
    .ok_or_else(|| Problem::new("neither true nor false", "use true or false"))
}

fn count(raw: &Raw, low: u64, high: u64) -> Result<Value, Problem> {
    let hint = match high {
        u64::MAX => format!("use {low} or more"),
        _ => format!("use {low} to {high}"),
    };
    let number = match raw {
        Raw::Integer(number) if *number < 0 => return Err(Problem::new("less than 0", hint)),
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => units::whole(text),
        _ => None,
    };
    match number {
        None => Err(Problem::new("not a whole number", hint)),
        Some(number) if number < low => Err(Problem::new("too small", hint)),
        Some(number) if number > high => Err(Problem::new("too large", hint)),
        Some(number) => Ok(Value::Count(number)),
    }
}

fn seconds(raw: &Raw) -> Result<Value, Problem> {
    match raw {
        // No i64 of seconds that passes the bound is inexact as an f64.
        Raw::Integer(number) => units::decimal_seconds(*number as f64),
        Raw::Decimal(number) => units::decimal_seconds(*number),
        Raw::Text(text) => units::seconds(text),
        _ => None,
    }
    .map(Value::Seconds)
    .ok_or_else(|| Problem::new("not a time", "use seconds, 0 or more, or a unit as in 500ms, 30s, 2m, 1h"))
}

fn bytes(raw: &Raw) -> Result<Value, Problem> {
    match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => units::bytes(text),
        _ => None,
    }
    // What TOML can write back, and no sum of two overflows.
    .filter(|number| *number <= i64::MAX as u64)
    .map(Value::Count)
    .ok_or_else(|| Problem::new("not a number of bytes", "use 0 or more, or a unit as in 64K, 10M, 2G"))
}

fn mode(raw: &Raw) -> Result<Value, Problem> {
    match raw {
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Text(text) => units::mode(text),
        _ => None,
    }
    .and_then(|bits| u32::try_from(bits).ok())
    .filter(|bits| *bits <= 0o777)
    .map(Value::Mode)
    .ok_or_else(|| Problem::new("not a file mode mask", "use an octal number with a leading 0"))
}

fn choice(
    raw: &Raw,
    words: &'static [&'static str],
    aliases: &[(&str, &'static str)],
) -> Result<Value, Problem> {
    let said = match raw {
        Raw::Text(text) => text.trim().to_ascii_lowercase(),
        Raw::Nothing | Raw::Flag(_) | Raw::Integer(_) => raw.to_string().to_ascii_lowercase(),
        _ => String::new(),
    };
    let alias = aliases.iter().find(|(spelling, _)| *spelling == said).map(|(_, word)| *word);
    match words.iter().copied().find(|word| *word == said).or(alias) {
        Some(word) => Ok(Value::Choice(word)),
        None => Err(Problem::new("not known", format!("use one of {}", words.join(", ")))),
    }
}

fn worker_class(raw: &Raw) -> Result<Value, Problem> {
    let text = match raw {
        Raw::Object(class) => class.shown().to_owned(),
        _ => one_text(raw)?,
    };
    let name = text.trim().strip_prefix("egg:gunicorn#").unwrap_or(text.trim());
    let hint = match name {
        "sync" | "gunicorn.workers.sync.SyncWorker" => return Ok(Value::Choice("sync")),
        "gthread" | "gunicorn.workers.gthread.ThreadWorker" => return Ok(Value::Choice("gthread")),
        _ if name.contains("gevent") || name.contains("eventlet") => {
            "slow clients cost rwsgi no thread: use gthread with threads = 8 or more for applications that wait"
        }
        _ if name.contains("tornado") => {
            "use gthread for a WSGI application; serve Tornado by its own HTTPServer"
        }
        _ if name.contains("asgi") || name.contains("uvicorn") => {
            "rwsgi serves WSGI: use an ASGI server, or a2wsgi to make a WSGI application of it"
        }
        _ => "rwsgi has its own worker: use sync or gthread",
    };
    Err(Problem::new("not a worker class of rwsgi", hint))
}

/// A text is one item, a list is its items.
fn items(raw: &Raw) -> Result<Vec<String>, Problem> {
    match raw {
        Raw::Nothing => Ok(Vec::new()),
        Raw::List(list) => list.iter().map(one_text).collect(),
        _ => one_text(raw).map(|text| vec![text]),
    }
}

fn words(raw: &Raw) -> Result<Vec<String>, Problem> {
    let split = |text: &String| text.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
    Ok(items(raw)?.iter().flat_map(split).filter(|word| !word.is_empty()).collect())
}

fn addresses(raw: &Raw) -> Result<Value, Problem> {
    let items = items(raw)?;
    if items.is_empty() {
        return Err(Problem::new("no address", "name at least one, e.g. 127.0.0.1:8000"));
    }
    // Gunicorn refuses commas, too; a list in one flag is the usual slip.
    if let Some(item) = items.iter().find(|item| item.contains(',') && !item.starts_with("unix:")) {
        return Err(Problem::new(
            format!("{item:?} is more than one address"),
            "give each its own --bind, or a list",
        ));
    }
    items.iter().map(|item| BindAddress::parse(item)).collect::<Result<_, _>>().map(Value::Addresses)
}

fn environment(raw: &Raw) -> Result<Value, Problem> {
    let pair = |item: &String| match item.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(Problem::new(format!("{item:?} is not of the form NAME=VALUE"), "use e.g. DEBUG=1")),
    };
    let pairs = match raw {
        Raw::Pairs(pairs) => named_texts(pairs)?,
        _ => items(raw)?.iter().map(pair).collect::<Result<_, _>>()?,
    };
    Ok(Value::Pairs(pairs))
}

fn named_texts(pairs: &[(String, Raw)]) -> Result<Vec<(String, String)>, Problem> {
    pairs.iter().map(|(name, value)| Ok((name.clone(), one_text(value)?))).collect()
}

fn headers(raw: &Raw) -> Result<Value, Problem> {
    let hint = r#"use header names and values, e.g. { X-FORWARDED-PROTO = "https" }"#;
    let pairs = match raw {
        Raw::Pairs(pairs) => named_texts(pairs)?,
        _ => {
            let split = |word: &String| word.split_once('=').map(|(n, v)| (n.trim().into(), v.trim().into()));
            let pairs = words(raw)?.iter().map(split).collect::<Option<Vec<(String, String)>>>();
            pairs.ok_or_else(|| Problem::new("not of the form NAME=VALUE", hint))?
        }
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    match pairs.iter().find(|(name, _)| name.is_empty() || !name.bytes().all(token)) {
        Some((name, _)) => Err(Problem::new(format!("{name:?} is not a header name"), hint)),
        None => {
            let mut pairs: Vec<_> = pairs.into_iter().map(|(n, v)| (n.to_ascii_uppercase(), v)).collect();
            // A TOML table has no order: equal headers are to be equal values.
            pairs.sort();
            Ok(Value::Headers(pairs))
        }
    }
}

fn log(raw: &Raw, dash: LogTarget) -> Result<Value, Problem> {
    Ok(Value::Log(match one_text(raw)?.as_str() {
        "" => LogTarget::Off,
        "-" => dash,
        path => LogTarget::File(PathBuf::from(path)),
    }))
}

/// Whether there is such a thing is found out by importing it, which is not done here.
fn callable(raw: &Raw) -> Result<Value, Problem> {
    let part = |part: &str| {
        part.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    match raw {
        Raw::Text(text) if text.is_empty() => Ok(Value::Python(Raw::Nothing)),
        Raw::Text(text) if text.split('.').all(part) => Ok(Value::Python(raw.clone())),
        Raw::Nothing | Raw::Object(_) => Ok(Value::Python(raw.clone())),
        _ => Err(Problem::new("neither callable nor a dotted name", "use e.g. myproject.server.post_fork")),
    }
}

fn table(raw: &Raw) -> Result<Value, Problem> {
    let problem = || Problem::new("not a table", "use e.g. { version = 1 }");
    match raw {
        Raw::Nothing | Raw::Object(_) => Ok(Value::Python(raw.clone())),
        Raw::Pairs(pairs) if pairs.is_empty() => Ok(Value::Python(Raw::Nothing)),
        Raw::Pairs(_) => Ok(Value::Python(raw.clone())),
        Raw::Text(text) if text.trim().is_empty() => Ok(Value::Python(Raw::Nothing)),
        Raw::Text(text) => match super::toml_file::value(text) {
            Some(pairs @ Raw::Pairs(_)) => table(&pairs),
            _ => Err(problem()),
        },
        _ => Err(problem()),
    }
}
