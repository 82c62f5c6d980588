//! Who is told of each request, if anybody is: hooks and a Python logger, over `_rwsgi.request`.
//!
//! Must not know: what they do with it; connections.
//!
//! Invariant: a process without them has no [`Observer`], and a request costs one comparison.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::exchange::Shared;
use super::object::{Owned, latin1};
use super::support::Support;
use super::{compat, errors};
use crate::door::{AppSpec, Endpoint, Exchange, Refused};
use crate::http::head::{Head, Version};
use crate::http::status::reason;

/// The methods of the observer of this process.
pub(super) struct Observer {
    begin: Owned,
    built: Owned,
    end: Owned,
    /// Only where there is a logger: hooks are not told of requests that were refused.
    refused: Option<Owned>,
}

/// One request that is observed.
pub(super) struct Observed {
    req: Owned,
    environ: Option<Owned>,
    began: Instant,
    /// What the client gets if nothing of the application's reply was sent.
    failure: &'static [u8],
}

impl Observed {
    /// It was ended by its deadline.
    pub(super) fn overdue(&mut self) {
        self.failure = b"504 Gateway Timeout";
    }
}

impl Observer {
    /// The one of this process; `application` is what `worker.wsgi` shows.
    pub(super) fn find(py: Python<'_>, application: &Bound<'_, PyAny>) -> PyResult<Option<Observer>> {
        let modules = py.import("sys")?.getattr("modules")?;
        if !modules.contains("_rwsgi.server")? && !modules.contains("_rwsgi.logger")? {
            return Ok(None);
        }
        let observer = compat::module(py, "_rwsgi.request")?.call_method1("observer", (application,))?;
        if observer.is_none() {
            return Ok(None);
        }
        let method = |name: &str| observer.getattr(name).map(|method| Owned::of(&method));
        let refused = match observer.getattr("logger")?.is_none() {
            true => None,
            false => Some(method("refused")?),
        };
        let (begin, built, end) = (method("begin")?, method("built")?, method("end")?);
        Ok(Some(Observer { begin, built, end, refused }))
    }

    /// A request came in. An error is the hook's: the request fails.
    pub(super) fn begin(&self, py: Python<'_>, exchange: &Exchange<'_>) -> PyResult<Observed> {
        let began = Instant::now();
        let (head, bytes) = (exchange.head, exchange.bytes);
        let closing = exchange.closing || !head.wants_keep_alive;
        let facts = facts(py, head, bytes, exchange.endpoint, closing, exchange.number)?;
        let req = self.begin.bind(py).call1(facts)?;
        Ok(Observed { req: Owned::of(&req), environ: None, began, failure: b"500 Internal Server Error" })
    }

    /// The server has answered a request itself: the access log is to know.
    pub(super) fn refused(&self, support: &Support, refused: &Refused<'_>) {
        let Some(method) = &self.refused else { return };
        Python::attach(|py| {
            let (head, bytes) = (refused.head, refused.bytes);
            let told = facts(py, head, bytes, refused.endpoint, true, refused.number).and_then(|facts| {
                let status = format!("{} {}", refused.status, reason(refused.status));
                method.bind(py).call1((facts, head.protocol(bytes), status))
            });
            if let Err(error) = told {
                tracing::error!("Exception after a request\n{}", errors::traceback(py, support, &error));
            }
        });
    }

    /// Its environ is there, and can still be changed.
    pub(super) fn built(&self, py: Python<'_>, observed: &mut Observed, environ: &Owned) -> PyResult<()> {
        self.built.bind(py).call1((observed.req.bind(py), environ.bind(py)))?;
        observed.environ = Some(environ.another(py));
        Ok(())
    }

    /// It is over. `failed`: nothing of the application's reply was sent.
    pub(super) fn end(
        &self,
        py: Python<'_>,
        support: &Support,
        observed: &Observed,
        shared: &Shared,
        failed: bool,
    ) {
        let told = self.tell(py, observed, shared, failed);
        if let Err(error) = told {
            tracing::error!("Exception after a request\n{}", super::errors::traceback(py, support, &error));
        }
    }

    fn tell(&self, py: Python<'_>, observed: &Observed, shared: &Shared, failed: bool) -> PyResult<()> {
        let response = shared.response.borrow();
        let text = |bytes: &[u8]| latin1(py, bytes).map(|text| text.bind(py));
        let headers = PyList::empty(py);
        let status = match (failed, response.status()) {
            (true, _) => Some(text(observed.failure)?),
            (false, 0) => None,
            (false, _) => Some(text(response.status_text())?),
        };
        let length = response.content_length().filter(|_| !failed);
        if !failed {
            for (name, value) in response.fields() {
                headers.append(PyTuple::new(py, [text(name)?, text(value)?])?)?;
            }
        }
        if let Some(length) = length {
            headers.append(("Content-Length", length.to_string()))?;
        }
        // The hook may call anything, also what borrows the response.
        drop(response);
        let environ = observed.environ.as_ref().map(|environ| environ.bind(py));
        let seconds = observed.began.elapsed().as_secs_f64();
        let sent = if failed { 0 } else { shared.sent.get() };
        let facts = (observed.req.bind(py), environ, status, headers, sent, length, seconds);
        self.end.bind(py).call1(facts).map(drop)
    }
}

/// What a `Request` is made of.
fn facts<'py>(
    py: Python<'py>,
    head: &Head,
    bytes: &[u8],
    peer: &Endpoint,
    closing: bool,
    number: u64,
) -> PyResult<Bound<'py, PyTuple>> {
    let text = |bytes: &[u8]| latin1(py, bytes).map(|text| text.bind(py));
    let headers = PyList::empty(py);
    for field in &head.fields {
        let name = text(&field.name.of(bytes).to_ascii_uppercase())?;
        headers.append((name, text(field.value.of(bytes))?))?;
    }
    let remote = match peer.remote_port {
        Some(port) => (&*peer.remote_addr, port).into_pyobject(py)?.into_any(),
        None => (*peer.remote_addr).into_pyobject(py)?.into_any(),
    };
    let facts = (
        text(head.method.of(bytes))?,
        text(head.target.of(bytes))?,
        text(head.path_bytes(bytes))?,
        text(head.query.of(bytes))?,
        (1, u8::from(head.version == Version::Http11)),
        headers,
        if peer.https { "https" } else { "http" },
        remote,
        closing,
        number,
    );
    facts.into_pyobject(py)
}

/// The environ entries the access log asked for. A format may spell them in any case; what an
/// application adds with capitals of its own has to be spelled as it is.
pub(super) fn logged(py: Python<'_>, spec: &AppSpec, environ: &Owned) -> Vec<Option<String>> {
    let environ = environ.bind(py);
    let text = |name: &String| {
        let found = environ.get_item(name).or_else(|_| environ.get_item(name.to_ascii_uppercase()));
        let value = found.or_else(|_| environ.get_item(name.to_ascii_lowercase())).ok()?.str().ok()?;
        errors::utf8(value.as_any()).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    spec.log_environ.iter().map(text).collect()
}
