//! Which option does this shortened option mean?
//!
//! Done before clap: its own inference knows neither that two flags of one setting are no
//! contradiction, nor that a prefix which was clear to Gunicorn must stay clear although rwsgi
//! has more options.
//!
//! Must not know: values.
//!
//! Invariants:
//! 1. A whole flag is never taken for the beginning of another.
//! 2. Gunicorn's flags come first; ours count where none of them fits.

use crate::config::table::SETTINGS;
use crate::config::{ConfigError, Origin, compat, suggest};

use super::command::Speaker;

/// A long flag and the setting it belongs to.
#[derive(Clone, Copy)]
struct Flag {
    text: &'static str,
    setting: &'static str,
    gunicorn: bool,
}

fn flags() -> Vec<Flag> {
    let ours = SETTINGS.iter().flat_map(|setting| {
        let texts = setting.flags.iter().chain(setting.negations);
        texts.map(|text| Flag { text, setting: setting.name, gunicorn: setting.gunicorn.is_some() })
    });
    let foreign = compat::rows()
        .iter()
        .filter(|(_, row)| row.is_foreign())
        .flat_map(|(name, row)| row.flags.iter().map(|text| Flag { text, setting: name, gunicorn: true }));
    let clap = ["--help", "--version"].map(|text| Flag { text, setting: text, gunicorn: true });
    ours.chain(foreign).filter(|flag| flag.text.starts_with("--")).chain(clap).collect()
}

/// Writes every long option out.
pub fn expand(args: &[String], speaker: Speaker) -> Result<Vec<String>, ConfigError> {
    let known = flags();
    let mut args = args.iter();
    let mut out = Vec::new();
    for arg in args.by_ref() {
        if arg == "--" {
            out.push(arg.clone());
            break;
        }
        match arg.split_once('=') {
            _ if !arg.starts_with("--") => out.push(arg.clone()),
            Some((flag, value)) => out.push(format!("{}={value}", whole(flag, &known, speaker)?)),
            None => out.push(whole(arg, &known, speaker)?.to_owned()),
        }
    }
    out.extend(args.cloned());
    Ok(out)
}

fn whole(given: &str, known: &[Flag], speaker: Speaker) -> Result<&'static str, ConfigError> {
    if let Some(flag) = known.iter().find(|flag| flag.text == given) {
        return Ok(flag.text);
    }
    let fits: Vec<Flag> = known.iter().copied().filter(|flag| flag.text.starts_with(given)).collect();
    let gunicorns: Vec<Flag> = fits.iter().copied().filter(|flag| flag.gunicorn).collect();
    let fits = if gunicorns.is_empty() { fits } else { gunicorns };
    match fits.as_slice() {
        [] => Err(unknown(given, known, speaker.origin(given))),
        [first, others @ ..] if others.iter().all(|flag| flag.setting == first.setting) => Ok(first.text),
        _ => {
            let could = fits.iter().map(|flag| flag.text).collect::<Vec<_>>().join(", ");
            let error = ConfigError::usage(speaker.origin(given), "more than one option begins like that");
            Err(error.hint(format!("write one of {could}")))
        }
    }
}

fn unknown(given: &str, known: &[Flag], origin: Origin) -> ConfigError {
    let error = ConfigError::usage(origin, "no such option");
    let named = suggest::setting(given.trim_start_matches('-'));
    let flag_of_named = known.iter().find(|flag| Some(flag.setting) == named).map(|flag| flag.text);
    match suggest::nearest(given, known.iter().map(|flag| flag.text)).or(flag_of_named) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("see rwsgi --help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        expand(&args, Speaker::CommandLine).map(|args| args.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn prefixes() {
        let cases = [
            (&["--log-l", "debug"][..], "--log-level debug"),
            (&["--error-log", "x"], "--error-logfile x"),
            (&["--keep=3"], "--keep-alive=3"),
            (&["--workers", "3"], "--workers 3"),
            (&["--max-requests", "3"], "--max-requests 3"),
            (&["--timeo", "3"], "--timeout 3"),
            (&["--limit-request-field_", "1"], "--limit-request-field_size 1"),
            (&["--limit-request-l", "1"], "--limit-request-line 1"),
            (&["--boot", "5"], "--boot-timeout 5"),
            (&["--vers"], "--version"),
            (&["--chdir=/a=b"], "--chdir=/a=b"),
            (&["--", "--log-l"], "-- --log-l"),
            (&["-w4", "app"], "-w4 app"),
            (&["--control-socket-m", "1"], "--control-socket-mode 1"),
        ];
        for (args, expected) in cases {
            assert_eq!(expanded(args).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn unclear_and_unknown() {
        let cases = [
            (
                "--max-r",
                "command line, --max-r: more than one option begins like that; write one of --max-requests, --max-requests-jitter",
            ),
            ("--wrokers=3", "command line, --wrokers: no such option; did you mean --workers?"),
            ("--accesslog", "command line, --accesslog: no such option; did you mean --access-logfile?"),
            ("--raw-env", "command line, --raw-env: no such option; did you mean --env?"),
            ("--qqq", "command line, --qqq: no such option; see rwsgi --help"),
        ];
        for (arg, expected) in cases {
            assert_eq!(expanded(&[arg]).unwrap_err(), expected);
        }
    }
}
