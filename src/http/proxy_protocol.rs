//! Whose connection does a load balancer pass on? The PROXY protocol, versions 1 and 2
//! (HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2).
//!
//! Must not know: whether the peer may send it; that is the caller's to check first.
//!
//! Invariants:
//! 1. It is said whether there is a header as soon as the bytes differ from one, never later.
//! 2. A header is taken whole or refused; at most `V2_MAX` bytes are waited for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::{Refusal, RefusalKind};
use super::framing::decimal;

const V1_START: &[u8] = b"PROXY ";
/// The longest line of version 1, with its CRLF.
const V1_MAX: usize = 107;
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;
/// The longest header of version 2 we read: addresses take 36 bytes, the rest is extensions.
const V2_MAX: usize = V2_FIXED + 4096;

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
    /// socket): the peer stays who it is. Which of them it was.
    Peer(&'static str),
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
    if mode != Mode::V2 && begins(input, V1_START) {
        return parse_v1(input);
    }
    if mode != Mode::V1 && begins(input, V2_START) {
        return parse_v2(input);
    }
    Ok(Some((Source::Absent, 0)))
}

/// Whether the input starts like `start`, as far as both go.
fn begins(input: &[u8], start: &[u8]) -> bool {
    input.iter().zip(start).all(|(a, b)| a == b)
}

fn parse_v1(input: &[u8]) -> Result<Option<(Source, usize)>, Refusal> {
    let window = input.get(..V1_MAX).unwrap_or(input);
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() < V1_MAX { Ok(None) } else { Err(invalid(window)) };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or_else(|| invalid(window))?;
    let words = line.get(V1_START.len()..).unwrap_or_default();
    // Whatever follows UNKNOWN is to be ignored.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Ok(Some((Source::Peer("UNKNOWN"), end + 1)));
    }
    let source = addresses_v1(words).ok_or_else(|| invalid(line))?;
    Ok(Some((source, end + 1)))
}

