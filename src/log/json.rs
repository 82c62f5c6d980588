//! How are values written as JSON (RFC 8259) whatever bytes they are made of?
//!
//! Must not know: which document it is.
//!
//! Invariants:
//! 1. The result is valid UTF-8 on one line: what is no UTF-8 becomes U+FFFD, what acts on a
//!    terminal or on the order of text around it becomes `\uXXXX`.
//! 2. Nothing is allocated but what `out` needs to grow.

use super::clock::push_decimal;
use super::escape::is_deceptive;

/// Writes one document into a buffer. Brackets are the caller's to pair.
#[derive(Debug)]
pub struct JsonWriter<'a> {
    out: &'a mut Vec<u8>,
    /// No comma belongs before what comes next.
    first: bool,
}

impl<'a> JsonWriter<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        JsonWriter { out, first: true }
    }

    /// `{`
    pub fn object(&mut self) {
        self.open(b'{');
    }

    /// `[`
    pub fn array(&mut self) {
        self.open(b'[');
    }

    /// `}`
    pub fn end_object(&mut self) {
        self.close(b'}');
    }

    /// `]`
    pub fn end_array(&mut self) {
        self.close(b']');
    }

    /// The name of the value that comes next.
    pub fn key(&mut self, name: &str) {
        self.text(name.as_bytes());
        self.out.push(b':');
        self.first = true;
    }

    /// A string.
    pub fn text(&mut self, bytes: &[u8]) {
        self.item();
        self.out.push(b'"');
        push_text(self.out, bytes);
        self.out.push(b'"');
    }

    /// A number.
    pub fn number(&mut self, number: u64) {
        self.item();
        push_decimal(self.out, number, 1);
    }

    /// Microseconds, as seconds.
    pub fn seconds(&mut self, micros: u64) {
        self.number(micros / 1_000_000);
        self.out.push(b'.');
        push_decimal(self.out, micros % 1_000_000, 6);
    }

    /// `true` or `false`.
    pub fn flag(&mut self, flag: bool) {
        self.item();
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    /// `null`
    pub fn null(&mut self) {
        self.item();
        self.out.extend_from_slice(b"null");
    }

    /// A string written by the caller, who knows that nothing in it needs escaping.
    pub fn plain(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.item();
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    fn open(&mut self, bracket: u8) {
        self.item();
        self.out.push(bracket);
        self.first = true;
    }

    fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.first = false;
    }

    fn item(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }
}

fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    let odd = bytes.iter().position(|byte| !plain(byte)).unwrap_or(bytes.len());
    let (start, rest) = bytes.split_at(odd);
    out.extend_from_slice(start);
    for chunk in rest.utf8_chunks() {
        chunk.valid().chars().for_each(|char| push_char(out, char));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn push_char(out: &mut Vec<u8>, char: char) {
    match char {
        '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
        _ if is_deceptive(char) => {
            // All of them are in the basic plane.
            out.extend_from_slice(b"\\u");
            for shift in [12, 8, 4, 0] {
                let digit = (char as u32 >> shift & 15) as usize;
                out.push(b"0123456789abcdef"[digit]);
            }
        }
        _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        JsonWriter::new(&mut out).text(bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_valid_whatever_the_bytes() {
        for (bytes, shown) in [
            (&b""[..], r#""""#),
            (b"/a?b=c", r#""/a?b=c""#),
            (b"say \"hi\" \\", r#""say \"hi\" \\""#),
            (b"a\nb\0\x1b\x7f", r#""a\u000ab\u0000\u001b\u007f""#),
            ("caf\u{e9} \u{1f600}".as_bytes(), "\"caf\u{e9} \u{1f600}\""),
            ("\u{202e}\u{2028}\u{9b}".as_bytes(), r#""\u202e\u2028\u009b""#),
            (b"caf\xe9!", "\"caf\u{fffd}!\""),
        ] {
            assert_eq!(text(bytes), shown);
        }
    }

    #[test]
    fn commas_stand_between_values() {
        let mut out = Vec::new();
        let mut json = JsonWriter::new(&mut out);
        json.object();
        json.key("a");
        json.array();
        json.number(1);
        json.seconds(1_250_000);
        json.end_array();
        json.key("b");
        json.object();
        json.end_object();
        json.key("c");
        json.flag(true);
        json.key("d");
        json.null();
        json.key("e");
        json.plain(|out| out.extend_from_slice(b"x"));
        json.end_object();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":[1,1.250000],"b":{},"c":true,"d":null,"e":"x"}"#);
    }
}
