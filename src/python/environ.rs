//! What does a request look like to the application? The environ dictionary of PEP 3333
//! ("environ Variables") and RFC 3875 section 4.1.
//!
//! Must not know: sockets, replies. Trust has been decided before (the endpoint says what it led to).
//!
//! The straight path makes no string twice: constants come from a template dictionary that is
//! copied, field names from [`Keys`], and a whole block of header fields that was seen before
//! from [`Blocks`], which keeps the dictionary it became. Behind a proxy the same client comes on
//! any connection, so blocks are kept per thread, not per connection; idle connections hold nothing.
//!
//! Invariants:
//! 1. The application gets a dictionary of its own; templates are copied before it sees them.
//! 2. Values are immutable strings (or the shared constants), so that a shallow copy is enough.

use pyo3::ffi;
use pyo3::prelude::*;

use super::blocks::Blocks;
use super::keys::{Found, Key, Keys, Role, SLOTS};
use super::object::{Owned, bytes_object, interned, latin1};
use super::support::Support;
use crate::door::{AppSpec, Body, Endpoint, Exchange, Proxied};
use crate::http::head::{BodyLength, TargetForm, Version};
use crate::http::target::percent_decode;

/// Keys and values that are the same for all requests of a process.
pub(super) struct Constants {
    template: Owned,
    request_method: Owned,
    raw_uri: Owned,
    path_info: Owned,
    query_string: Owned,
    script_name: Owned,
    server_protocol: Owned,
    server_name: Owned,
    server_port: Owned,
    remote_addr: Owned,
    remote_port: Owned,
    content_length: Owned,
    http_host: Owned,
    url_scheme: Owned,
    wsgi_input: Owned,
    early_hints: Owned,
    socket: Owned,
    proxy_protocol: Owned,
    proxy_addr: Owned,
    proxy_port: Owned,
    request_id: Owned,
    http_x_request_id: Owned,
    queue_time: Owned,
    comma: Owned,
    semicolon: Owned,
    http_10: Owned,
    http_11: Owned,
    scheme_http: Owned,
    scheme_https: Owned,
    methods: Vec<(&'static [u8], Owned)>,
}

/// What a thread remembers from one request to the next.
pub(super) struct Environs {
    keys: Keys,
    blocks: Blocks,
    ports: Ports,
    path: Vec<u8>,
}

/// REMOTE_PORT as text: a worker sees the same few on its kept-alive connections.
struct Ports([Option<(u16, Owned)>; PORTS]);

/// How many ports a thread remembers.
const PORTS: usize = 256;

impl Constants {
    /// Makes the constants and the template.
    pub(super) fn new(py: Python<'_>, support: &Support, spec: &AppSpec) -> PyResult<Self> {
        let method = |name: &'static [u8]| Ok::<_, PyErr>((name, latin1(py, name)?));
        Ok(Self {
            template: template(py, support, spec)?,
            request_method: interned(py, c"REQUEST_METHOD")?,
            raw_uri: interned(py, c"RAW_URI")?,
            path_info: interned(py, c"PATH_INFO")?,
            query_string: interned(py, c"QUERY_STRING")?,
            script_name: interned(py, c"SCRIPT_NAME")?,
            server_protocol: interned(py, c"SERVER_PROTOCOL")?,
            server_name: interned(py, c"SERVER_NAME")?,
            server_port: interned(py, c"SERVER_PORT")?,
            remote_addr: interned(py, c"REMOTE_ADDR")?,
            remote_port: interned(py, c"REMOTE_PORT")?,
            content_length: interned(py, c"CONTENT_LENGTH")?,
            http_host: interned(py, c"HTTP_HOST")?,
            url_scheme: interned(py, c"wsgi.url_scheme")?,
            wsgi_input: interned(py, c"wsgi.input")?,
            early_hints: interned(py, c"wsgi.early_hints")?,
            socket: interned(py, c"gunicorn.socket")?,
            proxy_protocol: interned(py, c"PROXY_PROTOCOL")?,
            proxy_addr: interned(py, c"PROXY_ADDR")?,
            proxy_port: interned(py, c"PROXY_PORT")?,
            request_id: interned(py, c"rwsgi.request_id")?,
            http_x_request_id: interned(py, c"HTTP_X_REQUEST_ID")?,
            queue_time: interned(py, c"rwsgi.queue_time")?,
            comma: interned(py, c",")?,
            semicolon: interned(py, c"; ")?,
            http_10: interned(py, c"HTTP/1.0")?,
            http_11: interned(py, c"HTTP/1.1")?,
            scheme_http: interned(py, c"http")?,
            scheme_https: interned(py, c"https")?,
            methods: [&b"GET"[..], b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"]
                .into_iter()
                .map(method)
                .collect::<PyResult<_>>()?,
        })
    }

    fn method(&self, py: Python<'_>, name: &[u8]) -> PyResult<Owned> {
        match self.methods.iter().find(|(known, _)| *known == name) {
            Some((_, object)) => Ok(object.another(py)),
            None => latin1(py, name),
        }
    }
}

/// The entries that no request changes, and defaults for those that few change.
fn template(py: Python<'_>, support: &Support, spec: &AppSpec) -> PyResult<Owned> {
    let dict = pyo3::types::PyDict::new(py);
    dict.set_item("wsgi.version", (1, 0))?;
    dict.set_item("wsgi.url_scheme", "http")?;
    dict.set_item("wsgi.input", support.empty_input.bind(py))?;
    dict.set_item("wsgi.errors", support.errors.bind(py))?;
    dict.set_item("wsgi.multithread", spec.multithread)?;
    dict.set_item("wsgi.multiprocess", spec.multiprocess)?;
    dict.set_item("wsgi.run_once", false)?;
    dict.set_item("wsgi.file_wrapper", support.file_wrapper.bind(py))?;
    dict.set_item("wsgi.input_terminated", true)?;
    dict.set_item("wsgi.early_hints", support.early_hints.bind(py))?;
    dict.set_item("gunicorn.socket", support.socket.bind(py))?;
    dict.set_item("SERVER_SOFTWARE", concat!("rwsgi/", env!("CARGO_PKG_VERSION")))?;
    dict.set_item("REQUEST_METHOD", "GET")?;
    dict.set_item("SCRIPT_NAME", "")?;
    dict.set_item("QUERY_STRING", "")?;
    dict.set_item("SERVER_PROTOCOL", "HTTP/1.1")?;
    Ok(Owned::of(dict.as_any()))
}

impl Environs {
    pub(super) fn new() -> Self {
        Self {
            keys: Keys::new(),
            blocks: Blocks::new(),
            ports: Ports([const { None }; PORTS]),
            path: Vec::new(),
        }
    }

