//! What does a source say, before anybody knows what it means?
//!
//! Must not know: settings, kinds. One shape for TOML, variables, flags and Python modules.
//!
//! Invariants:
//! 1. Displayed, it reads as in TOML and stays on one line.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A value as a source spells it. Variables and flags only have [`Raw::Text`] and lists of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Python's `None`.
    Nothing,
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Decimal(f64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<Raw>),
    /// Names and their values.
    Pairs(Vec<(String, Raw)>),
    /// What only Python understands: a function, a class.
    Object(Object),
}

/// Something a Python configuration file made. Carried from the file to whoever uses it; nobody
/// between them looks inside.
#[derive(Clone)]
pub struct Object {
    shown: Arc<str>,
    held: Arc<dyn Any + Send + Sync>,
}

impl Object {
    /// Holds `held`, which is shown as `shown`: for functions and classes their dotted name.
    pub fn new(shown: impl Into<Arc<str>>, held: Arc<dyn Any + Send + Sync>) -> Self {
        Object { shown: shown.into(), held }
    }

    /// How it is shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What is held.
    pub fn held(&self) -> &(dyn Any + Send + Sync) {
        &*self.held
    }
}

/// The same thing, not one that looks the same.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.shown).finish()
    }
}

impl Raw {
    /// The text of a text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&str> for Raw {
    fn from(text: &str) -> Self {
        Raw::Text(text.to_owned())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Nothing => f.write_str("None"),
            Raw::Flag(on) => write!(f, "{on}"),
            Raw::Integer(number) => write!(f, "{number}"),
            Raw::Decimal(number) => write!(f, "{number}"),
            Raw::Text(text) => f.write_str(&quoted(text)),
            Raw::Object(object) => write!(f, "<{}>", object.shown.escape_debug()),
            Raw::List(items) => {
                f.write_str("[")?;
                separated(f, items.iter(), |f, item| write!(f, "{item}"))?;
                f.write_str("]")
            }
            Raw::Pairs(pairs) => {
                f.write_str("{ ")?;
                separated(f, pairs.iter(), |f, (name, value)| write!(f, "{} = {value}", quoted(name)))?;
                f.write_str(" }")
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut fmt::Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    for (nth, item) in items.enumerate() {
        if nth > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

/// A TOML string of this text, on one line: literal where that spares escapes, else basic.
pub fn quoted(text: &str) -> String {
    let plain = !text.chars().any(char::is_control);
    if plain && text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_toml() {
        let raw = Raw::List(vec![Raw::from("a"), Raw::Integer(-3), Raw::Flag(true), Raw::Decimal(0.5)]);
        assert_eq!(raw.to_string(), r#"["a", -3, true, 0.5]"#);
        let pairs = Raw::Pairs(vec![("X-A".into(), Raw::from("on")), ("B".into(), Raw::Nothing)]);
        assert_eq!(pairs.to_string(), r#"{ "X-A" = "on", "B" = None }"#);
    }

    #[test]
    fn quotes_so_that_toml_reads_the_same() {
        for text in
            ["", "plain", "it's", "say \"x\"", "it's \"both\"", "a\\b", "two\nlines\t\r", "\u{1}\u{7f}"]
        {
            let line = format!("v = {}", quoted(text));
            let table: toml::Table = line.parse().unwrap();
            assert_eq!(table["v"].as_str(), Some(text), "{line}");
            assert!(!quoted(text).contains('\n'));
        }
    }
}
