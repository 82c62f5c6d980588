"""Applications that misbehave: the client gets a clear 500 or sees that the reply is broken, the log
says what and where, and the next request is served, by one thread and by several."""

from __future__ import annotations

import os
import re
import signal
import socket
import time

import pytest

from support.server import eventually
from support.wire import Malformed, Wire

#: Requests of the leak test; a full run takes 100 000.
LEAK_REQUESTS = int(os.environ.get("RWSGI_LEAK_REQUESTS", "10000"))


@pytest.fixture(scope="module", params=["1", "3"], ids=["inline", "threads"])
def server(request, serve_module):
    return serve_module("misbehaving", "--threads", request.param, "--keep-alive", "20", "--graceful-timeout", "5")


def get(server, path, *fields, method="GET", body=None):
    with Wire(server.address) as wire:
        return wire.request(method, path, *fields, body=body)


def serves(server):
    reply = get(server, "/ok")
    assert (reply.status, reply.body) == (200, b"ok")


def logged(server, path, what, count=1):
    """The failure stands in the log with method and path, and its cause within the lines after it."""
    def find():
        lines = server.log.lines
        starts = [i for i, line in enumerate(lines) if f"Error handling request GET {path}" in line]
        return any(any(re.search(what, line) for line in lines[start:start + 4000]) for start in starts)
    eventually(find, f"{path} with {what!r} in the log", patience=5)


@pytest.mark.parametrize("path, what", [
    ("/body-str", "TypeError.*returned a str"),
    ("/body-none", "TypeError.*NoneType"),
    ("/body-int", "TypeError.*int"),
    ("/body-bytes", "TypeError.*returned a bytes"),
    ("/block-str", "TypeError.*is a str"),
    ("/block-none", "TypeError.*is a NoneType"),
    ("/block-int", "TypeError.*is a int"),
    ("/block-bytearray", "TypeError.*is a bytearray"),
    ("/iter-raises", "ValueError: raised in __iter__"),
    ("/next-raises", "ValueError: raised in __next__"),
    ("/status-int", "TypeError.*status must be a str"),
    ("/status-bytes", "TypeError.*status must be a str"),
    ("/headers-dict", "TypeError.*list of"),
    ("/headers-tuple", "TypeError.*list of"),
    ("/headers-lists", "TypeError.*tuple"),
    ("/headers-none", "TypeError.*list of"),
    ("/headers-three", "TypeError.*tuple"),
    ("/header-int", "TypeError.*X-Count.*must be a str"),
    ("/no-start", "TypeError.*start_response"),
    ("/recursion", "RecursionError"),
    ("/recursion-in-repr", "Error"),
    ("/memory-error", "MemoryError|OverflowError"),
    ("/stop-iteration", "StopIteration"),
    ("/generator-exit", "GeneratorExit"),
])
def test_a_clear_500(server, path, what):
    reply = get(server, path)
    assert reply.status == 500 and reply.framing == "length", reply
    logged(server, path, what)
    serves(server)


@pytest.mark.parametrize("path, body", [
    ("/list-subclass", b"sublist"), ("/bytes-subclass", b"sub bytes"), ("/status-subclass", b"sub str"),
    ("/len-raises", b"whole"),
])
def test_what_is_odd_but_allowed_works(server, path, body):
    reply = get(server, path)
    assert (reply.status, reply.body) == (200, body)


@pytest.mark.parametrize("path", ["/block-later", "/next-raises-later", "/generator-closes-itself"])
def test_a_failure_after_the_first_block_is_a_visible_abort(server, path):
    with Wire(server.address) as wire, pytest.raises((Malformed, ConnectionResetError)):
        wire.get(path)
    logged(server, path, "Error")
    serves(server)


def test_a_failing_close_is_logged_and_the_reply_whole(server):
    assert get(server, "/close-raises").body == b"whole"
    logged(server, "/close-raises", "ValueError: raised in close")
    serves(server)


@pytest.mark.parametrize("path", ["/header-gigantic", "/headers-many"])
def test_gigantic_headers_leave_or_are_refused(server, path):
    """16 MiB of header: whatever is decided, nothing breaks."""
    with Wire(server.address) as wire:
        assert wire.get(path).status in (200, 500)
    serves(server)


def test_what_is_kept_belongs_to_its_request(server):
    assert get(server, "/keep").body == b"kept"
    reply = get(server, "/use-kept")
    assert (reply.status, reply.get("x-evil")) == (200, None)
    assert reply.body == b"RuntimeError,RuntimeError,RuntimeError,b''"


def test_a_fork_in_the_application(server):
    assert get(server, "/fork").body == b"child 3"
    serves(server)


def test_a_forked_child_that_comes_back_is_ended(server):
    assert get(server, "/fork-returns").body == b"parent"
    server.log.wait("GET /fork-returns: the application forked, and its child")
    serves(server)


def test_a_subprocess_inherits_no_socket(server):
    assert "socket:" not in get(server, "/subprocess").text


