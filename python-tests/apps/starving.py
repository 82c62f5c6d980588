"""For test_starvation.py: takes bodies, logs at will, leaves orphans."""

import os
import select


def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = b"ok"
    if path == "/size":
        body = b"%d" % len(environ["wsgi.input"].read())
    elif path == "/shout":
        environ["wsgi.errors"].write("shouting " + "x" * 1000 + "\n")
    elif path == "/orphan":
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    elif path == "/raise":
        raise ValueError("raised " + "y" * 500)
    elif path == "/hold":
        body = b"%d" % len(bytearray(int(environ["QUERY_STRING"])))
    elif path == "/wait":
        select.select([], [], [], 0.5)
    elif path == "/pid":
        body = b"%d" % os.getpid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
