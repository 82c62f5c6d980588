"""Peers that break off in every way: resets at every stage, and a network that goes away under open connections,
without a FIN. Each costs its own connection for as long as its deadline says; nothing else is to be seen of it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import time

import pytest

from support.network import Elsewhere, NoNetworks
from support.server import eventually
from support.wire import Wire

RESET = struct.pack("ii", 1, 0)
HEAD = b"Host: test\r\n"
DEADLINES = ["--header-timeout", "1", "--body-timeout", "1", "--write-timeout", "1", "--keep-alive", "1", "--linger-timeout", "1"]

#: What a client has sent when it is gone, and whether it has read a reply to it.
STAGES = {
    "before the head": (b"", False),
    "in the request line": (b"GET /ok HT", False),
    "in the head": (b"GET /ok HTTP/1.1\r\nHost: te", False),
    "in the body": (b"POST /ok HTTP/1.1\r\n" + HEAD + b"Content-Length: 100000\r\n\r\nbody", False),
    "in a chunk": (b"POST /ok HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", False),
    "waiting for 100": (b"POST /ok HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", False),
    "at its end": (b"GET /ok HTTP/1.1\r\n" + HEAD + b"\r\n", False),
    "in a burst": (b"GET /ok HTTP/1.1\r\n" + HEAD + b"\r\n" + b"GET /ok HTTP/1.1\r\n" + HEAD + b"\r\nGET /o", False),
    "idle": (b"GET /ok HTTP/1.1\r\n" + HEAD + b"\r\n", True),
    "in a large reply": (b"GET /endless-fast HTTP/1.1\r\n" + HEAD + b"\r\n", True),
    "refused": (b"GET /ok HTTP/9.9\r\n\r\n", True),
    "in an HTTP/1.0 reply": (b"GET /endless-fast HTTP/1.0\r\n\r\n", True),
    # Last, since it keeps a thread: the application makes a block every 50 ms, for ever.
    "in a slow reply": (b"GET /endless HTTP/1.1\r\n" + HEAD + b"\r\n", True),
}


def sockets(pid: int) -> int:
    """Sockets this process holds open."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return count


def at_rest(pid: int) -> int:
    """How many those are when no connection is open: the least of half a second."""
    counts = []
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        counts.append(sockets(pid))
        time.sleep(0.01)
    return min(counts)


def serves(address) -> None:
    with Wire(address) as wire:
        assert wire.get("/ok", "Connection: close").body == b"ok"


@pytest.mark.parametrize("threads", ["1", "3"])
def test_resets_at_every_stage(serve, threads):
    server = serve("misbehaving", "--threads", threads, *DEADLINES)
    [worker] = server.booted()
    serves(server.address)
    before = at_rest(worker)
    for _ in range(25):
        for sent, reads in STAGES.values():
            with Wire(server.address) as wire:
                wire.send(sent)
                if reads:
                    assert wire.socket.recv(10)
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        serves(server.address)
    eventually(lambda: sockets(worker) <= before, "every connection to be given up", patience=10)
    with Wire(server.address) as wire:
        closed = wire.get("/closed").body.split(b",")
    assert closed.count(b"endless") == 75, "every reply was closed"
    assert len(server.log.find("Booting worker")) == 1
    assert not server.log.find("ERROR|Traceback"), server.log.text


@pytest.fixture
def elsewhere():
    network = Elsewhere()
    try:
        network.__enter__()
    except NoNetworks as why:
        pytest.skip(f"no network can be made here: {why}")
    try:
        yield network
    finally:
        network.__exit__()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_network_that_goes_away(serve, elsewhere, threads):
    """Nobody sends a FIN any more: what is left of each connection is its deadline."""
    server = serve("misbehaving", "--threads", threads, *DEADLINES, bind=(f"{elsewhere.here}:0", "127.0.0.1:0"))
    [worker] = server.booted()
    local = ("127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", server.log.text)[1]))
    serves(local)
    before = at_rest(worker)
    lost = elsewhere.connect(server.address, len(STAGES))
    for connection, (sent, reads) in zip(lost, STAGES.values()):
        connection.sendall(sent)
        if reads:
            assert connection.recv(10)
    assert sockets(worker) >= before + len(STAGES) - 4
    elsewhere.pull()
    pulled = time.monotonic()
    serves(local)
    eventually(lambda: sockets(worker) <= before, "every connection to be given up", patience=20)
    assert time.monotonic() - pulled < 15
    with Wire(local) as wire:
        assert wire.get("/closed").body.split(b",").count(b"endless") == 3
    serves(local)
    assert len(server.log.find("Booting worker")) == 1 and "Traceback" not in server.log.text
    for connection in lost:
        connection.close()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_trickle_into_a_network_that_is_gone(serve, elsewhere, threads):
    """So little is said that the socket never fills: only the kernel knows that nobody hears it."""
    server = serve("misbehaving", "--threads", threads, *DEADLINES, bind=(f"{elsewhere.here}:0", "127.0.0.1:0"))
    local = ("127.0.0.1", int(re.search(r"127\.0\.0\.1:(\d+)", server.log.text)[1]))
    serves(local)
    [lost] = elsewhere.connect(server.address, 1)
    lost.sendall(b"GET /trickle HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert lost.recv(1000)
    elsewhere.pull()
    pulled = time.monotonic()
    with Wire(local) as wire:
        eventually(lambda: b"endless" in wire.get("/closed").body, "close() of the iterable", patience=15)
    assert time.monotonic() - pulled < 12
    lost.close()
