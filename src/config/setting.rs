//! What is there to know about one setting?
//!
//! Must not know: which settings exist.
//!
//! Invariants:
//! 1. A row is complete: flags, keys, variables, help and reference are derived from it alone.

use super::kinds::Kind;
use super::value::Value;

/// Under which heading a setting is listed; Gunicorn's sections, and some of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Where the rest is said.
    ConfigFile,
    /// Which Python.
    Interpreter,
    /// Where to listen.
    ServerSocket,
    /// How many, and for how long.
    WorkerProcesses,
    /// What peers may take their time with.
    SlowClients,
    /// What peers may send.
    Security,
    /// Checking.
    Debugging,
    /// The process and its surroundings.
    ServerMechanics,
    /// Logs.
    Logging,
    /// What the operator can ask.
    Monitoring,
    /// Names of processes.
    ProcessNaming,
    /// Functions of the operator's.
    ServerHooks,
    /// Certificates and keys.
    Tls,
}

impl Section {
    /// All, in the order they are shown in.
    pub const ALL: [Section; 13] = [
        Section::ConfigFile,
        Section::Interpreter,
        Section::ServerSocket,
        Section::WorkerProcesses,
        Section::SlowClients,
        Section::Security,
        Section::Debugging,
        Section::ServerMechanics,
        Section::Logging,
        Section::Monitoring,
        Section::ProcessNaming,
        Section::ServerHooks,
        Section::Tls,
    ];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Section::ConfigFile => "Config File",
            Section::Interpreter => "Interpreter",
            Section::ServerSocket => "Server Socket",
            Section::WorkerProcesses => "Worker Processes",
            Section::SlowClients => "Slow Clients",
            Section::Security => "Security",
            Section::Debugging => "Debugging",
            Section::ServerMechanics => "Server Mechanics",
            Section::Logging => "Logging",
            Section::Monitoring => "Monitoring",
            Section::ProcessNaming => "Process Naming",
            Section::ServerHooks => "Server Hooks",
            Section::Tls => "TLS",
        }
    }
}

/// What a changed value needs to take effect; in order of cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The master acts on it at once.
    Live,
    /// The workers are replaced.
    WorkerRestart,
    /// The program is started anew (USR2, or stop and start).
    Reexec,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Its name everywhere: TOML key, `RWSGI_` variable, `--print-config`.
    pub name: &'static str,
    /// Long flags; the first is the one that is shown.
    pub flags: &'static [&'static str],
    /// Long flags that say no, for settings that are on by default.
    pub negations: &'static [&'static str],
    /// Short flag.
    pub short: Option<char>,
    /// What values it takes.
    pub kind: Kind,
    /// What a flag without a value stands for; `None`: a value is needed.
    pub bare: Option<&'static str>,
    /// The value when nobody says anything, as text.
    pub default: &'static str,
    /// Another value that is right.
    pub example: &'static str,
    /// Its heading.
    pub section: Section,
    /// One line for `--help`.
    pub help: &'static str,
    /// More, for the reference.
    pub more: &'static str,
    /// What a change of it needs.
    pub change: Change,
    /// Gunicorn's name for it.
    pub gunicorn: Option<&'static str>,
}

impl Setting {
    /// A setting of ours. `default` and `example` are texts as a variable would hold them.
    pub const fn ours(section: Section, name: &'static str, kind: Kind, default: &'static str) -> Self {
        let bare = if matches!(kind, Kind::Flag) { Some("true") } else { None };
        Self {
            name,
            flags: &[],
            negations: &[],
            short: None,
            kind,
            bare,
            default,
            example: "",
            section,
            help: "",
            more: "",
            change: Change::WorkerRestart,
            gunicorn: None,
        }
    }

    /// A setting Gunicorn has under the same name.
    pub const fn theirs(section: Section, name: &'static str, kind: Kind, default: &'static str) -> Self {
        let mut row = Self::ours(section, name, kind, default);
        row.gunicorn = Some(name);
        row
    }

    /// Its long flags.
    pub const fn flags(mut self, flags: &'static [&'static str]) -> Self {
        self.flags = flags;
        self
    }

    /// Its short flag.
    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// Flags that say no.
    pub const fn negations(mut self, flags: &'static [&'static str]) -> Self {
        self.negations = flags;
        self
    }

    /// What its flag means without a value.
    pub const fn bare(mut self, text: &'static str) -> Self {
        self.bare = Some(text);
        self
    }

    /// Another right value.
    pub const fn example(mut self, text: &'static str) -> Self {
        self.example = text;
        self
    }

    /// Its line in `--help`.
    pub const fn help(mut self, text: &'static str) -> Self {
        self.help = text;
        self
    }

    /// What the reference adds.
    pub const fn more(mut self, text: &'static str) -> Self {
        self.more = text;
        self
    }

    /// What a change needs, when it is not new workers.
    pub const fn change(mut self, change: Change) -> Self {
        self.change = change;
        self
    }

    /// The name of its environment variable.
    pub fn variable(&self) -> String {
        format!("RWSGI_{}", self.name.to_ascii_uppercase())
    }

    /// The flag it is shown by; `None`: it has none.
    pub fn flag(&self) -> Option<&'static str> {
        self.flags.first().or(self.negations.first()).copied()
    }

    /// What it is called on the command line.
    pub fn spelled_on_command_line(&self) -> &'static str {
        self.flag().unwrap_or("APP")
    }

    /// The built-in value. A row whose default is not of its kind is caught by a test;
    /// it would show as an empty text here.
    pub fn default_value(&self) -> Value {
        self.kind.parse_text(self.default).unwrap_or(Value::Text(String::new()))
    }
}
