//! The kernel calls that have no safe wrapper: fork, shared pages, signal dispositions,
//! adopted descriptors, argv.
//!
//! Must not know policy: every function is the smallest safe shape around one call. The only
//! `unsafe` outside the Python room stands here.
//!
//! Invariants:
//! 1. Every block carries its SAFETY line.
//! 2. The signal handler touches atomics and `write(2)` only (signal-safety(7)), and leaves
//!    `errno` as it found it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::io::IoSliceMut;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// What [`fork`] returned, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// In the parent: the child's process id.
    Parent(i32),
    /// In the child.
    Child,
}

/// Duplicates the process. The child has the calling thread only, so nothing may hold a lock
/// in another thread: the master has no other threads.
pub fn fork() -> io::Result<Forked> {
    // SAFETY: fork takes no arguments and the return value tells the sides apart. The caller
    // is the process's only thread, so the child inherits no lock that nobody can release.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// Has the calling thread wait for its turn when it wakes, instead of taking the processor away
/// from whoever woke it (sched(7), SCHED_BATCH). Where that is not allowed nothing changes.
pub fn do_not_preempt() {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread; the struct is read during the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &param) };
}

/// Ends the process at once: no destructors, no exit handlers, no interpreter finalisation.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and has no preconditions.
    unsafe { libc::_exit(code) }
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reaped {
    /// Which.
    pub pid: i32,
    /// Its exit code, or the signal that ended it.
    pub ended: Result<i32, i32>,
}

/// Takes one ended child off the kernel's list, if there is one. (nix's waitpid refuses
/// real-time signals, after the child is gone: that death would be lost.)
pub fn reap() -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: `status` is a live int.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    let exited = libc::WIFEXITED(status);
    let ended = if exited { Ok(libc::WEXITSTATUS(status)) } else { Err(libc::WTERMSIG(status)) };
    (pid > 0).then_some(Reaped { pid, ended })
}

/// Bytes in a memory page.
pub fn page_size() -> u64 {
    // SAFETY: sysconf has no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.unsigned_abs())
}

/// The kernel's id of the calling thread.
pub fn thread_id() -> u32 {
    // SAFETY: gettid has no arguments and cannot fail.
    unsafe { libc::gettid() }.unsigned_abs()
}

/// Zeroed words shared with every process forked after their creation, and with those they are
/// [passed](SharedWords::file) to.
#[derive(Debug)]
pub struct SharedWords {
    start: ptr::NonNull<AtomicU64>,
    count: usize,
    file: Option<OwnedFd>,
}

// SAFETY: the mapping lives until drop and is only reachable as atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above; atomics may be used through shared references from any thread.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps at least `count` words. Where the kernel has no anonymous files they cannot be passed.
    pub fn new(count: usize) -> io::Result<SharedWords> {
        let count = count.max(1);
        let made = memfd_create("rwsgi-words", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from);
        let file = made.map(File::from).and_then(|file| file.set_len(bytes(count) as u64).map(|()| file));
        SharedWords::map(file.ok().map(OwnedFd::from), count)
    }

    /// Maps what another process has made with `count` words.
    pub fn adopt(file: OwnedFd, count: usize) -> io::Result<SharedWords> {
        let file = File::from(file);
        // A mapping longer than its file would kill who touches its end.
        if file.metadata()?.len() < bytes(count.max(1)) as u64 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        SharedWords::map(Some(file.into()), count.max(1))
    }

    fn map(file: Option<OwnedFd>, count: usize) -> io::Result<SharedWords> {
        let (flags, fd) = match &file {
            Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
            None => (libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1),
        };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a mapping at an address of the kernel's choice replaces nothing; the file, if
        // there is one, is as long as the mapping and is never cut: only we have it.
        let address = unsafe { libc::mmap(ptr::null_mut(), bytes(count), protection, flags, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = ptr::NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedWords { start, count, file })
    }

    /// What another process maps to share them.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
}

fn bytes(count: usize) -> usize {
    count * size_of::<AtomicU64>()
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `count` words long, page aligned, zeroed (a valid AtomicU64),
        // and lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: start and length are those of our own mapping; no reference outlives self.
        // A failure leaves the mapping in place, which is harmless.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes(self.count)) };
    }
}

