//! What does an access line look like? Gunicorn's `access_log_format`, compiled once.

use std::fmt;

use super::AccessRecord;

/// What the records must carry for a format. Names are lower case but for `environ`'s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Request fields that will be asked for, `referer`, `user-agent` and `authorization` included.
    pub request_fields: Vec<String>,
    /// Response fields that will be asked for.
    pub response_fields: Vec<String>,
    /// Environ keys, in the order [`AccessRecord::environ`] has to follow.
    pub environ: Vec<String>,
}

/// Why a format was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// Character position in the format, from 1.
    pub position: usize,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (character {})", self.problem, self.position)
    }
}

impl std::error::Error for FormatError {}

/// A compiled format.
pub struct AccessFormat {
    needs: Needs,
}

impl AccessFormat {
    /// Apache's combined format, Gunicorn's default.
    pub const DEFAULT: &'static str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Compiles a format.
    pub fn compile(_format: &str) -> Result<AccessFormat, FormatError> {
        Ok(AccessFormat { needs: Needs::default() })
    }

    /// What records have to carry.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Appends one line, without its line end.
    pub fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>) {
        out.extend_from_slice(record.method);
    }
}
