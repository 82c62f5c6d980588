//! What is noted of a request on its way: its id, and where its time went.
//!
//! Must not know: what is done with it.
//!
//! Invariants:
//! 1. Nothing here costs a request for which nothing of it was asked: no clock is read, nothing
//!    is allocated.
//! 2. An id is one line of visible ASCII.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::http::head::{Head, Known};
use crate::http::queue_start::queue_start;
use crate::system::clock::{now_ns, unix_us};

/// Whoever waited longer than this has another clock than we.
const PLAUSIBLE: Duration = Duration::from_secs(3600);
/// Longest id that is taken over.
const LONGEST: usize = 128;

/// Notes of one request.
#[derive(Debug, Default)]
pub struct Marks {
    /// Its id; empty where none is wanted.
    pub id: String,
    /// How long it had waited before it reached us, by a trusted peer's word.
    pub queued: Option<Duration>,
    /// When it was complete and found no thread free, in milliseconds; 0: it found one.
    pub ready_ms: u64,
    /// Nanoseconds in the application, where they are measured.
    pub app_ns: u64,
}

impl Marks {
    /// Forgets the last request.
    pub fn clear(&mut self) {
        self.id.clear();
        (self.queued, self.ready_ms, self.app_ns) = (None, 0, 0);
    }

    /// Takes over a trusted peer's id, or makes one.
    pub fn identify(&mut self, maker: &mut IdMaker, trusted: bool, head: &Head, bytes: &[u8]) {
        self.id.clear();
        let said = if trusted { head.of_kind(bytes, Known::XRequestId).next() } else { None };
        match said.filter(|said| is_id(said)).and_then(|said| std::str::from_utf8(said).ok()) {
            Some(said) => self.id.push_str(said),
            None => maker.make(&mut self.id),
        }
    }

    /// Reads how long the request has waited. Without the field nothing happens.
    pub fn note_queue(&mut self, head: &Head, bytes: &[u8]) {
        self.queued = queue_start(head, bytes).and_then(|start| waited(start, unix_us()));
    }
}

/// The time from `start` to `now`, in microseconds since the epoch. Clocks of two machines differ
/// a little: a start in the near future is now.
fn waited(start: u64, now: u64) -> Option<Duration> {
    let ahead = Duration::from_micros(start.saturating_sub(now));
    let waited = Duration::from_micros(now.saturating_sub(start));
    (ahead < PLAUSIBLE && waited < PLAUSIBLE).then_some(waited)
}

fn is_id(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= LONGEST && text.iter().all(u8::is_ascii_graphic)
}

/// Makes ids for a thread: version 7 UUIDs (RFC 9562 section 5.7), which sort by time.
#[derive(Debug)]
pub struct IdMaker {
    keys: RandomState,
    count: u64,
}

impl IdMaker {
    /// For the thread of this index.
    pub fn new(thread: usize) -> IdMaker {
        // The keys may be the parent's, as anything before a fork: what is hashed sets processes
        // and threads apart.
        IdMaker { keys: RandomState::new(), count: (thread as u64) << 48 }
    }

    /// Appends a new one.
    pub fn make(&mut self, out: &mut String) {
        self.count += 1;
        let bits = uuid(unix_us(), self.random(0), self.random(1));
        for (index, digit) in (0..32).map(|index| (index, bits >> (124 - 4 * index) & 15)) {
            if matches!(index, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(char::from(b"0123456789abcdef"[digit as usize]));
        }
    }

    fn random(&self, which: u64) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write_u32(std::process::id());
        [now_ns(), self.count, which].into_iter().for_each(|word| hasher.write_u64(word));
        hasher.finish()
    }
}

/// Milliseconds, the version, the fraction of the millisecond (RFC 9562 section 6.2, method 3),
/// the variant, randomness.
fn uuid(unix_us: u64, high: u64, low: u64) -> u128 {
    let (millis, micros) = (unix_us / 1_000, unix_us % 1_000);
    let fraction = micros * 4096 / 1_000;
    let time = u128::from(millis & 0xffff_ffff_ffff) << 80;
    let random = u128::from(low ^ high.rotate_left(32)) & 0x3fff_ffff_ffff_ffff;
    time | 7 << 76 | u128::from(fraction) << 64 | 2 << 62 | random
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::{Limits, Policy};

    fn identified(field: &str, trusted: bool) -> String {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
        let mut head = Head::new();
        head.parse(text.as_bytes(), &Limits::default(), &Policy::default(), trusted).unwrap();
        let mut marks = Marks::default();
        marks.identify(&mut IdMaker::new(0), trusted, &head, text.as_bytes());
        marks.id
    }

    #[test]
    fn only_trusted_peers_name_requests_and_only_in_plain_words() {
        assert_eq!(identified("X-Request-Id: abc-1.2_3", true), "abc-1.2_3");
        let long = format!("X-Request-Id: {}", "a".repeat(129));
        for (field, trusted) in [
            ("X-Request-Id: abc", false),
            ("X-Request-Id: a b", true),
            ("X-Request-Id: caf\u{e9}", true),
            ("X-Request-Id: ", true),
            (&long, true),
            ("Accept: */*", true),
        ] {
            assert_eq!(identified(field, trusted).len(), 36, "{field}");
        }
    }

    #[test]
    fn ids_are_version_7_unique_and_in_order() {
        let bits = uuid(1_795_142_891_250_999, u64::MAX, 0);
        assert_eq!(bits >> 80, 1_795_142_891_250);
        assert_eq!((bits >> 76 & 15, bits >> 62 & 3), (7, 2));
        let (mut one, mut other) = (IdMaker::new(0), IdMaker::new(1));
        let mut ids: Vec<String> = Vec::new();
        for _ in 0..1_000 {
            for maker in [&mut one, &mut other] {
                let mut id = String::new();
                maker.make(&mut id);
                assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
                ids.push(id);
            }
        }
        assert!(ids.windows(2).all(|pair| pair[0][..13] <= pair[1][..13]), "milliseconds go up");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn a_queue_is_as_long_as_clocks_can_tell() {
        let micros = |micros| Some(Duration::from_micros(micros));
        assert_eq!(waited(1_000, 1_500), micros(500));
        assert_eq!(waited(1_500, 1_000), micros(0));
        assert_eq!(waited(0, 3_600_000_000), None);
        assert_eq!(waited(3_600_000_000, 0), None);
    }
}
