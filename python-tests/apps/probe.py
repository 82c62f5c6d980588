"""An application that shows what a server does to it: one path per clause of PEP 3333.

What cannot be seen on the wire (close() ran, an exception came back from start_response) is noted
in `events`; GET /events answers with them and forgets them. Run with one worker.

    rwsgi probe:application
"""

import hashlib
import io
import json
import os
import sys
import tempfile
import threading
import time
from urllib.parse import parse_qs

events = []
TEXT = [("Content-Type", "text/plain")]


def block(size):
    """Bytes that are the same for the same size and show where they were cut."""
    unit = b"".join(b"%07d\n" % i for i in range(1024))
    return (unit * (size // len(unit) + 1))[:size]


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0].replace("-", "_")
    query = {k: v[0] for k, v in parse_qs(environ["QUERY_STRING"], keep_blank_values=True).items()}
    view = VIEWS.get(name)
    if view is None:
        return answer(start_response, {"path": environ["PATH_INFO"]})
    return view(environ, start_response, query)


VIEWS = {}


def view(function):
    VIEWS[function.__name__.strip("_")] = function
    return function


def answer(start_response, value, status="200 OK", headers=()):
    body = json.dumps(value).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers])
    return [body]


class Closing:
    """An iterable that notes each close() under a name."""

    def __init__(self, name, blocks, fails=False):
        self.name, self.blocks, self.fails = name, blocks, fails

    def __iter__(self):
        return iter(self.blocks)

    def close(self):
        events.append(f"closed {self.name}")
        if self.fails:
            raise RuntimeError("close() fails")


# The server's state


@view
def environ(environ, start_response, query):
    shown = {k: [type(v).__name__, v if isinstance(v, (str, bool, int, list, tuple)) else repr(v)] for k, v in environ.items()}
    again = environ.setdefault("probe.left_by_an_earlier_request", "") != ""
    return answer(start_response, {"type": type(environ).__name__, "exact": type(environ) is dict, "environ": shown, "shared": again})


@view
def events_(environ, start_response, query):
    seen = events[:]
    events.clear()
    return answer(start_response, seen)


@view
def pid(environ, start_response, query):
    return answer(start_response, os.getpid())


@view
def where(environ, start_response, query):
    return answer(start_response, {
        "cwd": os.getcwd(), "sys_path": sys.path, "prefix": sys.prefix, "version": list(sys.version_info[:3]),
        "environ": dict(os.environ), "argv": sys.argv, "umask": umask(), "main_thread": threading.current_thread() is threading.main_thread(),
    })


def umask():
    old = os.umask(0)
    os.umask(old)
    return old


# Input


@view
def echo(environ, start_response, query):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body))),
                              ("X-Length-Seen", environ.get("CONTENT_LENGTH", "absent")),
                              ("X-Coding-Seen", environ.get("HTTP_TRANSFER_ENCODING", "absent")),
                              ("X-Terminated", str(environ.get("wsgi.input_terminated")))])
    return [body]


@view
def digest(environ, start_response, query):
    total, sha = 0, hashlib.sha256()
    while data := environ["wsgi.input"].read(65536):
        total += len(data)
        sha.update(data)
    return answer(start_response, {"size": total, "sha256": sha.hexdigest()})


@view
def ignore(environ, start_response, query):
    return answer(start_response, "not read")


@view
def input(environ, start_response, query):  # noqa: A001
    """?do=read:3,readline,readlines:10,iter ... in order; answers with what each returned."""
    source, seen = environ["wsgi.input"], []
    for step in query["do"].split(","):
        method, _, argument = step.partition(":")
        arguments = [] if argument == "" else [None if argument == "None" else int(argument)]
        if method == "iter":
            seen.append([line.decode("latin-1") for line in source])
            continue
        if method == "next":
            seen.append(next(iter(source), b"<stop>").decode("latin-1"))
            continue
        result = getattr(source, method)(*arguments)
        seen.append([r.decode("latin-1") for r in result] if isinstance(result, list) else result.decode("latin-1"))
    return answer(start_response, seen)


# Errors stream


@view
def errors(environ, start_response, query):
    stream = environ["wsgi.errors"]
    stream.write("probe: one line\n")
    stream.writelines(["probe: two", " parts\n", "probe: caf\u00e9 \u2603\n"])
    stream.flush()
    print("probe: printed", file=stream)
    stream.write("probe: no newline")
    stream.flush()
    return answer(start_response, "written")


# start_response


@view
def write(environ, start_response, query):
    """write(), then the iterable."""
    sink = start_response("200 OK", TEXT + ([("Content-Length", "15")] if "length" in query else []))
    sink(b"first ")
    sink(b"")
    sink(b"then ")
    return Closing("write", [b"last"])


