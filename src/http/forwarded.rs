//! What does a trusted proxy say about its client? Scheme headers, X-Forwarded-*, RFC 7239.
//!
//! Must not know: settings by name, sockets, which of these answers is used.
//!
//! Everything here is to be asked only when [`AddrSet::trusts`] the peer. Proxies append on the
//! right: what stands there was said by the peer itself, what stands left of it was said to the
//! proxy. So chains are walked from the right, and only as far as the proxies are trusted.
//!
//! Invariants:
//! 1. A word left of the first untrusted or unreadable hop changes nothing.
//! 2. Two words that contradict each other are refused, never chosen from.

use std::net::{IpAddr, SocketAddr};

pub use super::addr_set::{AddrSet, AddrSetError};
use super::error::{Refusal, RefusalKind};
use super::fields::{elements, is_token, is_value_byte, trim};
use super::framing::decimal;
use super::head::{Head, Known};
use super::host;

/// One of `secure_scheme_headers`: this name with this value means https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeHeader {
    name: String,
    value: String,
    kind: Known,
}

impl SchemeHeader {
    /// The field of this name says https with this value, and http with any other; both are
    /// compared without case.
    pub fn new(name: &str, value: &str) -> Self {
        SchemeHeader { name: name.to_owned(), value: value.to_owned(), kind: Known::of(name.as_bytes()) }
    }

    /// The field's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value that means https.
    pub fn value(&self) -> &str {
        &self.value
    }

    fn is_absent(&self, head: &Head) -> bool {
        self.kind != Known::Other && !head.has(self.kind)
    }
}

/// Whether a trusted peer says https (`Some(true)`), http, or nothing. Fields that disagree are
/// refused.
pub fn scheme(head: &Head, bytes: &[u8], headers: &[SchemeHeader]) -> Result<Option<bool>, Refusal> {
    let mut said = None;
    for header in headers.iter().filter(|header| !header.is_absent(head)) {
        for value in head.find(bytes, &header.name) {
            let https = value.eq_ignore_ascii_case(header.value.as_bytes());
            if said.replace(https).is_some_and(|before| before != https) {
                return Err(RefusalKind::SchemeConflict.into());
            }
        }
    }
    Ok(said)
}

/// The mount prefix a trusted peer says (its SCRIPT_NAME field), without a trailing slash.
pub fn script_name<'b>(head: &Head, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Refusal> {
    prefix_of(head, bytes, Known::ScriptName)
}

/// The mount prefix of X-Forwarded-Prefix, without a trailing slash.
pub fn prefix<'b>(head: &Head, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Refusal> {
    prefix_of(head, bytes, Known::XForwardedPrefix)
}

fn prefix_of<'b>(head: &Head, bytes: &'b [u8], kind: Known) -> Result<Option<&'b [u8]>, Refusal> {
    let mut said: Option<&[u8]> = None;
    for value in head.of_kind(bytes, kind) {
        let path = value.strip_suffix(b"/").unwrap_or(value);
        if !path.is_empty() && !path.starts_with(b"/") || said.is_some_and(|before| before != path) {
            return Err(Refusal::quoting(RefusalKind::Forwarded, value));
        }
        said = Some(path);
    }
    Ok(said)
}

/// The host the client asked for, of X-Forwarded-Host: the last, which the peer itself said.
pub fn forwarded_host<'b>(head: &Head, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, Refusal> {
    let said = last(head, bytes, Known::XForwardedHost);
    match said {
        Some(value) if !host::is_valid(value) => Err(Refusal::quoting(RefusalKind::Forwarded, value)),
        _ => Ok(said),
    }
}

/// The port the client connected to, of X-Forwarded-Port: the last, which the peer itself said.
pub fn forwarded_port(head: &Head, bytes: &[u8]) -> Result<Option<u16>, Refusal> {
    let Some(value) = last(head, bytes, Known::XForwardedPort) else { return Ok(None) };
    let port = decimal(value).and_then(|port| u16::try_from(port).ok());
    port.map(Some).ok_or_else(|| Refusal::quoting(RefusalKind::Forwarded, value))
}