    /// The environ of one request. Takes the body out of the exchange.
    pub(super) fn build(
        &mut self,
        py: Python<'_>,
        constants: &Constants,
        support: &Support,
        exchange: &mut Exchange<'_>,
    ) -> PyResult<Owned> {
        let environ = match self.blocks.find(exchange) {
            Some(known) => {
                let environ = copy(py, known.environ)?;
                let same_line = known.same_line;
                if let Some(other) = known.elsewhere {
                    let before = Some(&other.remote_addr[..]);
                    remote(py, constants, exchange.endpoint, environ.as_ptr(), &mut self.ports, before)?;
                }
                if !same_line {
                    self.line(py, constants, exchange, environ.as_ptr())?;
                    self.keep(py, exchange, &environ)?;
                }
                environ
            }
            None => {
                let environ = self.fresh(py, constants, exchange)?;
                self.line(py, constants, exchange, environ.as_ptr())?;
                self.keep(py, exchange, &environ)?;
                environ
            }
        };
        marks(py, constants, exchange, environ.as_ptr())?;
        if !exchange.body.is_empty() || exchange.head.body == BodyLength::Chunked {
            body(py, constants, support, exchange, environ.as_ptr())?;
        }
        if exchange.head.upgrade {
            let socket = Owned::of(&support.client_socket.bind(py).call0()?);
            set(py, environ.as_ptr(), &constants.socket, &socket)?;
        }
        Ok(environ)
    }

    /// Keeps a copy of what has come a second time, before anything of this one request is in it.
    fn keep(&mut self, py: Python<'_>, exchange: &mut Exchange<'_>, environ: &Owned) -> PyResult<()> {
        if self.blocks.wants(exchange) {
            let kept = copy(py, environ)?;
            self.blocks.keep(exchange, kept);
        }
        Ok(())
    }

