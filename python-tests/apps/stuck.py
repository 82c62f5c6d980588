"""An application that hangs in every way it can, for the request deadline; and one that grows."""

import ctypes
import os
import select
import threading
import time

hoard = []


def stay():
    time.sleep(60)


def rest(seconds):
    """Asks no clock, which a test may have moved."""
    select.select([], [], [], seconds)


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        stay()
    if path == "/spin":
        while True:
            pass
    if path == "/doze":
        while True:
            rest(0.05)
    if path == "/lock":
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    if path == "/c":
        ctypes.PyDLL(None).sleep(30)  # PyDLL keeps the interpreter
    if path == "/grow":
        hoard.append(bytearray(os.urandom(1 << 20) * 64))
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/stream":
        return slowly(0.5, 6)
    if path == "/hang-later":
        return slowly(60, 2)
    if path == "/nap":
        # In one piece: workers share the stream.
        os.write(2, b"napping\n")
        rest(float(environ["QUERY_STRING"]))
    return [b"%d" % os.getpid()]


def slowly(pause, blocks):
    for number in range(blocks):
        yield b"block %d\n" % number
        rest(pause)
