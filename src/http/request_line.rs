//! Method, target and version: the first line of a request. RFC 9112 section 3.
