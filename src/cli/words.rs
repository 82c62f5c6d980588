//! Which words does this line of shell have?
//!
//! Must not know: options. It splits as Python's `shlex.split` does: quotes and backslashes, and
//! no variables, patterns or comments.
//!
//! Invariants:
//! 1. A quote or backslash without its end is an error, not a guess.

/// The words; `None`: a quote or backslash has no end.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next()?),
            '\'' => single(&mut chars, word.get_or_insert_default())?,
            '"' => double(&mut chars, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn single(chars: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '\'' => return Some(()),
            c => word.push(c),
        }
    }
}

fn double(chars: &mut std::str::Chars<'_>, word: &mut String) -> Option<()> {
    loop {
        match chars.next()? {
            '"' => return Some(()),
            // Between double quotes a backslash only quotes a quote or itself.
            '\\' => match chars.next()? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_as_shlex_does() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  a  b\tc\n", &["a", "b", "c"]),
            ("--name 'a b' x", &["--name", "a b", "x"]),
            (r#"--x="a b" '' "" "#, &["--x=a b", "", ""]),
            (r#""a\"b\\c\d""#, &[r#"a"b\c\d"#]),
            (r"a\ b \'", &["a b", "'"]),
            (r"'a\b'", &[r"a\b"]),
            ("a#b # c", &["a#b", "#", "c"]),
        ];
        for (line, expected) in cases {
            assert_eq!(split(line).unwrap(), expected, "{line:?}");
        }
        for open in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(open), None, "{open:?}");
        }
    }
}
