//! Was this block of header fields seen before, and which dictionary did it become?
//!
//! A client repeats its header fields to the byte from one request to the next; so do all requests
//! of one client through a proxy. A block that comes a second time is kept with its environ, and
//! with what the request line that came with it added: who asks for the same thing again gets a
//! copy and nothing else.
//!
//! Must not know: bodies (they are not part of a kept dictionary).
//!
//! Invariants:
//! 1. A hit needs byte equality of the whole block, the protocol version, and everything of the
//!    endpoint but the client's address, which the caller sets anew. The hash only finds the slot.
//! 2. The connection's memo stands in for that comparison only while the connection sends the
//!    same field lines as in the request that set it: the endpoint follows from them. It names a
//!    block by a number that is never given again, in any thread.
//! 3. At most [`SLOTS`] blocks of at most [`LONGEST`] bytes are kept per thread.

use std::sync::atomic::{AtomicU64, Ordering};

use super::object::Owned;
use crate::door::{Endpoint, Exchange, Proxied};
use crate::http::head::{TargetForm, Version};

const SLOTS: usize = 64;
const LONGEST: usize = 4096;
/// The longest request line that is kept with a block.
const LINE: usize = 1024;

/// Numbers of blocks, in steps of [`SLOTS`]; the rest is the slot. 0 is nobody's.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

struct Block {
    bytes: Vec<u8>,
    http_11: bool,
    endpoint: Endpoint,
    environ: Owned,
    /// Method and target as they are in `environ`.
    line: Vec<u8>,
    /// Hash of the last other line: kept when it comes twice in a row.
    other: u64,
    number: u64,
}

/// The blocks a thread remembers.
pub(super) struct Blocks {
    slots: Vec<Option<Block>>,
    /// Hash of the last block that missed in each slot: kept only when it comes again.
    missed: [u64; SLOTS],
    /// Of the block last looked for.
    hash: u64,
    slot: usize,
}

/// A block that was seen before.
pub(super) struct Known<'a> {
    /// What it became.
    pub(super) environ: &'a Owned,
    /// The endpoint in that, if it is not the exchange's.
    pub(super) elsewhere: Option<&'a Endpoint>,
    /// Method and target in it are the exchange's.
    pub(super) same_line: bool,
}

impl Blocks {
    pub(super) fn new() -> Self {
        let slots = std::iter::repeat_with(|| None).take(SLOTS).collect();
        Self { slots, missed: [0; SLOTS], hash: 0, slot: 0 }
    }

    /// Looks for the exchange's block, and notes in the connection's memo what was found.
    pub(super) fn find(&mut self, exchange: &mut Exchange<'_>) -> Option<Known<'_>> {
        let (number, moved) = (*exchange.memo >> 1, *exchange.memo & 1 != 0);
        let http_11 = exchange.head.version == Version::Http11;
        self.hash = 0;
        self.slot = number as usize % SLOTS;
        let remembered = exchange.head.same_fields
            && number != 0
            && exchange.head.form == TargetForm::Origin
            && self.slots[self.slot].as_ref().is_some_and(|b| b.number == number && b.http_11 == http_11);
        let moved = if remembered { moved } else { self.search(exchange, http_11)? };
        let found = self.slots[self.slot].as_mut()?;
        *exchange.memo = found.number << 1 | u64::from(moved);
        let same_line = found.line == line(exchange);
        if same_line {
            found.other = 0;
        }
        Some(Known { environ: &found.environ, elsewhere: moved.then_some(&found.endpoint), same_line })
    }

    /// Looks at the bytes. `None`: not there. Else whether its endpoint is another client's.
    fn search(&mut self, exchange: &mut Exchange<'_>, http_11: bool) -> Option<bool> {
        *exchange.memo = 0;
        let block = exchange.head.header_block.of(exchange.bytes);
        if exchange.head.form != TargetForm::Origin || block.len() > LONGEST {
            return None;
        }
        self.hash = hash(block);
        self.slot = slot(self.hash);
        let found = self.slots[self.slot].as_ref()?;
        let same = found.bytes == block
            && found.http_11 == http_11
            && interchangeable(&found.endpoint, exchange.endpoint);
        same.then(|| found.endpoint != *exchange.endpoint)
    }

    /// Whether what [`Blocks::find`] just did not find is worth keeping: it came before.
    pub(super) fn wants(&mut self, exchange: &Exchange<'_>) -> bool {
        let line = line(exchange);
        if line.len() > LINE || exchange.head.form != TargetForm::Origin {
            return false;
        }
        let known = *exchange.memo != 0;
        let (before, now) = match &mut self.slots[self.slot] {
            Some(found) if known => (&mut found.other, hash(line)),
            _ if self.hash == 0 => return false,
            _ => (&mut self.missed[self.slot], self.hash),
        };
        std::mem::replace(before, now) == now
    }

    /// Keeps what the block last looked for became, in place of what was there.
    pub(super) fn keep(&mut self, exchange: &mut Exchange<'_>, environ: Owned) {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed) * SLOTS as u64 + self.slot as u64;
        *exchange.memo = number << 1;
        self.slots[self.slot] = Some(Block {
            bytes: exchange.head.header_block.of(exchange.bytes).to_vec(),
            http_11: exchange.head.version == Version::Http11,
            endpoint: exchange.endpoint.clone(),
            environ,
            line: line(exchange).to_vec(),
            other: 0,
            number,
        });
    }
}

/// Method and target as they came.
fn line<'a>(exchange: &Exchange<'a>) -> &'a [u8] {
    let head = exchange.head;
    exchange.bytes.get(head.method.start as usize..head.target.end()).unwrap_or_default()
}

