//! Where does the server listen, and whose socket files are they?
//!
//! Binds, adopts, compares for a reload, removes. Must not know when any of that is due.
//!
//! Invariants:
//! 1. A listener that stays over a reload is never closed: it is the same open socket.
//! 2. A socket file is removed only if it is the one bound here (same inode), and nobody else
//!    still uses it.
//! 3. A stale socket file is replaced only if nobody answers on it.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::settings::{Bind, MasterSettings};
use crate::system::listener::{Address, Listener};
use crate::system::raw;

/// One open listener and how it came to be.
#[derive(Debug)]
pub struct Bound {
    /// What was asked for; `None`: it was passed in by a service manager or an older master.
    bind: Option<Bind>,
    /// The socket.
    pub listener: Listener,
    /// Device and inode of the socket file, if it is ours to remove.
    file: Option<(u64, u64)>,
    /// Only the address is held (SO_REUSEPORT): each worker listens at it with a socket of its own.
    held: bool,
}

impl Bound {
    /// A worker's own handle, or its own socket. To be called before it gives up its rights: all
    /// sockets at one address belong to one user (socket(7)).
    pub fn for_worker(&self, backlog: i32) -> io::Result<Listener> {
        match self.listener.address() {
            Address::Tcp(address) if self.held => listen(reusing_socket(*address)?, backlog),
            _ => self.listener.duplicate(),
        }
    }
}

/// All listeners of one generation; those of equal binds are shared between generations.
pub type Listeners = Vec<Arc<Bound>>;

/// Why an address could not be listened at.
#[derive(Debug)]
pub struct BindError {
    /// The address, as shown.
    pub address: String,
    /// What the kernel or the resolver said.
    pub source: io::Error,
}

impl BindError {
    fn new(address: impl fmt::Display, source: io::Error) -> BindError {
        BindError { address: address.to_string(), source }
    }

