"""The applications that are measured: plain WSGI, chosen by path, the same for every server.

Lengths are said by the applications, as frameworks do it: some servers do not add them.
"""

import os
import time

TEXT = [("Content-Type", "text/plain"), ("Content-Length", "14")]
BODIES = {"/body/10k": b"x" * 10_240, "/body/1m": b"x" * 1_048_576}
CHUNK = b"c" * 100
FILE = os.environ.get("BENCH_FILE", "")


def hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"Hello, world!\n"]


def body(environ, start_response):
    block = BODIES[environ["PATH_INFO"]]
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(block)))])
    return [block]


def post(environ, start_response):
    length = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    answer = b"%14d" % length
    start_response("200 OK", TEXT)
    return [answer]


def chunks(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for _ in range(10):
        yield CHUNK


def file(environ, start_response):
    length = os.path.getsize(FILE)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(length))])
    opened = open(FILE, "rb")
    if "wsgi.file_wrapper" in environ:
        return environ["wsgi.file_wrapper"](opened, 65_536)
    return iter(lambda: opened.read(65_536), b"")


def sleep(environ, start_response):
    time.sleep(0.01)
    start_response("200 OK", TEXT)
    return [b"Hello, world!\n"]


def burn(environ, start_response):
    until = time.thread_time_ns() + 200_000
    while time.thread_time_ns() < until:
        pass
    start_response("200 OK", TEXT)
    return [b"Hello, world!\n"]


def upload(environ, start_response):
    stream, total = environ["wsgi.input"], 0
    while block := stream.read(65_536):
        total += len(block)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "14")])
    return [b"%14d" % total]


def stream(environ, start_response):
    blocks = int(environ["QUERY_STRING"]) // 65_536
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(blocks * 65_536))])
    return (b"s" * 65_536 for _ in range(blocks))


ROUTES = {
    "/hello": hello,
    "/body/10k": body,
    "/body/1m": body,
    "/post": post,
    "/chunks": chunks,
    "/file": file,
    "/sleep": sleep,
    "/burn": burn,
    "/upload": upload,
    "/stream": stream,
}


def application(environ, start_response):
    return ROUTES[environ["PATH_INFO"]](environ, start_response)
