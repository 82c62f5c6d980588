//! What does an access line look like? Gunicorn's `access_log_format`, compiled once.
//!
//! `%(NAME)CONVERSION` is an atom, `%%` a percent sign, anything else is written as it is.
//! CONVERSION is Python's: `s`, or `d` and `f` for the atoms that are numbers, with flags, width
//! and precision before it (`%(D)08d`, `%(U)-30s`). Atoms: h l u t r m U q H s b B f a T M D L p,
//! and `{NAME}i`, `{NAME}o`, `{NAME}e` for a request field, a response field, an environ value.
//! An atom nobody knows is `-`, as with Gunicorn.
//!
//! Must not know: where lines go, how values are obtained (`access_line` writes them).
//!
//! Invariants:
//! 1. What compiles can be written: writing has no error.
//! 2. A format is one line: line breaks in it are refused.

use std::fmt;
use std::sync::Mutex;

use super::access_line::Stamp;
use super::clock::Zone;

/// Wider fields than this are a slip of the keyboard, and would cost memory per request.
const WIDEST: usize = 1000;

/// What the records must carry for a format. Field names are lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Request fields that will be asked for, `referer`, `user-agent` and `authorization` included.
    pub request_fields: Vec<String>,
    /// Response fields that will be asked for.
    pub response_fields: Vec<String>,
    /// Environ keys as the format spells them, in the order
    /// [`AccessRecord::environ`](super::AccessRecord::environ) has to follow. Gunicorn ignores
    /// case here: look for the key as it is, then in upper case, then in lower case.
    pub environ: Vec<String>,
}

/// Why a format was refused. The operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Character position in the format, from 1.
    pub position: usize,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.position, self.problem)
    }
}

impl std::error::Error for FormatError {}

/// A compiled format.
#[derive(Debug)]
pub struct AccessFormat {
    pub(super) segments: Vec<Segment>,
    pub(super) needs: Needs,
    pub(super) zone: Zone,
    /// The last second that was written out, and how.
    pub(super) stamp: Mutex<Stamp>,
}

#[derive(Debug)]
pub(super) enum Segment {
    Literal(Box<[u8]>),
    Atom(Atom),
    Formatted(Atom, Spec),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    RemoteAddr,
    Unknown,
    User,
    Time,
    RequestLine,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    Length,
    Seconds,
    Millis,
    Micros,
    DecimalSeconds,
    Pid,
    Request(Box<str>),
    Response(Box<str>),
    Environ(usize),
}

/// Flags, width and precision of a conversion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spec {
    pub left: bool,
    pub zero: bool,
    /// `+` or a space before numbers.
    pub sign: Option<u8>,
    pub width: usize,
    pub precision: Option<usize>,
    pub conversion: Conversion,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Conversion {
    #[default]
    Text,
    Integer,
    Fixed,
}

impl AccessFormat {
    /// Apache's combined format, Gunicorn's default.
    pub const DEFAULT: &'static str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Compiles a format. Times will be local.
    pub fn compile(format: &str) -> Result<AccessFormat, FormatError> {
        AccessFormat::compile_in(format, Zone::local())
    }

    pub(super) fn compile_in(format: &str, zone: Zone) -> Result<AccessFormat, FormatError> {
        let mut compiler = Compiler { format, at: 0, segments: Vec::new(), needs: Needs::default() };
        compiler.run()?;
        let Compiler { segments, needs, .. } = compiler;
        Ok(AccessFormat { segments, needs, zone, stamp: Mutex::default() })
    }

    /// What records have to carry.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }
}

struct Compiler<'a> {
    format: &'a str,
    /// Byte position of what comes next.
    at: usize,
    segments: Vec<Segment>,
    needs: Needs,
}

