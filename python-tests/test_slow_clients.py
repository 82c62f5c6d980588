"""One worker, one thread, and clients that take their time: nobody else waits for them."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apps.probe as probe
import pytest
from support.server import PATIENCE, eventually
from support.wire import Wire

SIEGE = Path(__file__).parent / "siege"


def latencies(server, count=150):
    """Seconds of each of `count` requests, every one on its own connection; best first."""
    seen = []
    for _ in range(count):
        started = time.perf_counter()
        with Wire(server.address) as wire:
            assert wire.get("/pid", "Connection: close").status == 200
        seen.append(time.perf_counter() - started)
    return sorted(seen)


def assert_undisturbed(before, during):
    """Bounds that only a wait for the slow ones can break, not a busy machine."""
    middle = len(before) // 2
    assert during[middle] < before[middle] * 5 + 0.02, (before[middle], during[middle])
    assert during[-1] < before[-1] + 0.5, (before[-1], during[-1])


@contextmanager
def dripping(server, heads):
    """Connections on which one byte a second is sent until the block is left."""
    drippers = []
    over = threading.Event()

    def drip():
        position = 0
        while not over.is_set():
            for wire, head in drippers:
                wire.send(head[position % len(head):position % len(head) + 1])
            position += 1
            over.wait(1)

    thread = threading.Thread(target=drip)
    with ExitStack() as stack:
        drippers += [(stack.enter_context(Wire(server.address)), head) for head in heads]
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def wires(server, count):
    """So many connections."""
    with ExitStack() as stack:
        yield [stack.enter_context(Wire(server.address)) for _ in range(count)]


@pytest.fixture
def server(serve):
    return serve("probe:application", "--workers", "1", "--timeout", "5")


def test_slow_heads(server):
    before = latencies(server)
    with dripping(server, [b"GET /pid HTTP/1.1\r\nHost: test\r\nX-Slow: " + b"x" * 1000] * 20):
        assert_undisturbed(before, latencies(server))


def test_slow_bodies(server):
    before = latencies(server)
    with wires(server, 10) as known, wires(server, 10) as chunked:
        for wire in known:
            wire.send(b"POST /digest HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
        for wire in chunked:
            wire.send(b"POST /digest HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n" + b"x" * 40_000)
        assert_undisturbed(before, latencies(server))
        for wire in known:
            wire.send(b"x" * 50_000)
            assert json.loads(wire.reply().body)["size"] == 100_000, "a slow upload is served in the end"


def test_silent_connections(server):
    before = latencies(server)
    with wires(server, 100):
        assert_undisturbed(before, latencies(server))


def test_replies_nobody_reads(server):
    before = latencies(server)
    with wires(server, 3) as readers:
        for reader in readers:
            reader.send(b"GET /big?mb=100 HTTP/1.1\r\nHost: test\r\n\r\n")
        for reader in readers:
            assert reader.head().status == 200
        assert_undisturbed(before, latencies(server))
        with Wire(server.address) as wire:
            pid = json.loads(wire.get("/pid").body)
        with open(f"/proc/{pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        assert resident < 150_000, f"{resident} kB: the replies must not be held in memory"
        whole = probe.block(1 << 20)
        for _ in range(100):
            assert readers[0].take(1 << 20) == whole, "who reads late still gets all of it"


def heap(pid):
    """KiB of its heap that a process shares with nobody."""
    total, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith("[heap]")
        elif inside and line.startswith("Private_Dirty:"):
            total += int(line.split()[1])
    return total


@contextmanager
def crowd_that_reads_nothing(server, count):
    """So many clients, each with a reply that does not fit into its buffers."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.settimeout(PATIENCE)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(server.address)
            client.sendall(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
            clients.append(client)
        yield clients


def test_what_a_crowd_that_reads_nothing_took_is_given_back(serve):
    server = serve("siege_app:application", "--workers", "1", "--worker-connections", "2000", chdir=SIEGE)
    (pid,) = server.booted(1)
    latencies(server)
    before = heap(pid)
    with crowd_that_reads_nothing(server, 600) as clients:
        for client in clients:
            assert client.recv(16), "its reply has begun"
        during = heap(pid)
    assert during - before > 600, "else this shows nothing"
    eventually(lambda: heap(pid) - before < (during - before) / 2, "most of it is given back")


def test_a_peer_that_keeps_its_socket_open_after_a_closing_reply(server):
    """Lingering close is a state of a connection, not a pause of the worker."""
    before = latencies(server)
    with wires(server, 20) as open_still:
        for wire in open_still:
            assert wire.get("/pid", "Connection: close").closes
        assert_undisturbed(before, latencies(server))


def test_waiting_is_no_reason_to_kill_a_worker(serve):
    """`timeout` is about the application, never about a client."""
    server = serve("probe:application", "--workers", "1", "--timeout", "1")
    with Wire(server.address) as wire:
        pid = wire.get("/pid").body
    with Wire(server.address) as idle, dripping(server, [b"GET /pid HTTP/1.1\r\nX-Slow: xxxxx"]):
        time.sleep(3.5)  # what is waited for is that nothing happens
        assert idle
        with Wire(server.address) as wire:
            assert wire.get("/pid").body == pid
    assert "TIMEOUT" not in server.log.text and len(server.log.find("Booting worker")) == 1
