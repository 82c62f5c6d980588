"""Every way an application can misbehave, one path each; see test_misbehaving.py.

    rwsgi misbehaving:application
"""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import parse_qs

TEXT = [("Content-Type", "text/plain")]
kept = {}
closed = []


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("-", "_")
    if name == "ok":
        start_response("200 OK", TEXT)
        return [b"ok"]
    return VIEWS[name](environ, start_response)


VIEWS = {}


def view(function):
    VIEWS[function.__name__.rstrip("_")] = function
    return function


def wrong(name, make):
    """A view that starts well and returns something wrong."""
    def run(environ, start_response):
        start_response("200 OK", TEXT)
        return make()
    VIEWS[name] = run


class Bytes(bytes):
    pass


class List(list):
    pass


class Str(str):
    pass


class Raises:
    """An iterable that raises where it is told to, and knows how often it was closed."""

    def __init__(self, where, blocks=()):
        self.where, self.blocks = where, iter(blocks)

    def fail(self, where):
        if self.where == where:
            raise ValueError(f"raised in {where}")

    def __iter__(self):
        self.fail("__iter__")
        return self

    def __next__(self):
        for block in self.blocks:
            return block
        self.fail("__next__")
        raise StopIteration

    def __len__(self):
        self.fail("__len__")
        return 1

    def close(self):
        closed.append(self.where)
        self.fail("close")


# Wrong types

wrong("body_str", lambda: "text")
wrong("body_none", lambda: None)
wrong("body_int", lambda: 5)
wrong("body_bytes", lambda: b"bytes")
wrong("block_str", lambda: ["text"])
wrong("block_none", lambda: [None])
wrong("block_int", lambda: [1])
wrong("block_bytearray", lambda: [bytearray(b"x")])
wrong("block_later", lambda: iter([b"first", "second"]))
wrong("dict_of_bytes", lambda: {b"key": 1})
wrong("list_subclass", lambda: List([b"sub", b"list"]))
wrong("bytes_subclass", lambda: [Bytes(b"sub bytes")])
wrong("iter_raises", lambda: Raises("__iter__"))
wrong("next_raises", lambda: Raises("__next__"))
wrong("next_raises_later", lambda: Raises("__next__", [b"first"]))
wrong("len_raises", lambda: Raises("__len__", [b"whole"]))
wrong("close_raises", lambda: Raises("close", [b"whole"]))


@view
def status_int(environ, start_response):
    start_response(200, TEXT)
    return [b""]


@view
def status_bytes(environ, start_response):
    start_response(b"200 OK", TEXT)
    return [b""]


@view
def status_subclass(environ, start_response):
    start_response(Str("200 OK"), [(Str("X-A"), Str("b"))])
    return [b"sub str"]


@view
def headers_dict(environ, start_response):
    start_response("200 OK", {"X-A": "b"})
    return [b""]


@view
def headers_tuple(environ, start_response):
    start_response("200 OK", (("X-A", "b"),))
    return [b""]


@view
def headers_lists(environ, start_response):
    start_response("200 OK", [["X-A", "b"]])
    return [b""]


@view
def headers_none(environ, start_response):
    start_response("200 OK", None)
    return [b""]


@view
def headers_three(environ, start_response):
    start_response("200 OK", [("a", "b", "c")])
    return [b""]


@view
def header_int(environ, start_response):
    start_response("200 OK", [("X-Count", 5)])
    return [b""]


@view
def header_gigantic(environ, start_response):
    start_response("200 OK", [("X-Big", "x" * (16 << 20))])
    return [b"big"]


@view
def headers_many(environ, start_response):
    start_response("200 OK", [(f"X-{i}", "y") for i in range(100_000)])
    return [b"many"]


@view
def no_start(environ, start_response):
    return [b"x"]


# start_response after the end

@view
def keep(environ, start_response):
    kept["start_response"] = start_response
    kept["write"] = start_response("200 OK", TEXT)
    kept["input"] = environ["wsgi.input"]
    kept["environ"] = environ
    return [b"kept"]


@view
def use_kept(environ, start_response):
    """Everything kept from an earlier request is used; says how each use ended."""
    outcomes = []
    for what in (lambda: kept["start_response"]("500 Evil", [("X-Evil", "1")]),
                 lambda: kept["start_response"]("500 Evil", [], (ValueError, ValueError("x"), None)),
                 lambda: kept["write"](b"evil"),
                 lambda: kept["input"].read()):
        try:
            outcomes.append(repr(what()))
        except Exception as error:
            outcomes.append(type(error).__name__)
    start_response("200 OK", TEXT)
    return [",".join(outcomes).encode()]


