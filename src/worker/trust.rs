//! What is believed of what a peer says about its own client? Scheme, mount prefix, server name,
//! and, where the operator asked for it, address, host and port.
//!
//! Must not know: how fields are parsed.
//!
//! Invariants:
//! 1. An untrusted peer's request leaves the endpoint as the sockets say it.
//! 2. What one request said is forgotten before the next one on the connection is looked at, unless
//!    that one has the same field lines.
//! 3. Two words that contradict each other are refused, never chosen from.

use super::conn::Conn;
use super::settings::{Said, WorkerSettings};
use crate::door::Endpoint;
use crate::http::error::{Refusal, RefusalKind};
use crate::http::forwarded::{self, Hop};
use crate::http::head::{Head, Known};
use crate::http::host;
use crate::http::target::percent_decode;

/// Fills in the endpoint for the request whose head is `bytes`.
pub fn decide(settings: &WorkerSettings, conn: &mut Conn, bytes: &[u8]) -> Result<(), Refusal> {
    // Only the fields say something, and the same ones were judged for the request before. A mount
    // prefix is held against each path.
    if conn.http.head().same_fields && conn.endpoint.script_name.is_empty() {
        return Ok(());
    }
    if let Some(sockets) = &conn.sockets {
        conn.endpoint.clone_from(sockets);
    }
    let head = conn.http.head();
    let source = head.source(bytes);
    let mut script_name = settings.script_name.as_bytes();
    if conn.trusted {
        let said = forwarded::scheme(head, source, &settings.scheme_headers)?;
        conn.endpoint.https = said.unwrap_or(!conn.stream.is_plain());
        if let Some(said) = forwarded::script_name(head, source)? {
            script_name = said;
        }
    }
    if *conn.endpoint.script_name != *script_name {
        conn.endpoint.script_name = script_name.into();
    }
    if !script_name.is_empty() {
        let mut decoded = Vec::new();
        let path = percent_decode(head.path_bytes(source), &mut decoded);
        let rest = path.strip_prefix(script_name);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")) {
            return Err(Refusal::quoting(RefusalKind::ScriptName, path));
        }
    }
    if conn.peer.is_none() {
        let host = head.of_kind(source, Known::Host).next().unwrap_or_default();
        if let Some((name, port)) = destination(host, conn.endpoint.https) {
            conn.endpoint.server_name = name.into();
            conn.endpoint.server_port = port.into();
        }
    }
    if conn.trusted && settings.forwarding.is_any() {
        if conn.sockets.is_none() {
            let sockets = Endpoint { https: !conn.stream.is_plain(), ..conn.endpoint.clone() };
            conn.sockets = Some(Box::new(sockets));
        }
        believe(settings, &mut conn.endpoint, head, source)?;
    }
    Ok(())
}

/// What the operator asked to be believed.
fn believe(
    settings: &WorkerSettings,
    endpoint: &mut Endpoint,
    head: &Head,
    bytes: &[u8],
) -> Result<(), Refusal> {
    let forwarding = &settings.forwarding;
    let hop = match forwarding.client == Said::Forwarded || forwarding.host == Said::Forwarded {
        true => forwarded::first_hop(head, bytes, &settings.trusted)?.unwrap_or_default(),
        false => Hop::default(),
    };
    if let Some(proto) = &hop.proto {
        endpoint.https = scheme(settings, head, bytes, proto)?;
    }
    let client = match forwarding.client {
        Said::Nowhere => None,
        Said::Own => forwarded::client(head, bytes, &settings.trusted),
        Said::Forwarded => hop.client,
    };
    if let Some(client) = client {
        endpoint.remote_addr = client.to_string().into();
        endpoint.remote_port = None;
    }
    let said = match forwarding.host {
        Said::Nowhere => None,
        Said::Own => forwarded::forwarded_host(head, bytes)?,
        Said::Forwarded => hop.host.as_deref(),
    };
    let port = if forwarding.port { forwarded::forwarded_port(head, bytes)? } else { None };
    name(endpoint, said, port)?;
    if forwarding.prefix
        && let Some(prefix) = forwarded::prefix(head, bytes)?
    {
        endpoint.outer = prefix.into();
    }
    Ok(())
}

/// Forwarded's `proto`, held against what the scheme headers say.
fn scheme(settings: &WorkerSettings, head: &Head, bytes: &[u8], proto: &[u8]) -> Result<bool, Refusal> {
    let https = proto.eq_ignore_ascii_case(b"https");
    if !https && !proto.eq_ignore_ascii_case(b"http") {
        return Err(Refusal::quoting(RefusalKind::Forwarded, proto));
    }
    match forwarded::scheme(head, bytes, &settings.scheme_headers)? {
        Some(said) if said != https => Err(RefusalKind::SchemeConflict.into()),
        _ => Ok(https),
    }
}

/// Takes over the host and port the client asked for.
fn name(endpoint: &mut Endpoint, said: Option<&[u8]>, port: Option<u16>) -> Result<(), Refusal> {
    let Some(said) = said else {
        if let Some(port) = port {
            endpoint.server_port = port.to_string().into();
        }
        return Ok(());
    };
    let invalid = || Refusal::quoting(RefusalKind::Forwarded, said);
    let (bare, digits) = host::split(said).ok_or_else(invalid)?;
    let digits = digits.filter(|digits| !digits.is_empty()).map(|digits| String::from_utf8_lossy(digits));
    if let (Some(digits), Some(port)) = (&digits, port)
        && digits.parse() != Ok(port)
    {
        return Err(invalid());
    }
    let usual = if endpoint.https { 443 } else { 80 };
    let mut full = said.to_vec();
    if digits.is_none()
        && let Some(port) = port.filter(|port| *port != usual)
    {
        full = [bare, format!(":{port}").as_bytes()].concat();
    }
    endpoint.server_port = match digits {
        Some(digits) => digits.into(),
        None => port.unwrap_or(usual).to_string().into(),
    };
    endpoint.server_name = String::from_utf8_lossy(bare).into();
    endpoint.host = Some(full.into());
    Ok(())
}

/// A unix socket has no name or port of its own: the client says where it meant to go.
fn destination(host: &[u8], https: bool) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(host);
    let default = if https { "443" } else { "80" };
    match text.rsplit_once(':') {
        _ if text.is_empty() => None,
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((name.to_owned(), port.to_owned()))
        }
        _ => Some((text.into_owned(), default.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::destination;

    #[test]
    fn host_says_where_a_client_of_a_unix_socket_meant_to_go() {
        let cases = [
            ("a.test", false, Some(("a.test", "80"))),
            ("a.test", true, Some(("a.test", "443"))),
            ("a.test:8080", true, Some(("a.test", "8080"))),
            ("[::1]", false, Some(("[::1]", "80"))),
            ("[::1]:81", false, Some(("[::1]", "81"))),
            ("", false, None),
        ];
        for (host, https, wanted) in cases {
            let found = destination(host.as_bytes(), https);
            assert_eq!(found, wanted.map(|(name, port)| (name.to_owned(), port.to_owned())), "{host}");
        }
    }
}
