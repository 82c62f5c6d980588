//! Whom do we believe about the client, and what do they say? Trust, X-Forwarded-*, RFC 7239.
//!
//! Must not know: settings by name, sockets.

use std::fmt;
use std::net::IpAddr;

use super::error::Refusal;
use super::head::Head;

/// A set of addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddrSet {
    all: bool,
}

/// An entry of an [`AddrSet`] that cannot be used; the operator is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddrSetError {
    /// The entry, as written.
    pub entry: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl fmt::Display for AddrSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.entry, self.reason)
    }
}

impl std::error::Error for AddrSetError {}

impl AddrSet {
    /// Reads `127.0.0.1,::1,10.0.0.0/8`, or `*` for everyone. Empty: no one.
    pub fn parse(text: &str) -> Result<Self, AddrSetError> {
        Ok(AddrSet { all: text == "*" })
    }

    /// Whether the address is in the set. IPv4 in IPv6 (`::ffff:a.b.c.d`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let _ = address;
        self.all
    }

    /// Whether a peer is trusted. `None` is a unix socket: its permissions have decided.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_none_or(|address| self.contains(address))
    }
}

/// One of `secure_scheme_headers`: this name with this value means https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeHeader {
    /// The field name; compared without case.
    pub name: String,
    /// The value that means https; anything else means http.
    pub value: String,
}

/// Whether a trusted peer says https (`Some(true)`), http, or nothing. Fields that disagree are refused.
pub fn scheme(head: &Head, bytes: &[u8], headers: &[SchemeHeader]) -> Result<Option<bool>, Refusal> {
    let _ = (head, bytes, headers);
    Ok(None)
}

/// The mount prefix a trusted peer says (its SCRIPT_NAME field), without a trailing slash.
pub fn script_name<'b>(head: &Head, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Refusal> {
    let _ = (head, bytes);
    Ok(None)
}
