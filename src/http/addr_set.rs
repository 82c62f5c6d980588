//! Is this address one of those? A set of addresses and networks, as an operator writes it.
//!
//! Must not know: what the addresses are trusted with.
//!
//! Invariants:
//! 1. IPv4 in IPv6 (`::ffff:a.b.c.d`), as a dual-stack socket reports its peers, counts as IPv4.
//! 2. A network whose host bits are set is an error: it says two things at once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of addresses and networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddrSet {
    everyone: bool,
    networks: Vec<Network>,
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
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
        let mut set = AddrSet::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                set.everyone = true;
            } else {
                set.networks.push(network(entry)?);
            }
        }
        Ok(set)
    }

    /// Whether the address is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.everyone || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a peer is trusted. `None` is a unix socket: its permissions have decided.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.is_none_or(|address| self.contains(address))
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        // A network's own host bits are clear.
        address.is_ipv4() == self.address.is_ipv4() && first_bits(address, self.prefix) == Some(self.address)
    }
}

/// The address with all but its first `prefix` bits cleared; `None` if it has not that many.
fn first_bits(address: IpAddr, prefix: u32) -> Option<IpAddr> {
    let width = width(address);
    let gone = width.checked_sub(prefix)?;
    Some(match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(gone).unwrap_or(0)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(gone).unwrap_or(0)).into(),
    })
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn network(entry: &str) -> Result<Network, AddrSetError> {
    let wrong = |reason: &str| AddrSetError { entry: entry.to_owned(), reason: reason.to_owned() };
    let (address, length) = match entry.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (entry, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| wrong("expected an IP address, a network as in 10.0.0.0/8, or *"))?;
    let Some(length) = length else {
        let address = address.to_canonical();
        return Ok(Network { address, prefix: width(address) });
    };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = length.parse().ok().filter(|&prefix| digits && prefix <= width(address));
    let prefix = prefix
        .ok_or_else(|| wrong(&format!("the prefix length is a number from 0 to {}", width(address))))?;
    match first_bits(address, prefix) {
        Some(start) if start == address => Ok(Network { address, prefix }),
        Some(start) => Err(wrong(&format!("has host bits set; the network is {start}/{prefix}"))),
        None => Err(wrong("not a network")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership() {
        for (set, inside, outside) in [
            ("", &[][..], &["127.0.0.1", "::1"][..]),
            ("*", &["1.2.3.4", "::1"], &[]),
            ("127.0.0.1,::1", &["127.0.0.1", "::1", "::ffff:127.0.0.1"], &["127.0.0.2", "::2"]),
            (" 10.0.0.0/8 , 192.168.1.0/24,", &["10.255.0.1", "192.168.1.9"], &["11.0.0.1", "192.168.2.1"]),
            ("10.0.0.0/31", &["10.0.0.0", "10.0.0.1"], &["10.0.0.2"]),
            ("0.0.0.0/0", &["1.2.3.4", "::ffff:1.2.3.4"], &["::1", "1::"]),
            ("::/0", &["::1", "1::"], &["1.2.3.4"]),
            ("2001:db8::/32", &["2001:db8:1::1"], &["2001:db9::1", "32.1.13.184"]),
            ("::ffff:1.2.3.4", &["1.2.3.4"], &["1.2.3.5"]),
        ] {
            let set = AddrSet::parse(set).unwrap();
            for address in inside {
                assert!(set.contains(address.parse().unwrap()), "{address} in {set:?}");
            }
            for address in outside {
                assert!(!set.contains(address.parse().unwrap()), "{address} not in {set:?}");
            }
            assert!(set.trusts(None));
        }
    }

    #[test]
    fn faulty_entries_are_named() {
        for (text, entry, reason) in [
            ("::1,localhost", "localhost", "expected an IP address"),
            ("10.0.0.1/8", "10.0.0.1/8", "has host bits set; the network is 10.0.0.0/8"),
            ("10.0.0.0/33", "10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/", "10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/+8", "10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0", "from 0 to 32"),
            ("2001:db8::1/32", "2001:db8::1/32", "the network is 2001:db8::/32"),
            ("10.0.0", "10.0.0", "expected an IP address"),
            ("10.0.0.0/8/8", "10.0.0.0/8/8", "from 0 to 32"),
        ] {
            let error = AddrSet::parse(text).unwrap_err();
            assert_eq!(error.entry, entry);
            assert!(error.reason.contains(reason), "{error}");
        }
    }
}