    /// Whether another try a moment later may work.
    pub fn is_passing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { address, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(out, "Connection in use: {address}"),
            io::ErrorKind::AddrNotAvailable => write!(out, "Invalid address: {address}"),
            _ => write!(out, "connection to {address} failed: {source}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Opens what `settings` asks for, for the workers and for the status process. What `current`
/// already has is taken over as it is; sockets that were passed in replace the workers' binds
/// altogether, now and at every reload.
pub fn open_all(
    settings: &MasterSettings,
    current: (&[Arc<Bound>], &[Arc<Bound>]),
) -> Result<(Listeners, Listeners), BindError> {
    let opened = match is_passed(current.0) {
        true => current.0.to_vec(),
        false => open(&settings.binds, settings, current.0)?,
    };
    match open(&settings.status_binds, settings, current.1) {
        Ok(status) => Ok((opened, status)),
        Err(error) => {
            close_gone(&opened, current.0, Files::Remove);
            Err(error)
        }
    }
}

/// Whether these were passed in, all of them.
fn is_passed(listeners: &[Arc<Bound>]) -> bool {
    !listeners.is_empty() && listeners.iter().all(|bound| bound.bind.is_none())
}

fn open(binds: &[Bind], settings: &MasterSettings, current: &[Arc<Bound>]) -> Result<Listeners, BindError> {
    let mut opened: Listeners = Vec::new();
    for bind in binds {
        match current.iter().find(|bound| bound.bind.as_ref() == Some(bind)) {
            Some(bound) => opened.push(Arc::clone(bound)),
            None => match bind_one(bind, settings) {
                Ok(bound) => opened.push(Arc::new(bound)),
                Err(error) => {
                    close_gone(&opened, current, Files::Remove);
                    return Err(error);
                }
            },
        }
    }
    Ok(opened)
}

/// What becomes of the socket files of listeners that are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They go, where they are ours.
    Remove,
    /// Another master serves behind them.
    Keep,
}

/// Those in `before` that are not in `kept`.
pub fn gone<'a>(before: &'a [Arc<Bound>], kept: &'a [Arc<Bound>]) -> impl Iterator<Item = &'a Arc<Bound>> {
    before.iter().filter(|bound| !kept.iter().any(|other| Arc::ptr_eq(bound, other)))
}

/// Removes the socket files of those in `gone` that are not in `kept`. The sockets themselves
/// close with their last holder.
pub fn close_gone(gone: &[Arc<Bound>], kept: &[Arc<Bound>], files: Files) {
    for bound in self::gone(gone, kept).filter(|_| files == Files::Remove) {
        if let (Address::Unix(path), Some(file)) = (bound.listener.address(), bound.file)
            && identity(path) == Some(file)
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(target: "rwsgi", "cannot remove {}: {error}", path.display());
        }
    }
}

/// Takes over sockets a service manager passed in. They replace the binds altogether.
pub fn adopt_foreign(fds: Vec<OwnedFd>) -> Result<Listeners, BindError> {
    let adopted = fds.into_iter().map(adopt_passed);
    adopted
        .map(|listener| Ok(Arc::new(Bound { bind: None, listener: listener?, file: None, held: false })))
        .collect()
}

/// Takes over the sockets an older master bound, and opens what `settings` asks for beyond
/// them. What is no longer asked for closes here, and with the older master for good.
pub fn adopt_own(fds: Vec<OwnedFd>, settings: &MasterSettings) -> Result<Listeners, BindError> {
    let adopted = adopt_bound(fds, &settings.binds)?;
    // Numbers of descriptors mean nothing any more after an exec: take all, as they are.
    let numbered = settings.binds.iter().any(|bind| matches!(bind, Bind::Fd(_)));
    if numbered || is_passed(&adopted) { Ok(adopted) } else { open(&settings.binds, settings, &adopted) }
}

/// The same for the sockets of its status process.
pub fn adopt_status(fds: Vec<OwnedFd>, settings: &MasterSettings) -> Result<Listeners, BindError> {
    open(&settings.status_binds, settings, &adopt_bound(fds, &settings.status_binds)?)
}

fn adopt_bound(fds: Vec<OwnedFd>, binds: &[Bind]) -> Result<Listeners, BindError> {
    let mut adopted: Listeners = Vec::new();
    for fd in fds {
        let held = is_held(&fd);
        let listener = if held { adopt_held(fd) } else { adopt_one(fd, None) };
        let listener = listener.map_err(|error| BindError::new("inherited socket", error))?;
        let address = listener.address();
        let bind = binds.iter().find(|bound| means(bound, address)).cloned();
        let file = match address {
            Address::Unix(path) => identity(path),
            _ => None,
        };
        adopted.push(Arc::new(Bound { bind, listener, file, held }));
    }
    Ok(adopted)
}

fn adopt_passed(fd: OwnedFd) -> Result<Listener, BindError> {
    adopt_one(fd, None).map_err(|error| BindError::new("inherited socket", error))
}

/// Whether it is a socket that holds an address for sockets of workers.
fn is_held(fd: &OwnedFd) -> bool {
    let socket = SockRef::from(fd);
    socket.reuse_port().unwrap_or(false) && !socket.is_listener().unwrap_or(true)
}

fn adopt_held(fd: OwnedFd) -> io::Result<Listener> {
    let socket = Socket::from(fd);
    let address = address_of(&socket)?;
    Ok(Listener::new(socket.into(), address))
}

/// Whether a socket at `address` is what `bind` asks for.
fn means(bind: &Bind, address: &Address) -> bool {
    match (bind, address) {
        (Bind::Host(host, port), Address::Tcp(address)) => {
            resolve(host, *port).is_ok_and(|wanted| same(wanted, *address))
        }
        (Bind::Tcp(wanted), Address::Tcp(address)) => same(*wanted, *address),
        (Bind::Unix(wanted), Address::Unix(path)) => wanted == path,
        (Bind::Abstract(wanted), Address::Abstract(name)) => wanted == name,
        _ => false,
    }
}

/// Port 0 asked for any port.
fn same(wanted: SocketAddr, address: SocketAddr) -> bool {
    wanted.ip() == address.ip() && (wanted.port() == address.port() || wanted.port() == 0)
}

/// "http://127.0.0.1:8000,unix:/run/a.sock", or https where TLS is spoken.
pub fn show(listeners: &[Arc<Bound>], secured: bool) -> String {
    addresses(listeners, secured).join(",")
}

/// The same, one by one.
pub fn addresses(listeners: &[Arc<Bound>], secured: bool) -> Vec<String> {
    let shown = |bound: &Arc<Bound>| match bound.listener.address() {
        Address::Tcp(address) if secured => format!("https://{address}"),
        address => address.to_string(),
    };
    listeners.iter().map(shown).collect()
}

fn bind_one(bind: &Bind, settings: &MasterSettings) -> Result<Bound, BindError> {
    let backlog = settings.backlog;
    let (listener, file) = match bind {
        Bind::Host(host, port) => {
            let shown = format!("{host}:{port}");
            let address = resolve(host, *port).map_err(|error| BindError::new(&shown, error))?;
            (open_tcp(address, settings).map_err(|error| BindError::new(&shown, error))?, None)
        }
        Bind::Tcp(address) => {
            (open_tcp(*address, settings).map_err(|error| BindError::new(address, error))?, None)
        }
        Bind::Unix(path) => {
            let listener = bind_unix(path, settings)
                .map_err(|error| BindError::new(format_args!("unix:{}", path.display()), error))?;
            (listener, identity(path))
        }
        Bind::Abstract(name) => {
            let shown = Address::Abstract(name.clone());
            (bind_abstract(name, backlog).map_err(|error| BindError::new(shown, error))?, None)
        }
        Bind::Fd(number) => {
            let adopted = raw::adopt_fd(*number).and_then(|fd| adopt_one(fd, Some(backlog)));
            (adopted.map_err(|error| BindError::new(format_args!("fd://{number}"), error))?, None)
        }
    };
    let held =
        settings.reuse_port && matches!(listener.address(), Address::Tcp(_)) && !matches!(bind, Bind::Fd(_));
    Ok(Bound { bind: Some(bind.clone()), listener, file, held })
}

fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
    preferred.copied().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn open_tcp(address: SocketAddr, settings: &MasterSettings) -> io::Result<Listener> {
    match settings.reuse_port {
        true => hold_tcp(address),
        false => bind_tcp(address, settings.backlog),
    }
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = tcp_socket(address)?;
    socket.bind(&address.into())?;
    listen(socket, backlog)
}

/// Bound, but not listening: the kernel would give it connections that nobody accepts.
fn hold_tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = reusing_socket(address)?;
    let address = address_of(&socket)?;
    Ok(Listener::new(socket.into(), address))
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it (Linux), which saves a call per connection.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn reusing_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bind_unix(path: &Path, settings: &MasterSettings) -> io::Result<Listener> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The mask belongs to the process: it is set for this one call, while there is one thread.
    let before = umask(Mode::from_bits_truncate(settings.umask));
    let bound = socket.bind(&SockAddr::unix(path)?);
    umask(before);
    bound?;
    if settings.user.is_some() || settings.group.is_some() {
        std::os::unix::fs::chown(path, settings.user, settings.group)?;
    }
    listen(socket, settings.backlog)
}

