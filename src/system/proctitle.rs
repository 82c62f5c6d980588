//! How does this process look in `ps`?
//!
//! Must not know what the title says. The argument area is found in /proc/self/stat (proc(5),
//! fields 48 and 49), because in an embedded interpreter nobody hands us the original argv.

use std::ffi::CString;
use std::fs;
use std::sync::OnceLock;

use super::raw;

/// Shows `title` as the command line, and its first word as the process name. A title longer
/// than the original command line is cut.
pub fn set_title(title: &str) {
    write(title);
    set_process_name(title.split(' ').next().unwrap_or(title));
}

/// The same with a title of the application's, whose beginning is the name, blanks and all: that
/// is what the package `setproctitle` does.
pub fn set_title_as_it_is(title: &str) {
    write(title);
    set_process_name(title);
}

/// What is shown as the command line: the title, as far as there was room, or what the process was
/// started with.
pub fn title() -> String {
    shown(&fs::read("/proc/self/cmdline").unwrap_or_default())
}

fn shown(cmdline: &[u8]) -> String {
    let length = cmdline.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&cmdline[..length]).replace('\0', " ")
}

fn write(title: &str) {
    static AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    let area = AREA.get_or_init(|| argument_area(&fs::read_to_string("/proc/self/stat").ok()?));
    if let Some((start, end)) = area {
        raw::overwrite_argv(*start, *end, title.as_bytes());
    }
}

/// Sets the name shown by `ps -o comm` and `top`; the kernel keeps 15 bytes.
fn set_process_name(title: &str) {
    let name: Vec<u8> = title.bytes().take_while(|byte| *byte != 0).take(15).collect();
    if let Ok(name) = CString::new(name) {
        // Cosmetic: a kernel that refuses leaves the old name.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Fields 48 and 49 of a stat line. The second field is in parentheses and may hold anything,
/// so counting starts after the last one.
fn argument_area(stat: &str) -> Option<(usize, usize)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let start = fields.next()?.parse().ok()?;
    let end = fields.next()?.parse().ok()?;
    (start != 0 && end > start).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_not_shown_and_arguments_stand_apart() {
        assert_eq!(shown(b"a title\0\0\0"), "a title");
        assert_eq!(shown(b"rwsgi\0app:app\0"), "rwsgi app:app");
        assert_eq!(shown(b""), "");
    }

    #[test]
    fn the_area_is_counted_from_the_last_parenthesis() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("123 (a) b) {}", fields.join(" "));
        assert_eq!(argument_area(&stat), Some((48, 49)));
        assert_eq!(argument_area("123 (x) S 1 2"), None);
    }
}
