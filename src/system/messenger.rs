//! How does a message reach a local or remote collector that may be slow, or gone for a while?
//!
//! Datagrams and streams, never waited for: a message that does not leave at once is lost. What
//! cannot be reached is tried again, a stream after a moment.
//!
//! Must not know: what a message says.
//!
//! Invariants:
//! 1. [`Messenger::send`] never waits for the collector; connecting a stream waits at most `CONNECT`.
//! 2. The lock is held to copy or exchange a pointer, never while a system call runs; a process
//!    that was forked at just that moment goes without.
//! 3. A name is looked up when the messenger is made, never while it sends: resolvers take seconds.
//! 4. A stream never goes on behind a message it took only a part of.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::MsgFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::clock::now_ms;

/// What connecting a stream may take.
const CONNECT: Duration = Duration::from_millis(250);
/// How long a collector that could not be reached is left alone.
const PAUSE_MS: u64 = 5_000;
/// The most that is sent as one message: what is longer is cut, not refused by the kernel.
const LONGEST: usize = 60_000;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Datagrams to a host and port.
    Udp(String, u16),
    /// A stream to a host and port.
    Tcp(String, u16),
    /// Datagrams to a unix socket.
    UnixDatagram(PathBuf),
    /// A stream to a unix socket.
    UnixStream(PathBuf),
    /// A unix socket of either kind: datagrams are tried first.
    Unix(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Udp(host, port) => write!(out, "udp://{host}:{port}"),
            Destination::Tcp(host, port) => write!(out, "tcp://{host}:{port}"),
            Destination::UnixDatagram(path) | Destination::UnixStream(path) | Destination::Unix(path) => {
                write!(out, "unix://{}", path.display())
            }
        }
    }
}

/// A connection to a collector.
#[derive(Debug)]
pub struct Messenger {
    destination: Destination,
    /// Where a host is; `None`: the destination is a path, or nobody knows the host.
    address: Option<SocketAddr>,
    socket: Mutex<Option<Arc<Line>>>,
    /// When it may be tried again, in milliseconds.
    retry_at: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Line {
    socket: Socket,
    stream: bool,
}

impl Messenger {
    /// Connects; a collector that is not there now may come later.
    pub fn new(destination: Destination) -> Messenger {
        let messenger = Messenger {
            address: resolve(&destination),
            destination,
            socket: Mutex::new(None),
            retry_at: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        };
        // Who sends first is told what is wrong.
        let _ = messenger.connect();
        messenger.retry_at.store(0, Relaxed);
        messenger
    }

    /// Where messages go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Messages lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Sends one message, now or never.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let message = &message[..message.len().min(LONGEST)];
        let sent = self.try_send(message);
        if sent.is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        sent
    }

    fn try_send(&self, message: &[u8]) -> io::Result<()> {
        let Some(line) = self.line() else { return self.connect()?.send(message) };
        match line.send(message) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.exchange(None);
                // A datagram may be told of what became of the one before it: it was not sent yet.
                self.connect()?.send(message)
            }
            other => other,
        }
    }

    fn line(&self) -> Option<Arc<Line>> {
        self.socket.try_lock().ok()?.clone()
    }

    fn exchange(&self, line: Option<Arc<Line>>) {
        let before = match self.socket.try_lock() {
            Ok(mut held) => std::mem::replace(&mut *held, line),
            // Somebody else is exchanging it just now: theirs is as good.
            Err(_) => None,
        };
        drop(before);
    }

    fn connect(&self) -> io::Result<Arc<Line>> {
        let now = now_ms();
        if now < self.retry_at.load(Relaxed) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.retry_at.store(now + PAUSE_MS, Relaxed);
        let line = Arc::new(Line::open(&self.destination, self.address)?);
        if !line.stream {
            self.retry_at.store(0, Relaxed);
        }
        self.exchange(Some(Arc::clone(&line)));
        Ok(line)
    }
}

/// The host's address; IPv4 is preferred, as Gunicorn does.
fn resolve(destination: &Destination) -> Option<SocketAddr> {
    let (Destination::Udp(host, port) | Destination::Tcp(host, port)) = destination else { return None };
    let found: Vec<SocketAddr> = (host.as_str(), *port).to_socket_addrs().ok()?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied()
}

