//! What carries the bytes of a connection? The one seam for TCP and unix sockets, and for TLS over
//! either.
//!
//! Must not know: HTTP, who reads or writes, why.
//!
//! Invariant: every call returns at once; `WouldBlock` is an answer, not an error.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::tls::Tls;
use crate::door::Session;
use crate::system::fds::send_file;
use crate::system::listener::{Address, Listener};

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over one of them.
    Tls(Box<Tls>),
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// So many bytes; 0: the end.
    pub count: usize,
    /// There may be more without the kernel saying so again.
    pub more: bool,
}

impl Stream {
    /// Registers for both directions, edge-triggered, once for the connection's whole life.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, both),
            Stream::Unix(stream) => stream.register(registry, token, both),
            Stream::Tls(tls) => tls.socket_mut().register(registry, token),
        }
    }

    /// The opposite.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.deregister(registry),
            Stream::Unix(stream) => stream.deregister(registry),
            Stream::Tls(tls) => tls.socket_mut().deregister(registry),
        }
    }

    /// Reads what is there.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Taken> {
        loop {
            let result = match self {
                Stream::Tcp(stream) => recv(stream, &mut *buffer, RecvFlags::empty()),
                Stream::Unix(stream) => recv(stream, &mut *buffer, RecvFlags::empty()),
                Stream::Tls(tls) => return tls.read(buffer),
            };
            match result {
                Err(Errno::INTR) => {}
                // A short read means the socket is drained; its end may still have to be read.
                Ok((count, _)) => return Ok(Taken { count, more: count == buffer.len() }),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Writes what fits, in one system call.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match (self, slices) {
                (Stream::Tcp(stream), [one]) => {
                    send(stream, one, SendFlags::NOSIGNAL).map_err(io::Error::from)
                }
                (Stream::Unix(stream), [one]) => {
                    send(stream, one, SendFlags::NOSIGNAL).map_err(io::Error::from)
                }
                (Stream::Tcp(stream), many) => (&mut &*stream).write_vectored(many),
                (Stream::Unix(stream), many) => (&mut &*stream).write_vectored(many),
                (Stream::Tls(tls), many) => return tls.write(many),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Whether something (or the end) is there to be read; takes nothing.
    pub fn has_input(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        !matches!(
            socket2::SockRef::from(self).peek(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        )
    }

    /// Sends no more: the peer reads the end after what was written.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(tls) => tls.finish(),
        }
    }

    /// Says all that is to be said before the connection is closed. False: there is no room for it
    /// now, and reading goes on with it as after [`Stream::finish`].
    pub fn leave(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => true,
            Stream::Tls(tls) => tls.leave(),
        }
    }

    /// Sends up to `count` bytes of a file from `*offset`, and moves that on. Zero: the file ended early.
    pub fn send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        match self {
            Stream::Tls(tls) => tls.send_file(file, offset, count),
            socket => send_file(socket, file, offset, count),
        }
    }

    /// Sends what a session has to say by itself and could not say before. True: there may be
    /// something to read because of that.
    pub fn catch_up(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::Tls(tls) => tls.catch_up(),
        }
    }

    /// Whether what is written here is what the kernel is given.
    pub fn is_plain(&self) -> bool {
        !matches!(self, Stream::Tls(_))
    }

    /// TLS begins, with `first` as the first bytes the peer has sent. False: there is none here.
    pub fn begin_tls(&self, first: &[u8]) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::Tls(tls) => {
                tls.begin(first);
                true
            }
        }
    }

    /// The TLS session, if there is one.
    pub fn session(&self) -> Option<Arc<dyn Session>> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => None,
            Stream::Tls(tls) => tls.session(),
        }
    }

    /// Somebody else goes on with the connection, on a socket that waits.
    pub fn hand_over(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
            Stream::Tls(tls) => tls.hand_over(),
        }
    }

    /// Lets the kernel take more only while less than `most` bytes wait to be sent for the first
    /// time. Without meaning for a unix socket.
    pub fn limit_unsent(&self, most: u32) {
        if let Stream::Tcp(_) = self
            && let Err(error) = socket2::SockRef::from(self).set_tcp_notsent_lowat(most)
        {
            tracing::debug!("Cannot limit what waits in the kernel: {error}");
        }
    }

    /// Makes the coming close an abort: the peer gets a reset instead of a clean end.
    pub fn abort_on_close(&self) {
        let zero = Some(std::time::Duration::ZERO);
        if let Stream::Tls(tls) = self {
            tls.be_silent();
        }
        // A socket that cannot be told is closed cleanly; there is nothing better to do.
        let _ = socket2::SockRef::from(self).set_linger(zero);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(tls) => tls.socket().as_fd(),
        }
    }
}

/// A listening socket, able to accept.
#[derive(Debug)]
pub enum Acceptor {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Acceptor {
    /// Takes over a listener.
    pub fn new(listener: Listener) -> Self {
        match listener.address() {
            Address::Tcp(_) => Acceptor::Tcp(TcpListener::from_std(listener.into_fd().into())),
            Address::Unix(_) | Address::Abstract(_) => {
                Acceptor::Unix(UnixListener::from_std(listener.into_fd().into()))
            }
        }
    }

    /// Accepts one connection. The address is the client's; `None` for a unix socket.
    pub fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        loop {
            let result = match self {
                Acceptor::Tcp(listener) => {
                    listener.accept().map(|(stream, peer)| (Stream::Tcp(stream), Some(peer)))
                }
                Acceptor::Unix(listener) => listener.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Acceptor::Tcp(listener) => listener.as_fd(),
            Acceptor::Unix(listener) => listener.as_fd(),
        }
    }
}
