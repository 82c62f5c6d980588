//! What do these arguments say?
//!
//! clap's command is built from the settings table at run time, with Gunicorn's other flags
//! hidden beside them.
//!
//! Must not know: files, the environment, which source is stronger.
//!
//! Invariants:
//! 1. Of an option that is repeated the last value counts, but for lists.
//! 2. No value is understood here: clap only splits.

use clap::builder::Str;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::compat::{self, Takes};
use crate::config::fields::Field;
use crate::config::kinds::Kind;
use crate::config::raw::Raw;
use crate::config::setting::Setting;
use crate::config::sources::{self, Given, Source};
use crate::config::table::{self, SETTINGS};
use crate::config::types::GunicornModule;
use crate::config::{ConfigError, Origin};

use super::prefixes;

/// Who gave the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The command line.
    CommandLine,
    /// The variable GUNICORN_CMD_ARGS.
    GunicornCmdArgs,
}

impl Speaker {
    /// The origin of what this flag says.
    pub fn origin(self, flag: &str) -> Origin {
        match self {
            Speaker::CommandLine => Origin::CommandLine(flag.to_owned()),
            Speaker::GunicornCmdArgs => Origin::GunicornCmdArgs(flag.to_owned()),
        }
    }
}

/// What arguments come to.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// Values.
    Values(Source),
    /// `--help` or `--version`: this text.
    Text(String),
}

/// Understands arguments (without the program's name).
pub fn parse(args: &[String], speaker: Speaker) -> Result<Said, ConfigError> {
    let args = prefixes::expand(args, speaker)?;
    match command().try_get_matches_from(args) {
        Ok(matches) => values(&matches, speaker).map(Said::Values),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Said::Text(error.render().to_string()))
        }
        Err(error) => Err(usage(&error, speaker)),
    }
}

/// clap's command.
pub fn command() -> Command {
    let command = Command::new("rwsgi")
        .no_binary_name(true)
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .term_width(80)
        .version(concat!("(version ", env!("CARGO_PKG_VERSION"), ")"))
        .override_usage("rwsgi [OPTIONS] [APP]")
        .about("Serves a Python WSGI application over HTTP with several worker processes.")
        .after_help(AFTER_HELP)
        .arg(app())
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this help."))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version."),
        );
    let command = SETTINGS.iter().flat_map(option).fold(command, Command::arg);
    let foreign = compat::rows().iter().filter(|(_, row)| row.is_foreign() && !row.flags.is_empty());
    foreign.map(|(name, row)| hidden(name, row)).fold(command, Command::arg)
}

const AFTER_HELP: &str = "\
Each setting is also a key of rwsgi.toml and a variable RWSGI_NAME, by its name
as --print-config shows it. Stronger first: command line, RWSGI_ variables,
GUNICORN_CMD_ARGS, rwsgi.toml or gunicorn.conf.py, defaults.

rwsgi --script FILE [ARGUMENTS] runs a Python program that asks to be served
(a class derived from gunicorn.app.base.BaseApplication) as python FILE does.";

fn app() -> Arg {
    let help = "The application: MODULE, MODULE:NAME or MODULE:FACTORY(ARGUMENTS).";
    Arg::new("wsgi_app").value_name("APP").help(help)
}

/// The arguments of one row: its flag, and the flag that says no.
fn option(setting: &'static Setting) -> Vec<Arg> {
    let mut args = Vec::new();
    if let Some((first, aliases)) = setting.flags.split_first() {
        args.push(flag(setting, first, aliases));
    }
    for text in setting.negations {
        let negation = Arg::new(*text).long(long(text)).action(ArgAction::SetTrue);
        args.push(
            negation.overrides_with(setting.name).help_heading(setting.section.title()).help(setting.help),
        );
    }
    args
}

fn flag(setting: &'static Setting, first: &'static str, aliases: &'static [&'static str]) -> Arg {
    let mut arg = Arg::new(setting.name)
        .long(long(first))
        .help_heading(setting.section.title())
        .help(setting.help)
        .value_name(setting.kind.placeholder())
        .allow_negative_numbers(true)
        .action(if setting.kind.repeats() { ArgAction::Append } else { ArgAction::Set })
        // A flag that says no is what is shown where the setting is on by default.
        .hide(!setting.negations.is_empty());
    if let Some(short) = setting.short {
        arg = arg.short(short);
    }
    for alias in aliases {
        arg = arg.visible_alias(long(alias));
    }
    match (setting.bare, setting.kind) {
        (None, _) => arg,
        // `--preload app:app` must not take APP for a value, `--preload=false` may have one.
        (Some(bare), Kind::Flag) => {
            arg.num_args(0..=1).require_equals(true).default_missing_value(bare).hide_possible_values(true)
        }
        (Some(bare), _) => arg.num_args(0..=1).default_missing_value(bare),
    }
}

