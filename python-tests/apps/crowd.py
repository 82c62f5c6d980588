"""Requests that take as long as it pays to send their replies together."""

import time
from urllib.parse import parse_qs

WORK_NS = 50_000


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


def application(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    path = environ["PATH_INFO"]
    if path == "/gate":
        print("crowd: at the gate", file=environ["wsgi.errors"], flush=True)
        wait_for(query["fifo"])
    time.sleep(float(query.get("sleep", 0)))
    until = time.perf_counter_ns() + WORK_NS
    while time.perf_counter_ns() < until:
        pass
    body = query.get("say", path).encode() * int(query.get("times", 1))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    if path == "/iterable":
        return Late(body, query.get("fifo"))
    return [body]
