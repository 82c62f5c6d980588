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
        if let Some((name, port)) = destination(host, conn.endpoint.https) {
            conn.endpoint.server_name = name;
            conn.endpoint.server_port = port;
        }
    }
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
