//! What is every worker doing right now?
//!
//! One mapping per slot, made before the fork: the worker writes its row, the master (and
//! later the metrics) read it. Must not know what is done about what it says.
//!
//! Invariants:
//! 1. Atomics only: no lock that a killed process could keep, no torn value.
//! 2. Each thread line has one writer, its thread; only [`Row::raise_deadline`] is the master's.
//! 3. The request line is read as a whole or not at all (a sequence lock, as in the kernel).
//! 4. An idle worker writes nothing.
//! 5. Counters outlive the worker that counted: the next one in the slot counts on.

mod kinds;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::counters::{self, bump};
pub use super::counters::{Finished, Totals};
use crate::system::clock::Moment;
use crate::system::raw::{SharedWords, thread_id};
pub use kinds::{Crowded, Late, LogKind, Waits};
pub use snapshot::{Running, Snapshot};

/// Threads beyond this share no line of their own: a worker may not have more.
pub const MAX_THREADS: usize = 64;
/// Bytes kept of a request line.
pub const LINE_BYTES: usize = LINE_WORDS * 8;
const LINE_WORDS: usize = 15;

/// Word offsets in a row's head.
mod head {
    pub const PID: usize = 0;
    pub const GENERATION: usize = 1;
    pub const STATE: usize = 2;
    pub const WANTS_RETIRE: usize = 3;
    pub const SPAWNED: usize = 4;
    pub const BOOTED: usize = 5;
    pub const HEARTBEAT: usize = 6;
    pub const CONNECTIONS: usize = 7;
    pub const ACCEPTED: usize = 8;
    pub const THREADS: usize = 9;
    pub const STAGES: usize = 16;
    pub const LATE: usize = 24;
    pub const CROWDED: usize = 28;
    pub const LOST: usize = 30;
    pub const REFUSED: usize = 32;
    pub const WORDS: usize = REFUSED + super::REFUSALS;
}

/// Word offsets in a thread's line. What every request writes comes first.
mod line {
    pub const SEQUENCE: usize = 0;
    pub const STARTED: usize = 1;
    pub const PROGRESS: usize = 2;
    pub const FLAGS: usize = 3;
    pub const TEXT_LOCK: usize = 4;
    pub const TEXT_LENGTH: usize = 5;
    pub const TEXT: usize = 6;
    pub const TID: usize = TEXT + super::LINE_WORDS;
    pub const IDENT: usize = TID + 1;
    pub const RAISED: usize = IDENT + 1;
    pub const COUNTERS: usize = 24;
    pub const WORDS: usize = COUNTERS + crate::metrics::counters::WORDS;
}

/// The running request does not count towards any deadline (it took over the socket).
const EXEMPT: u64 = 1;

/// Kinds of refusal that are counted apart. Which number is which kind is the writer's affair.
pub const REFUSALS: usize = 64;

/// What a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nobody sits in the slot.
    #[default]
    Vacant,
    /// Forked, importing the application.
    Booting,
    /// Taking connections.
    Serving,
    /// Finishing what it has, taking nothing new.
    Draining,
}

impl State {
    fn from_word(word: u64) -> State {
        match word {
            1 => State::Booting,
            2 => State::Serving,
            3 => State::Draining,
            _ => State::Vacant,
        }
    }

    fn word(self) -> u64 {
        match self {
            State::Vacant => 0,
            State::Booting => 1,
            State::Serving => 2,
            State::Draining => 3,
        }
    }
}

/// One slot's row. Clones are handles of the same memory, in this process and its children.
#[derive(Debug, Clone)]
pub struct Row {
    words: Arc<SharedWords>,
    threads: usize,
}

impl Row {
    /// Maps a vacant row for `threads` threads (1 to [`MAX_THREADS`]).
    pub fn new(threads: usize) -> io::Result<Row> {
        let threads = threads.clamp(1, MAX_THREADS);
        let words = SharedWords::new(head::WORDS + threads * line::WORDS)?;
        Ok(Row { words: Arc::new(words), threads })
    }