impl Line {
    fn open(destination: &Destination, address: Option<SocketAddr>) -> io::Result<Line> {
        match destination {
            Destination::Udp(..) => Line::to_host(address, Type::DGRAM),
            Destination::Tcp(..) => Line::to_host(address, Type::STREAM),
            Destination::UnixDatagram(path) => Line::to_path(path, Type::DGRAM),
            Destination::UnixStream(path) => Line::to_path(path, Type::STREAM),
            Destination::Unix(path) => {
                Line::to_path(path, Type::DGRAM).or_else(|_| Line::to_path(path, Type::STREAM))
            }
        }
    }

    fn to_host(address: Option<SocketAddr>, kind: Type) -> io::Result<Line> {
        let unknown = || io::Error::new(io::ErrorKind::AddrNotAvailable, "nobody knows this host");
        let address = address.ok_or_else(unknown)?;
        Line::connect(Socket::new(Domain::for_address(address), kind, None)?, &address.into(), kind)
    }

    fn to_path(path: &Path, kind: Type) -> io::Result<Line> {
        Line::connect(Socket::new(Domain::UNIX, kind, None)?, &SockAddr::unix(path)?, kind)
    }

    fn connect(socket: Socket, address: &SockAddr, kind: Type) -> io::Result<Line> {
        match kind == Type::STREAM {
            true => socket.connect_timeout(address, CONNECT)?,
            false => socket.connect(address)?,
        }
        Ok(Line { socket, stream: kind == Type::STREAM })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match self.socket.send_with_flags(message, flags.bits()) {
            Ok(count) if count < message.len() => {
                // What follows would be taken for the rest of this message.
                let _ = self.socket.shutdown(std::net::Shutdown::Both);
                Err(io::ErrorKind::WriteZero.into())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn datagrams_arrive_one_by_one() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = collector.local_addr().unwrap().port();
        let messenger = Messenger::new(Destination::Udp("127.0.0.1".into(), port));
        messenger.send(b"one").unwrap();
        messenger.send(&vec![b'x'; 100_000]).unwrap();
        let mut buffer = vec![0; 70_000];
        assert_eq!(collector.recv(&mut buffer).unwrap(), 3);
        assert_eq!(collector.recv(&mut buffer).unwrap(), LONGEST);
    }

    #[test]
    fn a_unix_socket_of_either_kind_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("d"), root.path().join("s"));
        let datagrams = UnixDatagram::bind(&one).unwrap();
        let streams = UnixListener::bind(&two).unwrap();
        let mut buffer = [0; 8];
        Messenger::new(Destination::Unix(one)).send(b"to d").unwrap();
        assert_eq!(datagrams.recv(&mut buffer).unwrap(), 4);
        Messenger::new(Destination::Unix(two)).send(b"to s").unwrap();
        assert_eq!(streams.accept().unwrap().0.read(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn a_collector_that_comes_back_is_found_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        let messenger = Messenger::new(Destination::UnixDatagram(path.clone()));
        assert!(messenger.send(b"lost").is_err());
        messenger.retry_at.store(0, Relaxed);
        let first = UnixDatagram::bind(&path).unwrap();
        messenger.send(b"1").unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        messenger.send(b"2").unwrap();
        assert_eq!(second.recv(&mut [0; 8]).unwrap(), 1);
        assert_eq!(messenger.lost(), 1);
    }

    #[test]
    fn a_stream_that_is_gone_is_left_alone_for_a_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let messenger = Messenger::new(Destination::Tcp("127.0.0.1".into(), port));
        messenger.send(b"hello").unwrap();
        let mut taken = [0; 5];
        listener.accept().unwrap().0.read_exact(&mut taken).unwrap();
        drop(listener);
        let failed = (0..3).filter(|_| messenger.send(b"again").is_err()).count();
        assert!(failed >= 1, "{failed}");
        messenger.retry_at.store(u64::MAX, Relaxed);
        assert_eq!(messenger.send(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    }
}
