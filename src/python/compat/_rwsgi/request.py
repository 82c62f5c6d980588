"""`req` and `resp` as hooks and Python loggers see them, and when those are called.

Used only where a configuration sets pre_request or post_request, or has a Python logger.
"""

import datetime
import sys
import traceback
from urllib.parse import unquote_to_bytes

from . import server


class Request:
    """`req`. What pre_request changes here is in environ afterwards."""

    proxy_protocol_info = None
    unreader = None

    def __init__(self, method, uri, path, query, version, headers, scheme, remote_addr, closing, number, cfg):
        self.method = method
        self.uri = uri
        self.path = path
        self.query = query
        self.fragment = ""
        self.version = version
        self.headers = headers
        self.trailers = []
        self.body = None
        self.scheme = scheme
        self.remote_addr = remote_addr
        self.peer_addr = remote_addr
        self.must_close = closing
        self.req_number = number
        self.cfg = cfg

    def should_close(self):
        return self.must_close

    def force_close(self):
        self.must_close = True

    def get_header(self, name):
        return next((value for key, value in self.headers if key == name.upper()), None)


class Response:
    """`resp`."""

    upgrade = False
    sock = None

    def __init__(self, req, status, headers, sent, length):
        self.req = req
        self.version = req.version if req is not None else (1, 1)
        self.cfg = req.cfg if req is not None else None
        self.must_close = req.must_close if req is not None else False
        self.status = status
        self.headers = headers
        self.headers_sent = status is not None
        self.sent = sent
        self.response_length = length
        self.chunked = length is None and self.version >= (1, 1)
        if status is not None:
            self.status_code = int(status.split(None, 1)[0])

    def should_close(self):
        return self.must_close


class Observer:
    """Told of each request: at its beginning, when there is an environ, and at its end."""

    def __init__(self, worker, cfg, hooks, logger):
        self.worker = worker
        self.cfg = cfg
        self.pre_request = hooks.get("pre_request")
        self.post_request = hooks.get("post_request")
        self.logger = logger

    def begin(self, *facts):
        req = Request(*facts, self.cfg)
        if self.pre_request is None:
            req._before = None
        else:
            req._before = list(req.headers), req.scheme, req.uri, req.path, req.query, req.method
            self.pre_request(self.worker, req)
        if self.worker is not None:
            self.worker.nr += 1
        return req

    def built(self, req, environ):
        """Takes over into environ what pre_request changed."""
        req.body = environ["wsgi.input"]
        if req._before is None:
            return
        headers, scheme, uri, path, query, method = req._before
        if req.scheme != scheme:
            environ["wsgi.url_scheme"] = req.scheme
        if req.uri != uri:
            environ["RAW_URI"] = req.uri
        if req.query != query:
            environ["QUERY_STRING"] = req.query or ""
        if req.method != method:
            environ["REQUEST_METHOD"] = req.method
        if req.path != path:
            decoded = unquote_to_bytes(req.path).decode("latin-1")
            environ["PATH_INFO"] = decoded.removeprefix(environ.get("SCRIPT_NAME", ""))
        if req.headers != headers:
            _change_headers(environ, headers, req.headers)

    def end(self, req, environ, status, headers, sent, length, seconds):
        resp = None if environ is None else Response(req, status, headers, sent, length)
        environ = {} if environ is None else environ
        if self.logger is not None and resp is not None and status is not None:
            try:
                self.logger.access(resp, req, environ, datetime.timedelta(seconds=seconds))
            except Exception:
                server._log("error", "Exception while logging a request\n" + traceback.format_exc().rstrip())
        if self.post_request is not None and req is not None:
            try:
                self.post_request(self.worker, req, environ, resp)
            except Exception:
                server._log("error", "Exception in post_request hook\n" + traceback.format_exc().rstrip())


    def refused(self, facts, protocol, status):
        """The server has answered this request itself, and its environ was never made."""
        req = Request(*facts, self.cfg)
        host, port = req.remote_addr if isinstance(req.remote_addr, tuple) else (req.remote_addr, None)
        environ = {
            "REQUEST_METHOD": req.method,
            "RAW_URI": req.uri,
            "PATH_INFO": unquote_to_bytes(req.path).decode("latin-1"),
            "QUERY_STRING": req.query,
            "SERVER_PROTOCOL": protocol or "-",
            "REMOTE_ADDR": host,
            "wsgi.url_scheme": req.scheme,
        }
        if port is not None:
            environ["REMOTE_PORT"] = str(port)
        _change_headers(environ, [], req.headers)
        resp = Response(req, status, [], 0, None)
        try:
            self.logger.access(resp, req, environ, datetime.timedelta(0))
        except Exception:
            server._log("error", "Exception while logging a request\n" + traceback.format_exc().rstrip())


def _change_headers(environ, before, after):
    """What is not among the headers any more goes, what is new or other comes."""

    def keyed(headers):
        joined = {}
        for name, value in headers:
            key = str(name).upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key
            if key == "HTTP_PROXY":
                continue
            separator = "; " if key == "HTTP_COOKIE" else ","
            joined[key] = f"{joined[key]}{separator}{value}" if key in joined else str(value)
        return joined

    old, new = keyed(before), keyed(after)
    for key in old.keys() - new.keys():
        environ.pop(key, None)
    for key, value in new.items():
        if old.get(key) != value:
            environ[key] = value


def observer(application):
    """The observer this process needs, or None. `application` is what `worker.wsgi` is."""
    hooks, cfg, worker = {}, None, server.worker
    if server.active is not None:
        worker.wsgi = worker.app.callable = application
        hooks, cfg = server.active.hooks, server.active.cfg
    logger = sys.modules.get("_rwsgi.logger")
    active = logger.access_logger() if logger is not None else None
    if active is None and not (hooks.keys() & {"pre_request", "post_request"}):
        return None
    return Observer(worker, cfg or active.cfg, hooks, active)
