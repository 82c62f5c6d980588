//! Which bytes are on their way to a client, and how do they leave?
//!
//! A buffer for what is small, a file region for `sendfile`, and, for `write()` of applications,
//! which cannot be made to wait, an overflow file behind the buffer.
//!
//! Must not know: HTTP, applications.
//!
//! Invariants:
//! 1. Order: buffer, then overflow, then file. While there is overflow nothing joins the buffer.
//! 2. After the socket has taken less than it was offered nothing is tried until the kernel says
//!    it is writable again: a drained queue alone does not mean that there is room.
//! 3. A drained output holds no memory of its own: [`Output::reclaim`] gives the buffer back.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;

use super::spool::Spool;
use super::transport::Stream;
use crate::system::listener::UNSENT_MOST;

/// Most bytes handed to one `sendfile`, so that one connection does not hold the loop.
const SENDFILE_MOST: u64 = 1 << 20;
/// A file from this size on is paced: the kernel is given no more than it can send soon. What it
/// queues beyond that leaves when the client's acknowledgements come, on the CPU where they come:
/// a client on the same machine then does the server's work beside its own.
const PACED: u64 = 1 << 20;
/// Most bytes of a paced file that wait in the kernel for their turn.
const PACED_UNSENT: u32 = 64 * 1024;
/// Most bytes of a body handed over in one turn, for the same reason: the kernel takes megabytes, and
/// copies them.
const SEND_MOST: usize = 512 * 1024;
/// Blocks from this size on are written from where they are instead of being copied.
pub const DIRECT: usize = 16 * 1024;

/// Most buffers a thread keeps for replies.
const SPARES: usize = 16;

/// Bytes waiting to be sent.
#[derive(Debug, Default)]
pub struct Output {
    buffer: Vec<u8>,
    sent: usize,
    /// Boxed, as few connections have one.
    overflow: Option<Box<Region>>,
    file: Option<Box<Region>>,
    blocked: bool,
    /// Others want their turn before more is offered.
    spent: bool,
    /// Bytes of blocks taken in this turn.
    turn: usize,
    /// Bytes handed to the kernel since the connection began.
    pub total: u64,
}

#[derive(Debug)]
struct Region {
    file: File,
    next: u64,
    end: u64,
    /// The kernel was told to queue little.
    paced: bool,
}

/// Buffers a thread lends to replies: one, and more where several wait to leave together.
#[derive(Debug, Default)]
pub struct Spares(Vec<Vec<u8>>);

impl Spares {
    /// A large one only where there is no other.
    fn keep(&mut self, buffer: Vec<u8>) {
        let fits = buffer.capacity() <= DIRECT && self.0.len() < SPARES;
        if buffer.capacity() > 0 && (fits || self.0.is_empty()) {
            self.0.push(buffer);
        }
    }
}

/// How far [`Output::flush`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    Drained,
    /// The socket takes no more for now.
    Blocked,
    /// More could be sent, but others want their turn.
    Yielded,
}

impl Output {
    /// Bytes in memory that are not sent.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Whether nothing waits.
    pub fn is_drained(&self) -> bool {
        self.pending() == 0 && self.overflow.is_none() && self.file.is_none()
    }

    /// Whether bytes wait in the overflow file: what follows has to wait behind them.
    pub fn has_overflow(&self) -> bool {
        self.overflow.is_some()
    }

    /// Whether the client has to take something before anything can go on.
    pub fn is_blocked(&self) -> bool {
        self.blocked || !self.is_drained()
    }

    /// The buffer, for encoders that append to it. Only while there is no overflow and no file.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Lends a buffer, so that a request needs no allocation.
    pub fn lend(&mut self, spares: &mut Spares) {
        if self.buffer.capacity() == 0 {
            self.buffer = spares.0.pop().unwrap_or_default();
        }
        self.turn = 0;
    }

    /// Takes the buffer of a drained output back.
    pub fn reclaim(&mut self, spares: &mut Spares) {
        if self.pending() == 0 {
            self.buffer.clear();
            self.sent = 0;
            spares.keep(std::mem::take(&mut self.buffer));
        }
    }