@pytest.mark.parametrize("path, said", [
    ("/os-exit", "code 9"), ("/segfault", "(?i)SIGSEGV|signal 11"), ("/abort", "(?i)SIGABRT|signal 6"),
    ("/exit", "code 7|SystemExit"),
])
def test_a_dead_worker_is_named_and_replaced(serve, path, said):
    server = serve("misbehaving", "--threads", "2")
    server.booted(1)
    with Wire(server.address) as wire:
        try:
            reply = wire.get(path)
            assert reply.status == 500, reply
        except (Malformed, ConnectionError):
            pass
    if path != "/exit":
        server.booted(2)
    server.log.wait(said)
    serves(server)


def test_a_thread_that_outlives_its_request(server):
    assert get(server, "/thread-outlives").body == b"gone"
    eventually(lambda: get(server, "/late").body == b"('RuntimeError', True)", "the thread's end")


def test_sys_exit_in_a_thread_ends_that_thread(server):
    assert get(server, "/thread-exits").body == b"joined"
    serves(server)


def test_threads_that_write_across_the_end_never_reach_another_reply(server):
    for _ in range(60):
        with Wire(server.address) as wire:
            try:
                reply = wire.get("/thread-writes")
            except (Malformed, ConnectionError):
                continue
            assert set(reply.body) <= set(b"xy")
            try:
                follow = wire.get("/ok")
            except (Malformed, ConnectionError):
                continue
            assert follow.body == b"ok"
    serves(server)


def test_input_read_by_several_threads(server):
    assert get(server, "/input-by-thread", method="POST", body=b"z" * 3000).body == b"3000"
    serves(server)


def test_handlers_of_the_application_run_and_cannot_keep_the_worker(serve):
    """A worker that ignores SIGTERM by its application's doing ends when the time to finish is over."""
    server = serve("misbehaving", "--graceful-timeout", "2")
    assert get(server, "/signal-handlers").body == b"handlers"
    eventually(lambda: get(server, "/alarmed").body == b"True", "the application's handler")
    assert server.stop(signal.SIGTERM, patience=20) == 0


@pytest.mark.parametrize("path", ["/endless", "/endless-fast"])
@pytest.mark.parametrize("how", ["reset", "end"])
def test_an_endless_reply_is_closed_within_a_second_of_the_clients_leaving(server, path, how):
    get(server, "/closed")
    wire = Wire(server.address)
    wire.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    assert wire.socket.recv(100)
    if how == "reset":
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    left = time.monotonic()
    wire.close()
    eventually(lambda: b"endless" in get(server, "/closed").body, "close() of the iterable")
    assert time.monotonic() - left < 1.5
    serves(server)


LEAKY = ["/body-str", "/body-none", "/block-int", "/block-later", "/iter-raises", "/next-raises-later",
         "/close-raises", "/status-int", "/headers-dict", "/header-int", "/no-start", "/recursion-in-repr",
         "/stop-iteration", "/keep", "/use-kept", "/generator-closes-itself", "/memory-error",
         "/bytes-subclass", "/thread-exits", "/input-by-thread", "/endless-fast"]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("threads", ["1", "3"])
def test_nothing_leaks(serve, threads):
    server = serve("misbehaving", "--threads", threads, "--error-logfile", "/dev/null", listens=False)
    port = find_port(server)

    def census():
        with Wire(("127.0.0.1", port)) as wire:
            return list(map(int, wire.get("/census").body.split()))

    def rounds(count):
        wire = Wire(("127.0.0.1", port))
        for i in range(count):
            path = LEAKY[i % len(LEAKY)]
            wire.send(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
            if path == "/endless-fast":
                wire.socket.recv(4096)
                wire.close()
                wire = Wire(("127.0.0.1", port))
                continue
            try:
                closes = wire.reply().closes
            except (Malformed, ConnectionError):
                closes = True
            if closes:
                wire.close()
                wire = Wire(("127.0.0.1", port))
        wire.close()

    rounds(max(1000, LEAK_REQUESTS // 10))
    eventually(lambda: settled(census), "threads to end")
    before = census()
    rounds(LEAK_REQUESTS)
    eventually(lambda: settled(census), "threads to end")
    after = census()
    files, resident, blocks, objects, _, pid = (b - a for a, b in zip(before, after))
    assert pid == 0, "the worker died"
    assert files <= 2, (before, after)
    assert blocks < 2000 and objects < 500, (before, after)
    assert resident < 8 * 1024, (before, after)


def settled(census):
    return census()[4] <= 4


def find_port(server):
    """The port of a server whose log cannot be read: from the kernel."""
    def look():
        inodes = set()
        try:
            for fd in os.listdir(f"/proc/{server.pid}/fd"):
                inodes.add(os.readlink(f"/proc/{server.pid}/fd/{fd}"))
        except OSError:
            return None
        with open("/proc/net/tcp") as table:
            for row in table.readlines()[1:]:
                words = row.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                    return int(words[1].split(":")[1], 16)
        return None
    return eventually(look, "a listening socket")
