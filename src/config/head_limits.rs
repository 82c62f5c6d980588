//! How long may a request head be, in all its parts?
//!
//! Must not know: requests.
//!
//! Invariants:
//! 1. Gunicorn's rules: what 0 stands for, and the ceilings.
//! 2. The whole is bounded even where a part is not.

use super::error::ConfigError;
use super::resolve::field;
use super::sheet::Sheet;

/// Gunicorn's ceilings, and what 0 stands for.
const LONGEST_REQUEST_LINE: usize = 8190;
const MOST_REQUEST_FIELDS: usize = 32_768;
const DEFAULT_FIELD_SIZE: usize = 8190;

/// The limits of a request head, which depend on each other.
pub(super) struct HeadLimits {
    /// Request line without CRLF.
    pub line: Option<usize>,
    /// Number of fields.
    pub fields: usize,
    /// One field line.
    pub field_size: usize,
    /// All of it.
    pub head: usize,
}

impl HeadLimits {
    /// From what the sheet says.
    pub fn of(sheet: &Sheet) -> Result<Self, ConfigError> {
        let line = field::<Option<usize>>(sheet, "limit_request_line")?.map(|n| n.min(LONGEST_REQUEST_LINE));
        let fields = match field::<usize>(sheet, "limit_request_fields")? {
            0 => MOST_REQUEST_FIELDS,
            most => most.min(MOST_REQUEST_FIELDS),
        };
        let field_size = match field(sheet, "limit_request_field_size")? {
            0 => DEFAULT_FIELD_SIZE,
            longest => longest,
        };
        // Gunicorn's bound for all fields, each with its line end, and the empty line after them.
        let derived = fields.saturating_mul(field_size.saturating_add(2)).saturating_add(4);
        let derived = derived.saturating_add(line.unwrap_or(LONGEST_REQUEST_LINE) + 2);
        let head = field::<Option<usize>>(sheet, "limit_request_head")?.unwrap_or(derived);
        Ok(Self { line, fields, field_size, head })
    }
}
