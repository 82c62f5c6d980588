//! What does the reference page of the settings say?
//!
//! Must not know: files. A test writes docs/settings.md from it and holds the file against it.
//!
//! Invariants:
//! 1. Everything on the page comes from the table and from gunicorn-compat.toml.

use crate::config::compat::{self, Row, Status};
use crate::config::kinds::Kind;
use crate::config::setting::{Change, Section, Setting};
use crate::config::table::SETTINGS;

const INTRODUCTION: &str = "\
# Settings

<!-- Made from src/config/table.rs and gunicorn-compat.toml by tests/settings_table.rs
     (RWSGI_BLESS=1 cargo test --no-default-features --test settings_table). -->

Each setting can be said in four places. The stronger wins, whole: lists are not merged.

1. the command line,
2. a variable `RWSGI_NAME` (lists are separated by commas),
3. the variable `GUNICORN_CMD_ARGS`, options as on the command line,
4. one configuration file: the one `-c` or `RWSGI_CONFIG` names, else `./rwsgi.toml`, else
   `./gunicorn.conf.py`. In a `.toml`, keys stand at the top level. Any other file is run as Python, as
   Gunicorn does: its variables of these names are settings.

Below all of them, `PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` and `SENDFILE` change defaults, as
with Gunicorn. `rwsgi --print-config` shows every value and where it came from. Long options may be
shortened as long as they stay clear.

Exit codes: 0 all went well, 1 wrong configuration or an address that cannot be bound, 2 wrong usage of
the command line, 3 a worker failed to boot, 4 the application could not be loaded.
";

/// The page, in Markdown.
pub fn settings_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in Section::ALL {
        page.push_str(&format!("\n## {}\n", section.title()));
        for setting in SETTINGS.iter().filter(|setting| setting.section == section) {
            page.push_str(&entry(setting));
        }
    }
    page.push_str(&gunicorn());
    page
}

fn entry(setting: &Setting) -> String {
    let name = setting.name;
    let mut text = format!("\n### {name}\n\n{}\n", escaped(setting.help));
    if !setting.more.is_empty() {
        text.push_str(&format!("{}\n", setting.more));
    }
    text.push_str(&format!("\n- Said: {}`{}`\n", spellings(setting), setting.variable()));
    text.push_str(&format!("- Value: {}\n", setting.kind.describe()));
    let default = setting.default_value().toml();
    text.push_str(&format!(
        "- Default: {}\n",
        if default == "\"\"" { "none".into() } else { code(&default) }
    ));
    let example = setting.kind.parse_text(setting.example).map(|value| value.toml()).unwrap_or_default();
    if name != "config" {
        text.push_str(&format!("- In rwsgi.toml: {}\n", code(&format!("{name} = {example}"))));
    }
    text.push_str(&format!("- A change needs: {}\n", needs(setting.change)));
    if setting.gunicorn.is_none() {
        text.push_str("- Gunicorn has no such setting.\n");
    }
    text
}

fn spellings(setting: &Setting) -> String {
    let short = setting.short.map(|short| format!("`-{short}`"));
    let long = setting.flags.iter().chain(setting.negations).map(|flag| format!("`{flag}`"));
    let app = (setting.kind == Kind::App).then(|| "`APP`".to_owned());
    short.into_iter().chain(long).chain(app).map(|spelling| spelling + ", ").collect()
}

fn needs(change: Change) -> &'static str {
    match change {
        Change::Live => "a reload (HUP)",
        Change::WorkerRestart => "a reload (HUP), which replaces the workers",
        Change::Reexec => "a new start",
    }
}

fn gunicorn() -> String {
    let mut text = String::from("\n## Gunicorn's settings\n\n");
    let count = |status| compat::rows().values().filter(|row| row.status == status).count();
    text.push_str(&format!(
        "Of Gunicorn's {} settings {} are the same here, {} differ, {} are accepted without effect, and {} are \
         refused.\n\n| Setting | Here | |\n|---|---|---|\n",
        compat::rows().len(),
        count(Status::Same),
        count(Status::Differs),
        count(Status::NoEffect),
        count(Status::Refused),
    ));
    for (name, row) in compat::rows() {
        let (status, words) = described(row);
        text.push_str(&format!("| {name} | {status} | {} |\n", escaped(&words).replace('|', "\\|")));
    }
    text
}

fn described(row: &Row) -> (&'static str, String) {
    match row.status {
        Status::Same => ("same", row.idle.clone()),
        Status::Differs => ("differs", format!("{} (why: {})", row.how, row.why)),
        Status::NoEffect => ("no effect", row.why.clone()),
        Status::Refused => ("refused", format!("{}; instead: {}", row.why, row.instead)),
    }
}

/// A `*` or `_` of the text's is no emphasis.
fn escaped(text: &str) -> String {
    text.replace('*', "\\*").replace('_', "\\_").replace('[', "\\[")
}

/// Code in Markdown, also when it has backquotes in it.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
