//! What is a listening socket, and where does it listen?
//!
//! The type that travels from the master to its workers. Must not know who binds it, keeps it
//! or removes it. Invariants: non-blocking, close-on-exec, listening.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::{fds, raw};

/// Bytes that may wait in the kernel to be sent for the first time. It would take megabytes for a
/// client that reads nothing, and copy them while others wait.
pub const UNSENT_MOST: u32 = 512 * 1024;

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

    /// Sets what connections accepted from here on inherit (Linux), so that it costs none of them
    /// a call. What is written leaves at once, also where somebody else made the socket. The kernel
    /// takes no more than it has to of what a client does not read ([`UNSENT_MOST`]). And it
    /// ends connections whose peer has vanished: one that acknowledges nothing for
    /// `patience`, and one that is quiet and does not answer when asked.
    pub fn prepare_accepted(&self, patience: Option<Duration>) {
        if !matches!(self.address, Address::Tcp(_)) {
            return;
        }
        let socket = SockRef::from(self);
        let set = |option: &str, done: io::Result<()>| {
            if let Err(error) = done {
                tracing::debug!("cannot set {option} of {}: {error}", self.address);
            }
        };
        set("TCP_NODELAY", socket.set_tcp_nodelay(true));
        set("TCP_NOTSENT_LOWAT", socket.set_tcp_notsent_lowat(UNSENT_MOST));
        set("TCP_USER_TIMEOUT", socket.set_tcp_user_timeout(patience));
        set("SO_KEEPALIVE", socket.set_keepalive(patience.is_some()));
        let Some(patience) = patience else { return };
        // The kernel counts in seconds, and takes no more than these.
        let seconds = Duration::from_secs(patience.as_secs().clamp(1, 32_767));
        let often = TcpKeepalive::new().with_time(seconds).with_interval(seconds);
        set("the times of SO_KEEPALIVE", socket.set_tcp_keepalive(&often));
    }

    /// Whether the kernel keeps a TCP connection to itself until its first bytes are there, or a
    /// second has passed. A server that accepts earlier is woken twice for each of them.
    pub fn defer_accept(&self, defer: bool) {
        if matches!(self.address, Address::Tcp(_))
            && let Err(error) = raw::defer_accept(self.as_fd(), u8::from(defer))
        {
            tracing::debug!("cannot set TCP_DEFER_ACCEPT of {}: {error}", self.address);
        }
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
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_accepted_inherits() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(socket.try_clone().unwrap().into(), Address::Tcp(address));
        for patience in [Some(Duration::from_millis(2_500)), Some(Duration::from_secs(1 << 20)), None] {
            listener.prepare_accepted(patience);
            let _client = TcpStream::connect(address).unwrap();
            let (accepted, _) = socket.accept().unwrap();
            let accepted = SockRef::from(&accepted);
            assert!(accepted.tcp_nodelay().unwrap());
            assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_MOST);
            assert_eq!(accepted.tcp_user_timeout().unwrap(), patience);
            assert_eq!(accepted.keepalive().unwrap(), patience.is_some());
        }
    }

    #[test]
    fn an_option_that_is_refused_keeps_no_other_one_from_being_set() {
        // It knows no option of TCP's, and is kept alive as any socket.
        let directory = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
        let address = Address::Tcp("127.0.0.1:1".parse().unwrap());
        let listener = Listener::new(socket.into(), address);
        listener.prepare_accepted(Some(Duration::from_secs(5)));
        assert!(SockRef::from(&listener).keepalive().unwrap());
    }

    #[test]
    fn a_deferred_connection_comes_with_its_first_bytes() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = Listener::new(socket.try_clone().unwrap().into(), Address::Tcp(address));
        listener.defer_accept(true);
        socket.set_nonblocking(true).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"!").unwrap();
        socket.set_nonblocking(false).unwrap();
        let (mut accepted, _) = socket.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        assert_eq!(accepted.read(&mut [0; 2]).unwrap(), 1);
        listener.defer_accept(false);
        let _silent = TcpStream::connect(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        assert!(socket.accept().is_ok());
    }

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