fn last<'b>(head: &Head, bytes: &'b [u8], kind: Known) -> Option<&'b [u8]> {
    head.of_kind(bytes, kind).next_back().and_then(|value| elements(value).next_back())
}

/// The client behind the trusted proxies, by X-Forwarded-For. `None`: nothing was said that can
/// be read.
pub fn client(head: &Head, bytes: &[u8], trusted: &AddrSet) -> Option<IpAddr> {
    let chain = head.of_kind(bytes, Known::XForwardedFor).rev().flat_map(|value| elements(value).rev());
    let mut client = None;
    for node in chain {
        // What cannot be read was not written by a proxy we understand: no further.
        let Some(address) = address(node) else { break };
        client = Some(address);
        if !trusted.contains(address) {
            break;
        }
    }
    client
}

/// One hop of a Forwarded field (RFC 7239 section 4): how the proxy that wrote it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hop {
    /// `for`: who asked; `None` if it is unknown or obfuscated.
    pub client: Option<IpAddr>,
    /// `proto`: the scheme it was asked with.
    pub proto: Option<Vec<u8>>,
    /// `host`: the Host it was asked for.
    pub host: Option<Vec<u8>>,
}

/// The hop between the client and the first trusted proxy, by Forwarded. `None`: there is no such
/// field. A field outside its grammar is refused.
pub fn first_hop(head: &Head, bytes: &[u8], trusted: &AddrSet) -> Result<Option<Hop>, Refusal> {
    let mut hops = Vec::new();
    for value in head.of_kind(bytes, Known::Forwarded) {
        parse_hops(value, &mut hops).ok_or_else(|| Refusal::quoting(RefusalKind::Forwarded, value))?;
    }
    let mut found = None;
    for hop in hops.into_iter().rev() {
        let goes_on = hop.client.is_some_and(|address| trusted.contains(address));
        found = Some(hop);
        if !goes_on {
            break;
        }
    }
    Ok(found)
}

/// `1#( [ pair ] *( ";" [ pair ] ) )`, RFC 7239 section 4.
fn parse_hops(value: &[u8], hops: &mut Vec<Hop>) -> Option<()> {
    for element in split_unquoted(value, b',') {
        let element = trim(element?);
        if element.is_empty() {
            continue;
        }
        let (mut hop, mut seen) = (Hop::default(), Vec::new());
        for pair in split_unquoted(element, b';') {
            let pair = trim(pair?);
            if pair.is_empty() {
                continue;
            }
            let equals = memchr::memchr(b'=', pair)?;
            let (name, value) = (pair[..equals].to_ascii_lowercase(), unquote(&pair[equals + 1..])?);
            // Each parameter at most once.
            if !is_token(&name) || seen.contains(&name) {
                return None;
            }
            match name.as_slice() {
                b"for" => hop.client = address(&value),
                b"proto" => hop.proto = Some(value),
                b"host" => hop.host = host::is_valid(&value).then_some(Some(value))?,
                _ => {}
            }
            seen.push(name);
        }
        hops.push(hop);
    }
    Some(())
}

/// Splits at `separator`, but not inside quoted strings. `None` for a string that is not closed.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let (mut quoted, mut escaped) = (false, false);
        for (at, &byte) in text.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if byte == separator && !quoted => {
                    rest = Some(&text[at + 1..]);
                    return Some(Some(&text[..at]));
                }
                _ => {}
            }
        }
        Some((!quoted).then_some(text))
    })
}

/// `token / quoted-string`, RFC 9110 section 5.6.4.
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let [b'"', inner @ .., b'"'] = text else {
        return is_token(text).then(|| text.to_vec());
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        let plain = match byte {
            b'\\' => *bytes.next()?,
            b'"' => return None,
            byte => byte,
        };
        out.push(is_value_byte(plain).then_some(plain)?);
    }
    Some(out)
}

/// An address, also with a port behind it; IPv6 also in brackets.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    // An obfuscated port (RFC 7239 section 6) hides no address.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if port.starts_with('_') => (host, port),
        _ => (text, "_"),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let known = bare.or_else(|| (port != "_").then_some(host))?;
    known.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
#[path = "tests_forwarded.rs"]
mod tests;
