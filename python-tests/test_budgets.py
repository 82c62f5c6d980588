"""What a peer can stretch has a bound: connections, requests, heads, bodies, trailers, time. Each
has its answer, and the log a line that cannot be used to flood it."""

from __future__ import annotations

import contextlib
import re
import resource
import time
from pathlib import Path

import pytest

from support.server import eventually
from support.wire import Malformed, Wire, assert_refusal, chunked

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture(params=["1", "3"], ids=["inline", "threads"])
def threads(request):
    return ["--threads", request.param]


def test_a_body_over_its_limit(serve, threads):
    server = serve("echo_request", *threads, "--limit-request-body", "1000")
    with Wire(server.address) as wire:
        assert wire.request("POST", "/", body=b"x" * 1000).status == 200
        wire.send(HEAD + b"Content-Length: 1001\r\n\r\n")
        assert_refusal(wire.reply(), 413)
        wire.expect_end()
    with Wire(server.address) as wire:
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x" * 600, b"x" * 401))
        assert_refusal(wire.reply(), 413)
        wire.expect_end()
    with Wire(server.address) as wire:
        wire.send(HEAD + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        reply = wire.reply()
        assert_refusal(reply, 413)
        assert not reply.interim


def test_trailers_over_their_limit(serve, threads):
    server = serve("echo_request", *threads, "--limit-trailers", "1K")
    with Wire(server.address) as wire:
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x", trailers=b"X: " + b"y" * 500 + b"\r\n"))
        assert wire.reply().status == 200
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"x", trailers=b"X: y\r\n" * 300))
        assert_refusal(wire.reply(), 431)


def test_a_head_over_its_limit_as_a_whole(serve, threads):
    server = serve("echo_request", *threads, "--limit-request-head", "2K")
    with Wire(server.address) as wire:
        assert wire.get("/", *(f"X-{i}: {'y' * 90}" for i in range(15))).status == 200
        assert_refusal(wire.get("/", *(f"X-{i}: {'y' * 90}" for i in range(30))), 431)


def test_requests_on_one_connection(serve, threads):
    server = serve("echo_request", *threads, "--keepalive-requests", "3")
    with Wire(server.address) as wire:
        assert [wire.get("/").closes for _ in range(3)] == [False, False, True]
        wire.expect_end()
    with Wire(server.address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 6)
        assert [wire.reply().closes for _ in range(3)] == [False, False, True]
        wire.expect_end()


def test_idle_connections_make_room(serve, threads):
    """At the limit idle kept-alive connections are closed for new ones, which wait for nothing."""
    server = serve("echo_request", *threads, "--worker-connections", "5", "--keep-alive", "30")
    idle = []
    for _ in range(20):
        wire = Wire(server.address, timeout=5)
        assert wire.get("/").status == 200
        idle.append(wire)
    ended = 0
    for wire in idle:
        wire.socket.settimeout(0.2)
        with contextlib.suppress(TimeoutError, AssertionError):
            wire.expect_end()
            ended += 1
        wire.close()
    assert ended >= 15


def test_busy_connections_are_not_closed_for_new_ones(serve, threads):
    server = serve("echo_request", *threads, "--worker-connections", "3", "--keep-alive", "60")
    busy = [Wire(server.address) for _ in range(3)]
    for wire in busy:
        wire.send(HEAD + b"Content-Length: 4\r\n\r\nab")
    time.sleep(0.3)
    waiting = Wire(server.address)
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    waiting.socket.settimeout(0.5)
    with pytest.raises(AssertionError, match="nothing more came"):
        waiting.reply()
    server.log.wait(r"All 3 connections of this worker are in use \(worker_connections\)")
    busy[0].send(b"cd")
    assert busy[0].reply().status == 200
    # Idle from here on, and kept alive for long: it makes room.
    waiting.socket.settimeout(5)
    assert waiting.reply().status == 200
    busy[0].expect_end(5)
    for wire in busy[1:]:
        wire.send(b"cd")
        assert wire.reply().status == 200
        wire.close()
    waiting.close()
    assert len(server.log.find("connections of this worker")) == 1, "said once for a while"


def test_a_pipelined_burst_keeps_nobody_waiting(serve, threads):
    server = serve("echo_request", *threads)
    with Wire(server.address) as greedy, Wire(server.address) as other:
        greedy.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(40):
                greedy.socket.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        greedy.socket.settimeout(20)
        began = time.monotonic()
        assert other.get("/").status == 200
        assert time.monotonic() - began < 2
        for _ in range(500):
            assert greedy.reply().status == 200


