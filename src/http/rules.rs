//! What do the fields of a complete head mean together? RFC 9110 sections 7.2, 7.6.1, 7.8 and
//! 10.1.1, RFC 9112 sections 3.2 and 9.3.
//!
//! Must not know: lines, the body. The body's length is [`framing`]'s to decide.
//!
//! Invariants:
//! 1. Faults that decide where the message ends come before those that do not.
//! 2. `wants_keep_alive` is what the client can do; the server may still close.

use super::error::{Refusal, RefusalKind};
use super::fields::elements;
use super::head::{BodyLength, Head, Known, Version};
use super::limits::Limits;
use super::{framing, host};

/// Judges a head whose lines have all been read, and fills in what follows from its fields.
/// `secured`: the connection is, or a trusted proxy vouches for it.
pub(super) fn check(head: &mut Head, bytes: &[u8], limits: &Limits, secured: bool) -> Result<(), Refusal> {
    check_host(head, bytes)?;
    head.body = body_length(head, bytes, limits)?;
    // RFC 9110 section 7.4: https only over a secured connection.
    if head.https_target && !secured {
        return Err(RefusalKind::Misdirected.into());
    }
    // A singleton (RFC 9110 section 8.3): two readers would take two types.
    if head.has_several(Known::ContentType) {
        return Err(RefusalKind::ContentTypeRepeated.into());
    }
    read_connection(head, bytes);
    read_expect(head, bytes)
}

/// RFC 9112 section 3.2: one Host on HTTP/1.1, at most one on any, and a valid one. Empty is
/// what a client without an authority sends (RFC 9110 section 7.2).
fn check_host(head: &Head, bytes: &[u8]) -> Result<(), Refusal> {
    if head.has_several(Known::Host) {
        return Err(RefusalKind::HostRepeated.into());
    }
    match head.of_kind(bytes, Known::Host).next() {
        None if head.version == Version::Http11 => Err(RefusalKind::HostMissing.into()),
        // The same lines passed here before.
        Some(value) if !head.same_fields && !value.is_empty() && !host::is_valid(value) => {
            Err(Refusal::quoting(RefusalKind::HostInvalid, value))
        }
        _ => Ok(()),
    }
}

fn body_length(head: &Head, bytes: &[u8], limits: &Limits) -> Result<BodyLength, Refusal> {
    if !head.has(Known::ContentLength) && !head.has(Known::TransferEncoding) {
        return framing::decide(head.version, [].into_iter(), [].into_iter(), limits.body);
    }
    let lengths = head.of_kind(bytes, Known::ContentLength);
    let encodings = head.of_kind(bytes, Known::TransferEncoding);
    framing::decide(head.version, lengths, encodings, limits.body)
}

/// RFC 9112 section 9.3: close wins; then the version decides, unless HTTP/1.0 says keep-alive.
fn read_connection(head: &mut Head, bytes: &[u8]) {
    let (mut close, mut keep_alive, mut upgrade) = (false, false, false);
    if head.has(Known::Connection) {
        for option in head.of_kind(bytes, Known::Connection).flat_map(elements) {
            close |= option.eq_ignore_ascii_case(b"close");
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
    }
    let persistent = head.version == Version::Http11;
    head.wants_keep_alive = !close && (persistent || keep_alive);
    // RFC 9110 section 7.8: ignored in HTTP/1.0.
    head.upgrade = upgrade && persistent && head.has(Known::Upgrade);
    // After a refused CONNECT the client may already have sent bytes for its tunnel.
    head.must_close = head.is_connect;
}

/// RFC 9110 section 10.1.1. Ignored in HTTP/1.0, and without a body to wait for.
fn read_expect(head: &mut Head, bytes: &[u8]) -> Result<(), Refusal> {
    if !head.has(Known::Expect) || head.version == Version::Http10 {
        return Ok(());
    }
    let mut expected = false;
    for expectation in head.of_kind(bytes, Known::Expect).flat_map(elements) {
        if expectation.eq_ignore_ascii_case(b"100-continue") {
            expected = true;
        } else if !expectation.is_empty() {
            return Err(Refusal::quoting(RefusalKind::Expectation, expectation));
        }
    }
    head.expects_continue = expected && !matches!(head.body, BodyLength::None | BodyLength::Length(0));
    Ok(())
}
