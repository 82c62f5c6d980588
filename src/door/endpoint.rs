//! Who talks to whom in an exchange, as environ will say it?
//!
//! Must not know: how it was found out, who was believed.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::http::head::Head;

/// The two ends of an exchange as CGI variables see them (RFC 3875 section 4.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `wsgi.url_scheme` is https.
    pub https: bool,
    /// REMOTE_ADDR; empty for a unix socket.
    pub remote_addr: Box<str>,
    /// REMOTE_PORT; `None` for a unix socket.
    pub remote_port: Option<u16>,
    /// SERVER_NAME; as a rule the listener's, shared by all its connections.
    pub server_name: Arc<str>,
    /// SERVER_PORT.
    pub server_port: Arc<str>,
    /// The mount prefix, without a trailing slash; cut off PATH_INFO.
    pub script_name: Box<[u8]>,
    /// A prefix the proxy has cut off the path already. SCRIPT_NAME is this and `script_name`.
    pub outer: Box<[u8]>,
    /// What a trusted proxy says its client's Host was; in place of HTTP_HOST.
    pub host: Option<Box<[u8]>>,
    /// What a PROXY header said.
    pub proxied: Option<Box<Proxied>>,
}

/// What a PROXY header said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// PROXY_PROTOCOL: TCP4, TCP6, or why no client is named: LOCAL, UNSPEC, UNKNOWN.
    pub protocol: &'static str,
    /// PROXY_ADDR and PROXY_PORT.
    pub destination: Option<SocketAddr>,
}

/// A request that the server has answered itself.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Its head, as far as it was read: method and target at the least.
    pub head: &'a Head,
    /// What the head's spans index.
    pub bytes: &'a [u8],
    /// The two ends of its connection.
    pub endpoint: &'a Endpoint,
    /// The status of the answer.
    pub status: u16,
    /// Which request of its connection it is; one whose head is not complete is not counted.
    pub number: u64,
}