# Control flow

def generator():
    yield b"first"
    kept["generator"].close()
    yield b"second"


@view
def generator_closes_itself(environ, start_response):
    start_response("200 OK", TEXT)
    kept["generator"] = generator()
    return kept["generator"]


@view
def recursion(environ, start_response):
    def deeper():
        return deeper()
    return deeper()


@view
def recursion_in_repr(environ, start_response):
    class Error(Exception):
        def __str__(self):
            return str(self)
        __repr__ = __str__
    raise Error


@view
def memory_error(environ, start_response):
    return [bytes(1 << 62)]


@view
def exit_(environ, start_response):
    raise SystemExit(7)


@view
def keyboard_interrupt(environ, start_response):
    raise KeyboardInterrupt


@view
def generator_exit(environ, start_response):
    raise GeneratorExit


@view
def stop_iteration(environ, start_response):
    raise StopIteration


# Processes

@view
def fork(environ, start_response):
    child = os.fork()
    if child == 0:
        os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    start_response("200 OK", TEXT)
    return [b"child %d" % status]


@view
def fork_returns(environ, start_response):
    """The child comes back into the server as if nothing had happened."""
    child = os.fork()
    start_response("200 OK", TEXT)
    return [b"child" if child == 0 else b"parent"]


@view
def subprocess_(environ, start_response):
    shown = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True).stdout
    start_response("200 OK", TEXT)
    return [shown.encode()]


@view
def os_exit(environ, start_response):
    os._exit(9)


@view
def segfault(environ, start_response):
    ctypes.string_at(0)


@view
def abort(environ, start_response):
    os.abort()


# Threads and signals

@view
def thread_outlives(environ, start_response):
    def work():
        for _ in range(3):
            time.sleep(0.05)
            try:
                start_response("500 Late", [])
            except Exception as error:
                kept["late"] = type(error).__name__
        kept["done"] = True
    threading.Thread(target=work).start()
    start_response("200 OK", TEXT)
    return [b"gone"]


@view
def late(environ, start_response):
    start_response("200 OK", TEXT)
    return [repr((kept.get("late"), kept.get("done"))).encode()]


@view
def thread_exits(environ, start_response):
    thread = threading.Thread(target=sys.exit, args=(4,))
    thread.start()
    thread.join()
    start_response("200 OK", TEXT)
    return [b"joined"]


@view
def thread_writes(environ, start_response):
    """Another thread writes while, and after, the request ends."""
    write = start_response("200 OK", TEXT)

    def work():
        for _ in range(200):
            try:
                write(b"x" * 1000)
            except Exception as error:
                kept["writer"] = type(error).__name__
                return
    threading.Thread(target=work).start()
    return [b"y" * 100]


@view
def signal_handlers(environ, start_response):
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: kept.__setitem__("alarm", True))
        signal.alarm(1)
    start_response("200 OK", TEXT)
    return [b"handlers"]


@view
def alarmed(environ, start_response):
    start_response("200 OK", TEXT)
    return [repr(kept.get("alarm")).encode()]


@view
def input_by_thread(environ, start_response):
    parts = []
    threads = [threading.Thread(target=lambda: parts.append(environ["wsgi.input"].read(1000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start_response("200 OK", TEXT)
    return [str(sum(map(len, parts))).encode()]


# Replies that never end

class Endless:
    def __init__(self, pause, block=b"x" * 1000):
        self.pause, self.block = pause, block

    def __iter__(self):
        return self

    def __next__(self):
        if self.pause:
            time.sleep(self.pause)
        return self.block

    def close(self):
        closed.append("endless")


@view
def endless(environ, start_response):
    start_response("200 OK", TEXT)
    return Endless(0.05)


@view
def endless_fast(environ, start_response):
    start_response("200 OK", TEXT)
    return Endless(0)


@view
def trickle(environ, start_response):
    """A reply that no buffer is ever full of."""
    start_response("200 OK", TEXT)
    return Endless(0.1, b"x")


@view
def closed_(environ, start_response):
    shown = ",".join(closed)
    closed.clear()
    start_response("200 OK", TEXT)
    return [shown.encode()]


@view
def census(environ, start_response):
    """What this worker holds: descriptors, resident KiB, allocated blocks, objects, threads."""
    kept.clear()
    closed.clear()
    gc.collect()
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
    figures = [len(os.listdir("/proc/self/fd")), resident, sys.getallocatedblocks(),
               len(gc.get_objects()), threading.active_count(), os.getpid()]
    start_response("200 OK", TEXT)
    return [" ".join(map(str, figures)).encode()]
