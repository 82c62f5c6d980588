//! How does a byte string from outside look in a log?
//!
//! Printable ASCII and printable characters in valid UTF-8 stay as they are. `"` and `\` get a
//! backslash. Everything else becomes `\xHH` byte for byte: control characters (C0, DEL and C1,
//! which a terminal obeys), what moves or reverses text on a screen, and invalid UTF-8.
//!
//! Must not know: which log it is for.
//!
//! Invariants:
//! 1. The result is valid UTF-8 without a control character, a line break or a bare `"`.
//! 2. Different byte strings stay different.

use std::fmt;

/// Bytes that need no look: printable ASCII but `"` and `\`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    plain
};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Shows bytes a peer sent so that they stay within one line and one pair of quotes.
pub fn escape(bytes: &[u8]) -> impl fmt::Display + '_ {
    Escaped(bytes)
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(self.0.len());
        push_escaped(&mut out, self.0);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// Appends bytes, escaped.
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| !PLAIN[usize::from(*byte)]) {
        let (plain, odd) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = &odd[push_odd(out, odd)..];
    }
    out.extend_from_slice(rest);
}

/// Appends the first character of `odd`, and says how many bytes it has.
fn push_odd(out: &mut Vec<u8>, odd: &[u8]) -> usize {
    let quoted = [b'\\', odd[0]];
    let (kept, length) = match (odd[0], first_char(odd)) {
        (b'"' | b'\\', _) => (&quoted[..], 1),
        (_, Some(char)) if !is_deceptive(char) => (&odd[..char.len_utf8()], char.len_utf8()),
        (_, Some(char)) => (&[][..], char.len_utf8()),
        (_, None) => (&[][..], 1),
    };
    out.extend_from_slice(kept);
    if kept.is_empty() {
        push_hex(out, &odd[..length]);
    }
    length
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
        out.extend_from_slice(&[b'\\', b'x', high, low]);
    }
}

fn first_char(bytes: &[u8]) -> Option<char> {
    let longest = &bytes[..bytes.len().min(4)];
    longest.utf8_chunks().next()?.valid().chars().next()
}

/// Whether a character acts on a terminal or on the order of the text around it.
pub fn is_deceptive(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Appends text of our own or the application's, line breaks and tabs included: a traceback. What
/// acts on a terminal is escaped here too, because exceptions quote what peers sent.
pub struct Text<'a>(pub &'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut kept = 0;
        for (at, char) in text.char_indices().filter(|(_, char)| is_deceptive(*char)) {
            if matches!(char, '\n' | '\t') {
                continue;
            }
            let end = at + char.len_utf8();
            self.0.extend_from_slice(&text.as_bytes()[kept..at]);
            push_hex(self.0, &text.as_bytes()[at..end]);
            kept = end;
        }
        self.0.extend_from_slice(&text.as_bytes()[kept..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn bytes_stay_within_one_line_and_one_pair_of_quotes() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"GET /a?b=c%20d", "GET /a?b=c%20d"),
            (b"say \"hi\"", r#"say \"hi\""#),
            (br"C:\x0a", r"C:\\x0a"),
            (b"a\nb\r\0\x1b[31m\x7f\t", r"a\x0ab\x0d\x00\x1b[31m\x7f\x09"),
            ("caf\u{e9} \u{65e5}\u{1f600}".as_bytes(), "caf\u{e9} \u{65e5}\u{1f600}"),
            // C1's CSI, a line separator, an override of direction, a byte order mark.
            ("\u{9b}2J".as_bytes(), r"\xc2\x9b2J"),
            ("\u{2028}\u{202e}\u{feff}".as_bytes(), r"\xe2\x80\xa8\xe2\x80\xae\xef\xbb\xbf"),
            // Latin-1, a cut sequence, an overlong form, a surrogate.
            (b"caf\xe9!", r"caf\xe9!"),
            (b"\xe6\x97", r"\xe6\x97"),
            (b"\xc0\x8a", r"\xc0\x8a"),
            (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ] {
            assert_eq!(escape(bytes).to_string(), text);
        }
    }

    #[test]
    fn any_byte_string_becomes_one_printable_line() {
        for seed in 0..2000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let bytes: Vec<u8> = (0..seed % 40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            let mut out = Vec::new();
            push_escaped(&mut out, &bytes);
            let text = String::from_utf8(out).expect("valid UTF-8");
            assert!(!text.chars().any(is_deceptive), "seed {seed}: {text:?}");
            let bare = text.replace("\\\\", "").replace("\\\"", "");
            assert!(!bare.contains('"'), "seed {seed}: {text:?}");
        }
    }

    #[test]
    fn text_keeps_its_lines_and_loses_its_terminal_codes() {
        let mut out = Vec::new();
        let mut text = Text(&mut out);
        text.write_str("Traceback:\n\t\"x\\y\" \u{1b}[2J\r caf\u{e9}\u{202e}").unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Traceback:\n\t\"x\\y\" \\x1b[2J\\x0d caf\u{e9}\\xe2\\x80\\xae"
        );
    }
}
