//! How long is a request body? THE one place that decides, RFC 9112 section 6.3 in order.
