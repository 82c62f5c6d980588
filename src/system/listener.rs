//! What is a listening socket, and where does it listen?
//!
//! The type that travels from the master to its workers. Must not know who binds it, keeps it
//! or removes it. Invariants: non-blocking, close-on-exec, listening.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::fds;

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A unix socket in the file system.
    Unix(PathBuf),
    /// A unix socket in Linux's abstract namespace; the name without its leading NUL.
    Abstract(Vec<u8>),
}

/// As Gunicorn's "Listening at" shows it.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(out, "http://{address}"),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
            Address::Abstract(name) => write!(out, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
}

impl Listener {
    /// Takes a bound, listening, non-blocking socket.
    pub fn new(fd: OwnedFd, address: Address) -> Listener {
        Listener { fd, address }
    }

    /// Where it listens, as the kernel sees it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A second handle of the same socket.
    pub fn duplicate(&self) -> io::Result<Listener> {
        Ok(Listener { fd: fds::duplicate(&self.fd)?, address: self.address.clone() })
    }

    /// Gives up the descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_as_operators_know_them() {
        let cases = [
            (Address::Tcp("127.0.0.1:8000".parse().unwrap()), "http://127.0.0.1:8000"),
            (Address::Tcp("[::1]:80".parse().unwrap()), "http://[::1]:80"),
            (Address::Unix("/run/a.sock".into()), "unix:/run/a.sock"),
            (Address::Abstract(b"a\nb".to_vec()), "unix:@a\\nb"),
        ];
        for (address, text) in cases {
            assert_eq!(address.to_string(), text);
        }
    }
}
