//! Was this block of header fields seen before, and which dictionary did it become?
//!
//! A client repeats its header fields to the byte from one request to the next; so do all requests
//! of one client through a proxy. A block that comes a second time is kept with its environ.
//!
//! Must not know: methods, targets, bodies (they are not part of a block's dictionary).
//!
//! Invariants:
//! 1. A hit needs byte equality of the whole block, the protocol version, and everything of the
//!    endpoint but the client's address, which the caller sets anew. The hash only finds the slot.
//! 2. At most [`SLOTS`] blocks of at most [`LONGEST`] bytes are kept per thread.

use super::object::Owned;
use crate::door::{Endpoint, Proxied};

const SLOTS: usize = 64;
const LONGEST: usize = 4096;

struct Block {
    bytes: Vec<u8>,
    http_11: bool,
    endpoint: Endpoint,
    environ: Owned,
}

/// The blocks a thread remembers.
pub(super) struct Blocks {
    slots: Vec<Option<Block>>,
    /// Hash of the last block that missed in each slot: kept only when it comes again.
    missed: [u64; SLOTS],
    hash: u64,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self { slots: std::iter::repeat_with(|| None).take(SLOTS).collect(), missed: [0; SLOTS], hash: 0 }
    }

    /// The dictionary this block became, with the endpoint it was made for.
    pub(super) fn find(
        &mut self,
        block: &[u8],
        http_11: bool,
        end: &Endpoint,
    ) -> Option<(&Owned, &Endpoint)> {
        if block.len() > LONGEST {
            return None;
        }
        self.hash = hash(block);
        let found = self.slots[slot(self.hash)].as_ref()?;
        let same = found.bytes == block && found.http_11 == http_11 && interchangeable(&found.endpoint, end);
        same.then_some((&found.environ, &found.endpoint))
    }

    /// Whether a block that [`Blocks::find`] just missed is worth keeping: it came before.
    pub(super) fn wants(&mut self, block: &[u8]) -> bool {
        if block.len() > LONGEST {
            return false;
        }
        let missed = &mut self.missed[slot(self.hash)];
        let again = *missed == self.hash;
        *missed = self.hash;
        again
    }

    /// Keeps what a block became, in place of what was there.
    pub(super) fn keep(&mut self, block: &[u8], http_11: bool, endpoint: &Endpoint, environ: Owned) {
        let kept = Block { bytes: block.to_vec(), http_11, endpoint: endpoint.clone(), environ };
        self.slots[slot(self.hash)] = Some(kept);
    }
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
        assert!(!interchangeable(&one, &Endpoint { script_name: b"/a".to_vec(), ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { outer: b"/a".to_vec(), ..one.clone() }));
        assert!(!interchangeable(&one, &Endpoint { host: Some(b"a".to_vec()), ..one.clone() }));
        let local = Proxied { protocol: "LOCAL", destination: None };
        let client = Proxied { protocol: "TCP4", destination: Some(([127, 0, 0, 1], 80).into()) };
        let [local, client] =
            [local, client].map(|proxied| Endpoint { proxied: Some(Box::new(proxied)), ..one.clone() });
        assert!(!interchangeable(&one, &local) && !interchangeable(&local, &client));
        assert!(interchangeable(&client, &client.clone()));
    }
}
