//! What is a setting's value, once understood, and how is it written?
//!
//! Must not know: the settings, sources.
//!
//! Invariants:
//! 1. [`Value::toml`] and [`Value::plain`] are read back by the value's kind to the same value, but
//!    for Python's own objects, which no text stands for ([`Value::is_writable`]).

use std::path::PathBuf;
use std::time::Duration;

use super::raw::{Raw, quoted};
use super::target::AppTarget;
use super::types::{BindAddress, LogTarget, Networks};
use super::units;

/// A value of some kind. Settings get it as a typed field, see [`super::Config`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; empty: none.
    Text(String),
    /// A path; empty: none.
    Path(PathBuf),
    /// APP, when there is one.
    App(Option<AppTarget>),
    /// Yes or no.
    Flag(bool),
    /// A number, or bytes.
    Count(u64),
    /// A time.
    Seconds(Duration),
    /// A file mode mask.
    Mode(u32),
    /// One of a setting's words.
    Choice(&'static str),
    /// Addresses to listen on.
    Addresses(Vec<BindAddress>),
    /// Environment variables.
    Pairs(Vec<(String, String)>),
    /// Words.
    Words(Vec<String>),
    /// Peers.
    Networks(Networks),
    /// Header names and values.
    Headers(Vec<(String, String)>),
    /// Where a log goes.
    Log(LogTarget),
    /// What Python is to make sense of: nothing, a dotted name, a table, or an object of its own.
    Python(Raw),
}

impl Value {
    /// As it is written in TOML.
    pub fn toml(&self) -> String {
        match self {
            Value::Flag(_) | Value::Count(_) | Value::Seconds(_) => self.plain(),
            Value::Mode(bits) => format!("0o{bits:03o}"),
            Value::Addresses(list) => array(list.iter().map(ToString::to_string)),
            Value::Pairs(pairs) => array(pairs.iter().map(joined)),
            Value::Words(words) => array(words.iter().cloned()),
            Value::Networks(networks) => array(networks.texts().into_iter()),
            Value::Headers(pairs) if pairs.is_empty() => "{}".to_owned(),
            Value::Headers(pairs) => {
                let pairs = pairs.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
                format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
            }
            Value::Python(raw @ (Raw::Pairs(_) | Raw::Object(_))) => raw.to_string(),
            Value::Text(_)
            | Value::Path(_)
            | Value::App(_)
            | Value::Choice(_)
            | Value::Log(_)
            | Value::Python(_) => quoted(&self.plain()),
        }
    }

    /// As it is written in a variable.
    pub fn plain(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Path(path) => path.display().to_string(),
            Value::App(target) => target.as_ref().map(ToString::to_string).unwrap_or_default(),
            Value::Flag(on) => on.to_string(),
            Value::Count(number) => number.to_string(),
            Value::Seconds(time) => units::print_seconds(*time),
            Value::Mode(bits) => format!("0{bits:03o}"),
            Value::Choice(word) => (*word).to_owned(),
            Value::Addresses(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            // Each on its own line, the last too: a value may contain commas.
            Value::Pairs(pairs) => pairs.iter().map(|pair| joined(pair) + "\n").collect(),
            Value::Headers(pairs) => pairs.iter().map(joined).collect::<Vec<_>>().join(","),
            Value::Words(words) => words.join(","),
            Value::Networks(networks) => networks.texts().join(","),
            Value::Log(LogTarget::Off) => String::new(),
            Value::Log(LogTarget::Stdout | LogTarget::Stderr) => "-".to_owned(),
            Value::Log(LogTarget::File(path)) => path.display().to_string(),
            Value::Python(Raw::Nothing) => String::new(),
            Value::Python(Raw::Text(text)) => text.clone(),
            Value::Python(raw) => raw.to_string(),
        }
    }

    /// As a source with types would have said it: what Python gets to see.
    pub fn raw(&self) -> Raw {
        let texts = |list: Vec<String>| Raw::List(list.into_iter().map(Raw::Text).collect());
        match self {
            Value::Text(_) | Value::Path(_) | Value::App(_) | Value::Choice(_) | Value::Log(_) => {
                let text = self.plain();
                if text.is_empty() { Raw::Nothing } else { Raw::Text(text) }
            }
            Value::Flag(on) => Raw::Flag(*on),
            Value::Count(number) => i64::try_from(*number).map_or(Raw::Integer(i64::MAX), Raw::Integer),
            Value::Seconds(time) if time.subsec_nanos() == 0 => {
                i64::try_from(time.as_secs()).map_or(Raw::Integer(i64::MAX), Raw::Integer)
            }
            Value::Seconds(time) => Raw::Decimal(time.as_secs_f64()),
            Value::Mode(bits) => Raw::Integer((*bits).into()),
            Value::Addresses(list) => texts(list.iter().map(ToString::to_string).collect()),
            Value::Pairs(pairs) => texts(pairs.iter().map(joined).collect()),
            Value::Words(words) => texts(words.clone()),
            Value::Networks(networks) => Raw::Text(networks.texts().join(",")),
            Value::Headers(pairs) => Raw::Pairs(
                pairs.iter().map(|(name, value)| (name.clone(), Raw::from(value.as_str()))).collect(),
            ),
            Value::Python(raw) => raw.clone(),
        }
    }

    /// Whether a text stands for it.
    pub fn is_writable(&self) -> bool {
        !matches!(self, Value::Python(Raw::Object(_)))
    }
}

fn joined((name, value): &(String, String)) -> String {
    format!("{name}={value}")
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quoted(&item)).collect::<Vec<_>>().join(", "))
}

/// A TOML key: bare where that is allowed.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if bare { name.to_owned() } else { quoted(name) }
}
