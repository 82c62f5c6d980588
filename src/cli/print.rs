//! What is shown of a configuration?
//!
//! Must not know: how it came about.
//!
//! Invariants:
//! 1. What `--print-config` prints is a rwsgi.toml that means the same.

use crate::config::compat::{self, Status};
use crate::config::sheet::Line;
use crate::config::{Config, Origin};

/// Settings that say what to do now, not how to serve: no file says them.
const NOT_FOR_FILES: [&str; 3] = ["check_config", "config", "print_config"];

/// Every setting, sorted, with its value and origin.
pub fn print_config(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.setting.name.len()).max().unwrap_or(0);
    let mut rows: Vec<String> = lines.iter().map(|line| row(line, width)).collect();
    rows.sort_by(|a, b| a.trim_start_matches("# ").cmp(b.trim_start_matches("# ")));
    rows.concat()
}

fn row(line: &Line, width: usize) -> String {
    let name = line.setting.name;
    let no_setting = NOT_FOR_FILES.contains(&name) || !line.value.is_writable();
    let comment = if no_setting { "# " } else { "" };
    let width = width - comment.len().min(width);
    format!("{comment}{name:width$} = {}  # {}\n", line.value.toml(), line.origin)
}

/// What `--check-config` says of a configuration whose application could be loaded: the settings
/// somebody set that do not do quite what Gunicorn does. After `--print-config`, as comments: what
/// that prints is a configuration file.
pub fn check_config(config: &Config) -> String {
    let mark = if config.print_config { "# " } else { "" };
    let mut text = format!("{mark}The configuration is right.\n");
    let said = config.rows().iter().filter(|line| line.origin != Origin::Default);
    for line in said {
        let row = line.setting.gunicorn.and_then(|name| compat::rows().get(name));
        if let Some(row) = row.filter(|row| row.status == Status::Differs) {
            text.push_str(&format!(
                "{mark}{} ({}) differs from Gunicorn's: {}.\n",
                line.setting.name, line.origin, row.how
            ));
        }
    }
    text
}