def test_dripping_heads_and_bodies(serve, threads):
    server = serve("echo_request", *threads, "--header-timeout", "0.5", "--body-timeout", "0.5", "--body-min-rate", "1000")
    began = time.monotonic()
    with Wire(server.address) as head, Wire(server.address) as body, Wire(server.address) as chunks:
        head.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        body.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        chunks.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        replies = {}
        while len(replies) < 3 and time.monotonic() < began + 8:
            for name, wire, drop in (("head", head, b"y"), ("body", body, b"z"), ("chunks", chunks, b"1\r\nc\r\n")):
                if name in replies:
                    continue
                with contextlib.suppress(OSError):
                    wire.send(drop)
                wire.socket.settimeout(0.05)
                with contextlib.suppress(AssertionError, OSError):
                    replies[name] = wire.reply()
    assert {name: reply.status for name, reply in replies.items()} == {"head": 408, "body": 408, "chunks": 408}
    assert time.monotonic() - began < 4


def test_replies_nobody_takes(serve, threads):
    server = serve("misbehaving", *threads, "--write-timeout", "0.5")
    with Wire(server.address) as wire:
        wire.send(b"GET /endless-fast HTTP/1.1\r\nHost: a\r\n\r\n")
        server.log.wait("takes nothing of its reply")
        with Wire(server.address) as other:
            eventually(lambda: b"endless" in other.get("/closed").body, "close() of the iterable")


def test_idle_and_silent_connections_end(serve, threads):
    server = serve("echo_request", *threads, "--keep-alive", "0.5", "--header-timeout", "0.5")
    with Wire(server.address) as idle, Wire(server.address) as silent, Wire(server.address) as blank:
        assert idle.get("/").status == 200
        for _ in range(2):
            blank.send(b"\r\n")
        began = time.monotonic()
        for wire in (idle, silent):
            wire.expect_end(3)
        assert time.monotonic() - began < 2
        with contextlib.suppress(Malformed):
            blank.expect_end(3)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("noise", [
    bytes.fromhex("16030100f8010000f40303"), b"\x00" * 50, b"SSH-2.0-OpenSSH_9.6\r\n", b"\x05\x01\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"EHLO x\r\n", b"\xff" * 4000,
], ids=["tls", "nul", "ssh", "socks", "h2", "smtp", "ff"])
def test_other_protocols_are_told_at_once(serve, noise):
    server = serve("echo_request")
    with Wire(server.address, timeout=3) as wire:
        wire.send(noise)
        if noise in (b"\x05\x01\x00",):
            wire.half_close()
        assert_refusal(wire.reply(), 400, 505)
        wire.expect_end()


def test_a_flood_of_refusals_does_not_flood_the_log(serve, threads):
    server = serve("echo_request", *threads)
    for _ in range(600):
        with Wire(server.address) as wire:
            wire.send(b"GET / HTTP/9.9\r\n\r\n")
            assert wire.reply().status in (400, 505)
    assert len(server.log.find("Invalid request")) < 250
    with Wire(server.address) as wire:
        assert wire.get("/").status == 200


def test_a_client_that_keeps_sending_after_a_refusal_is_let_go(serve, threads):
    server = serve("echo_request", *threads, "--linger-timeout", "0.5")
    with Wire(server.address) as wire:
        wire.send(b"BAD\r\n\r\n")
        assert wire.reply().status == 400
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began + 5:
                wire.send(b"x" * 1000)
                time.sleep(0.02)
        assert time.monotonic() - began < 3


def test_a_request_that_crosses_the_end_of_an_idle_connection_is_not_reset(serve, threads):
    """It is served, or the connection ends cleanly, so that the client knows it may try again."""
    server = serve("echo_request", *threads, "--keep-alive", "0.3")
    for step in range(40):
        with Wire(server.address) as wire:
            assert wire.get("/").status == 200
            time.sleep(0.29 + step / 2000)
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                assert wire.reply().status == 200
            except Malformed:
                pass


def test_a_crowd_of_connections_finds_the_room_made_before(serve):
    """A table of descriptors that grows while threads run makes the whole worker wait for the kernel."""
    server = serve("probe:application", "--worker-connections", "3000", "--threads", "4")
    with Wire(server.address) as wire:
        worker = int(wire.get("/pid").text)

    def size() -> int:
        return int(re.search(r"FDSize:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())[1])

    before = size()
    assert before >= min(3000, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with contextlib.ExitStack() as crowd:
        wires = [crowd.enter_context(Wire(server.address)) for _ in range(300)]
        assert wires[-1].get("/pid").text == str(worker)
        assert size() == before
