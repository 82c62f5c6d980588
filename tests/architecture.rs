//! Is the house still built as it was drawn?
//!
//! Reads `src/` as text and holds it against the plan: which room may import which, where Python
//! and `unsafe` may stand, a header in every file, and sizes a reader can take in. Must not know
//! what any of the code does.
//!
//! Invariants:
//! 1. Every rule is checked for every file; a failure names all offenders, not the first.
//! 2. Comments, literals and test modules are blanked before code is looked at, never moved: line
//!    numbers in complaints are those of the file.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be read fails it, helpers included")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What wires the rooms together may import all of them.
const COMPOSITION: &[&str] = &["lib", "cli", "root", "wiring"];

/// Who may import whom. A room that is not listed may import nothing.
const EDGES: &[(&str, &[&str])] = &[
    ("python", &["door", "http", "config", "log"]),
    ("worker", &["door", "http", "config", "log", "metrics", "system"]),
    ("master", &["door", "config", "log", "metrics", "system"]),
    ("status", &["http", "log", "metrics", "system"]),
    ("log", &["config", "system"]),
    ("metrics", &["config", "system"]),
    ("door", &["config", "http"]),
    ("http", &[]),
    ("config", &[]),
    ("system", &[]),
    // The launcher is an executable of its own that links no Python, so it must not link the core.
    ("launcher", &[]),
    ("main", &["launcher"]),
];

/// Where `unsafe` may stand: the interpreter's interface, raw system calls, `dlopen` and `exec`.
const UNSAFE: &[&str] = &["python/", "system/raw.rs", "launcher/handover.rs"];

/// The extension module's entry: where the server begins, so it knows the composition root.
const ENTRY: &str = "python/module.rs";

/// Lines of a file, without its test modules.
const FILE_CAP: usize = 450;
/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_CAP: usize = 60;
/// Data, not code: as long as there are settings.
const UNCAPPED: &[&str] = &["config/table"];

/// Functions that are a table: one line for each setting, nothing else.
const TABLES: &[(&str, &str)] = &[("config/resolve.rs", "new")];

/// One source file.
struct Source {
    /// Relative to `src/`, with forward slashes.
    path: String,
    /// As it stands on disk.
    raw: String,
    /// The same length in lines, with comments, literals and test modules blanked.
    code: String,
    /// Whether it is a test module in a file of its own.
    test: bool,
}

impl Source {
    /// The room: the first directory, or the file at the top.
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// How many modules stand above its items: 1 for `log/mod.rs`, 2 for `log/sink.rs`.
    fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }
}