/// Watches `fd` in the epoll instance so that one event wakes one of the waiting processes
/// (EPOLLEXCLUSIVE), level-triggered, reported with `token`.
pub fn epoll_add_exclusive(epfd: &impl AsRawFd, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32, u64: token };
    // SAFETY: both descriptors are open for the call and `event` is a live epoll_event.
    check(unsafe { libc::epoll_ctl(epfd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) })
}

/// Stops watching `fd`.
pub fn epoll_del(epfd: &impl AsRawFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open for the call; DEL ignores the event pointer.
    check(unsafe { libc::epoll_ctl(epfd.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), ptr::null_mut()) })
}

/// How many connections wait in the accept queue of a listening TCP socket, and how many may.
/// For a listener the kernel reuses two fields of TCP_INFO (`tcp_get_info`, net/ipv4/tcp.c).
pub fn tcp_accept_queue(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    // SAFETY: all-zero is a valid tcp_info: plain numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is `length` bytes long and outlives the call; the kernel writes no more.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        )
    })?;
    Ok((info.tcpi_unacked, info.tcpi_sacked))
}

/// Has a listening TCP socket hand connections out only once they have said something, or after
/// `seconds`.
pub fn defer_accept(fd: BorrowedFd<'_>, seconds: u8) -> io::Result<()> {
    let seconds = libc::c_int::from(seconds);
    // SAFETY: the value is an int, as the option wants it, and outlives the call.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// Whether it does so.
pub fn defers_accept(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut seconds: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes an int at most, as `length` says; both outlive the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw mut seconds).cast(),
            &raw mut length,
        )
    })?;
    Ok(seconds != 0)
}

/// Takes over descriptor number `fd`, which was inherited and belongs to nobody in this
/// process: it comes back under another number, close-on-exec, and the old number is closed.
/// Standard streams are refused.
pub fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= libc::STDERR_FILENO {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: fcntl on any number is defined; a closed one answers EBADF.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    check(copy)?;
    // SAFETY: the caller hands over a number that no object of this process owns.
    unsafe { libc::close(fd) };
    // SAFETY: `copy` was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Takes one message, and the descriptors that came with it, from a socket that keeps messages
/// apart: the message's length and its descriptors, close-on-exec. Nothing there: `WouldBlock`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MOST_PASSED]);
    let mut pieces = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut pieces, Some(&mut space), flags)?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these for this process; nobody else knows them.
            received.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, received))
}

/// Descriptors in one message at most: the kernel's own limit (SCM_MAX_FD).
pub const MOST_PASSED: usize = 253;

/// Overwrites the bytes at `start..end` of this process's argument area with `title`,
/// zero-padded; the last byte stays zero (the kernel would read on into the environment).
pub(super) fn overwrite_argv(start: usize, end: usize, title: &[u8]) {
    let Some(room) = end.checked_sub(start).filter(|room| *room > 1) else { return };
    let length = title.len().min(room - 1);
    // SAFETY: the kernel reported the range as this process's argv strings, which lie on the
    // initial stack: mapped, writable, and read by nobody after start-up (both the C runtime
    // and CPython have copied or decoded their arguments by now).
    unsafe {
        let area = ptr::with_exposed_provenance_mut::<u8>(start);
        ptr::write_bytes(area, 0, room);
        ptr::copy_nonoverlapping(title.as_ptr(), area, length);
    }
}

/// Write end of the pipe that [`on_signal`] reports into; -1: nowhere.
static SIGNAL_PIPE: AtomicI32 = AtomicI32::new(-1);
/// Per signal number: deliveries the pipe had no room for.
static OVERFLOWED: [AtomicU32; 65] = [const { AtomicU32::new(0) }; 65];

/// Which signal numbers were delivered since [`forget_signals`], as bits.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// The mark of a signal that was reported by the server's own handler.
pub(super) const OURS: u8 = 0x80;

