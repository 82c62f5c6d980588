//! How does a byte string from outside look in a log?

use std::fmt;

/// Shows bytes so that they stay within one line.
pub fn escape(bytes: &[u8]) -> impl fmt::Display + '_ {
    bytes.escape_ascii()
}
