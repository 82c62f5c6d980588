//! Why was a peer refused? One kind per reason, its status, and a line that is safe to log.
//!
//! Must not know: what is done about it. The application's faults are
//! [`HeadError`](super::response::HeadError), not here.
//!
//! Invariants:
//! 1. A kind has exactly one status; the status is always 4xx or 5xx.
//! 2. Nothing a peer sent is kept unescaped: a [`Refusal`] prints as one line of printable ASCII.

use std::fmt;

/// How many bytes of what the peer sent are quoted in a [`Refusal`].
const QUOTED: usize = 64;

/// A peer broke the protocol, or asked for more than it may have. After the answer the
/// connection is closed (RFC 9112 section 9.6): what follows on it can no longer be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: u16,
    /// The reason, for counters and logs.
    pub kind: RefusalKind,
    /// What was at fault, escaped and cut short.
    pub detail: Option<Box<str>>,
}

impl Refusal {
    /// A refusal whose kind says it all.
    pub fn new(kind: RefusalKind) -> Self {
        Refusal { status: kind.status(), kind, detail: None }
    }

    /// A refusal that quotes the offending bytes, escaped and cut short.
    pub fn quoting(kind: RefusalKind, bytes: &[u8]) -> Self {
        Refusal { status: kind.status(), kind, detail: Some(escape(bytes).into_boxed_str()) }
    }
}

impl From<RefusalKind> for Refusal {
    fn from(kind: RefusalKind) -> Self {
        Refusal::new(kind)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.message())?;
        match &self.detail {
            Some(detail) => write!(f, ": '{detail}'"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Bytes of a peer as printable ASCII, cut short.
pub fn escape(bytes: &[u8]) -> String {
    let shown = bytes.get(..QUOTED).unwrap_or(bytes);
    let mut text = shown.escape_ascii().to_string();
    if shown.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $status:literal $name:literal $message:literal,)*) => {
        /// The reasons to refuse. [`RefusalKind::as_str`] names them in counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefusalKind { $($(#[$doc])* $kind,)* }

        impl RefusalKind {
            /// Every kind, for tables of counters.
            pub const ALL: &'static [RefusalKind] = &[$(RefusalKind::$kind,)*];

            /// The status this reason is answered with.
            pub fn status(self) -> u16 {
                match self { $(RefusalKind::$kind => $status,)* }
            }

            /// A stable name for counters and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(RefusalKind::$kind => $name,)* }
            }

            /// What an operator reads, without what the peer sent.
            pub fn message(self) -> &'static str {
                match self { $(RefusalKind::$kind => $message,)* }
            }
        }
    };
}