/// One of Gunicorn's flags that is no setting of ours.
fn hidden(name: &'static str, row: &'static compat::Row) -> Arg {
    let mut arg = Arg::new(name).hide(true).action(ArgAction::Append).allow_negative_numbers(true);
    for flag in &row.flags {
        arg = match (flag.strip_prefix("--"), flag.chars().nth(1)) {
            (Some(long), _) if arg.get_long().is_none() => arg.long(long),
            (Some(long), _) => arg.alias(long),
            (None, Some(short)) => arg.short(short),
            (None, None) => arg,
        };
    }
    match row.takes {
        Takes::Value => arg,
        Takes::Nothing => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
    }
}

fn long(flag: &'static str) -> Str {
    flag.trim_start_matches('-').into()
}

fn values(matches: &ArgMatches, speaker: Speaker) -> Result<Source, ConfigError> {
    let mut source = Source::new();
    for (name, row) in compat::rows().iter().filter(|(_, row)| row.is_foreign() && !row.flags.is_empty()) {
        let flag = row.flags.last().map_or("", String::as_str);
        for text in said(matches, name) {
            sources::foreign(name, row, &Raw::from(text), speaker.origin(flag))?;
        }
    }
    for setting in SETTINGS {
        let origin = speaker.origin(setting.spelled_on_command_line());
        let texts: Vec<&str> = said(matches, setting.name).collect();
        let raw = match texts.as_slice() {
            [] => continue,
            all if setting.kind.repeats() => Raw::List(all.iter().copied().map(Raw::from).collect()),
            [.., last] => Raw::from(*last),
        };
        source.push(Given { setting, raw, origin });
    }
    source.extend(SETTINGS.iter().filter_map(|setting| negated(matches, setting, speaker)));
    Ok(source)
}

/// The texts of an argument. Not every name is an argument: some settings have no flag.
fn said<'a>(matches: &'a ArgMatches, id: &'a str) -> impl Iterator<Item = &'a str> {
    let given =
        matches.ids().any(|known| known == id) && matches.value_source(id) == Some(ValueSource::CommandLine);
    let texts = given.then(|| matches.get_many::<String>(id)).flatten();
    texts.into_iter().flatten().map(String::as_str)
}

fn negated(matches: &ArgMatches, setting: &'static Setting, speaker: Speaker) -> Option<Given> {
    let flag = setting.negations.iter().find(|flag| {
        // Overridden by a later yes, it is back at its default.
        matches.value_source(flag) == Some(ValueSource::CommandLine) && matches.get_flag(flag)
    })?;
    Some(Given { setting, raw: Raw::Flag(false), origin: speaker.origin(flag) })
}

/// clap's complaint as ours.
fn usage(error: &clap::Error, speaker: Speaker) -> ConfigError {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    let complain = |problem: &str, hint: &str| ConfigError::usage(speaker.origin(flag), problem).hint(hint);
    match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with('-') => complain("no such option", "see rwsgi --help"),
        ErrorKind::UnknownArgument => complain("APP was named before", "there is one application"),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            let setting = SETTINGS.iter().find(|setting| setting.flags.contains(&flag));
            let example = setting.map_or(String::new(), |setting| format!("e.g. {flag} {}", setting.example));
            complain("a value is missing", &example)
        }
        ErrorKind::TooManyValues => complain("takes no value", "leave out what follows the ="),
        _ => {
            let text = error.render().to_string();
            complain(
                text.lines().next().unwrap_or_default().trim_start_matches("error: "),
                "see rwsgi --help",
            )
        }
    }
}

/// The configuration file these values name.
pub fn named_file(source: &Source) -> Option<(&str, &Origin)> {
    let given = last(source, "config")?;
    given.raw.text().map(|text| (text, &given.origin))
}

/// When a module `gunicorn` is provided, while the configuration file is run. A word that is wrong
/// is complained of later.
pub fn gunicorn_module(source: &Source) -> Option<GunicornModule> {
    let given = last(source, "gunicorn_module")?;
    GunicornModule::from_value(&given.setting.kind.parse(&given.raw).ok()?)
}

fn last<'a>(source: &'a Source, name: &str) -> Option<&'a Given> {
    let setting = table::find(name)?;
    source.iter().rev().find(|given| given.setting == setting)
}
