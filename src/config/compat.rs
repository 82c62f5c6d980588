//! What became of each of Gunicorn's settings?
//!
//! Reads gunicorn-compat.toml, which is part of the program: flags and names of Gunicorn that are
//! not settings of ours are understood through it.
//!
//! Must not know: our settings' meaning.
//!
//! Invariants:
//! 1. Every Gunicorn setting has one row; a test holds the file against Gunicorn's list.
//! 2. What has no effect is accepted quietly; what is refused says what to use instead.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::raw::Raw;

/// The file, as it is in the repository.
pub const SOURCE: &str = include_str!("../../gunicorn-compat.toml");

/// What became of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is a setting here and does the same; or it does nothing for WSGI, here and with Gunicorn.
    Same,
    /// It is a setting here and does something else.
    Differs,
    /// It is accepted and ignored.
    NoEffect,
    /// It is an error.
    Refused,
}

/// What follows the flag of a setting that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Takes {
    /// A value.
    #[default]
    Value,
    /// Nothing.
    Nothing,
}

/// One of Gunicorn's settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What became of it.
    pub status: Status,
    /// How it differs.
    #[serde(default)]
    pub how: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Why it does nothing for a WSGI application, with Gunicorn neither.
    #[serde(default)]
    pub idle: String,
    /// What to use instead of a refused one.
    #[serde(default)]
    pub instead: String,
    /// Gunicorn's flags for it, where it is not a setting here.
    #[serde(default)]
    pub flags: Vec<String>,
    /// What follows them.
    #[serde(default)]
    pub takes: Takes,
    /// Values of a refused setting that ask for nothing, and are let through.
    #[serde(default)]
    pub allows: Vec<String>,
}

impl Row {
    /// Whether this value of a refused setting asks for nothing.
    pub fn allows(&self, raw: &Raw) -> bool {
        let text = match raw {
            Raw::Nothing | Raw::Flag(false) => return true,
            Raw::List(list) => return list.iter().all(|raw| self.allows(raw)),
            Raw::Pairs(pairs) => return pairs.is_empty(),
            Raw::Text(text) => text.trim().to_owned(),
            other => other.to_string(),
        };
        text.is_empty() || self.allows.iter().any(|value| value.eq_ignore_ascii_case(&text))
    }

    /// Whether its flags are understood here although it is no setting.
    pub fn is_foreign(&self) -> bool {
        matches!(self.status, Status::NoEffect | Status::Refused) || self.is_idle()
    }

    /// Whether it does nothing, with Gunicorn neither.
    pub fn is_idle(&self) -> bool {
        self.status == Status::Same && !self.idle.is_empty()
    }

    /// Whether switching it off by text is its default, too.
    pub fn is_switch(&self) -> bool {
        self.takes == Takes::Nothing
    }
}

/// All rows by Gunicorn's name. Empty if the file is broken, which a test excludes.
pub fn rows() -> &'static BTreeMap<String, Row> {
    static ROWS: OnceLock<BTreeMap<String, Row>> = OnceLock::new();
    ROWS.get_or_init(|| toml::from_str(SOURCE).unwrap_or_default())
}

/// The row of this name, if it is not a setting of ours.
pub fn foreign(name: &str) -> Option<(&'static str, &'static Row)> {
    rows().get_key_value(name).filter(|(_, row)| row.is_foreign()).map(|(name, row)| (name.as_str(), row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read() {
        let parsed: Result<BTreeMap<String, Row>, _> = toml::from_str(SOURCE);
        assert!(parsed.is_ok(), "{}", parsed.unwrap_err());
        assert!(!rows().is_empty());
    }

    #[test]
    fn rows_give_the_reasons_their_status_needs() {
        for (name, row) in rows() {
            let flags_right = row.is_foreign() || row.flags.is_empty() && row.allows.is_empty();
            assert!(flags_right, "{name}: flags and allows are for settings that are not ours");
            let reasons = [row.how.is_empty(), row.why.is_empty(), row.instead.is_empty()];
            let needed = match row.status {
                Status::Same => [true, true, true],
                Status::Differs => [false, false, true],
                Status::NoEffect => [true, false, true],
                Status::Refused => [true, false, false],
            };
            assert_eq!(reasons, needed, "{name}: (how, why, instead) are empty");
        }
    }

    #[test]
    fn refused_settings_may_be_off() {
        let (_, row) = foreign("do_handshake_on_connect").unwrap();
        assert!(row.is_switch());
        let (_, row) = foreign("http2_cleartext").unwrap();
        assert!(row.allows(&Raw::Flag(false)));
        assert!(row.allows(&Raw::Nothing));
        assert!(!row.allows(&Raw::Flag(true)));
        let (_, row) = foreign("protocol").unwrap();
        assert!(row.allows(&Raw::from("http")));
        assert!(!row.allows(&Raw::from("uwsgi")));
    }
}
