"""A request that gets no further: said with the line it hangs on, ended, and the rest served on."""

from __future__ import annotations

import threading
import time

import pytest
from support.wire import Malformed, Wire


def start(serve, *arguments):
    server = serve("stuck:application", "--timeout", "1", "--timeout-grace", "2", *arguments)
    server.booted()
    return server


def get(server, path):
    with Wire(server.address) as wire:
        return wire.get(path, "Connection: close")


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("path, line", [("/spin", "while True"), ("/sleep", "time.sleep(60)"), ("/lock", "lock.acquire()")])
def test_the_line_is_named_and_the_client_told(serve, path, line, threads):
    server = start(serve, "--threads", threads)
    reply = get(server, path)
    assert reply.status == 504 and reply.closes
    [pid] = server.booted(1)
    entry = server.log.wait(rf'WORKER TIMEOUT \(pid:{pid}\) "GET {path}" in thread \d+ \(tid:\d+\) for [\d.]+ s')
    assert entry
    server.log.wait("stuck.py", 1)
    assert line in server.log.text
    # The exception freed the thread: the same worker serves on.
    assert get(server, "/").text == str(pid)
    assert len(server.log.find("Booting worker")) == 1


def test_a_thread_that_no_exception_reaches_costs_its_worker(serve):
    server = start(serve)
    [pid] = server.booted(1)
    with Wire(server.address) as wire, pytest.raises((Malformed, ConnectionResetError)):
        wire.get("/c")
    server.log.wait(rf"WORKER TIMEOUT \(pid:{pid}\).*holds it")
    assert "in application" in server.log.text
    server.log.wait(rf"Worker \(pid:{pid}\) is given up")
    assert "out of memory" not in server.log.text.lower()
    second = server.booted(2)[-1]
    assert get(server, "/").text == str(second)


def test_other_requests_of_a_given_up_worker_are_answered(serve):
    server = start(serve, "--threads", "3")
    [pid] = server.booted(1)
    # Warms the second thread: a call in C that gives the interpreter back cannot be interrupted there.
    first = threading.Thread(target=lambda: get(server, "/nap?1.5"))
    first.start()
    stuck = Wire(server.address).send("GET /sleep HTTP/1.1\r\nHost: test\r\n\r\n")
    answers = []

    def others():
        while not answers or time.monotonic() < until:
            answers.append(get(server, "/").status)

    until = time.monotonic() + 4
    others()
    first.join()
    stuck.close()
    assert set(answers) == {200}


def test_progress_starts_the_clock_anew(serve):
    server = start(serve)
    reply = get(server, "/stream")
    assert reply.status == 200 and reply.text.count("block") == 6
    assert not server.log.find("WORKER TIMEOUT")


def test_a_reply_that_hangs_halfway_is_cut(serve):
    server = start(serve)
    with Wire(server.address) as wire:
        wire.send("GET /hang-later HTTP/1.1\r\nHost: test\r\n\r\n")
        wire.head()
        assert wire.chunk() == b"block 0\n"
        with pytest.raises((Malformed, ConnectionResetError)):
            wire.chunk()
    server.log.wait("WORKER TIMEOUT")
    assert get(server, "/").status == 200


def test_silent_and_half_sent_requests_never_trigger_it(serve):
    server = start(serve)
    with Wire(server.address), Wire(server.address) as half, Wire(server.address) as kept:
        half.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc")
        assert kept.get("/").status == 200
        began = time.monotonic()
        while time.monotonic() < began + 2.5:
            assert get(server, "/nap?0.1").status == 200
    assert not server.log.find("WORKER TIMEOUT")
