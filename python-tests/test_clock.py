"""The wall clock jumps, as it does when a machine wakes up or is set right: only the Date follows.

libfaketime stands between the server and the clock that tells the time of day, in each of its
processes; the monotonic clock is left alone. A deadline that asked the wrong clock would be over at once, or never.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from support.server import eventually
from support.wire import Malformed, Wire, assert_refusal

LIBRARIES = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), *Path("/usr/lib64/faketime").glob("libfaketimeMT.so.1")]
HOUR = 3600
JUMPS = [6 * HOUR, -6 * HOUR]


class Clock:
    """The time of day of a server, so many seconds from ours."""

    def __init__(self, file: Path):
        self.file = file
        self.set(0)

    def set(self, offset: int) -> None:
        # Replaced, not rewritten: a half-written file would be another time.
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.rename(self.file)

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}


@pytest.fixture
def clock(tmp_path):
    if not LIBRARIES:
        pytest.skip("libfaketime is not installed (Debian's package faketime)")
    return Clock(tmp_path / "offset")


def start(serve, clock, *arguments):
    server = serve("stuck", *arguments, env=clock.environment())
    server.booted()
    return server


def get(server, path="/"):
    with Wire(server.address) as wire:
        return wire.get(path)


def offset(server) -> float:
    """How far the server's Date is from our time."""
    return parsedate_to_datetime(get(server).get("date")).timestamp() - time.time()


def jumps(server, clock, to: int) -> None:
    """The clock jumps, and the Date is seen to have followed, so the server has asked it since."""
    clock.set(to)
    eventually(lambda: abs(offset(server) - to) < 3, "the Date to follow", patience=3)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("jump", JUMPS, ids=["forwards", "backwards"])
def test_nothing_is_over_early(serve, clock, threads, jump):
    server = start(serve, clock, "--threads", threads, "--keep-alive", "20", "--timeout", "20", "--access-logfile", "-",
                   "--access-logformat", "%(L)s")
    [worker] = server.booted()
    with ExitStack() as stack:
        idle, head, body, busy, stream = (stack.enter_context(Wire(server.address)) for _ in range(5))
        assert idle.get("/").status == 200
        head.send("GET / HTTP/1.1\r\nHost: test\r\nX-A: ")
        body.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        if threads == "3":
            busy.send("GET /nap?2 HTTP/1.1\r\nHost: test\r\n\r\n")
            stream.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
            assert stream.head().status == 200
        jumps(server, clock, jump)
        assert idle.get("/").status == 200
        jumps(server, clock, 0)
        assert idle.get("/").status == 200
        assert head.send("b\r\n\r\n").reply().status == 200
        assert body.send("world").reply().status == 200
        if threads == "3":
            assert busy.reply().status == 200
            assert b"".join(stream._chunks()).count(b"block") == 6
    assert server.booted() == [worker] and "TIMEOUT" not in server.log.text
    took = [float(line) for line in server.out.lines]
    assert took and 0 <= min(took) and max(took) < 20, "durations are those of the monotonic clock"


@pytest.mark.parametrize("jump", JUMPS, ids=["forwards", "backwards"])
def test_what_is_due_still_comes(serve, clock, jump):
    """A clock that was set back must not stretch a deadline by the hours it lost."""
    server = start(serve, clock, "--keep-alive", "2", "--header-timeout", "2", "--body-timeout", "2", "--timeout", "2",
                   "--timeout-grace", "1", "--threads", "2")
    with Wire(server.address) as idle, Wire(server.address) as head, Wire(server.address) as body, Wire(server.address) as hung:
        assert idle.get("/").status == 200
        head.send("GET / HTTP/1.1\r\nHost: test\r\nX-A: ")
        body.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        hung.send("GET /doze HTTP/1.1\r\nHost: test\r\n\r\n")
        began = time.monotonic()
        clock.set(jump)
        idle.expect_end(10)
        assert_refusal(head.reply(), 408)
        assert_refusal(body.reply(), 408)
        assert hung.reply().status == 504
        assert time.monotonic() - began < 10
    jumps(server, clock, jump)


def test_dead_workers_are_replaced_after_a_jump_back(serve, clock):
    """The master's pauses follow the monotonic clock, too."""
    server = start(serve, clock)
    assert get(server).status == 200
    clock.set(-6 * HOUR)
    for count in (2, 3):
        os.kill(server.booted(count - 1)[-1], signal.SIGKILL)
        server.booted(count)
        eventually(lambda: get_or_none(server) == 200, "the next worker to serve")


def get_or_none(server):
    try:
        return get(server).status
    except (Malformed, ConnectionError):
        return None


def test_a_reload_and_an_end_over_jumps(serve, clock):
    server = start(serve, clock, "--graceful-timeout", "5")
    clock.set(6 * HOUR)
    server.kill(signal.SIGHUP)
    server.booted(2)
    clock.set(-6 * HOUR)
    eventually(lambda: get_or_none(server) == 200, "the new worker to serve")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 8
