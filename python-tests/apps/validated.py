"""A small application between wsgiref's validator and the server: every broken rule raises.

    rwsgi validated:application
"""

from wsgiref.validate import validator


@validator
def application(environ, start_response):
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    headers = [("Content-Type", "text/plain")]
    if path == "/environ":
        body = "\n".join(sorted(environ)).encode()
    elif method == "POST":
        body = b"".join(iter(lambda: environ["wsgi.input"].read(1000), b""))
    elif path == "/lines":
        body = b"".join(environ["wsgi.input"])
    elif path == "/write":
        start_response("200 OK", headers)(b"written, ")
        return [b"then returned"]
    elif path == "/nothing":
        start_response("204 No Content", [])
        return []
    elif path == "/errors":
        environ["wsgi.errors"].write("validated: written\n")
        environ["wsgi.errors"].writelines(["validated: lines\n"])
        environ["wsgi.errors"].flush()
        body = b"errors"
    elif path == "/generator":
        start_response("200 OK", headers)
        return (b"%d\n" % number for number in range(5))
    elif path == "/file":
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    else:
        body = b"valid"
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]
