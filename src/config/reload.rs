//! What does a changed configuration need to take effect?
//!
//! Must not know: processes. The master decides what to do about it.
//!
//! Invariants:
//! 1. Values are compared as they were understood: `2m` and `120` are the same time.

use super::resolve::Config;
use super::setting::{Change, Setting};

/// One setting with a new value.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The setting.
    pub setting: &'static Setting,
    /// Its old value, as in TOML.
    pub before: String,
    /// Its new value, as in TOML.
    pub after: String,
}

/// The settings that differ, in the table's order.
pub fn changes(old: &Config, new: &Config) -> Vec<Changed> {
    let pairs = old.rows().iter().zip(new.rows());
    let differ = pairs.filter(|(old, new)| old.value != new.value);
    differ
        .map(|(old, new)| Changed { setting: new.setting, before: old.value.toml(), after: new.value.toml() })
        .collect()
}

/// The most that any of these changes needs; `None`: there is none.
pub fn needed(changes: &[Changed]) -> Option<Change> {
    changes.iter().map(|changed| changed.setting.change).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::origin::Origin;
    use crate::config::sheet::Sheet;
    use crate::config::sources::Given;
    use crate::config::table;

    fn config(texts: &[(&str, &str)]) -> Config {
        let given = |(name, text): &(&str, &str)| {
            let setting = table::find(name).unwrap();
            Given { setting, raw: setting.kind.split(text), origin: Origin::CommandLine((*name).into()) }
        };
        Config::new(Sheet::of([texts.iter().map(given).collect()]).unwrap()).unwrap()
    }

    #[test]
    fn the_greatest_need_counts() {
        let old = config(&[("wsgi_app", "a"), ("timeout", "120")]);
        assert_eq!(changes(&old, &config(&[("wsgi_app", "a"), ("timeout", "2m")])), []);
        let cases = [
            (("workers", "4"), Change::Live),
            (("threads", "4"), Change::WorkerRestart),
            (("python", "/usr/bin/python3"), Change::Reexec),
        ];
        let mut texts = vec![("wsgi_app", "a"), ("timeout", "120")];
        for (text, need) in cases {
            texts.push(text);
            assert_eq!(needed(&changes(&old, &config(&texts))), Some(need));
        }
        let changed = changes(&old, &config(&[("wsgi_app", "b"), ("timeout", "120")]));
        assert_eq!(
            (changed[0].before.as_str(), changed[0].after.as_str()),
            ("\"a:application\"", "\"b:application\"")
        );
        assert_eq!(needed(&[]), None);
    }
}