    /// Whether all that waits is in memory, and nothing hinders its leaving.
    pub fn is_buffered(&self) -> bool {
        !self.blocked && self.overflow.is_none() && self.file.is_none()
    }

    /// Gives what waits in memory to somebody else, who has sent `sent` of `bytes`.
    pub fn hand_over(&mut self, bytes: &mut Vec<u8>, sent: &mut usize) {
        if *sent == bytes.len() {
            bytes.clear();
            std::mem::swap(bytes, &mut self.buffer);
            *sent = std::mem::take(&mut self.sent);
        } else {
            bytes.extend_from_slice(&self.buffer[self.sent..]);
            self.buffer.clear();
            self.sent = 0;
        }
    }

    /// The opposite: what was not sent of `bytes` goes in front of what waits here.
    pub fn take_back(&mut self, bytes: &mut Vec<u8>, sent: usize, blocked: bool) {
        bytes.extend_from_slice(&self.buffer[self.sent..]);
        std::mem::swap(bytes, &mut self.buffer);
        self.sent = sent;
        self.blocked |= blocked;
        self.advance(0);
    }

    /// Appends bytes. Beyond `most` they go to the overflow file.
    pub fn push(&mut self, bytes: &[u8], most: usize, spool: &Spool) -> io::Result<()> {
        if self.overflow.is_none() && self.pending() + bytes.len() <= most {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        let overflow = match &mut self.overflow {
            Some(overflow) => overflow,
            none => none.insert(Box::new(Region { file: spool.create()?, next: 0, end: 0, paced: false })),
        };
        // The file's own position is at its end: sendfile reads with an offset of its own.
        overflow.file.write_all(bytes)?;
        overflow.end += bytes.len() as u64;
        Ok(())
    }

    /// Puts a file region behind everything else.
    pub fn put_file(&mut self, file: OwnedFd, offset: u64, len: u64) {
        let end = offset.saturating_add(len);
        self.file = Some(Box::new(Region { file: File::from(file), next: offset, end, paced: false }));
    }

    /// Bytes of the file region that are not sent.
    pub fn file_left(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.end - file.next)
    }

    /// The kernel says the socket is writable.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// Sends as much as the socket takes.
    pub fn flush(&mut self, stream: &Stream) -> io::Result<Flushed> {
        if self.blocked {
            return Ok(Flushed::Blocked);
        }
        let flushed = self.send(stream);
        self.blocked = matches!(flushed, Ok(Flushed::Blocked));
        flushed
    }

    fn send(&mut self, stream: &Stream) -> io::Result<Flushed> {
        while self.pending() > 0 {
            match stream.write(&[IoSlice::new(&self.buffer[self.sent..])]) {
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) => return Err(error),
            }
        }
        let mut budget = SENDFILE_MOST;
        for slot in [&mut self.overflow, &mut self.file] {
            let Some(region) = slot else { continue };
            match region.send(stream, &mut budget, &mut self.total)? {
                Flushed::Drained => {
                    if region.paced {
                        stream.limit_unsent(UNSENT_MOST);
                    }
                    *slot = None;
                }
                other => return Ok(other),
            }
        }
        Ok(Flushed::Drained)
    }

    /// Writes what waits, then `block`, then `after`, in one system call where the socket takes it.
    /// Says how much of `block` was taken; `after` is kept once the block is whole. Of a large block
    /// only the beginning is offered: see [`Output::yields`].
    pub fn write_through(&mut self, stream: &Stream, block: &[u8], after: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        let offered = block.len().min(SEND_MOST);
        self.spent = offered < block.len();
        let (offer, after) = (&block[..offered], if self.spent { b"" } else { after });
        while taken < offered && !self.blocked {
            let slices =
                [IoSlice::new(&self.buffer[self.sent..]), IoSlice::new(&offer[taken..]), IoSlice::new(after)];
            let before = self.pending();
            let count = match stream.write(&slices) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            self.advance(count.min(before));
            let of_block = count.saturating_sub(before).min(offered - taken);
            let of_after = count.saturating_sub(before + of_block);
            self.total += (of_block + of_after) as u64;
            taken += of_block;
            if taken == block.len() {
                self.buffer.extend_from_slice(&after[of_after..]);
            }
        }
        Ok(taken)
    }

    /// So much more was taken in this turn. True: it was enough, others want theirs. A client that
    /// reads as fast as the application yields must not keep them waiting.
    pub fn is_enough(&mut self, taken: usize) -> bool {
        self.turn += taken;
        self.spent |= self.turn > SEND_MOST;
        self.spent
    }

    /// Whether others want their turn before this goes on; says so once.
    pub fn yields(&mut self) -> bool {
        self.turn = 0;
        std::mem::take(&mut self.spent) && !self.blocked
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        self.total += count as u64;
        if self.sent == self.buffer.len() {
            self.buffer.clear();
            self.sent = 0;
        }
    }
}

