"""WebTest's lint outside of wsgiref's: what either of them finds wrong becomes an AssertionError in the log.

The request body is not read by bare calls of read() and readline(), which both forbid.
"""

from wsgiref.validate import validator

from webtest import lint


def checked(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if path == "/fail":
        raise ValueError("the application's own failure")
    if path == "/late":
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("handled")
        except ValueError:
            import sys
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"handled"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"%d\n" % n for n in range(100))
    body = b"".join(iter(lambda: environ["wsgi.input"].read(1000), b"")) if method in ("POST", "PUT") else b"checked"
    environ["wsgi.errors"].write("")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]


application = lint.middleware(validator(checked))
