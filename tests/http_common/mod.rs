//! What the tests of the http room share: a driver that plays the worker, and random numbers.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "test code")]

use std::fmt::Write as _;

use rwsgi_core::http::connection::{Connection, Received};
use rwsgi_core::http::head::Head;
use rwsgi_core::http::limits::{Limits, Policy};

/// xorshift64*: small, seeded, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Sorted places to cut `len` bytes at.
    pub fn cuts(&mut self, len: usize, count: usize) -> Vec<usize> {
        let mut cuts: Vec<_> = (0..count).map(|_| self.below(len + 1)).collect();
        cuts.sort_unstable();
        cuts
    }
}

/// Prints the seed of a run that fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failing seed: {}", self.0);
        }
    }
}

/// What a connection made of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    pub requests: Vec<Request>,
    /// Status and counter name of the refusal that ended it.
    pub refused: Option<(u16, &'static str)>,
    /// Bytes of the next message that had come when the stream ended.
    pub left: usize,
}

/// One request as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub head: String,
    pub keep: bool,
    pub body: Vec<u8>,
    pub complete: bool,
}

impl Transcript {
    /// The same without what may differ when bytes come in other pieces: which of two faults of
    /// one line is seen first.
    pub fn coarse(mut self) -> Self {
        self.refused = self.refused.map(|(status, _)| (status, ""));
        self.left = 0;
        self
    }

    /// The same without any word on why it was refused: two faults of one line may also have two
    /// statuses.
    pub fn whether(mut self) -> Self {
        self.refused = self.refused.map(|_| (0, ""));
        self.left = 0;
        self
    }
}

/// Plays the worker: gives the stream to a connection in the pieces between `cuts`, takes away
/// what is consumed, answers every complete request at once.
pub fn play(stream: &[u8], cuts: &[usize], limits: &Limits, policy: &Policy) -> Transcript {
    let mut connection = Connection::new();
    let mut out = Transcript::default();
    let mut from = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        loop {
            let input = &stream[from..end];
            match connection.receive(input, limits, policy, false) {
                Received::NeedMore => break,
                Received::Head { consumed } => {
                    assert!(consumed <= input.len() && consumed == connection.head().len);
                    out.requests.push(describe(connection.head(), input));
                    from += consumed;
                }
                Received::Body { consumed, data } => {
                    assert!(consumed > 0 && consumed <= input.len());
                    assert!(data.start <= data.end && data.end <= consumed);
                    out.requests.last_mut().expect("a head first").body.extend_from_slice(&input[data]);
                    from += consumed;
                }
                Received::Complete { consumed } => {
                    from += consumed;
                    let request = out.requests.last_mut().expect("a head first");
                    request.complete = true;
                    if !request.keep {
                        out.left = stream.len() - from;
                        return out;
                    }
                    connection.next();
                }
                Received::Reject(refusal) => {
                    assert!((400..600).contains(&refusal.status));
                    assert!(refusal.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                    out.refused = Some((refusal.status, refusal.kind.as_str()));
                    return out;
                }
            }
        }
    }
    out.left = stream.len() - from;
    out.refused = connection.end_of_input().err().map(|refusal| (refusal.status, refusal.kind.as_str()));
    out
}

fn describe(head: &Head, input: &[u8]) -> Request {
    let bytes = head.source(input);
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut out = String::new();
    writeln!(out, "request {} {}", text(head.method.of(bytes)), text(head.target.of(bytes))).unwrap();
    writeln!(out, "version {:?} form {:?}", head.version, head.form).unwrap();
    writeln!(out, "path {} query {}", text(head.path_bytes(bytes)), text(head.query.of(bytes))).unwrap();
    if !head.authority.is_empty() {
        writeln!(out, "authority {}", text(head.authority.of(bytes))).unwrap();
    }
    for field in &head.fields {
        writeln!(out, "field {}: {}", text(field.name.of(bytes)), text(field.value.of(bytes))).unwrap();
    }
    let keep = head.wants_keep_alive && !head.must_close;
    let (expects, upgrade) = (head.expects_continue, head.upgrade);
    writeln!(out, "body {:?} keep {keep} expects {expects} upgrade {upgrade}", head.body).unwrap();
    Request { head: out, keep, body: Vec::new(), complete: false }
}