#[test]
fn imports_go_only_down() {
    let mut complaints = String::new();
    for source in sources().iter().filter(|source| !source.test) {
        let room = source.room();
        if COMPOSITION.contains(&room) || source.path == ENTRY {
            continue;
        }
        let allowed = EDGES.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, rooms)| rooms);
        for (line, target) in imports(source) {
            if target != room && !allowed.contains(&target.as_str()) {
                let _ = writeln!(complaints, "src/{}:{line}: {room} must not import {target}", source.path);
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn every_room_is_in_the_plan() {
    let planned: BTreeSet<&str> =
        EDGES.iter().map(|(room, _)| *room).chain(COMPOSITION.iter().copied()).collect();
    let unplanned: BTreeSet<String> = sources()
        .iter()
        .map(|s| s.room().to_owned())
        .filter(|room| !planned.contains(room.as_str()))
        .collect();
    assert!(unplanned.is_empty(), "rooms without a place in EDGES: {unplanned:?}");
}

#[test]
fn python_stands_behind_its_door() {
    let mut complaints = String::new();
    for source in sources().iter().filter(|source| source.room() != "python") {
        for offset in words(&source.code, "pyo3") {
            let _ = writeln!(
                complaints,
                "src/{}:{}: pyo3 outside src/python",
                source.path,
                source.line_of(offset)
            );
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn unsafe_stands_where_the_plan_says_and_gives_its_reason() {
    let mut complaints = String::new();
    for source in sources() {
        let allowed = UNSAFE.iter().any(|place| source.path.starts_with(place));
        let lines: Vec<&str> = source.raw.lines().collect();
        for offset in words(&source.code, "unsafe") {
            let line = source.line_of(offset);
            let what = source.code[offset + "unsafe".len()..].trim_start();
            if !allowed {
                let _ = writeln!(complaints, "src/{}:{line}: unsafe is not allowed here", source.path);
            }
            // `unsafe fn` and `unsafe extern` declare; blocks and impls claim.
            if (what.starts_with('{') || what.starts_with("impl")) && !explained(&lines, line) {
                let _ = writeln!(complaints, "src/{}:{line}: unsafe without a SAFETY line", source.path);
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn every_file_says_what_it_is() {
    let mut complaints = String::new();
    for source in sources() {
        if !source.raw.starts_with("//! ") {
            let _ = writeln!(complaints, "src/{}: does not start with a //! header", source.path);
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

#[test]
fn files_and_functions_can_be_taken_in() {
    let mut complaints = String::new();
    for source in sources().iter().filter(|source| !source.test) {
        let uncapped = UNCAPPED.iter().any(|place| source.path.starts_with(place));
        let lines = source.raw.lines().count() - test_lines(source);
        if lines > FILE_CAP && !uncapped {
            let _ = writeln!(complaints, "src/{}: {lines} lines, at most {FILE_CAP}", source.path);
        }
        for (line, name, length) in functions(source) {
            if length > FUNCTION_CAP && !TABLES.contains(&(source.path.as_str(), name.as_str())) {
                let _ = writeln!(
                    complaints,
                    "src/{}:{line}: fn {name} has {length} lines, at most {FUNCTION_CAP}",
                    source.path
                );
            }
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}");
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no sources under {}", root.display());
    paths
        .into_iter()
        .map(|path| {
            let raw = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            let file = path.rsplit('/').next().unwrap_or_default();
            let test = file == "tests.rs" || file.starts_with("tests_") || path.contains("/tests/");
            let code = blank_test_modules(&blank_literals(&raw));
            Source { path, raw, code, test }
        })
        .collect()
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The rooms a file names: after `crate::`, in a group after `crate::{`, after enough `super::` to
/// reach the top, and the core's own name.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for offset in words(code, "crate") {
        if let Some(rest) = code[offset..].strip_prefix("crate::") {
            found.extend(first_names(rest).into_iter().map(|name| (source.line_of(offset), name)));
        }
    }
    for offset in words(code, "super") {
        let climbs = chain(&code[offset..]);
        let continues = code[..offset].ends_with("super::");
        if !continues && climbs >= source.depth() {
            let rest = &code[offset + climbs * "super::".len()..];
            found.extend(first_names(rest).into_iter().map(|name| (source.line_of(offset), name)));
        }
    }
    for offset in words(code, "rwsgi_core") {
        found.push((source.line_of(offset), "rwsgi_core".to_owned()));
    }
    found
}

/// How many `super::` stand in a row at the start.
fn chain(code: &str) -> usize {
    let mut rest = code;
    let mut count = 0;
    while let Some(next) = rest.strip_prefix("super::") {
        rest = next;
        count += 1;
    }
    count
}

/// The first name of a path, or of each path of a `{...}` group.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return Some(leading_name(path)).filter(|name| !name.is_empty()).into_iter().collect();
    };
    let mut names = Vec::new();
    let (mut depth, mut fresh) = (0usize, true);
    for (offset, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => break,
            b'}' => depth -= 1,
            b',' if depth == 0 => fresh = true,
            _ if fresh && depth == 0 && is_word(byte) => {
                names.push(leading_name(&group[offset..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// A SAFETY line close above (attributes and the start of the statement may stand between), or on the line itself.
fn explained(lines: &[&str], line: usize) -> bool {
    lines[line.saturating_sub(9)..line].iter().any(|text| text.contains("SAFETY"))
}

/// (line, name, lines from `fn` to the closing brace) of every function with a body.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let code = &source.code;
    let mut found = Vec::new();
    for offset in words(code, "fn") {
        let name = leading_name(code[offset + 2..].trim_start());
        if name.is_empty() {
            continue; // A function pointer's type.
        }
        if let Some(open) = body_of(code, offset) {
            let length = code[offset..matching(code, open)].matches('\n').count() + 1;
            found.push((source.line_of(offset), name, length));
        }
    }
    found
}

/// Where a function's body opens; `None` for a declaration.
fn body_of(code: &str, offset: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(offset) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The offset behind the brace that closes the one at `open`.
fn matching(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// How many lines the inline test modules take.
fn test_lines(source: &Source) -> usize {
    let literal_free = blank_literals(&source.raw);
    test_modules(&literal_free)
        .iter()
        .map(|&(from, to)| literal_free[from..to].matches('\n').count() + 1)
        .sum()
}

fn blank_test_modules(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (from, to) in test_modules(code) {
        bytes[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(bytes).unwrap()
}

/// Where items under `#[cfg(test)]` (or `all(test, ...)`) with a body begin and end.
fn test_modules(code: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (offset, _) in code.match_indices("#[cfg(") {
        let attribute = &code[offset..code[offset..].find(']').map_or(code.len(), |end| offset + end)];
        if words(attribute, "test").is_empty()
            || attribute.contains("not(test")
            || found.last().is_some_and(|l| offset < l.1)
        {
            continue;
        }
        if let Some(open) = body_of(code, offset + attribute.len() + 1) {
            found.push((offset, matching(code, open)));
        }
    }
    found
}

/// Offsets at which `word` stands as a whole identifier.
fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(offset, _)| offset)
        .filter(|&offset| offset == 0 || !is_word(bytes[offset - 1]))
        .filter(|&offset| bytes.get(offset + word.len()).is_none_or(|&byte| !is_word(byte)))
        .collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Replaces the inside of comments, strings and character literals by spaces; newlines stay.
fn blank_literals(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if let Some(end) = end {
            out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

/// The end of the comment or literal that begins at `at`, if one does.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let after_word = at > 0 && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest));
    }
    match rest[0] {
        b'"' => Some(at + quoted(rest)),
        b'r' | b'b' | b'c' if !after_word => raw_string(rest).map(|length| at + length),
        b'\'' => character(rest).map(|length| at + length),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The length of a string literal that begins with its quote.
fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `r"..."`, `r#"..."#`, `br"..."`, `cr"..."`; `None` for anything else that begins with these letters.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().position(|byte| !matches!(byte, b'b' | b'c' | b'r'))?;
    if prefix > 2 || rest[prefix - 1] != b'r' {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let closing = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    let body = prefix + hashes + 1;
    let length = rest[body..].windows(closing.len()).position(|window| window == closing)?;
    Some(body + length + closing.len())
}

/// The length of a character literal; `None` for a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|&byte| byte == b'\'')?;
        return Some(3 + end + 1);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(6)])
        .unwrap_or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).unwrap_or_default());
    let width = text.chars().next()?.len_utf8();
    (rest.get(1 + width) == Some(&b'\'')).then_some(1 + width + 1)
}

#[test]
fn the_reader_of_sources_is_not_fooled() {
    let tricky = r###"//! Header with unsafe.
use crate::{http::head, log, config::{self, kinds}};
const A: &str = "unsafe { } \" crate::worker";
const B: &str = r#"crate::master "quoted" unsafe"#;
const C: char = '"'; const D: char = '\''; const E: u8 = b'{';
/* unsafe /* nested */ crate::worker */
fn life<'a>(x: &'a str) -> [u8; 3] { super::system::call(x) }
#[cfg(test)]
mod tests {
    use crate::worker;
    fn long() { unsafe {} }
}
fn after() { crate::door::open() }
"###;
    let code = blank_test_modules(&blank_literals(tricky));
    assert_eq!(code.lines().count(), tricky.lines().count());
    let source = Source { path: "log/mod.rs".into(), raw: tricky.into(), code, test: false };
    let names: Vec<(usize, String)> = imports(&source);
    let names: BTreeSet<(usize, &str)> = names.iter().map(|(line, name)| (*line, name.as_str())).collect();
    assert_eq!(names, BTreeSet::from([(2, "http"), (2, "log"), (2, "config"), (7, "system"), (13, "door")]));
    assert!(words(&source.code, "unsafe").is_empty());
    assert_eq!(test_lines(&source), 5);
    let found: Vec<(usize, String, usize)> = functions(&source);
    assert_eq!(found, [(7, "life".to_owned(), 1), (13, "after".to_owned(), 1)]);
}
