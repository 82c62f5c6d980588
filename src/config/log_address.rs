//! Where do syslog and statsd listen?
//!
//! Must not know: sockets, whether anybody listens there.
//!
//! Invariants:
//! 1. Gunicorn's spellings are understood; what it would take for a host by mistake is refused.

use std::path::PathBuf;

use super::kinds::Problem;

/// The port of syslog (RFC 5426 section 3.3).
const SYSLOG_PORT: u16 = 514;
/// The port of statsd, by custom.
const STATSD_PORT: u16 = 8125;

/// An address lines or metrics are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// Datagrams to a host and port.
    Udp(String, u16),
    /// A stream to a host and port.
    Tcp(String, u16),
    /// Datagrams to a unix socket.
    UnixDatagram(PathBuf),
    /// A stream to a unix socket.
    UnixStream(PathBuf),
    /// A unix socket of whichever kind is there.
    Unix(PathBuf),
}

impl SocketAddress {
    /// Reads `syslog_addr`.
    pub fn syslog(text: &str) -> Result<Self, Problem> {
        let hint = "use udp://HOST:PORT, tcp://HOST:PORT or unix://PATH, e.g. unix:///dev/log";
        let wrong = || Problem::new("not an address of syslog", hint);
        if let Some(path) = text.strip_prefix("unix://") {
            let (path, kind) = path.split_once('#').unwrap_or((path, ""));
            return match kind {
                _ if path.is_empty() => Err(wrong()),
                "dgram" => Ok(SocketAddress::UnixDatagram(path.into())),
                "stream" => Ok(SocketAddress::UnixStream(path.into())),
                "" => Ok(SocketAddress::Unix(path.into())),
                _ => Err(wrong()),
            };
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = host_and_port(rest, SYSLOG_PORT).ok_or_else(wrong)?;
        match scheme {
            "udp" => Ok(SocketAddress::Udp(host, port)),
            "tcp" => Ok(SocketAddress::Tcp(host, port)),
            _ => Err(wrong()),
        }
    }

    /// Reads `statsd_host`.
    pub fn statsd(text: &str) -> Result<Self, Problem> {
        let wrong = || Problem::new("not an address of statsd", "use HOST:PORT or unix://PATH");
        match text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            Some("") => Err(wrong()),
            Some(path) => Ok(SocketAddress::UnixDatagram(path.into())),
            None => {
                let (host, port) = host_and_port(text, STATSD_PORT).ok_or_else(wrong)?;
                Ok(SocketAddress::Udp(host, port))
            }
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`; no host: this one.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(default), |port| port.parse().ok().filter(|port| *port > 0))?;
    let spaces = host.contains(|c: char| c.is_whitespace() || c == '/');
    let host = if host.is_empty() { "localhost".to_owned() } else { host.to_lowercase() };
    (!spaces).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_syslog() {
        let udp = |host: &str, port| Some(SocketAddress::Udp(host.into(), port));
        let cases = [
            ("udp://localhost:514", udp("localhost", 514)),
            ("udp://Logs.Example", udp("logs.example", 514)),
            ("udp://", udp("localhost", 514)),
            ("udp://[::1]:1514", udp("::1", 1514)),
            ("udp://[::1]", udp("::1", 514)),
            ("tcp://h:6514", Some(SocketAddress::Tcp("h".into(), 6514))),
            ("unix:///dev/log", Some(SocketAddress::Unix("/dev/log".into()))),
            ("unix:///dev/log#dgram", Some(SocketAddress::UnixDatagram("/dev/log".into()))),
            ("unix:///dev/log#stream", Some(SocketAddress::UnixStream("/dev/log".into()))),
            ("unix:///dev/log#x", None),
            ("unix://", None),
            ("localhost:514", None),
            ("http://x", None),
            ("udp://x:port", None),
            ("udp://x:0", None),
            ("udp://x:70000", None),
            ("udp://a b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(SocketAddress::syslog(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn addresses_of_statsd() {
        let cases = [
            ("localhost:9125", Some(SocketAddress::Udp("localhost".into(), 9125))),
            ("10.0.0.1", Some(SocketAddress::Udp("10.0.0.1".into(), 8125))),
            ("[::1]:8125", Some(SocketAddress::Udp("::1".into(), 8125))),
            ("unix:///run/dsd.sock", Some(SocketAddress::UnixDatagram("/run/dsd.sock".into()))),
            ("unix://", None),
            ("host:x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(SocketAddress::statsd(text).ok(), expected, "{text}");
        }
    }
}
