//! What is known about a finished exchange when its access line is written?
//!
//! Must not know: how a line looks (`access_format`), where it goes (`sink`), or what types the
//! server keeps its heads in: everything is borrowed as plain bytes.
//!
//! Invariants:
//! 1. Every field is as the peer or the application gave it, undecoded and unescaped; decoding
//!    and escaping happen once, when the line is written.

use std::time::Duration;

/// Header fields looked up by name. Implemented by whoever holds a head.
pub trait Fields {
    /// The value of the last field of this name. `name` is lower case; the comparison ignores case.
    fn last(&self, name: &str) -> Option<&[u8]>;
}

/// No fields at all, for lines about requests that were never understood.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFields;

impl Fields for NoFields {
    fn last(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn last(&self, name: &str) -> Option<&[u8]> {
        let found = self.iter().rev().find(|(n, _)| n.as_ref().eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.as_ref())
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for Vec<(N, V)> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        Fields::last(self.as_slice(), name)
    }
}

/// Where the time of an exchange went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// In front of this server, by a trusted peer's word.
    pub queue: Option<Duration>,
    /// From its head to the end of its body.
    pub receive: Duration,
    /// For a thread.
    pub wait: Duration,
    /// In the application; measured only where somebody asks for it.
    pub application: Duration,
    /// Until the client had taken the rest.
    pub write: Duration,
}

/// One finished exchange. Empty byte strings mean "not known" and are written as `-`.
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// REMOTE_ADDR after trust has been decided; empty for a unix socket.
    pub remote_addr: &'a str,
    /// The method; empty when no request line was understood.
    pub method: &'a [u8],
    /// The request target as it was sent.
    pub target: &'a [u8],
    /// The path as it was sent, percent-encoded.
    pub path: &'a [u8],
    /// The query, without its `?`.
    pub query: &'a [u8],
    /// The protocol, `HTTP/1.1`.
    pub version: &'a str,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of the request body.
    pub request_length: u64,
    /// Body bytes sent, without framing.
    pub response_length: u64,
    /// From the complete request to the last byte handed to the kernel.
    pub duration: Duration,
    /// Where its time went.
    pub phases: Phases,
    /// Its id; empty where there are none.
    pub request_id: &'a str,
    /// Wall clock, milliseconds since the epoch.
    pub now_ms: u64,
    /// The worker's process id.
    pub pid: u32,
    /// Request fields; only those in [`Needs::request_fields`](super::Needs) are asked for.
    pub request: &'a dyn Fields,
    /// Response fields the application set; only those in [`Needs::response_fields`](super::Needs).
    pub response: &'a dyn Fields,
    /// Environ values in the order of [`Needs::environ`](super::Needs); a missing entry is `-`.
    pub environ: &'a [Option<String>],
}
