//! What does it cost to make an environ? For benches/environ.rs, which asks from outside.
//!
//! Must not know: the server; nothing of it runs.

use std::time::Instant;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::environ::{Constants, Environs};
use super::support::Support;
use crate::door::{AppSpec, Body, Endpoint, Exchange};
use crate::http::head::{Head, Parsed};
use crate::http::limits::{Limits, Policy};

/// Nanoseconds for `iterations` environs of a request without a body. `known`: of a client that
/// sends the same again and again; otherwise each request is the first of its kind.
pub fn environ(py: Python<'_>, request: &[u8], iterations: u64, known: bool) -> PyResult<u64> {
    let support = Support::new(py)?;
    let constants = Constants::new(py, &support, &AppSpec::default())?;
    let mut head = Head::new();
    let parsed = head.parse(request, &Limits::default(), &Policy::default(), true);
    if parsed != Ok(Parsed::Complete) {
        return Err(PyValueError::new_err("not one complete request head"));
    }
    let endpoint = Endpoint {
        remote_addr: "192.0.2.1".to_owned(),
        remote_port: Some(50_000),
        server_name: "127.0.0.1".into(),
        server_port: "8000".into(),
        ..Endpoint::default()
    };
    let (mut environs, mut memo, mut bytes) = (Environs::new(), 0, request.to_vec());
    let start = Instant::now();
    for number in 1..=iterations {
        if !known {
            // Another last letter or two in the last value: no block comes twice in a row.
            memo = 0;
            let end = bytes.len().saturating_sub(b"\r\n\r\n".len());
            if let Some([.., tens, ones]) = bytes.get_mut(..end) {
                (*tens, *ones) = (b'a' + (number / 26 % 26) as u8, b'a' + (number % 26) as u8);
            }
        }
        let mut exchange = Exchange {
            head: &head,
            bytes: &bytes,
            endpoint: &endpoint,
            body: Body::Empty,
            request_id: "",
            queued: None,
            closing: false,
            number,
            thread: 0,
            memo: &mut memo,
        };
        environs.build(py, &constants, &support, &mut exchange)?;
    }
    Ok(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
}