    /// A new dictionary with everything that follows from the header block and the endpoint.
    fn fresh(&mut self, py: Python<'_>, constants: &Constants, exchange: &Exchange<'_>) -> PyResult<Owned> {
        let environ = copy(py, &constants.template)?;
        let dict = environ.as_ptr();
        endpoint(py, constants, exchange.endpoint, dict, &mut self.ports)?;
        if exchange.head.version == Version::Http10 {
            set(py, dict, &constants.server_protocol, &constants.http_10)?;
            // RFC 8297 section 2: an HTTP/1.0 client does not know interim responses.
            environ.bind(py).del_item(constants.early_hints.bind(py))?;
        } else {
            set(py, dict, &constants.server_protocol, &constants.http_11)?;
        }
        let mut seen = [0u64; SLOTS / 64];
        let mut uncached = false;
        for field in &exchange.head.fields {
            let value = field.value.of(exchange.bytes);
            match self.keys.get(py, field.name.of(exchange.bytes))? {
                Found::Cached(key) => {
                    let (word, bit) = (key.id / 64, 1 << (key.id % 64));
                    let repeated = uncached || seen[word] & bit != 0;
                    seen[word] |= bit;
                    add(py, constants, exchange, dict, key, value, repeated)?;
                }
                Found::Made(key) => {
                    uncached = true;
                    add(py, constants, exchange, dict, &key, value, true)?;
                }
            }
        }
        if exchange.head.form == TargetForm::Absolute {
            let authority = latin1(py, exchange.head.authority.of(exchange.bytes))?;
            set(py, dict, &constants.http_host, &authority)?;
        }
        if let Some(host) = &exchange.endpoint.host {
            set(py, dict, &constants.http_host, &latin1(py, host)?)?;
        }
        Ok(environ)
    }