/// Whether two endpoints differ in nothing but the client's address, and have one in the same way.
fn interchangeable(one: &Endpoint, other: &Endpoint) -> bool {
    one.https == other.https
        && one.remote_port.is_some() == other.remote_port.is_some()
        && one.server_port == other.server_port
        && one.server_name == other.server_name
        && one.script_name == other.script_name
        && one.outer == other.outer
        && one.host == other.host
        && same_keys(one.proxied.as_deref(), other.proxied.as_deref())
}

/// Whether both lead to the same PROXY_* keys; their values are set anew.
fn same_keys(one: Option<&Proxied>, other: Option<&Proxied>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.destination.is_some() == other.destination.is_some(),
        _ => false,
    }
}

fn slot(hash: u64) -> usize {
    (hash >> 58) as usize
}

/// Eight bytes a step, multiplied and folded. Collisions cost a comparison, never a wrong answer.
fn hash(block: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = block.len() as u64 ^ ODD;
    let (words, rest) = block.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(ODD).rotate_left(23);
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(ODD).rotate_left(23);
    }
    hash.wrapping_mul(ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_sees_every_byte() {
        let block = b"Host: a.example\r\nAccept: */*\r\n\r\n".to_vec();
        for at in 0..block.len() {
            let mut other = block.clone();
            other[at] ^= 1;
            assert_ne!(hash(&block), hash(&other), "byte {at}");
        }
    }

    #[test]
    fn only_the_clients_address_may_differ() {
        let one = Endpoint { remote_port: Some(1), remote_addr: "::1".into(), ..Endpoint::default() };
        let moved = Endpoint { remote_port: Some(2), remote_addr: "::2".into(), ..Endpoint::default() };
        assert!(interchangeable(&one, &moved));
        assert!(!interchangeable(&one, &Endpoint { https: true, ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { remote_port: None, ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { script_name: b"/a".as_slice().into(), ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { outer: b"/a".as_slice().into(), ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { host: Some(b"a".as_slice().into()), ..one.clone() }));
        let local = Proxied { protocol: "LOCAL", destination: None };
        let client = Proxied { protocol: "TCP4", destination: Some(([127, 0, 0, 1], 80).into()) };
        let [local, client] =
            [local, client].map(|proxied| Endpoint { proxied: Some(Box::new(proxied)), ..one.clone() });
        assert!(!interchangeable(&one, &local) && !interchangeable(&local, &client));
        assert!(interchangeable(&client, &client.clone()));
    }
}