@view
def write_only(environ, start_response, query):
    start_response("200 OK", TEXT)(b"written")
    return []


@view
def replace(environ, start_response, query):
    """An error before anything was sent replaces status and headers."""
    start_response("200 OK", [("Content-Type", "text/html"), ("X-First", "yes")])
    try:
        raise ValueError("replaced")
    except ValueError:
        start_response("503 Sorry", [("Content-Type", "text/plain"), ("X-Second", "yes")], sys.exc_info())
    return [b"replaced"]


@view
def replace_late(environ, start_response, query):
    """The same, after empty blocks: those send nothing."""
    start_response("200 OK", TEXT)
    yield b""
    yield b""
    try:
        raise ValueError("replaced late")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    yield b"replaced late"


@view
def reraise(environ, start_response, query):
    """After the headers went out, start_response gives the exception back."""
    start_response("200 OK", TEXT)
    yield b"sent"
    try:
        raise ValueError("too late")
    except ValueError:
        try:
            start_response("500 Oops", TEXT, sys.exc_info())
        except ValueError as error:
            events.append(f"came back: {error}")
            raise
    events.append("did not come back")


@view
def twice(environ, start_response, query):
    start_response("200 OK", TEXT)
    try:
        start_response("201 Created", TEXT)
    except Exception as error:
        events.append(f"refused: {type(error).__name__}")
        raise
    return [b"twice"]


@view
def never(environ, start_response, query):
    return [b"start_response was never called"]


@view
def lazy(environ, start_response, query):
    """start_response is called while the first block is made."""
    start_response("200 OK", [*TEXT, ("X-Lazy", "yes")])
    yield b"lazy"


@view
def headers(environ, start_response, query):
    """?kind=...: something PEP 3333 or RFC 9110 forbids; start_response should refuse it."""
    status, extra = "200 OK", []
    match query["kind"]:
        case "cr": extra = [("X-Bad", "a\rb")]
        case "lf": extra = [("X-Bad", "a\nInjected: yes")]
        case "crlf": extra = [("X-Bad", "a\r\nInjected: yes")]
        case "nul": extra = [("X-Bad", "a\0b")]
        case "name-space": extra = [("X Bad", "a")]
        case "name-colon": extra = [("X-Bad:", "a")]
        case "name-empty": extra = [("", "a")]
        case "name-lf": extra = [("X-Bad\nInjected", "a")]
        case "name-bytes": extra = [(b"X-Bad", "a")]
        case "value-bytes": extra = [("X-Bad", b"a")]
        case "value-int": extra = [("X-Bad", 5)]
        case "value-snowman": extra = [("X-Bad", "\u2603")]
        case "hop-connection": extra = [("Connection", "close")]
        case "hop-te": extra = [("Transfer-Encoding", "chunked")]
        case "hop-upgrade": extra = [("Upgrade", "websocket")]
        case "length-word": extra = [("Content-Length", "many")]
        case "length-two": extra = [("Content-Length", "2"), ("Content-Length", "3")]
        case "status-word": status = "OK"
        case "status-short": status = "20 OK"
        case "status-lf": status = "200 OK\r\nInjected: yes"
        case "status-bytes": status = b"200 OK"
        case "status-int": status = 200
        case "not-pairs": extra = ["X-Bad"]
    start_response(status, [*TEXT, *extra])
    return [b"ok"]


