//! Pure, sans-IO HTTP/1: bytes in, events and bytes out.
pub mod head;
pub mod response;