impl Region {
    fn send(&mut self, stream: &Stream, budget: &mut u64, total: &mut u64) -> io::Result<Flushed> {
        if !self.paced && self.end - self.next >= PACED {
            self.paced = true;
            stream.limit_unsent(PACED_UNSENT);
        }
        while self.next < self.end {
            if *budget == 0 {
                return Ok(Flushed::Yielded);
            }
            let count = (self.end - self.next).min(*budget);
            match stream.send_file(&self.file, &mut self.next, count as usize) {
                // The file is shorter than it was: the body cannot be completed.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => {
                    *total += sent as u64;
                    *budget -= (sent as u64).min(*budget);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::Drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_large_block_leaves_in_turns_and_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let stream = Stream::Unix(mio::net::UnixStream::from_std(ours));
        let block: Vec<u8> = (0..3 * SEND_MOST).map(|index| index as u8).collect();
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; 3 * SEND_MOST + 2];
            theirs.read_exact(&mut bytes).map(|()| bytes)
        });
        let (mut output, mut taken, mut turns) = (Output::default(), 0, 0);
        while taken < block.len() {
            let more = output.write_through(&stream, &block[taken..], b"\r\n").unwrap();
            assert!(more <= SEND_MOST);
            taken += more;
            assert!(!output.yields() || taken < block.len());
            turns += 1;
            output.unblock();
        }
        while output.flush(&stream).unwrap() != Flushed::Drained {
            output.unblock();
        }
        assert!(turns >= 3);
        let bytes = reader.join().unwrap().unwrap();
        assert!(bytes.strip_suffix(b"\r\n") == Some(&block));
    }

    #[test]
    fn a_large_file_is_paced_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(mio::net::TcpStream::from_std(ours));
        stream.limit_unsent(UNSENT_MOST);
        let limit = || socket2::SockRef::from(&stream).tcp_notsent_lowat().unwrap();
        let zeros = |length: u64| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(length).unwrap();
            OwnedFd::from(file)
        };
        let mut output = Output::default();
        output.put_file(zeros(PACED - 1), 0, PACED - 1);
        let _ = output.flush(&stream).unwrap();
        assert_eq!(limit(), UNSENT_MOST);

        let all = 4 * PACED - 1;
        let reader = std::thread::spawn(move || io::copy(&mut (&mut theirs).take(all), &mut io::sink()));
        let finish = |output: &mut Output| {
            while output.flush(&stream).unwrap() != Flushed::Drained {
                std::thread::yield_now();
                output.unblock();
            }
        };
        finish(&mut output);
        output.put_file(zeros(3 * PACED), 0, 3 * PACED);
        assert_ne!(output.flush(&stream).unwrap(), Flushed::Drained, "a megabyte in a turn");
        assert_eq!(limit(), PACED_UNSENT);
        finish(&mut output);
        assert_eq!(limit(), UNSENT_MOST, "for what follows on the connection");
        assert_eq!(reader.join().unwrap().unwrap(), all);
    }

    #[test]
    fn many_blocks_are_enough_for_a_turn_too() {
        let mut output = Output::default();
        let blocks = (0..100).take_while(|_| !output.is_enough(SEND_MOST / 8)).count();
        assert_eq!(blocks, 8);
        assert!(output.yields());
        assert!(!output.yields(), "said once");
        assert!(!output.is_enough(SEND_MOST / 8), "a new turn");
    }
}