impl Compiler<'_> {
    fn run(&mut self) -> Result<(), FormatError> {
        if let Some(at) = self.format.find(['\n', '\r']) {
            return Err(self.error(at, "a line break; one request is one line"));
        }
        let mut literal = String::new();
        while let Some(char) = self.next() {
            if char != '%' {
                literal.push(char);
            } else if self.take('%') {
                literal.push('%');
            } else {
                self.push_literal(&mut literal);
                let segment = self.atom()?;
                self.segments.push(segment);
            }
        }
        self.push_literal(&mut literal);
        Ok(())
    }

    fn push_literal(&mut self, literal: &mut String) {
        if !literal.is_empty() {
            self.segments.push(Segment::Literal(std::mem::take(literal).into_bytes().into()));
        }
    }

    /// After the `%`.
    fn atom(&mut self) -> Result<Segment, FormatError> {
        let start = self.at - 1;
        if !self.take('(') {
            return Err(self.error(start, "'%' without an atom; write %(h)s, or %% for a percent sign"));
        }
        let Some(length) = self.format[self.at..].find(')') else {
            return Err(self.error(start, "an atom without its closing ')'"));
        };
        let name = &self.format[self.at..self.at + length];
        self.at += length + 1;
        let spec = self.spec(name)?;
        let atom = self.named(name);
        let text = match &atom {
            Atom::Status | Atom::Length | Atom::Seconds | Atom::Millis | Atom::Micros | Atom::Unknown => None,
            _ => Some(name),
        };
        match (text, spec.conversion) {
            (Some(name), Conversion::Integer | Conversion::Fixed) => {
                Err(self.error(self.at - 1, &format!("'{name}' is text, not a number; write %({name})s")))
            }
            _ if spec == Spec::default() => Ok(Segment::Atom(atom)),
            // Whole numbers look the same either way.
            _ if spec == (Spec { conversion: Conversion::Integer, ..Spec::default() }) => {
                Ok(Segment::Atom(atom))
            }
            _ => Ok(Segment::Formatted(atom, spec)),
        }
    }

    /// After the `)`: flags, width, precision, length modifier, conversion.
    fn spec(&mut self, name: &str) -> Result<Spec, FormatError> {
        let mut spec = Spec::default();
        while let Some(flag) = self.peek().filter(|char| "-0+ ".contains(*char)) {
            self.at += 1;
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.sign = Some(b'+'),
                _ => spec.sign = spec.sign.or(Some(b' ')),
            }
        }
        spec.width = self.number()?.unwrap_or(0);
        if self.take('.') {
            spec.precision = Some(self.number()?.unwrap_or(0));
        }
        // Python ignores C's length modifiers.
        while self.peek().is_some_and(|char| "hlL".contains(char)) {
            self.at += 1;
        }
        let at = self.at;
        spec.conversion = match self.next() {
            Some('s') => Conversion::Text,
            Some('d' | 'i' | 'u') => Conversion::Integer,
            Some('f' | 'F') => Conversion::Fixed,
            Some(other) => {
                let problem = format!("'{other}' is no conversion; write %({name})s, or d or f for numbers");
                return Err(self.error(at, &problem));
            }
            None => {
                return Err(self.error(at, &format!("%({name}) without its conversion; write %({name})s")));
            }
        };
        Ok(spec)
    }

    fn number(&mut self) -> Result<Option<usize>, FormatError> {
        let start = self.at;
        while self.peek().is_some_and(|char| char.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = &self.format[start..self.at];
        match digits.parse::<usize>() {
            _ if digits.is_empty() => Ok(None),
            Ok(number) if number <= WIDEST => Ok(Some(number)),
            _ => Err(self.error(start, &format!("wider than {WIDEST} characters"))),
        }
    }

    fn named(&mut self, name: &str) -> Atom {
        let field = |needs: &mut Vec<String>, name: &str| {
            let name = name.to_ascii_lowercase();
            index_of(needs, &name);
            name.into_boxed_str()
        };
        match name {
            "h" => Atom::RemoteAddr,
            "u" => {
                field(&mut self.needs.request_fields, "authorization");
                Atom::User
            }
            "t" => Atom::Time,
            "r" => Atom::RequestLine,
            "m" => Atom::Method,
            "U" => Atom::Path,
            "q" => Atom::Query,
            "H" => Atom::Protocol,
            "s" => Atom::Status,
            "b" | "B" => Atom::Length,
            "f" => Atom::Request(field(&mut self.needs.request_fields, "referer")),
            "a" => Atom::Request(field(&mut self.needs.request_fields, "user-agent")),
            "T" => Atom::Seconds,
            "M" => Atom::Millis,
            "D" => Atom::Micros,
            "L" => Atom::DecimalSeconds,
            "p" => Atom::Pid,
            _ => match name.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')) {
                Some((name, "i")) => Atom::Request(field(&mut self.needs.request_fields, name)),
                Some((name, "o")) => Atom::Response(field(&mut self.needs.response_fields, name)),
                Some((name, "e")) => Atom::Environ(index_of(&mut self.needs.environ, name)),
                // Also `l`, the identity nobody asks for any more (RFC 1413).
                _ => Atom::Unknown,
            },
        }
    }

    fn peek(&self) -> Option<char> {
        self.format[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += char.len_utf8();
        Some(char)
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += if there { wanted.len_utf8() } else { 0 };
        there
    }

    fn error(&self, at: usize, problem: &str) -> FormatError {
        FormatError { position: self.format[..at].chars().count() + 1, problem: problem.to_owned() }
    }
}

/// Where `name` is in `names`; added when it is not.
fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

#[cfg(test)]
#[path = "access_format_tests.rs"]
mod tests;