fn bind_abstract(name: &[u8], backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let mut full = vec![0];
    full.extend_from_slice(name);
    socket.bind(&SockAddr::unix(std::ffi::OsStr::from_bytes(&full))?)?;
    listen(socket, backlog)
}

fn listen(socket: Socket, backlog: i32) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    socket.listen(backlog)?;
    let address = address_of(&socket)?;
    Ok(Listener::new(socket.into(), address))
}

/// Makes a listener of a socket somebody else bound. It is told to listen only if it does not:
/// whoever made it chose its backlog.
fn adopt_one(fd: OwnedFd, backlog: Option<i32>) -> io::Result<Listener> {
    let socket = Socket::from(fd);
    let address = address_of(&socket)?;
    if socket.is_listener()? {
        socket.set_nonblocking(true)?;
        return Ok(Listener::new(socket.into(), address));
    }
    match backlog {
        Some(backlog) => listen(socket, backlog),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen")),
    }
}

fn address_of(socket: &Socket) -> io::Result<Address> {
    let address = socket.local_addr()?;
    if let Some(address) = address.as_socket() {
        return Ok(Address::Tcp(address));
    }
    if let Some(path) = address.as_pathname() {
        return Ok(Address::Unix(path.to_owned()));
    }
    let name = address.as_abstract_namespace().unwrap_or_default();
    Ok(Address::Abstract(name.to_vec()))
}

/// Makes room for a socket file: removes a socket nobody answers on, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let text = "it exists and is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    // Without waiting: a server whose queue is full would hold up the caller.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Answered, or so busy that its queue is full: somebody listens.
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
#[path = "tests_listeners.rs"]
mod tests;
