//! What does the manual page say? roff with the `man` macros (man(7)), section 1.
//!
//! Must not know: files. A test writes docs/rwsgi.1 from it and holds the file against it.
//!
//! Invariants:
//! 1. Everything about a setting comes from the table.
//! 2. No text can be taken for a request: a line's first character is never a bare `.` or `'`.

use crate::config::setting::{Section, Setting};
use crate::config::table::SETTINGS;

const INTRODUCTION: &str = r#".\" Made from src/config/table.rs by tests/settings_table.rs
.\" (RWSGI_BLESS=1 cargo test --no-default-features --test settings_table).
"#;

const DESCRIPTION: &str = r#".SH NAME
rwsgi \- serve a Python WSGI application over HTTP
.SH SYNOPSIS
.B rwsgi
.RI [ OPTIONS ]
.RI [ APP ]
.br
.B python \-m rwsgi
.RI [ OPTIONS ]
.RI [ APP ]
.SH DESCRIPTION
A master process listens, and keeps worker processes alive that run the application. Options and
names of settings are Gunicorn's, where Gunicorn has them.
.PP
.I APP
is
.IR MODULE ,
.I MODULE:NAME
or
.IR MODULE:FACTORY(ARGUMENTS) .
.PP
Each setting is also a key of
.I rwsgi.toml
and an environment variable
.BR RWSGI_\fINAME\fP .
Stronger first: command line, variables, GUNICORN_CMD_ARGS, configuration file, defaults. Lists are
not merged. Times take units
.RB ( 500ms ", " 30s ", " 2m ", " 1h ),
sizes, too
.RB ( 64K ", " 10M ", " 2G ).
Long options may be shortened as long as they stay clear.
"#;

const REST: &str = r#".SH SIGNALS
To the master:
.TP
.B TERM
Finish what is running, then end.
.TP
.BR INT ", " QUIT
End at once.
.TP
.B HUP
Read the configuration and load the application anew. The old workers serve until the new ones do;
if those cannot be started, the old ones stay.
.TP
.BR TTIN ", " TTOU
One worker more, one less.
.TP
.B USR1
Open the log files anew.
.TP
.B USR2
Start a new master beside this one, with the same sockets.
.TP
.B WINCH
Stop the workers and keep the master.
.SH EXIT STATUS
.TP
.B 0
All went well.
.TP
.B 1
Wrong configuration, or an address that cannot be bound.
.TP
.B 2
Wrong usage of the command line.
.TP
.B 3
A worker failed to boot.
.TP
.B 4
The application could not be loaded.
.SH FILES
.TP
.I ./rwsgi.toml
Read from the directory rwsgi is started in, unless
.B \-\-config
names another file.
.TP
.I ./gunicorn.conf.py
The same, where there is no rwsgi.toml.
"#;

/// The page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(&format!(".TH RWSGI 1 \"\" \"rwsgi {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION")));
    page.push_str(DESCRIPTION);
    page.push_str(".SH OPTIONS\n.TP\n.BR \\-h \", \" \\-\\-help\nPrint a summary of the options.\n");
    page.push_str(".TP\n.BR \\-v \", \" \\-\\-version\nPrint the version.\n");
    for section in Section::ALL {
        page.push_str(&format!(".SS {}\n", section.title()));
        let settings =
            SETTINGS.iter().filter(|setting| setting.section == section && setting.flag().is_some());
        settings.for_each(|setting| page.push_str(&entry(setting)));
    }
    page.push_str(REST);
    page
}

fn entry(setting: &Setting) -> String {
    let mut text = format!(".TP\n{}\n{}\n", spellings(setting), escaped(setting.help));
    if !setting.more.is_empty() {
        text.push_str(&escaped(setting.more));
        text.push('\n');
    }
    text
}

/// All flags in bold, and the value once, in italics.
fn spellings(setting: &Setting) -> String {
    let short = setting.short.map(|short| format!("-{short}"));
    // A setting that is on by default is shown by the flag that says no, as in the help.
    let long = if setting.negations.is_empty() { setting.flags } else { setting.negations };
    let flags = short.into_iter().chain(long.iter().map(|flag| (*flag).to_owned()));
    let flags: Vec<String> = flags.map(|flag| format!("\\fB{}\\fP", escaped(&flag))).collect();
    let value = match setting.bare {
        None => format!(" \\fI{}\\fP", escaped(setting.kind.placeholder())),
        Some("true") => String::new(),
        Some(_) => format!(" [\\fI{}\\fP]", escaped(setting.kind.placeholder())),
    };
    format!("{}{value}", flags.join(", "))
}

/// roff's own characters as text. Markdown's backquotes say what bold says.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut bold = false;
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '.' | '\'' if out.is_empty() => {
                out.push_str("\\&");
                out.push(c);
            }
            '`' => {
                bold = !bold;
                out.push_str(if bold { "\\fB" } else { "\\fP" });
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_a_request() {
        for (text, expected) in [
            (".so x", "\\&.so x"),
            ("'br", "\\&'br"),
            ("a-b\\n", "a\\-b\\en"),
            ("use `-c FILE` here", "use \\fB\\-c FILE\\fP here"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn every_flag_is_there() {
        let page = page();
        for setting in SETTINGS {
            let shown = if setting.negations.is_empty() { setting.flags } else { setting.negations };
            for flag in shown {
                assert!(page.contains(&format!("\\fB{}\\fP", flag.replace('-', "\\-"))), "{flag}");
            }
        }
        assert!(page.lines().all(|line| !line.is_empty()), "an empty line is a break of its own");
    }
}