extern "C" fn on_signal(signal: libc::c_int) {
    ARRIVED.fetch_or(1 << (signal as u32 % 64), Ordering::Relaxed);
    let fd = SIGNAL_PIPE.load(Ordering::Relaxed);
    // Marked as ours: CPython, which may be told to write here, too, writes plain numbers.
    let byte = signal as u8 | OURS;
    // SAFETY: errno is this thread's own; write is async-signal-safe and `byte` is live.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        if fd >= 0 && libc::write(fd, ptr::from_ref(&byte).cast(), 1) != 1 {
            OVERFLOWED[(signal as usize).min(64)].fetch_add(1, Ordering::Relaxed);
        }
        *errno = saved;
    }
}

/// Directs signal reports to `fd`, or nowhere. The caller keeps the descriptor open meanwhile.
pub(super) fn set_signal_pipe(fd: Option<BorrowedFd<'_>>) {
    SIGNAL_PIPE.store(fd.map_or(-1, |fd| fd.as_raw_fd()), Ordering::SeqCst);
}

/// Whether `signal` was delivered, also if nobody has read the report yet.
pub(super) fn has_arrived(signal: i32) -> bool {
    ARRIVED.load(Ordering::Relaxed) & (1 << (signal as u32 % 64)) != 0
}

/// Starts anew: nothing has arrived.
pub(super) fn forget_signals() {
    ARRIVED.store(0, Ordering::Relaxed);
}

/// Takes the number of deliveries of `signal` that the pipe had no room for.
pub(super) fn take_overflowed(signal: i32) -> u32 {
    usize::try_from(signal)
        .ok()
        .and_then(|index| OVERFLOWED.get(index))
        .map_or(0, |count| count.swap(0, Ordering::Relaxed))
}

/// What a signal does on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposition {
    /// Reported through the pipe.
    Reported,
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignored,
}

/// Replaces the disposition of `signal`, whatever it was: CPython's handlers are not chained,
/// because theirs would turn SIGINT into a KeyboardInterrupt in the middle of ours.
pub(super) fn dispose(signal: i32, disposition: Disposition) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction (empty mask, no flags, SIG_DFL).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = match disposition {
        Disposition::Reported => on_signal as extern "C" fn(libc::c_int) as usize,
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    // One at a time: handlers that interrupt each other pile up on the alternate stack, which a
    // burst of different signals overflows where the processor's state is large.
    // SAFETY: the mask is live and initialised.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // Restarting keeps the application's C libraries from seeing EINTR; poll and epoll_wait
    // are interrupted all the same.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `action` is initialised and the handler is async-signal-safe.
    check(unsafe { libc::sigaction(signal, &action, ptr::null_mut()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives memory the allocator holds without use back to the kernel. Only glibc has to be asked.
pub fn give_memory_back() {
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_words_are_zeroed_and_writable() {
        let words = SharedWords::new(1000).unwrap();
        assert_eq!(words.len(), 1000);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[999].store(7, Ordering::Relaxed);
        assert_eq!(words[999].load(Ordering::Relaxed), 7);
    }

    #[test]
    fn passed_words_are_the_same_words() {
        let words = SharedWords::new(600).unwrap();
        let file = words.file().unwrap().try_clone_to_owned().unwrap();
        let other = SharedWords::adopt(file, 600).unwrap();
        words[599].store(7, Ordering::Relaxed);
        assert_eq!(other[599].load(Ordering::Relaxed), 7);
        let file = words.file().unwrap().try_clone_to_owned().unwrap();
        assert!(SharedWords::adopt(file, 601).is_err());
    }

    #[test]
    fn a_queue_is_as_long_as_connections_wait() {
        use std::net::{TcpListener, TcpStream};
        use std::os::fd::AsFd;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let (waiting, limit) = tcp_accept_queue(listener.as_fd()).unwrap();
        assert_eq!(waiting, 2);
        assert!(limit >= 2);
        assert!(tcp_accept_queue(std::os::unix::net::UnixDatagram::unbound().unwrap().as_fd()).is_err());
    }

    #[test]
    fn standard_streams_are_not_adopted() {
        for fd in [-1, 0, 1, 2] {
            assert_eq!(adopt_fd(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(adopt_fd(9_999).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
