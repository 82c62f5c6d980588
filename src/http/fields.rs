//! What is on one field line, and is it a name we know? RFC 9112 section 5.
//!
//! Must not know: what a field means for the message; lines before and after this one.
//!
//! Invariants:
//! 1. A [`Field`]'s name is a token, its value has no control characters but HTAB and no
//!    whitespace around it.
//! 2. A [`Known`] name is decided by length and first byte before any comparison; an
//!    underscore never matches a hyphen.

/// A range of the caller's buffer. Four bytes each: heads are far smaller than 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// The span from `start` to `end`; empty if they are out of order.
    pub fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, len: end.saturating_sub(start) as u32 }
    }

    /// The bytes of this span in `bytes`; empty if it does not lie within.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end()).unwrap_or_default()
    }

    /// Offset behind the last byte.
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One field line, as spans into the bytes of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name, in the case it came in.
    pub name: Span,
    /// The value without whitespace around it.
    pub value: Span,
    /// Which well-known name it is.
    pub kind: Known,
}

macro_rules! known {
    ($($kind:ident $name:literal,)*) => {
        /// The field names this server or its door has a use for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        #[repr(u8)]
        pub enum Known {
            /// Any other name.
            #[default]
            Other,
            $(#[doc = concat!("`", $name, "`")] $kind,)*
        }

        impl Known {
            /// Every known name, in lower case, with its kind.
            pub const TABLE: &'static [(&'static str, Known)] = &[$(($name, Known::$kind),)*];
        }
    };
}

known! {
    Accept "accept",
    AcceptEncoding "accept-encoding",
    AcceptLanguage "accept-language",
    Authorization "authorization",
    CacheControl "cache-control",
    Connection "connection",
    ContentLength "content-length",
    ContentType "content-type",
    Cookie "cookie",
    Expect "expect",
    Forwarded "forwarded",
    Host "host",
    Origin "origin",
    Proxy "proxy",
    Referer "referer",
    ScriptName "script_name",
    TransferEncoding "transfer-encoding",
    Upgrade "upgrade",
    UserAgent "user-agent",
    XForwardedFor "x-forwarded-for",
    XForwardedHost "x-forwarded-host",
    XForwardedPort "x-forwarded-port",
    XForwardedPrefix "x-forwarded-prefix",
    XForwardedProto "x-forwarded-proto",
    XForwardedProtocol "x-forwarded-protocol",
    XForwardedSsl "x-forwarded-ssl",
    XRealIp "x-real-ip",
}
