//! What is wrong with the configuration, who said it, and what would be right?
//!
//! Must not know: how the message is shown.
//!
//! Invariants:
//! 1. A complaint names the setting as it was spelled, the value, the origin and, where there is one, the way out.
//! 2. One complaint is one line.

use std::fmt;

use super::exit;
use super::origin::Origin;

/// A complaint about the configuration. Its texts are boxed: every step returns it by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting (or the unknown name) it is about; `None`: about the whole.
    pub setting: Option<Box<str>>,
    /// The value, as it would be written in TOML; `None`: the value is not the trouble.
    pub value: Option<Box<str>>,
    /// Where it was said.
    pub origin: Box<Origin>,
    /// What is wrong, without a full stop.
    pub problem: Box<str>,
    /// What would be right.
    pub hint: Option<Box<str>>,
    /// A traceback of Python's, shown before the line.
    pub traceback: Option<Box<Traceback>>,
    /// What the process ends with: [`exit::CONFIGURATION`] or [`exit::USAGE`].
    pub exit: u8,
}

/// A traceback of Python's, of many lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceback(pub String);

impl fmt::Display for Traceback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl ConfigError {
    /// A complaint about the whole configuration, or a file of it.
    pub fn general(origin: Origin, problem: impl Into<Box<str>>) -> Self {
        let problem = problem.into();
        Self {
            setting: None,
            value: None,
            origin: Box::new(origin),
            problem,
            hint: None,
            traceback: None,
            exit: exit::CONFIGURATION,
        }
    }

    /// A complaint about one setting.
    pub fn about(setting: impl Into<Box<str>>, origin: Origin, problem: impl Into<Box<str>>) -> Self {
        Self { setting: Some(setting.into()), ..Self::general(origin, problem) }
    }

    /// The command line could not be understood.
    pub fn usage(origin: Origin, problem: impl Into<Box<str>>) -> Self {
        Self { exit: exit::USAGE, ..Self::general(origin, problem) }
    }

    /// Says what would be right.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it to the operator: one line for stderr, with the program's name, after the traceback
    /// if there is one.
    pub fn report(&self) -> String {
        match &self.traceback {
            Some(traceback) => format!("{traceback}\nrwsgi: {self}"),
            None => format!("rwsgi: {self}"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.setting, &self.value) {
            (Some(setting), Some(value)) => write!(f, "{setting} = {value}")?,
            (Some(setting), None) => f.write_str(setting)?,
            (None, _) => {}
        }
        match (&self.setting, &*self.origin) {
            (Some(_), Origin::Default) => f.write_str(": ")?,
            (Some(_), origin) => write!(f, " ({origin}): ")?,
            (None, Origin::Default) => {}
            (None, origin) => write!(f, "{origin}: ")?,
        }
        f.write_str(&self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}