    /// REQUEST_METHOD, RAW_URI, PATH_INFO and QUERY_STRING.
    fn line(
        &mut self,
        py: Python<'_>,
        constants: &Constants,
        exchange: &Exchange<'_>,
        dict: *mut ffi::PyObject,
    ) -> PyResult<()> {
        let (head, bytes) = (exchange.head, exchange.bytes);
        let method = constants.method(py, head.method.of(bytes))?;
        set(py, dict, &constants.request_method, &method)?;
        let raw = head.target.of(bytes);
        let raw_uri = latin1(py, raw)?;
        set(py, dict, &constants.raw_uri, &raw_uri)?;
        let query = head.query.of(bytes);
        // Also when it is empty: a kept dictionary has another request's.
        set(py, dict, &constants.query_string, &latin1(py, query)?)?;
        let path = head.path_bytes(bytes);
        self.path.clear();
        let decoded = percent_decode(path, &mut self.path);
        let mount = &exchange.endpoint.script_name[..];
        if mount.is_empty() && decoded == raw {
            return set(py, dict, &constants.path_info, &raw_uri);
        }
        let rest = decoded.strip_prefix(mount).unwrap_or(decoded);
        set(py, dict, &constants.path_info, &latin1(py, rest)?)
    }
}

/// One field into the dictionary; joined to what is there when it is a repetition.
fn add(
    py: Python<'_>,
    constants: &Constants,
    exchange: &Exchange<'_>,
    dict: *mut ffi::PyObject,
    key: &Key,
    value: &[u8],
    maybe_repeated: bool,
) -> PyResult<()> {
    let separator = match key.role {
        Role::Never => return Ok(()),
        Role::TransferEncoding if exchange.head.body == BodyLength::Chunked => return Ok(()),
        Role::Cookie => &constants.semicolon,
        _ => &constants.comma,
    };
    let mut value = latin1(py, value)?;
    if maybe_repeated {
        // SAFETY: a dictionary and a str, attached; the result is borrowed and shared at once.
        let before = unsafe { Owned::share(ffi::PyDict_GetItemWithError(dict, key.object.as_ptr())) };
        if let Some(before) = before {
            value = concat(py, &concat(py, &before, separator)?, &value)?;
        }
    }
    set(py, dict, &key.object, &value)
}

fn concat(py: Python<'_>, left: &Owned, right: &Owned) -> PyResult<Owned> {
    // SAFETY: two str objects, attached.
    let joined = unsafe { Owned::steal(ffi::PyUnicode_Concat(left.as_ptr(), right.as_ptr())) };
    joined.ok_or_else(|| PyErr::fetch(py))
}

fn endpoint(
    py: Python<'_>,
    constants: &Constants,
    endpoint: &Endpoint,
    dict: *mut ffi::PyObject,
    ports: &mut Ports,
) -> PyResult<()> {
    let scheme = if endpoint.https { &constants.scheme_https } else { &constants.scheme_http };
    set(py, dict, &constants.url_scheme, scheme)?;
    set(py, dict, &constants.server_name, &latin1(py, endpoint.server_name.as_bytes())?)?;
    set(py, dict, &constants.server_port, &latin1(py, endpoint.server_port.as_bytes())?)?;
    if !endpoint.outer.is_empty() || !endpoint.script_name.is_empty() {
        let mount = [&endpoint.outer[..], &endpoint.script_name[..]].concat();
        set(py, dict, &constants.script_name, &latin1(py, &mount)?)?;
    }
    remote(py, constants, endpoint, dict, ports, None)
}

/// Who the client is. `before`: the address the dictionary has.
fn remote(
    py: Python<'_>,
    constants: &Constants,
    endpoint: &Endpoint,
    dict: *mut ffi::PyObject,
    ports: &mut Ports,
    before: Option<&str>,
) -> PyResult<()> {
    if before != Some(&endpoint.remote_addr) {
        set(py, dict, &constants.remote_addr, &latin1(py, endpoint.remote_addr.as_bytes())?)?;
    }
    if let Some(port) = endpoint.remote_port {
        set(py, dict, &constants.remote_port, ports.get(py, port)?)?;
    }
    match &endpoint.proxied {
        Some(proxied) => balancer(py, constants, proxied, dict),
        None => Ok(()),
    }
}

/// What the PROXY header said, as Gunicorn names it.
fn balancer(
    py: Python<'_>,
    constants: &Constants,
    proxied: &Proxied,
    dict: *mut ffi::PyObject,
) -> PyResult<()> {
    set(py, dict, &constants.proxy_protocol, &latin1(py, proxied.protocol.as_bytes())?)?;
    if let Some(to) = proxied.destination {
        set(py, dict, &constants.proxy_addr, &latin1(py, to.ip().to_string().as_bytes())?)?;
        set(py, dict, &constants.proxy_port, &latin1(py, to.port().to_string().as_bytes())?)?;
    }
    Ok(())
}

/// What this server knows of the request beyond what its client said.
fn marks(
    py: Python<'_>,
    constants: &Constants,
    exchange: &Exchange<'_>,
    dict: *mut ffi::PyObject,
) -> PyResult<()> {
    if !exchange.request_id.is_empty() {
        let id = latin1(py, exchange.request_id.as_bytes())?;
        set(py, dict, &constants.request_id, &id)?;
        set(py, dict, &constants.http_x_request_id, &id)?;
    }
    if let Some(queued) = exchange.queued {
        let seconds = pyo3::types::PyFloat::new(py, queued.as_secs_f64());
        set(py, dict, &constants.queue_time, &Owned::of(seconds.as_any()))?;
    }
    Ok(())
}

impl Ports {
    fn get(&mut self, py: Python<'_>, port: u16) -> PyResult<&Owned> {
        // Linux gives connecting sockets every other port.
        let slot = &mut self.0[usize::from(port >> 1) % PORTS];
        if slot.as_ref().is_none_or(|(known, _)| *known != port) {
            let text = latin1(py, decimal(u64::from(port), &mut [0; 5]))?;
            *slot = Some((port, text));
        }
        match slot {
            Some((_, text)) => Ok(text),
            None => Err(pyo3::exceptions::PyRuntimeError::new_err("a port that was just kept is gone")),
        }
    }
}

/// `wsgi.input`, and CONTENT_LENGTH where the head does not say it (a chunked body).
fn body(
    py: Python<'_>,
    constants: &Constants,
    support: &Support,
    exchange: &mut Exchange<'_>,
    dict: *mut ffi::PyObject,
) -> PyResult<()> {
    if exchange.head.body == BodyLength::Chunked {
        let mut digits = [0u8; 20];
        let length = latin1(py, decimal(exchange.body.len(), &mut digits))?;
        set(py, dict, &constants.content_length, &length)?;
    }
    let input = match std::mem::take(&mut exchange.body) {
        Body::Empty => return Ok(()),
        Body::Memory(bytes) => {
            let bytes = bytes_object(py, bytes)?;
            Owned::of(&support.bytes_io.bind(py).call1((bytes.bind(py),))?)
        }
        Body::File { file, .. } => {
            let fd = std::os::fd::IntoRawFd::into_raw_fd(file);
            Owned::of(&support.open_spool.bind(py).call1((fd,))?)
        }
    };
    set(py, dict, &constants.wsgi_input, &input)
}

fn copy(py: Python<'_>, dict: &Owned) -> PyResult<Owned> {
    // SAFETY: a dictionary, attached by the token.
    let copy = unsafe { Owned::steal(ffi::PyDict_Copy(dict.as_ptr())) };
    copy.ok_or_else(|| PyErr::fetch(py))
}

fn set(py: Python<'_>, dict: *mut ffi::PyObject, key: &Owned, value: &Owned) -> PyResult<()> {
    // SAFETY: `dict` is a dictionary that lives through the call; attached by the token.
    match unsafe { ffi::PyDict_SetItem(dict, key.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(py)),
    }
}

/// Decimal digits of `number`, in the caller's buffer (20 hold any).
fn decimal(mut number: u64, buffer: &mut [u8]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || start == 0 {
            return &buffer[start..];
        }
    }
}

#[cfg(test)]
#[path = "environ_tests.rs"]
mod tests;
