//! What do these bytes mean? Which bytes answer them? Pure, sans-IO HTTP/1.1 and 1.0, server side.
//!
//! Bytes in, events and bytes out. This room must not know: file descriptors, clocks, the
//! environment, threads, tracing, Python or the configuration. It is handed [`limits::Limits`],
//! [`limits::Policy`] and whether the peer is trusted, and answers with spans into the caller's
//! buffer, with a [`error::Refusal`] when the peer is to blame, or with a
//! [`response::HeadError`] when the application is.
//!
//! | File | Noun | RFC |
//! |---|---|---|
//! | [`connection`] | the receiving half of a connection | 9112 section 9 |
//! | [`head`] | a request head | 9112 sections 2 and 3, 9110 sections 7 to 10 |
//! | [`request_line`] | method, target, version | 9112 section 3 |
//! | [`fields`] | one field line and the names we know | 9112 section 5 |
//! | [`rules`] | what the fields of a head mean together | 9110 sections 7 to 10 |
//! | [`host`] | `uri-host [ ":" port ]` | 9110 section 7.2, 3986 section 3.2 |
//! | [`target`] | path and query of a request target | 9112 section 3.2 |
//! | [`framing`] | THE body length | 9112 section 6.3 |
//! | [`chunked`] | the chunked coding | 9112 section 7.1 |
//! | [`response`] | the head an application answers with | 9110 section 15 |
//! | [`disposition`] | how a response is framed, and whether the connection lives on | 9112 section 6 |
//! | [`status`] | reason phrases | 9110 section 15 |
//! | [`encode`] | the bytes of a response | 9112 sections 4 and 7.1 |
//! | [`addr_set`] | whom the operator trusts | |
//! | [`forwarded`] | what a proxy says about its client | 7239 |
//! | [`proxy_protocol`] | what a balancer says about its client | PROXY protocol 1 and 2 |
//! | [`queue_start`] | when a proxy took a request in | |
//! | [`date`] | IMF-fixdate | 9110 section 5.6.7 |
//! | [`limits`] | what is too much, and what is tolerated | |
//! | [`error`] | why a peer was refused | |

pub mod addr_set;
pub mod chunked;
pub mod connection;
pub mod date;
pub mod disposition;
pub mod encode;
pub mod error;
pub mod fields;
pub mod forwarded;
pub mod framing;
pub mod head;
pub mod host;
pub mod limits;
mod previous;
pub mod proxy_protocol;
pub mod queue_start;
pub mod request_line;
pub mod response;
pub mod rules;
pub mod status;
pub mod target;
