//! Which environ key does a header field name become, without making it anew each time?
//!
//! A field name as it is spelled on the wire leads to an interned `HTTP_*` string and to what is
//! special about the field. Clients send the same few dozen spellings for ever: measured, this
//! cache is the largest single gain on the request path.
//!
//! Must not know: values, requests.
//!
//! Invariants:
//! 1. At most [`CAPACITY`] names are kept, so that hostile names cost only their own making.
//! 2. All cached spellings that lead to one environ key share one `id`, below [`SLOTS`]: callers
//!    mark the ids they have seen within one request.

use pyo3::prelude::*;

use super::object::{Owned, latin1};

/// Names kept; more are made for each request that has them.
const CAPACITY: usize = 192;
/// Slots, a power of two well above `CAPACITY`.
pub(super) const SLOTS: usize = 512;
/// Longest name kept.
const LONGEST: usize = 64;

/// What is special about a field on its way into environ (RFC 3875 section 4.1.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `HTTP_*`, repeats joined with a comma.
    Plain,
    /// `HTTP_COOKIE`: repeats are joined with "; " (RFC 9113 section 8.2.3).
    Cookie,
    /// CONTENT_LENGTH.
    ContentLength,
    /// HTTP_TRANSFER_ENCODING: the body is handed over decoded, so it would be a lie.
    TransferEncoding,
    /// A `Proxy` field would become HTTP_PROXY, which libraries take for a setting.
    Never,
}

/// An environ key and what goes with it.
pub(super) struct Key {
    name: Box<[u8]>,
    text: Box<[u8]>,
    /// The same for all cached spellings of this key.
    pub(super) id: usize,
    /// The key itself.
    pub(super) object: Owned,
    /// What is special about it.
    pub(super) role: Role,
}

/// The cache; one per thread that serves.
pub(super) struct Keys {
    slots: Vec<Option<Key>>,
    used: usize,
}

/// A key from the cache, or one made for this request.
pub(super) enum Found<'a> {
    /// Cached.
    Cached(&'a Key),
    /// Not cached.
    Made(Key),
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { slots: std::iter::repeat_with(|| None).take(SLOTS).collect(), used: 0 }
    }

    /// The key for a field name.
    pub(super) fn get(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<Found<'_>> {
        let mut slot = hash(name) & (SLOTS - 1);
        // The table is never full (CAPACITY < SLOTS), so that this ends.
        while let Some(key) = &self.slots[slot] {
            if *key.name == *name {
                break;
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
        if self.slots[slot].is_none() {
            let mut key = Key::new(py, name)?;
            if self.used == CAPACITY || name.len() > LONGEST {
                return Ok(Found::Made(key));
            }
            self.used += 1;
            key.id = self.twin(&key.text).unwrap_or(slot);
            self.slots[slot] = Some(key);
        }
        match &self.slots[slot] {
            Some(key) => Ok(Found::Cached(key)),
            None => Ok(Found::Made(Key::new(py, name)?)),
        }
    }

    /// The id of a cached spelling with the same environ key.
    fn twin(&self, text: &[u8]) -> Option<usize> {
        self.slots.iter().flatten().find(|key| *key.text == *text).map(|key| key.id)
    }
}

impl Key {
    fn new(py: Python<'_>, name: &[u8]) -> PyResult<Self> {
        let mut text = Vec::with_capacity(name.len() + 5);
        text.extend_from_slice(b"HTTP_");
        text.extend(name.iter().map(|byte| match byte {
            b'-' => b'_',
            other => other.to_ascii_uppercase(),
        }));
        let (text, role) = match &text[5..] {
            b"CONTENT_TYPE" => (&text[5..], Role::Plain),
            b"CONTENT_LENGTH" => (&text[5..], Role::ContentLength),
            b"TRANSFER_ENCODING" => (&text[..], Role::TransferEncoding),
            b"COOKIE" => (&text[..], Role::Cookie),
            b"PROXY" => (&text[..], Role::Never),
            _ => (&text[..], Role::Plain),
        };
        Ok(Self { name: name.into(), text: text.into(), id: 0, object: latin1(py, text)?, role })
    }
}

/// Cheap and good enough: the first and the last eight bytes and the length.
fn hash(name: &[u8]) -> usize {
    let word = |bytes: &[u8]| {
        let mut word = [0u8; 8];
        let n = bytes.len().min(8);
        word[..n].copy_from_slice(&bytes[..n]);
        u64::from_le_bytes(word)
    };
    let (head, tail) = match name.len() {
        0..=8 => (word(name), 0),
        long => (word(name), word(&name[long - 8..])),
    };
    let mixed = (head ^ tail.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_spread_over_the_table() {
        let names = [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Accept-Encoding",
            "Connection",
            "Cookie",
            "Referer",
            "Cache-Control",
            "Sec-Fetch-Dest",
            "Sec-Fetch-Mode",
            "Sec-Fetch-Site",
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Real-IP",
            "Content-Type",
            "Content-Length",
            "If-None-Match",
            "If-Modified-Since",
            "Authorization",
            "Origin",
        ];
        let slots: std::collections::HashSet<usize> =
            names.iter().map(|name| hash(name.as_bytes()) & (SLOTS - 1)).collect();
        assert!(slots.len() >= names.len() - 3, "{} of {}", slots.len(), names.len());
    }

    #[test]
    fn short_names_hash_without_reading_past_their_end() {
        for len in 0..20 {
            let name = vec![b'a'; len];
            assert_eq!(hash(&name), hash(&name.clone()));
        }
    }
}
