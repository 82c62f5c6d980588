//! Where does what peers send land before anybody looks at it?
//!
//! In one buffer for each thread. For a connection that has its turn by itself all of it is free. In a
//! row (see `row`) connections are read one after the other before the first of them is served,
//! and their bytes lie one behind the other.
//!
//! Must not know: HTTP, connections.
//!
//! Invariants:
//! 1. What was read ahead stays untouched until it is given out: whoever reads in between, reads
//!    behind it, and finds room.
//! 2. The buffer outlives whatever happens to whoever looks into it.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::transport::{Stream, Taken};

/// Size of the buffer.
const BUFFER: usize = 64 * 1024;
/// As much as this is offered to whoever reads.
const LEAST: usize = 16 * 1024;

/// A thread's buffer.
pub struct Intake {
    buffer: Rc<RefCell<Box<[u8]>>>,
    /// Bytes of the buffer that were read ahead.
    ahead: usize,
    /// Read ahead for the connection that has its turn.
    fetched: Option<Fetched>,
}

/// What was read ahead.
#[derive(Debug)]
pub struct Fetched {
    taken: io::Result<Taken>,
    at: usize,
}

/// What is there for the connection that has its turn.
#[derive(Debug)]
pub struct Piece {
    /// Where in the buffer; empty at the end.
    pub range: Range<usize>,
    /// There may be more without the kernel saying so again.
    pub more: bool,
}

impl Intake {
    /// An empty one.
    pub fn new() -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Intake { buffer: Rc::new(RefCell::new(buffer)), ahead: 0, fetched: None }
    }

    /// The buffer, to be looked into.
    pub fn buffer(&self) -> Rc<RefCell<Box<[u8]>>> {
        Rc::clone(&self.buffer)
    }

    /// What was read ahead for this connection, or else what is there.
    pub fn read(&mut self, stream: &Stream) -> io::Result<Piece> {
        let Fetched { taken, at } = match self.fetched.take() {
            Some(fetched) => fetched,
            None => Fetched { taken: self.read_at(stream, self.ahead, BUFFER), at: self.ahead },
        };
        taken.map(|taken| taken.at(at))
    }

    /// Reads for a connection whose turn comes later. `None`: there is no room for it.
    pub fn read_ahead(&mut self, stream: &Stream) -> Option<Fetched> {
        let end = BUFFER - LEAST;
        if self.ahead + LEAST > end {
            return None;
        }
        let (taken, at) = (self.read_at(stream, self.ahead, end), self.ahead);
        self.ahead += taken.as_ref().map_or(0, |taken| taken.count);
        Some(Fetched { taken, at })
    }

    /// The next to read is the connection this was read for; or one for which nothing was.
    pub fn present(&mut self, fetched: Option<Fetched>) {
        self.fetched = fetched;
    }

    /// Nothing that was read ahead is needed any more.
    pub fn clear(&mut self) {
        (self.ahead, self.fetched) = (0, None);
    }

    #[inline]
    fn read_at(&self, stream: &Stream, at: usize, end: usize) -> io::Result<Taken> {
        match self.buffer.try_borrow_mut() {
            Ok(mut buffer) => stream.read(&mut buffer[at..end]),
            // Nobody reads while he looks at what was read.
            Err(_) => Err(io::Error::other("the buffer is in use")),
        }
    }
}

impl Taken {
    fn at(self, start: usize) -> Piece {
        Piece { range: start..start + self.count, more: self.more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn said(bytes: &[u8]) -> (Stream, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(bytes).unwrap();
        (Stream::Unix(mio::net::UnixStream::from_std(ours)), theirs)
    }

    fn text(intake: &Intake, piece: &Piece) -> Vec<u8> {
        intake.buffer().borrow()[piece.range.clone()].to_vec()
    }

    #[test]
    fn what_is_read_ahead_is_given_out_later_and_nothing_is_read_over_it() {
        let mut intake = Intake::new();
        let (first, _peer) = said(b"first");
        let (second, mut more) = said(b"second");
        let (third, _) = said(b"");
        let ahead: Vec<_> = [&first, &second, &third].map(|stream| intake.read_ahead(stream)).into();
        let mut pieces = Vec::new();
        for (fetched, stream) in ahead.into_iter().zip([&first, &second, &third]) {
            intake.present(fetched);
            pieces.push(intake.read(stream).unwrap());
        }
        more.write_all(b"and more").unwrap();
        let late = intake.read(&second).unwrap();
        assert_eq!(text(&intake, &late), b"and more");
        assert_eq!(text(&intake, &pieces[0]), b"first");
        assert_eq!(text(&intake, &pieces[1]), b"second");
        assert!(pieces[2].range.is_empty(), "the end");
        assert!(pieces.iter().all(|piece| !piece.more));
        let nothing = intake.read(&second).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn there_is_always_room_for_whoever_has_its_turn() {
        let mut intake = Intake::new();
        let (stream, _peer) = said(&vec![b'x'; 2 * BUFFER]);
        let mut count = 0;
        while let Some(fetched) = intake.read_ahead(&stream) {
            assert!(fetched.taken.unwrap().more);
            count += 1;
        }
        assert!(count >= 1);
        let piece = intake.read(&stream).unwrap();
        assert!(piece.range.len() >= LEAST && piece.more);
        intake.clear();
        assert_eq!(intake.read(&stream).unwrap().range.start, 0);
    }
}