fn addresses_v1(words: &[u8]) -> Option<Source> {
    let mut words = words.split(|&byte| byte == b' ');
    let (family, from, to) = (words.next()?, words.next()?, words.next()?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    if words.next().is_some() {
        return None;
    }
    let address = |text| -> Option<IpAddr> {
        let text = std::str::from_utf8(text).ok()?;
        match family {
            b"TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            b"TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    Some(Source::Client {
        source: SocketAddr::new(address(from)?, from_port),
        destination: SocketAddr::new(address(to)?, to_port),
    })
}

/// A port in decimal, without needless zeros.
fn port(text: &[u8]) -> Option<u16> {
    if text.len() > 1 && text.starts_with(b"0") {
        return None;
    }
    u16::try_from(decimal(text)?).ok()
}

fn parse_v2(input: &[u8]) -> Result<Option<(Source, usize)>, Refusal> {
    let Some(fixed) = input.get(..V2_FIXED) else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let end = V2_FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    // Version 2; LOCAL or PROXY.
    if !matches!(command, 0x20 | 0x21) || end > V2_MAX {
        return Err(invalid(fixed));
    }
    let Some(block) = input.get(V2_FIXED..end) else { return Ok(None) };
    // What comes with LOCAL is to be discarded, whatever it is.
    let source = if command == 0x20 { Some(Source::Peer("LOCAL")) } else { addresses_v2(family, block) };
    source.map(|source| Some((source, end))).ok_or_else(|| invalid(fixed))
}

fn addresses_v2(family: u8, block: &[u8]) -> Option<Source> {
    let (source, behind) = match family {
        // UNSPEC: there is nothing we could read.
        0x00 => return Some(Source::Peer("UNSPEC")),
        // TCP over IPv4: 4 + 4 bytes of addresses, 2 + 2 of ports.
        0x11 => {
            let (&from, rest) = block.split_first_chunk::<4>()?;
            let (&to, rest) = rest.split_first_chunk::<4>()?;
            client(from.into(), to.into(), rest)?
        }
        // TCP over IPv6: 16 + 16, 2 + 2.
        0x21 => {
            let (&from, rest) = block.split_first_chunk::<16>()?;
            let (&to, rest) = rest.split_first_chunk::<16>()?;
            client(from.into(), to.into(), rest)?
        }
        // A unix stream socket: two paths of 108 bytes, which name no client.
        0x31 => (Source::Peer("UNSPEC"), block.get(216..)?),
        // Datagrams do not carry HTTP/1; other families do not exist.
        _ => return None,
    };
    well_formed_extensions(behind).then_some(source)
}

fn client(from: IpAddr, to: IpAddr, rest: &[u8]) -> Option<(Source, &[u8])> {
    let (&from_port, rest) = rest.split_first_chunk::<2>()?;
    let (&to_port, rest) = rest.split_first_chunk::<2>()?;
    let source = SocketAddr::new(from, u16::from_be_bytes(from_port));
    let destination = SocketAddr::new(to, u16::from_be_bytes(to_port));
    Some((Source::Client { source, destination }, rest))
}

/// Type, length, value, again and again; the values are not ours to read.
fn well_formed_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let [_, high, low, behind @ ..] = rest else { return false };
        match behind.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    true
}

fn invalid(bytes: &[u8]) -> Refusal {
    Refusal::quoting(RefusalKind::ProxyHeader, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(source: &str, destination: &str) -> Source {
        Source::Client { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = (block.len() as u16).to_be_bytes();
        [V2_START, &[command, family], &length, block].concat()
    }

    #[test]
    fn headers() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187];
        let v6 = [&[0; 15][..], &[1], &[0; 15], &[2], &[0, 80, 1, 187]].concat();
        let both = client_of("1.2.3.4:80", "5.6.7.8:443");
        for (header, source) in [
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n".to_vec(), both),
            (b"PROXY TCP6 ::1 ::2 80 443\r\n".to_vec(), client_of("[::1]:80", "[::2]:443")),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n".to_vec(), client_of("1.2.3.4:0", "5.6.7.8:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Peer("UNKNOWN")),
            (b"PROXY UNKNOWN ffff:: ::1 1 2\r\n".to_vec(), Source::Peer("UNKNOWN")),
            (v2(0x21, 0x11, &v4), both),
            (v2(0x21, 0x11, &[&v4[..], &[4, 0, 2, 9, 9, 3, 0, 0]].concat()), both),
            (v2(0x21, 0x21, &v6), client_of("[::1]:80", "[::2]:443")),
            (v2(0x20, 0x00, b""), Source::Peer("LOCAL")),
            (v2(0x20, 0x11, b"anything"), Source::Peer("LOCAL")),
            (v2(0x21, 0x00, b"anything"), Source::Peer("UNSPEC")),
            (v2(0x21, 0x31, &[0; 216]), Source::Peer("UNSPEC")),
        ] {
            let stream = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let parsed = parse(&stream, Mode::Auto);
            assert_eq!(parsed, Ok(Some((source, header.len()))), "{}", header.escape_ascii());
            for end in 0..header.len() {
                assert_eq!(parse(&stream[..end], Mode::Auto), Ok(None), "{end} of {}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in [
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443 1\r\n".to_vec(),
            b"PROXY TCP4  1.2.3.4 5.6.7.8 80 443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80 65536\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 +80 443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 080 443\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 80 443\r\n".to_vec(),
            b"PROXY TCP6 1.2.3.4 5.6.7.8 80 443\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.256 5.6.7.8 80 443\r\n".to_vec(),
            b"PROXY UDP4 1.2.3.4 5.6.7.8 80 443\r\n".to_vec(),
            b"PROXY unknown\r\n".to_vec(),
            b"PROXY \r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x11, &[0; 13]),
            v2(0x21, 0x11, &[&[0; 12][..], &[4, 0, 9, 1]].concat()),
            v2(0x21, 0x21, &[0; 12]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x31, &[0; 12]),
            v2(0x20, 0x00, &[0; 5000]),
        ] {
            let refused = parse(&header, Mode::Auto).map_err(|refusal| (refusal.kind, refusal.status));
            assert_eq!(refused, Err((RefusalKind::ProxyHeader, 400)), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn requests_without_a_header_are_seen_at_once() {
        for start in [&b"G"[..], b"POST", b"PRO\0", b"PROXYX", b"\r\nGET", b"\r\n\r\nGET", b"\x16"] {
            assert_eq!(parse(start, Mode::Auto), Ok(Some((Source::Absent, 0))), "{}", start.escape_ascii());
        }
        assert_eq!(parse(b"P", Mode::Auto), Ok(None));
        assert_eq!(parse(b"P", Mode::V2), Ok(Some((Source::Absent, 0))));
        assert_eq!(parse(b"\r\n", Mode::V1), Ok(Some((Source::Absent, 0))));
        assert_eq!(parse(b"", Mode::Auto), Ok(None));
    }
}
