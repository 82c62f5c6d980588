"""Requests that take as long as it pays to send their replies together."""

import os
import time
from urllib.parse import parse_qs

WORK_NS = 50_000
made = []


class Late:
    """An iterable of one block, as frameworks return it; `close()` may wait for a FIFO."""

    def __init__(self, body, fifo=None):
        self.blocks = iter([body])
        self.fifo = fifo

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        if self.fifo:
            wait_for(self.fifo)


def wait_for(fifo):
    with open(fifo, "rb") as gate:
        gate.read()


def break_registry():
    """From now on the kernel refuses to say what happens to further connections."""
    fds = [int(name) for name in os.listdir("/proc/self/fd")]
    polls = [fd for fd in fds if kind(fd) == "anon_inode:[eventpoll]"]
    # The first one polls; the copy made after it is where sockets are registered.
    assert len(polls) > 1, polls
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, max(polls), inheritable=False)
    os.close(nothing)


def kind(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"]
    if "sleep" in query:
        time.sleep(float(query["sleep"]))
    if path == "/gate":
        print("crowd: at the gate", *made, file=environ["wsgi.errors"], flush=True)
        wait_for(query["fifo"])
    if path == "/break-registry":
        break_registry()
    until = time.perf_counter_ns() + WORK_NS
    while time.perf_counter_ns() < until:
        pass
    if "note" in query:
        made.append(query["note"])
    body = query.get("say", path).encode() * int(query.get("times", 1))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    if path == "/iterable":
        return Late(body, query.get("fifo"))
    return [body]
