//! How much is too much, and what is tolerated? Two plain structs the configuration is
//! translated into; nothing here decides.
//!
//! Must not know: setting names, defaults of other rooms.
//!
//! Invariant: every budget is finite but for `body`, so that no peer can make the server
//! hold or scan without end.

/// The least the head budget is derived to.
const HEAD: usize = 64 * 1024;

/// Budgets for what one request may cost before the application sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line without its CRLF; over it: 414.
    pub request_line: usize,
    /// Field lines of a head; over it: 431.
    pub fields: usize,
    /// Bytes of one field line with its CRLF, and with its folded lines; over it: 431.
    pub field_size: usize,
    /// Bytes of a whole head with its last CRLF; over it: 431.
    pub head: usize,
    /// Bytes of a decoded body; over it: 413. `None`: no limit.
    pub body: Option<u64>,
    /// Bytes of one chunk size line with extensions, without its CRLF; over it: 400.
    pub chunk_line: usize,
    /// Bytes of all chunk extensions of one body; over it: 400.
    pub chunk_extensions: usize,
    /// Bytes of the whole trailer section; over it: 431.
    pub trailers: usize,
    /// Empty lines skipped before a request line; over it: 400.
    pub blank_lines: usize,
}

impl Limits {
    /// The three limits of Gunicorn's settings, with its meaning of zero, and the rest derived:
    /// a head may always hold the request line and four of the largest fields.
    pub fn derive(request_line: usize, fields: usize, field_size: usize) -> Self {
        let field_size = if field_size == 0 { 8190 } else { field_size };
        let fields = if fields == 0 || fields > 32768 { 32768 } else { fields };
        let wanted = request_line.saturating_add(field_size.saturating_mul(4));
        // Spans are 32 bits wide.
        let head = wanted.clamp(HEAD, u32::MAX as usize / 2);
        let request_line = if request_line == 0 { head } else { request_line };
        Limits { request_line, fields, field_size, head, ..Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_line: 8190,
            fields: 100,
            field_size: 8190,
            head: HEAD,
            body: None,
            chunk_line: 4096,
            chunk_extensions: 16 * 1024,
            trailers: 16 * 1024,
            blank_lines: 4,
        }
    }
}

/// What becomes of a field whose name contains `_`: as a CGI variable it could pose as the
/// field with `-`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderMap {
    /// Left out of the head.
    #[default]
    Drop,
    /// 400.
    Refuse,
    /// Let through; the application has to know what it does.
    Dangerous,
}

/// What is tolerated beyond the RFCs, by Gunicorn's names. The default tolerates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What to do with names that contain `_`.
    pub header_map: HeaderMap,
    /// Names with `_`, compared without case, that trusted peers may send all the same; `*` is all.
    pub forwarder_headers: Vec<String>,
    /// Leave `Forwarded` and `X-Forwarded-*` of untrusted peers out of the head.
    pub drop_untrusted_forwarded: bool,
    /// Join folded field lines with spaces instead of refusing them.
    pub permit_obsolete_folding: bool,
    /// Ignore whitespace before a field's colon instead of refusing it.
    pub strip_header_spaces: bool,
    /// Let any token be a method; otherwise 3 to 20 characters, no lower case, no `#`.
    pub permit_unconventional_http_method: bool,
    /// Let any `DIGIT.DIGIT` be a version.
    pub permit_unconventional_http_version: bool,
    /// Turn the method into upper case.
    pub casefold_http_method: bool,
    /// Connections are secured: an https target is right on them, whoever sends it.
    pub secured: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            header_map: HeaderMap::Drop,
            forwarder_headers: vec!["SCRIPT_NAME".to_owned(), "PATH_INFO".to_owned()],
            drop_untrusted_forwarded: false,
            permit_obsolete_folding: false,
            strip_header_spaces: false,
            permit_unconventional_http_method: false,
            permit_unconventional_http_version: false,
            casefold_http_method: false,
            secured: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_limits_leave_room_for_each_other() {
        assert_eq!(Limits::derive(8190, 100, 8190), Limits::default());
        let wide = Limits::derive(0, 0, 0);
        assert_eq!((wide.request_line, wide.fields, wide.field_size), (wide.head, 32768, 8190));
        let large = Limits::derive(8190, 100, 1 << 20);
        assert!(large.head > 4 << 20, "{large:?}");
        let absurd = Limits::derive(usize::MAX, usize::MAX, usize::MAX);
        assert!(absurd.head <= u32::MAX as usize, "spans are 32 bits wide");
    }
}
