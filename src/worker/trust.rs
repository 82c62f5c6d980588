//! What is believed of what a peer says about its own client? Scheme, mount prefix, server name.
//!
//! Must not know: how fields are parsed.
//!
//! Invariant: an untrusted peer's request leaves the endpoint as the sockets say it.

use super::conn::Conn;
use super::settings::WorkerSettings;
use crate::http::error::{Refusal, RefusalKind};
use crate::http::forwarded;
use crate::http::head::Known;
use crate::http::target::percent_decode;

/// Fills in the endpoint for the request whose head is `bytes`.
pub fn decide(settings: &WorkerSettings, conn: &mut Conn, bytes: &[u8]) -> Result<(), Refusal> {
    let head = conn.http.head();
    let source = head.source(bytes);
    let mut script_name = settings.script_name.as_bytes();
    if conn.trusted {
        conn.endpoint.https = forwarded::scheme(head, source, &settings.scheme_headers)?.unwrap_or(false);
        if let Some(said) = forwarded::script_name(head, source)? {
            script_name = said;
        }
    }
    if conn.endpoint.script_name.as_bytes() != script_name {
        conn.endpoint.script_name = script_name.iter().map(|byte| char::from(*byte)).collect();
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
        name_server(conn, &host.to_vec());
    }
    Ok(())
}

/// A unix socket has no name or port of its own: the client says where it meant to go.
fn name_server(conn: &mut Conn, host: &[u8]) {
    if host.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(host);
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (text.as_ref(), if conn.endpoint.https { "443" } else { "80" }),
    };
    if conn.endpoint.server_name != name {
        conn.endpoint.server_name = name.to_owned();
    }
    if conn.endpoint.server_port != port {
        conn.endpoint.server_port = port.to_owned();
    }
}
