//! Which known name was meant by an unknown one?
//!
//! Must not know: where the name came from.
//!
//! Invariants:
//! 1. Nothing far-fetched: a wrong suggestion is worse than none.

use super::compat;
use super::table::SETTINGS;

/// Below this, two names have nothing to do with each other.
const NEAR: f64 = 0.84;

/// The nearest of these names.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The setting that may have been meant. A flag's name counts: `access_logfile` is `accesslog`.
pub fn setting(name: &str) -> Option<&'static str> {
    let name = name.replace('-', "_");
    let flag = format!("--{}", name.replace('_', "-"));
    let by_flag = SETTINGS.iter().find(|setting| setting.flags.contains(&flag.as_str()));
    by_flag.map(|setting| setting.name).or_else(|| {
        let ours = SETTINGS.iter().map(|setting| setting.name);
        nearest(&name, ours.chain(compat::rows().keys().map(String::as_str)))
    })
}

/// The setting a variable's name is a slip of, where names of one's own are allowed: a letter or
/// two away, or other only in case and underscores.
pub fn typo(name: &str) -> Option<&'static str> {
    const SHORT: usize = 6;
    if name.starts_with('_') {
        return None;
    }
    let bare = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let candidate = setting(&name.to_ascii_lowercase())?;
    let apart = strsim::osa_distance(&bare(name), &bare(candidate));
    let flag = SETTINGS
        .iter()
        .find(|row| row.name == candidate)
        .is_some_and(|row| row.flags.iter().any(|flag| bare(&flag.replace('-', "_")) == bare(name)));
    let close = apart <= if name.len() < SHORT { 1 } else { 2 };
    (close || flag).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let cases = [
            ("worker", Some("workers")),
            ("wokers", Some("workers")),
            ("treads", Some("threads")),
            ("log_level", Some("loglevel")),
            ("access-logfile", Some("accesslog")),
            ("env", Some("raw_env")),
            ("max_request", Some("max_requests")),
            ("frobnicate", None),
            ("x", None),
        ];
        for (name, expected) in cases {
            assert_eq!(setting(name), expected, "{name}");
        }
    }
}
