//! Which address, or which set of peers, is this text?
//!
//! Must not know: sockets, name resolution. `localhost` stays a name.
//!
//! Invariants:
//! 1. What is displayed here is parsed here to the same value.
//! 2. A network has no host bits: `10.0.0.1/8` is a slip, not a network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::kinds::Problem;
use super::types::{BindAddress, Networks};

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 8000;
const FORMS: &str = "use HOST, HOST:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or fd://NUMBER";

impl BindAddress {
    /// Reads an address as Gunicorn does.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix("unix:") {
            return unix(rest);
        }
        if let Some(number) = text.strip_prefix("fd://") {
            return match number.parse::<i32>() {
                Ok(fd) if fd >= 0 => Ok(BindAddress::Fd(fd)),
                _ => Err(Problem::new(format!("{number:?} is not a file descriptor"), "use e.g. fd://3")),
            };
        }
        tcp(text.strip_prefix("tcp://").unwrap_or(text))
    }
}

fn unix(rest: &str) -> Result<BindAddress, Problem> {
    // As Gunicorn reads it: `unix://run/x` is the relative path run/x.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    match (path.strip_prefix('@'), path) {
        (Some(""), _) | (None, "") => Err(Problem::new("the path of the socket is missing", FORMS)),
        _ if path.contains('\0') => Err(Problem::new("the path of the socket contains a NUL", FORMS)),
        (Some(name), _) => Ok(BindAddress::Abstract(name.to_owned())),
        (None, path) => Ok(BindAddress::Unix(PathBuf::from(path))),
    }
}

fn tcp(text: &str) -> Result<BindAddress, Problem> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(Problem::new(format!("{scheme}:// is not a kind of address to listen on"), FORMS));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        return ipv6(bracketed);
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(BindAddress::Tcp { host: text.to_owned(), port: DEFAULT_PORT });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, DEFAULT_PORT),
    };
    // An unbracketed number is a host name to Gunicorn, and never what was meant.
    if !host.is_empty() && host.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::new(
            "a port alone is not an address",
            format!("use 127.0.0.1:{host} or 0.0.0.0:{host}"),
        ));
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]*?#".contains(c)) {
        return Err(Problem::new("not a host name or address", FORMS));
    }
    // With the port it gets, `unix` would read as a path.
    if host.eq_ignore_ascii_case("unix") {
        return Err(Problem::new("the path of the socket is missing", FORMS));
    }
    let host = if host.is_empty() { Ipv4Addr::UNSPECIFIED.to_string() } else { host.to_ascii_lowercase() };
    Ok(BindAddress::Tcp { host, port })
}

fn ipv6(bracketed: &str) -> Result<BindAddress, Problem> {
    let Some((host, rest)) = bracketed.split_once(']') else {
        return Err(Problem::new("the closing ] is missing", "use [IPV6]:PORT, e.g. [::1]:8000"));
    };
    // A zone (fe80::1%eth0) is the kernel's to judge.
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(Problem::new(
            format!("{host:?} is not an IPv6 address"),
            "use [IPV6]:PORT, e.g. [::1]:8000",
        ));
    }
    let port = match rest {
        "" => DEFAULT_PORT,
        _ => parse_port(rest.strip_prefix(':').unwrap_or(rest))?,
    };
    Ok(BindAddress::Tcp { host: host.to_ascii_lowercase(), port })
}

fn parse_port(text: &str) -> Result<u16, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(port) if digits => Ok(port),
        _ => Err(Problem::new(format!("{text:?} is not a port number"), "use 0 to 65535")),
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            BindAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            // Two slashes at the beginning are taken off once.
            BindAddress::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "unix://{}", path.display())
            }
            BindAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            BindAddress::Abstract(name) => write!(f, "unix:@{name}"),
            BindAddress::Fd(fd) => write!(f, "fd://{fd}"),
        }
    }
}

impl Networks {
    /// Reads addresses and networks; `*` is everybody.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, Problem> {
        let mut networks = Networks::default();
        for item in items.into_iter().map(str::trim) {
            match item {
                "*" => networks.any = true,
                _ => networks.list.push(network(item)?),
            }
        }
        Ok(networks)
    }

    /// Each entry as it is spelled.
    pub fn texts(&self) -> Vec<String> {
        let any = self.any.then(|| "*".to_owned());
        any.into_iter().chain(self.list.iter().map(|(address, prefix)| spelled(*address, *prefix))).collect()
    }
}

fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn spelled(address: IpAddr, prefix: u8) -> String {
    if prefix == longest(address) { address.to_string() } else { format!("{address}/{prefix}") }
}

fn network(item: &str) -> Result<(IpAddr, u8), Problem> {
    const HINT: &str = "use addresses and networks such as 127.0.0.1, 10.0.0.0/8, ::1, or * for everybody";
    let wrong = || Problem::new(format!("{item:?} is not an address or network"), HINT);
    let (address, prefix) = match item.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (item, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix = match prefix {
        None => longest(address),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| wrong())?,
        Some(text) => netmask(text).ok_or_else(wrong)?,
    };
    if prefix > longest(address) {
        return Err(wrong());
    }
    let base = masked(address, prefix);
    if base != address {
        let hint = format!("use {} for the network", spelled(base, prefix));
        return Err(Problem::new(format!("{item:?} has host bits set"), hint));
    }
    Ok((address, prefix))
}

/// `255.255.0.0` as a prefix length.
fn netmask(text: &str) -> Option<u8> {
    let bits = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then_some(u8::try_from(ones).ok()?)
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> BindAddress {
        BindAddress::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn addresses() {
        let cases = [
            ("127.0.0.1:80", tcp("127.0.0.1", 80)),
            ("127.0.0.1", tcp("127.0.0.1", 8000)),
            ("Example.ORG", tcp("example.org", 8000)),
            (":9000", tcp("0.0.0.0", 9000)),
            ("", tcp("0.0.0.0", 8000)),
            ("localhost:0", tcp("localhost", 0)),
            ("tcp://h:1", tcp("h", 1)),
            ("[::1]:81", tcp("::1", 81)),
            ("[::]", tcp("::", 8000)),
            ("tcp://[FE80::1%eth0]:5", tcp("fe80::1%eth0", 5)),
            ("::1", tcp("::1", 8000)),
            ("unix:/run/a.sock", BindAddress::Unix("/run/a.sock".into())),
            ("unix:///run/a.sock", BindAddress::Unix("/run/a.sock".into())),
            ("unix://a/b", BindAddress::Unix("a/b".into())),
            ("unix:a", BindAddress::Unix("a".into())),
            ("unix:@x", BindAddress::Abstract("x".into())),
            ("fd://3", BindAddress::Fd(3)),
        ];
        for (text, expected) in cases {
            let parsed = BindAddress::parse(text).unwrap();
            assert_eq!(parsed, expected, "{text:?}");
            assert_eq!(BindAddress::parse(&parsed.to_string()).unwrap(), expected, "{parsed}");
        }
    }

    #[test]
    fn not_addresses() {
        let cases = [
            ("8000", "a port alone"),
            ("h:", "\"\" is not a port"),
            ("h:http", "\"http\" is not a port"),
            ("h:65536", "not a port"),
            ("h:+1", "not a port"),
            ("*:80", "not a host name"),
            ("h/x:80", "not a host name"),
            ("http://h:80", "http:// is not a kind"),
            ("[::1", "closing ]"),
            ("[::g]:1", "not an IPv6 address"),
            ("[::1]8000x", "not a port"),
            ("unix:", "path of the socket is missing"),
            ("unix:@", "path of the socket is missing"),
            ("fd://x", "not a file descriptor"),
            ("fd://-1", "not a file descriptor"),
        ];
        for (text, expected) in cases {
            let problem = BindAddress::parse(text).unwrap_err();
            assert!(problem.problem.contains(expected), "{text:?}: {}", problem.problem);
        }
    }

    #[test]
    fn networks() {
        let parsed = Networks::parse([
            "127.0.0.1",
            " 10.0.0.0/8",
            "::1",
            "fd00::/8",
            "0.0.0.0/0",
            "10.1.0.0/255.255.0.0",
        ]);
        let parsed = parsed.unwrap();
        assert!(!parsed.any);
        assert_eq!(
            parsed.texts(),
            ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "0.0.0.0/0", "10.1.0.0/16"]
        );
        assert!(Networks::parse(["*", "::1"]).unwrap().any);
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0.0/255.0.255.0", "1.2.3"]
        {
            assert!(Networks::parse([wrong]).is_err(), "{wrong:?}");
        }
        let slip = Networks::parse(["10.0.0.1/8"]).unwrap_err();
        assert_eq!(slip.hint, "use 10.0.0.0/8 for the network");
    }
}
