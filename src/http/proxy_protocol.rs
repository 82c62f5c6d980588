//! Whose connection does a load balancer pass on? The PROXY protocol, versions 1 and 2.
//!
//! Must not know: whether the peer may send it; that is the caller's to check first.

use std::net::SocketAddr;

use super::error::Refusal;

/// Which versions are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
    /// Either.
    Auto,
}

/// Who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// No PROXY header: the bytes are the request's.
    Absent,
    /// The balancer speaks for itself (LOCAL), or does not know (UNKNOWN, UNSPEC, a unix
    /// socket): the peer stays who it is.
    Peer,
    /// The client behind the balancer.
    Client {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
}

/// Reads the header at the start of a connection. `None`: more bytes are needed. Otherwise who the
/// client is, and how many bytes the header took.
pub fn parse(input: &[u8], mode: Mode) -> Result<Option<(Source, usize)>, Refusal> {
    let _ = (input, mode);
    Ok(Some((Source::Absent, 0)))
}