    /// The row another process has made for `threads` threads.
    pub fn adopt(file: OwnedFd, threads: usize) -> io::Result<Row> {
        let threads = threads.clamp(1, MAX_THREADS);
        let words = SharedWords::adopt(file, head::WORDS + threads * line::WORDS)?;
        Ok(Row { words: Arc::new(words), threads })
    }

    /// What another process needs to [adopt](Row::adopt) it.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.words.file()
    }

    /// How many threads have a line.
    pub fn threads(&self) -> usize {
        self.threads
    }

    fn head(&self, word: usize) -> &AtomicU64 {
        &self.words[word]
    }

    /// The words of `thread`'s line. A thread beyond the row writes into the last line:
    /// misplaced figures are better than a dead worker.
    fn line(&self, thread: usize) -> &[AtomicU64] {
        let start = head::WORDS + thread.min(self.threads - 1) * line::WORDS;
        &self.words[start..start + line::WORDS]
    }
}

/// The master's side, before a fork and while it watches.
impl Row {
    /// Makes the row ready for a new worker. Counters stay.
    pub fn occupy(&self, generation: u32, threads: usize, now: Moment) {
        self.clear();
        self.head(head::GENERATION).store(u64::from(generation), Ordering::Relaxed);
        self.head(head::THREADS).store(threads.clamp(1, self.threads) as u64, Ordering::Relaxed);
        self.head(head::SPAWNED).store(now.0, Ordering::Relaxed);
        self.head(head::STATE).store(State::Booting.word(), Ordering::Release);
    }

