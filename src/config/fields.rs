//! How does a value become the type its consumer needs?
//!
//! Must not know: settings by name.
//!
//! Invariants:
//! 1. A value that does not fit its field's type is a slip in the table or in [`super::Config`],
//!    not of the operator; a test builds every field from its default and its example.

use std::path::PathBuf;
use std::time::Duration;

use super::log_address::SocketAddress;
use super::raw::Raw;
use super::target::AppTarget;
use super::types::{
    BindAddress, Facility, ForwardedBy, GunicornModule, HeaderMap, LogLevel, LogTarget, Networks,
    ProxyProtocol, ReloadEngine, WorkerClass,
};
use super::value::Value;

/// A field of the configuration.
pub trait Field: Sized {
    /// The field of this value; `None`: not of this type.
    fn from_value(value: &Value) -> Option<Self>;
}

/// 0 is off.
impl<T: Field + Default + PartialEq> Field for Option<T>
where
    T: Measure,
{
    fn from_value(value: &Value) -> Option<Self> {
        let measure = T::from_value(value)?;
        Some((measure != T::default()).then_some(measure))
    }
}

/// Fields whose empty or zero value means that there is none.
pub trait Measure {}
impl Measure for u64 {}
impl Measure for usize {}
impl Measure for Duration {}
impl Measure for String {}
impl Measure for PathBuf {}

impl Field for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Flag(on) => Some(*on),
            _ => None,
        }
    }
}

impl Field for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Count(number) => Some(*number),
            _ => None,
        }
    }
}

impl Field for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Mode(bits) => Some(*bits),
            _ => u64::from_value(value)?.try_into().ok(),
        }
    }
}

impl Field for usize {
    fn from_value(value: &Value) -> Option<Self> {
        // Saturates where an address has 32 bits: more than all memory is all memory.
        u64::from_value(value).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }
}

impl Field for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Seconds(time) => Some(*time),
            _ => None,
        }
    }
}

impl Field for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Field for PathBuf {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Path(path) => Some(path.clone()),
            _ => None,
        }
    }
}

impl Field for Vec<String> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Words(words) => Some(words.clone()),
            _ => None,
        }
    }
}

impl Field for Vec<(String, String)> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Pairs(pairs) | Value::Headers(pairs) => Some(pairs.clone()),
            _ => None,
        }
    }
}

impl Field for Vec<BindAddress> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Addresses(list) => Some(list.clone()),
            _ => None,
        }
    }
}

impl Field for Networks {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Networks(networks) => Some(networks.clone()),
            _ => None,
        }
    }
}

impl Field for LogTarget {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Log(target) => Some(target.clone()),
            _ => None,
        }
    }
}

impl Field for AppTarget {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::App(target) => target.clone(),
            _ => None,
        }
    }
}

impl Field for LogLevel {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("debug") => Some(LogLevel::Debug),
            Value::Choice("info") => Some(LogLevel::Info),
            Value::Choice("warning") => Some(LogLevel::Warning),
            Value::Choice("error") => Some(LogLevel::Error),
            Value::Choice("critical") => Some(LogLevel::Critical),
            _ => None,
        }
    }
}

impl Field for WorkerClass {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("sync") => Some(WorkerClass::Sync),
            Value::Choice("gthread") => Some(WorkerClass::Gthread),
            _ => None,
        }
    }
}

impl Field for HeaderMap {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("drop") => Some(HeaderMap::Drop),
            Value::Choice("refuse") => Some(HeaderMap::Refuse),
            Value::Choice("dangerous") => Some(HeaderMap::Dangerous),
            _ => None,
        }
    }
}

impl Field for ForwardedBy {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("off") => Some(ForwardedBy::Off),
            Value::Choice("x-forwarded-for" | "x-forwarded-host") => Some(ForwardedBy::Own),
            Value::Choice("forwarded") => Some(ForwardedBy::Standard),
            _ => None,
        }
    }
}

impl Field for ProxyProtocol {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("off") => Some(ProxyProtocol::Off),
            Value::Choice("v1") => Some(ProxyProtocol::V1),
            Value::Choice("v2") => Some(ProxyProtocol::V2),
            Value::Choice("auto") => Some(ProxyProtocol::Auto),
            _ => None,
        }
    }
}

impl Field for ReloadEngine {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("auto") => Some(ReloadEngine::Auto),
            Value::Choice("poll") => Some(ReloadEngine::Poll),
            Value::Choice("inotify") => Some(ReloadEngine::Inotify),
            _ => None,
        }
    }
}

impl Field for GunicornModule {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Choice("auto") => Some(GunicornModule::Auto),
            Value::Choice("always") => Some(GunicornModule::Always),
            Value::Choice("never") => Some(GunicornModule::Never),
            _ => None,
        }
    }
}

/// By its number in RFC 5424 section 6.2.1.
const FACILITIES: [&str; 12] =
    ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];

impl Field for Facility {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Choice(word) = value else { return None };
        let local =
            word.strip_prefix("local").and_then(|digit| digit.parse::<u8>().ok()).map(|local| 16 + local);
        let named = FACILITIES.iter().position(|name| name == word).and_then(|at| u8::try_from(at).ok());
        named.or(local).map(Facility)
    }
}

/// Where syslog listens. Not optional: where nothing is said, it is the default.
pub struct Syslog(pub SocketAddress);

impl Field for Syslog {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(text) = value else { return None };
        let text = if text.is_empty() { "udp://localhost:514" } else { text };
        SocketAddress::syslog(text).ok().map(Syslog)
    }
}

/// Where statsd listens.
pub struct Statsd(pub Option<SocketAddress>);

impl Field for Statsd {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) if text.is_empty() => Some(Statsd(None)),
            Value::Text(text) => SocketAddress::statsd(text).ok().map(Some).map(Statsd),
            _ => None,
        }
    }
}

impl Field for Raw {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Python(raw) => Some(raw.clone()),
            _ => None,
        }
    }
}
