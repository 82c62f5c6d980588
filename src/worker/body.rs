//! What has arrived of a request body? Memory up to a threshold, then a file.
//!
//! Must not know: framing (it is given decoded data), connections.
//!
//! Invariant: the length is that of the data taken, wherever it is.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use super::spool::Spool;
use crate::door::Body;

/// A body on its way in.
#[derive(Debug, Default)]
pub enum BodyStore {
    /// Nothing yet.
    #[default]
    Empty,
    /// All of it was read together with the head, and is where it was read.
    Passing(usize),
    /// In memory.
    Memory(Vec<u8>),
    /// Spilled.
    File {
        /// The file, at its end.
        file: File,
        /// Bytes in it.
        len: u64,
    },
}

impl BodyStore {
    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        match self {
            BodyStore::Empty => 0,
            BodyStore::Passing(len) => *len as u64,
            BodyStore::Memory(bytes) => bytes.len() as u64,
            BodyStore::File { len, .. } => *len,
        }
    }

    /// Adds decoded data. `expected`: the announced length, if any; bodies known to be large go
    /// to a file at once.
    pub fn push(
        &mut self,
        data: &[u8],
        expected: Option<u64>,
        threshold: usize,
        spool: &Spool,
    ) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let large = expected.is_some_and(|len| len > threshold as u64);
        let fits = self.len() + data.len() as u64 <= threshold as u64;
        match self {
            BodyStore::File { file, len } => {
                file.write_all(data)?;
                *len += data.len() as u64;
            }
            BodyStore::Memory(bytes) if fits => bytes.extend_from_slice(data),
            BodyStore::Empty if fits && !large => {
                // What is announced is not trusted with memory before it comes.
                let room = expected.map_or(data.len(), |len| (len as usize).min(64 * 1024));
                let mut bytes = Vec::with_capacity(room.max(data.len()));
                bytes.extend_from_slice(data);
                *self = BodyStore::Memory(bytes);
            }
            BodyStore::Memory(_) | BodyStore::Empty | BodyStore::Passing(_) => {
                let mut file = spool.create()?;
                if let BodyStore::Memory(bytes) = self {
                    file.write_all(bytes)?;
                }
                file.write_all(data)?;
                let len = self.len() + data.len() as u64;
                *self = BodyStore::File { file, len };
            }
        }
        Ok(())
    }

    /// Takes the whole body without taking it, if it has all come at once and would stay in memory:
    /// the caller keeps it until it [hands it over](BodyStore::hand_over), or has to
    /// [store](BodyStore::store) it.
    pub fn pass(&mut self, data: &[u8], expected: Option<u64>, threshold: usize) -> bool {
        let whole = matches!(self, BodyStore::Empty) && expected == Some(data.len() as u64);
        let passes = whole && !data.is_empty() && data.len() <= threshold;
        if passes {
            *self = BodyStore::Passing(data.len());
        }
        passes
    }

    /// The application cannot have it yet: keeps what was only passed.
    pub fn store(&mut self, passed: &[u8]) {
        if matches!(self, BodyStore::Passing(_)) {
            *self = BodyStore::Memory(passed.to_vec());
        }
    }

    /// The complete body, for the application; `passed` is what was only passed. A file is handed
    /// over and not kept.
    pub fn hand_over<'a>(&'a mut self, passed: &'a [u8]) -> io::Result<Body<'a>> {
        if matches!(self, BodyStore::File { .. })
            && let BodyStore::File { mut file, len } = std::mem::take(self)
        {
            file.seek(SeekFrom::Start(0))?;
            return Ok(Body::File { file, len });
        }
        match self {
            BodyStore::Memory(bytes) => Ok(Body::Memory(bytes)),
            BodyStore::Passing(_) => Ok(Body::Memory(passed)),
            _ => Ok(Body::Empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn contents(store: &mut BodyStore) -> (Vec<u8>, bool) {
        match store.hand_over(b"").unwrap() {
            Body::Empty => (Vec::new(), false),
            Body::Memory(bytes) => (bytes.to_vec(), false),
            Body::File { mut file, len } => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, len);
                (bytes, true)
            }
        }
    }

    #[test]
    fn spills_exactly_over_the_threshold() {
        let spool = Spool::new(None);
        for (pieces, expected, spilled) in [
            (vec![], None, false),
            (vec![10, 0], Some(10), false),
            (vec![5, 5], None, false),
            (vec![5, 6], None, true),
            (vec![11], None, true),
            (vec![1], Some(11), true),
        ] {
            let mut store = BodyStore::default();
            let mut all = Vec::new();
            for (i, size) in pieces.iter().enumerate() {
                let piece = vec![i as u8; *size];
                store.push(&piece, expected, 10, &spool).unwrap();
                all.extend(piece);
            }
            assert_eq!(store.len(), all.len() as u64);
            assert_eq!(contents(&mut store), (all, spilled), "{pieces:?} {expected:?}");
        }
    }

    #[test]
    fn what_comes_whole_is_passed_on_and_kept_only_if_it_has_to_wait() {
        for (data, expected, passes) in [
            (&b"12345"[..], Some(5), true),
            (b"12345", Some(6), false),
            (b"12345", None, false),
            (b"123456", Some(6), false),
            (b"", Some(0), false),
        ] {
            let mut store = BodyStore::default();
            assert_eq!(store.pass(data, expected, 5), passes, "{data:?} {expected:?}");
            assert_eq!(store.len(), if passes { 5 } else { 0 });
        }
        let mut store = BodyStore::default();
        assert!(store.pass(b"12345", Some(5), 5));
        assert!(matches!(store.hand_over(b"12345").unwrap(), Body::Memory(b"12345")));
        store.store(b"12345");
        assert_eq!(contents(&mut store), (b"12345".to_vec(), false));
        let mut begun = BodyStore::Memory(b"1".to_vec());
        assert!(!begun.pass(b"2", Some(1), 5), "not the whole");
    }
}