    fn clear(&self) {
        let head = self.words[..head::LATE].iter().enumerate().filter(|(word, _)| *word != head::ACCEPTED);
        head.for_each(|(_, word)| word.store(0, Ordering::Relaxed));
        for thread in 0..self.threads {
            let words = &self.line(thread)[..line::COUNTERS];
            words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    /// A row for more threads, with the counters of this one. For a slot nobody sits in.
    pub fn grown(&self, threads: usize) -> io::Result<Row> {
        let grown = Row::new(threads.max(self.threads))?;
        for (to, from) in grown.words.iter().zip(self.words.iter()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        grown.clear();
        Ok(grown)
    }

    /// How many threads the worker in it has.
    pub fn threads_in_use(&self) -> usize {
        self.head(head::THREADS).load(Ordering::Relaxed) as usize
    }

    /// The process in it, once it is known; 0 before.
    pub fn pid(&self) -> i32 {
        self.head(head::PID).load(Ordering::Acquire) as i32
    }

    /// Marks the row as nobody's. Counters stay.
    pub fn vacate(&self) {
        self.clear();
        self.head(head::STATE).store(State::Vacant.word(), Ordering::Release);
    }

    /// Marks request `sequence` of `thread` as over its deadline, for the worker's watchdog.
    pub fn raise_deadline(&self, thread: usize, sequence: u64) {
        self.line(thread)[line::RAISED].store(sequence, Ordering::Release);
    }

    /// What the worker is about.
    pub fn state(&self) -> State {
        State::from_word(self.head(head::STATE).load(Ordering::Acquire))
    }

    /// Connections the worker has open.
    pub fn connections(&self) -> u64 {
        self.head(head::CONNECTIONS).load(Ordering::Relaxed)
    }

    /// The figures of the row and the requests it runs.
    pub fn snapshot(&self) -> Snapshot {
        let load = |word| self.head(word).load(Ordering::Relaxed);
        Snapshot {
            state: State::from_word(self.head(head::STATE).load(Ordering::Acquire)),
            pid: load(head::PID) as i32,
            generation: load(head::GENERATION) as u32,
            wants_retire: load(head::WANTS_RETIRE) != 0,
            spawned: Moment(load(head::SPAWNED)),
            booted: Moment(load(head::BOOTED)),
            heartbeat: Moment(load(head::HEARTBEAT)),
            threads: load(head::THREADS) as usize,
            connections: load(head::CONNECTIONS),
            waiting: std::array::from_fn(|index| load(head::STAGES + index)),
            accepted: load(head::ACCEPTED),
            late: std::array::from_fn(|index| load(head::LATE + index)),
            crowded: std::array::from_fn(|index| load(head::CROWDED + index)),
            lost: std::array::from_fn(|index| load(head::LOST + index)),
            refused: std::array::from_fn(|index| load(head::REFUSED + index)),
            totals: self.totals(),
            running: (0..self.threads).filter_map(|thread| self.running(thread)).collect(),
        }
    }

    /// Sums of all threads, of all workers that sat here.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        (0..self.threads).for_each(|thread| totals.add(&self.line(thread)[line::COUNTERS..]));
        totals
    }

    /// The request `thread` runs, if it runs one.
    pub fn running(&self, thread: usize) -> Option<Running> {
        let words = self.line(thread);
        let sequence = words[line::SEQUENCE].load(Ordering::Acquire);
        let progress = words[line::PROGRESS].load(Ordering::Acquire);
        if progress == 0 {
            return None;
        }
        let running = Running {
            thread,
            sequence,
            started: Moment(words[line::STARTED].load(Ordering::Relaxed)),
            progress: Moment(progress),
            exempt: words[line::FLAGS].load(Ordering::Relaxed) & EXEMPT != 0,
            raised: words[line::RAISED].load(Ordering::Relaxed) == sequence,
            thread_id: words[line::TID].load(Ordering::Relaxed) as u32,
            ident: words[line::IDENT].load(Ordering::Relaxed),
            line: read_text(words),
        };
        fence(Ordering::Acquire);
        // The request may have ended, and another begun, while it was read.
        (words[line::SEQUENCE].load(Ordering::Relaxed) == sequence).then_some(running)
    }
}

/// The worker's side. Every call here is a handful of plain stores.
impl Row {
    /// Right after the fork.
    pub fn enter(&self, pid: i32) {
        self.head(head::PID).store(pid.unsigned_abs().into(), Ordering::Release);
    }

    /// The state the worker is in now.
    pub fn set_state(&self, state: State, now: Moment) {
        if state == State::Serving {
            self.head(head::BOOTED).store(now.0, Ordering::Relaxed);
        }
        self.head(head::STATE).store(state.word(), Ordering::Release);
    }

    /// Asks to be replaced (max_requests). The master hears of it by the boot pipe's bell.
    pub fn set_wants_retire(&self) {
        self.head(head::WANTS_RETIRE).store(1, Ordering::Release);
    }

    /// The loop went round.
    pub fn beat(&self, now_ms: u64) {
        self.head(head::HEARTBEAT).store(now_ms, Ordering::Relaxed);
    }

    /// Connections open now. One thread writes it.
    pub fn set_connections(&self, open: usize) {
        self.head(head::CONNECTIONS).store(open as u64, Ordering::Relaxed);
    }

    /// How many connections wait for this. One thread at a time writes it.
    #[inline]
    pub fn set_waiting(&self, waits: Waits, connections: u64) {
        self.head(head::STAGES + waits as usize).store(connections, Ordering::Relaxed);
    }

    /// A deadline passed.
    pub fn count_late(&self, late: Late) {
        self.head(head::LATE + late as usize).fetch_add(1, Ordering::Relaxed);
    }

    /// There was no room for another connection.
    pub fn count_crowded(&self, crowded: Crowded) {
        self.head(head::CROWDED + crowded as usize).fetch_add(1, Ordering::Relaxed);
    }

    /// A log did not take so many lines.
    pub fn count_lost(&self, log: LogKind, lines: u64) {
        self.head(head::LOST + log as usize).fetch_add(lines, Ordering::Relaxed);
    }

    /// A request was refused for the reason of this number; those beyond [`REFUSALS`] share one.
    pub fn count_refused(&self, kind: usize) {
        self.head(head::REFUSED + kind.min(REFUSALS - 1)).fetch_add(1, Ordering::Relaxed);
    }

    /// One more connection was accepted.
    pub fn count_accepted(&self) {
        self.head(head::ACCEPTED).fetch_add(1, Ordering::Relaxed);
    }

    /// Called once by each thread that will run requests: `ident` is what the interpreter calls
    /// it (`threading.get_ident()`).
    pub fn introduce(&self, thread: usize, ident: u64) {
        let words = self.line(thread);
        words[line::TID].store(thread_id().into(), Ordering::Relaxed);
        words[line::IDENT].store(ident, Ordering::Relaxed);
    }

    /// The application is about to be called. `request_line` may be longer than is kept.
    #[inline]
    pub fn begin(&self, thread: usize, now_ms: u64, request_line: &[u8]) {
        let words = self.line(thread);
        bump(&words[line::SEQUENCE], 1);
        words[line::FLAGS].store(0, Ordering::Relaxed);
        words[line::STARTED].store(now_ms, Ordering::Relaxed);
        write_text(words, request_line);
        // Last: whoever sees a running request sees the rest of it.
        words[line::PROGRESS].store(now_ms.max(1), Ordering::Release);
    }

    /// The running request got on: its clock starts anew.
    #[inline]
    pub fn progress(&self, thread: usize, now_ms: u64) {
        self.line(thread)[line::PROGRESS].store(now_ms.max(1), Ordering::Release);
    }

    /// The running request is exempt from deadlines from now on.
    pub fn exempt(&self, thread: usize) {
        self.line(thread)[line::FLAGS].store(EXEMPT, Ordering::Relaxed);
    }

    /// The thread is out of the application (finished, or the reply is parked).
    #[inline]
    pub fn end(&self, thread: usize) {
        self.line(thread)[line::PROGRESS].store(0, Ordering::Release);
    }

    /// Whether the request the thread had last was marked as over its deadline.
    pub fn was_raised(&self, thread: usize) -> bool {
        let words = self.line(thread);
        words[line::RAISED].load(Ordering::Acquire) == words[line::SEQUENCE].load(Ordering::Relaxed)
    }

    /// Counts a finished exchange.
    #[inline]
    pub fn count(&self, thread: usize, finished: &Finished<'_>) {
        counters::count(&self.line(thread)[line::COUNTERS..], finished);
    }
}

#[inline]
fn write_text(words: &[AtomicU64], text: &[u8]) {
    let text = &text[..text.len().min(LINE_BYTES)];
    let lock = words[line::TEXT_LOCK].load(Ordering::Relaxed);
    words[line::TEXT_LOCK].store(lock.wrapping_add(1), Ordering::Relaxed);
    fence(Ordering::Release);
    words[line::TEXT_LENGTH].store(text.len() as u64, Ordering::Relaxed);
    let (chunks, rest) = text.as_chunks::<8>();
    for (word, chunk) in words[line::TEXT..].iter().zip(chunks) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[line::TEXT + chunks.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
    words[line::TEXT_LOCK].store(lock.wrapping_add(2), Ordering::Release);
}

/// Empty when the writer keeps getting in between: better no text than a torn one.
fn read_text(words: &[AtomicU64]) -> Vec<u8> {
    for _ in 0..100 {
        let before = words[line::TEXT_LOCK].load(Ordering::Acquire);
        let length = words[line::TEXT_LENGTH].load(Ordering::Relaxed) as usize;
        let text = words[line::TEXT..line::TEXT + LINE_WORDS].iter();
        let mut bytes: Vec<u8> = text.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        fence(Ordering::Acquire);
        if before.is_multiple_of(2) && words[line::TEXT_LOCK].load(Ordering::Relaxed) == before {
            bytes.truncate(length);
            return bytes;
        }
        std::hint::spin_loop();
    }
    Vec::new()
}