@view
def fine(environ, start_response, query):
    """Unusual, and allowed."""
    start_response("299 Fine \u00e9", [*TEXT, ("X-Latin", "caf\u00e9"), ("x-lower", "1"), ("X-Twice", "a"), ("X-Twice", "b"),
                                       ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")])
    return [b"fine"]


# Bodies


BODIES = {
    "one": (lambda q: [b"0123456789"], b"0123456789"),
    "many": (lambda q: [b"01234", b"", b"56789"], b"0123456789"),
    "tuple": (lambda q: (b"01234", b"56789"), b"0123456789"),
    "generator": (lambda q: (b for b in (b"01234", b"", b"56789")), b"0123456789"),
    "empty-list": (lambda q: [], b""),
    "empty-block": (lambda q: [b""], b""),
    "empty-generator": (lambda q: (b for b in ()), b""),
    "large-list": (lambda q: [block(1 << 20)], block(1 << 20)),
    "large-blocks": (lambda q: (block(65536) for _ in range(32)), block(65536) * 32),
    "closing": (lambda q: Closing("body", [b"01234", b"56789"]), b"0123456789"),
}


@view
def body(environ, start_response, query):
    """?kind=...&length=1: a body of each kind of iterable, with or without Content-Length."""
    make, whole = BODIES[query["kind"]]
    extra = [("Content-Length", str(len(whole)))] if "length" in query else []
    start_response(query.get("status", "200 OK"), [*TEXT, *extra])
    return make(query)


@view
def short(environ, start_response, query):
    start_response("200 OK", [*TEXT, ("Content-Length", "20")])
    return Closing("short", [b"0123456789"])


@view
def long(environ, start_response, query):
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return Closing("long", [b"012", b"3456789", b"more"])


@view
def bare(environ, start_response, query):
    """?status=204 No Content: no headers, no body of its own."""
    start_response(query["status"], [])
    return []


@view
def gate(environ, start_response, query):
    """Yields "before", then waits until someone opens the FIFO ?fifo=..., then yields "after"."""
    start_response("200 OK", TEXT)
    yield b"before"
    with open(query["fifo"], "rb") as fifo:
        fifo.read()
    yield b"after"


@view
def hold(environ, start_response, query):
    """Says in the log that it runs, then waits for the FIFO before it answers."""
    print("probe: holding", query.get("name", ""), file=environ["wsgi.errors"], flush=True)
    with open(query["fifo"], "rb") as fifo:
        fifo.read()
    return answer(start_response, "released")


@view
def sleep(environ, start_response, query):
    print("probe: sleeping", file=environ["wsgi.errors"], flush=True)
    time.sleep(float(query["for"]))
    return answer(start_response, "slept")


@view
def endless(environ, start_response, query):
    """Blocks until the client leaves; close() is noted."""
    start_response("200 OK", TEXT)

    class Endless(Closing):
        def __iter__(self):
            data = block(65536)
            while True:
                yield data

    return Endless("endless", ())


@view
def big(environ, start_response, query):
    """?mb=100 with a Content-Length."""
    megabytes = int(query["mb"])
    start_response("200 OK", [*TEXT, ("Content-Length", str(megabytes << 20))])
    data = block(1 << 20)
    return (data for _ in range(megabytes))


# Files


@view
def file(environ, start_response, query):
    """?size=&seek=&length=&block=&kind=real|bytesio|closing|dropped: wsgi.file_wrapper."""
    data = block(int(query["size"]))
    if query.get("kind") == "bytesio":
        source = io.BytesIO(data)
    else:
        source = tempfile.TemporaryFile()
        source.write(data)
        source.flush()
    source.seek(int(query.get("seek", 0)))
    if query.get("kind") == "closing":
        inner = source

        class Source:
            def read(self, size=-1):
                return inner.read(size)

            def close(self):
                events.append("closed file")
                inner.close()

        source = Source()
    extra = [("Content-Length", query["length"])] if "length" in query else []
    start_response("200 OK", [*TEXT, *extra])
    arguments = [int(query["block"])] if "block" in query else []
    return environ["wsgi.file_wrapper"](source, *arguments)


@view
def file_iterated(environ, start_response, query):
    """The wrapper is an iterable like any other, also when a middleware iterates it."""
    start_response("200 OK", TEXT)
    wrapper = environ["wsgi.file_wrapper"](io.BytesIO(block(100_000)), 4096)
    return [b"".join(wrapper)]


# Failures


@view
def fail(environ, start_response, query):
    """?how=EXCEPTION&when=call|started|first|mid|close."""
    error = {
        "ValueError": ValueError("probe failed"), "OSError": OSError(5, "probe disk"), "EPIPE": BrokenPipeError(32, "not the client's pipe"),
        "ECONNRESET": ConnectionResetError(104, "not the client's connection"), "TimeoutError": TimeoutError("probe"),
        "FileNotFoundError": FileNotFoundError(2, "probe"), "SystemExit": SystemExit(3), "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(), "StopIteration": StopIteration("probe"), "MemoryError": MemoryError(),
        "RecursionError": RecursionError("probe"), "Surrogates": ValueError("probe \udcff surrogate"),
    }[query["how"]]
    when = query["when"]
    if when == "call":
        raise error
    start_response("200 OK", TEXT)
    if when == "started":
        raise error

    class Failing(Closing):
        def __init__(self):
            super().__init__("failing", ())
            self.step = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.step += 1
            if when == "first" or self.step == 2:
                raise error
            return b"one block"

    return Failing() if when != "close" else Closing("failing", [b"whole body"], fails=True)


@view
def wrong(environ, start_response, query):
    """?kind=...: iterables PEP 3333 forbids."""
    start_response("200 OK", TEXT)
    return {"none": None, "str": "text", "str-block": ["text"], "int": 5, "int-block": [5], "none-block": [None],
            "bytearray": [bytearray(b"a")]}[query["kind"]]


@view
def exit_now(environ, start_response, query):
    os._exit(int(query.get("code", 9)))
