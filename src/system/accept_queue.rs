//! How many connections wait at a listening socket until somebody accepts them?
//!
//! Of a TCP socket its holder can ask. Of a unix socket only the kernel's socket diagnosis tells
//! (sock_diag(7)), which `ss -xl` reads, too.
//!
//! Must not know: who listens, who wants to know.
//!
//! Invariant: nothing here waits: the kernel answers while it is asked.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use nix::sys::stat::fstat;
use socket2::{Domain, Protocol, Socket, Type};

use super::raw;

/// NETLINK_SOCK_DIAG of linux/netlink.h.
const DIAGNOSIS: i32 = 4;
/// SOCK_DIAG_BY_FAMILY of linux/sock_diag.h: what is asked, and answered.
const BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST.
const REQUEST: u16 = 1;
/// UDIAG_SHOW_RQLEN of linux/unix_diag.h, and the attribute that answers it: UNIX_DIAG_RQLEN.
const SHOW_QUEUE: u32 = 0x10;
const QUEUE: u16 = 4;
/// Of `struct nlmsghdr`, of `struct unix_diag_req` and of `struct unix_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 24;
const ANSWER: usize = 16;

/// How many wait, and how many may.
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    raw::tcp_accept_queue(listener).or_else(|_| unix_accept_queue(listener))
}

fn unix_accept_queue(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let kernel = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(DIAGNOSIS)))?;
    kernel.set_nonblocking(true)?;
    // The kernel's numbers of sockets have 32 bits.
    let inode = fstat(listener)?.st_ino as u32;
    (&kernel).write_all(&question(inode))?;
    let mut answer = [0; 512];
    let length = (&kernel).read(&mut answer)?;
    understand(answer.get(..length).unwrap_or_default(), inode)
        .ok_or_else(|| io::Error::other("the kernel does not tell"))
}

fn question(inode: u32) -> Vec<u8> {
    let length = (HEADER + QUESTION) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([BY_FAMILY, REQUEST].map(u16::to_ne_bytes).concat());
    // Sequence number, and the kernel's port.
    bytes.extend([1u32, 0].map(u32::to_ne_bytes).concat());
    // Family, protocol, padding.
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // Any state; the socket, whatever its cookie is.
    bytes.extend([u32::MAX, inode, SHOW_QUEUE, u32::MAX, u32::MAX].map(u32::to_ne_bytes).concat());
    bytes
}

fn understand(answer: &[u8], inode: u32) -> Option<(u32, u32)> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if half(answer, 4)? != BY_FAMILY || word(answer, HEADER + 4)? != inode {
        return None;
    }
    let mut attributes = answer.get(HEADER + ANSWER..)?;
    loop {
        let length = usize::from(half(attributes, 0)?);
        if half(attributes, 2)? == QUEUE {
            return Some((word(attributes, 4)?, word(attributes, 8)?));
        }
        // They stand at multiples of four bytes, and an empty one would have no end.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_unix_socket_tells_as_many_as_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let queue = || accept_queue(listener.as_fd());
        match queue() {
            // Not every kernel, and not every sandbox, has the diagnosis.
            Err(error) => assert!(error.raw_os_error().is_some(), "{error}"),
            Ok((waiting, limit)) => {
                assert_eq!(waiting, 0);
                assert!(limit >= 2);
                let _clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
                assert_eq!(queue().unwrap(), (2, limit));
                listener.accept().unwrap();
                assert_eq!(queue().unwrap(), (1, limit));
            }
        }
    }

    #[test]
    fn what_does_not_listen_has_no_queue() {
        let file = tempfile::tempfile().unwrap();
        assert!(accept_queue(file.as_fd()).is_err());
    }

    #[test]
    fn answers_that_are_none_are_not_understood() {
        let answer = |kind: u16, inode: u32, attributes: &[u8]| {
            let mut bytes = 0u32.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; HEADER - 6]);
            bytes.extend([1, 1, 10, 0]);
            bytes.extend(inode.to_ne_bytes());
            bytes.extend([0; ANSWER - 8]);
            bytes.extend(attributes);
            bytes
        };
        let attribute = |kind: u16, words: &[u32]| {
            let mut bytes = (4 + 4 * words.len() as u16).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
            bytes
        };
        let queue = attribute(QUEUE, &[3, 7]);
        let whole = answer(BY_FAMILY, 9, &[attribute(5, &[0]), queue.clone()].concat());
        assert_eq!(understand(&whole, 9), Some((3, 7)));
        for cut in 0..whole.len() {
            assert_eq!(understand(&whole[..cut], 9), None, "{cut}");
        }
        assert_eq!(understand(&answer(BY_FAMILY, 8, &queue), 9), None, "another socket");
        assert_eq!(understand(&answer(2, 9, &queue), 9), None, "an error");
        assert_eq!(understand(&answer(BY_FAMILY, 9, &[0; 64]), 9), None, "nothing, again and again");
    }
}