// One row per reason: variant, status, counter name, text. A table keeps the four together.
kinds! {
    /// More empty lines before a request than the budget has (RFC 9112 section 2.2).
    BlankLines 400 "blank_lines" "Too many empty lines before a request",
    /// A request line that is not `method SP target SP version` (RFC 9112 section 3).
    RequestLine 400 "request_line" "Invalid Request Line",
    /// A method that is no token, or not one we let through (RFC 9110 section 9.1).
    Method 400 "method" "Invalid Method",
    /// A target in none of the four forms (RFC 9112 section 3.2).
    Target 400 "target" "Invalid Request Target",
    /// A version that is not `HTTP/DIGIT.DIGIT` (RFC 9112 section 2.3).
    Version 400 "version" "Invalid HTTP Version",
    /// A version whose major number is not 1 (RFC 9110 section 15.6.6).
    VersionUnsupported 505 "version_unsupported" "HTTP Version Not Supported",
    /// A request line over its limit (RFC 9112 section 3).
    RequestLineTooLong 414 "request_line_too_long" "Request Line is too large",
    /// An https target on a connection that is not secured (RFC 9110 section 7.4).
    Misdirected 421 "misdirected" "An https target on a connection without TLS",
    /// A line that does not end in exactly CRLF (RFC 9112 section 2.2).
    LineEnd 400 "line_end" "Line does not end in CRLF",
    /// A field line without a colon (RFC 9112 section 5).
    FieldLine 400 "field_line" "Invalid HTTP Header",
    /// A field name that is empty or no token (RFC 9110 section 5.1).
    FieldName 400 "field_name" "Invalid HTTP header name",
    /// Whitespace between a field name and its colon (RFC 9112 section 5.1).
    SpaceBeforeColon 400 "space_before_colon" "Whitespace before the colon of a header",
    /// A field value with control characters (RFC 9110 section 5.5).
    FieldValue 400 "field_value" "Invalid HTTP header value",
    /// A continuation line, or whitespace before the first field (RFC 9112 sections 2.2 and 5.2).
    Folding 400 "folding" "Obsolete line folding is unacceptable",
    /// A field name with an underscore, where the policy says refuse.
    Underscore 400 "underscore" "Header name contains an underscore",
    /// A field line over its limit (RFC 6585 section 5).
    FieldTooLarge 431 "field_too_large" "Header is too large",
    /// More fields than the limit (RFC 6585 section 5).
    TooManyFields 431 "too_many_fields" "Too many headers",
    /// A head over the budget for the whole of it (RFC 6585 section 5).
    HeadTooLarge 431 "head_too_large" "Headers are too large in total",
    /// HTTP/1.1 without Host (RFC 9112 section 3.2).
    HostMissing 400 "host_missing" "Missing Host header",
    /// More than one Host (RFC 9112 section 3.2).
    HostRepeated 400 "host_repeated" "More than one Host header",
    /// A Host, or an authority in the target, outside its grammar (RFC 9112 section 3.2).
    HostInvalid 400 "host_invalid" "Invalid Host",
    /// More than one Content-Type (RFC 9110 section 5.3).
    ContentTypeRepeated 400 "content_type_repeated" "More than one Content-Type header",
    /// A Content-Length that is no decimal number we can hold (RFC 9112 section 6.3 rule 5).
    ContentLength 400 "content_length" "Invalid Content-Length",
    /// More than one Content-Length, equal or not (RFC 9112 section 6.3 rule 5).
    ContentLengthRepeated 400 "content_length_repeated" "More than one Content-Length header",
    /// A body announced or sent beyond its limit (RFC 9110 section 15.5.14).
    BodyTooLarge 413 "body_too_large" "Request body is too large",
    /// Transfer-Encoding together with Content-Length (RFC 9112 section 6.3 rule 3).
    LengthConflict 400 "length_conflict" "Both Transfer-Encoding and Content-Length",
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1).
    TransferEncodingVersion 400 "transfer_encoding_version" "Transfer-Encoding in an HTTP/1.0 request",
    /// A Transfer-Encoding whose last coding is not chunked, once (RFC 9112 section 6.3 rule 4).
    TransferEncoding 400 "transfer_encoding" "Invalid Transfer-Encoding",
    /// A transfer coding we do not know before chunked (RFC 9112 section 6.1).
    TransferCodingUnknown 501 "transfer_coding_unknown" "Unsupported transfer coding",
    /// An expectation we cannot meet (RFC 9110 section 10.1.1).
    Expectation 417 "expectation" "Unable to comply with expectation",
    /// A chunk size line outside its grammar (RFC 9112 section 7.1).
    ChunkSize 400 "chunk_size" "Invalid chunk size",
    /// A chunk size we cannot hold (RFC 9112 section 7.1).
    ChunkOverflow 400 "chunk_overflow" "Chunk size is too large",
    /// Chunk extensions outside their grammar (RFC 9112 section 7.1.1).
    ChunkExtension 400 "chunk_extension" "Invalid chunk extension",
    /// Chunk extensions beyond their budget (RFC 9112 section 7.1.1).
    ChunkExtensionsTooLarge 400 "chunk_extensions_too_large" "Chunk extensions are too large",
    /// Chunk data not followed by CRLF (RFC 9112 section 7.1).
    ChunkEnd 400 "chunk_end" "Chunk data is not followed by CRLF",
    /// A trailer field outside its grammar (RFC 9112 section 7.1.2).
    Trailer 400 "trailer" "Invalid trailer",
    /// Trailers beyond their budget (RFC 6585 section 5).
    TrailersTooLarge 431 "trailers_too_large" "Trailers are too large",
    /// The connection ended inside a head (RFC 9112 section 8).
    IncompleteHead 400 "incomplete_head" "Connection ended inside a request head",
    /// The connection ended inside a body (RFC 9112 section 8).
    IncompleteBody 400 "incomplete_body" "Connection ended inside a request body",
    /// Two trusted fields that contradict each other, or one that cannot be read.
    Forwarded 400 "forwarded" "Contradictory or invalid forwarding headers",
    /// Scheme headers that disagree.
    SchemeConflict 400 "scheme_conflict" "Contradictory scheme headers",
    /// A path outside the mount prefix that was configured, or said by a trusted peer.
    ScriptName 500 "script_name" "Configuration problem: the request path lacks the SCRIPT_NAME prefix",
    /// A PROXY header that is malformed.
    ProxyHeader 400 "proxy_header" "Invalid PROXY header",
    /// A PROXY header from a peer that may not send one.
    ProxyForbidden 403 "proxy_forbidden" "PROXY header from a peer that may not send one",
    /// Plain HTTP where TLS is spoken.
    PlainHttp 400 "plain_http" "Plain HTTP was sent to a port that speaks TLS: use https",
    /// A TLS handshake that failed. Nothing can be answered: only counted.
    TlsHandshake 400 "tls_handshake" "The TLS handshake failed",
}
