"""Workers that are replaced for their size, age or count: the successor serves first."""

from __future__ import annotations

import threading
import time

from support.server import eventually
from support.wire import Wire


class Crowd:
    """Asks all the time on new connections; every answer has to be 200."""

    def __init__(self, server):
        self.server, self.failures, self.pids, self.over = server, [], set(), threading.Event()
        self.answers = 0
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self.over.is_set():
            try:
                with Wire(self.server.address) as wire:
                    reply = wire.get("/", "Connection: close")
                    self.pids.add(reply.text)
                    self.answers += 1
                    if reply.status != 200:
                        self.failures.append(reply.status)
            except Exception as error:  # noqa: BLE001 - whatever a client sees counts
                self.failures.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def replaced(server, old):
    """Waits until the worker is gone; the order of the lines is that of the events."""
    server.log.wait(rf"Worker exiting \(pid: {old}\)", patience=40)
    lines = server.log.text.splitlines()
    second = next(i for i, line in enumerate(lines) if "Booting worker" in line and f"pid: {old}" not in line)
    assert second < next(i for i, line in enumerate(lines) if f"Retiring worker (pid:{old})" in line)


def test_age(serve):
    server = serve("stuck:application", "--max-worker-age", "1")
    [old] = server.booted(1)
    with Crowd(server) as crowd:
        replaced(server, old)
        eventually(lambda: len(crowd.pids) >= 2, "answers of the successor")
    assert not crowd.failures


def test_memory(serve):
    server = serve("stuck:application", "--max-worker-memory", "150M", "--timeout", "2")
    [old] = server.booted(1)
    with Crowd(server) as crowd:
        for _ in range(4):
            with Wire(server.address) as wire:
                wire.get("/grow", "Connection: close")
        replaced(server, old)
        eventually(lambda: len(crowd.pids) >= 2, "answers of the successor")
    assert not crowd.failures


def test_requests(serve):
    server = serve("stuck:application", "--max-requests", "40", "--max-requests-jitter", "10")
    [old] = server.booted(1)
    with Crowd(server) as crowd:
        replaced(server, old)
        eventually(lambda: len(crowd.pids) >= 3, "answers of two successors")
    assert not crowd.failures


def test_an_import_that_hangs_leaves_the_old_generation_serving(serve, tmp_path):
    app = tmp_path / "changing.py"
    app.write_text("def application(e, s):\n    s('200 OK', [])\n    return [b'old']\n")
    server = serve("changing:application", "--boot-timeout", "2", chdir=tmp_path)
    with Wire(server.address) as wire:
        assert wire.get("/", "Connection: close").text == "old"
    app.write_text("import time\ntime.sleep(60)\n")
    server.kill(1)
    with Crowd(server) as crowd:
        server.log.wait("WORKER BOOT TIMEOUT", patience=30)
        so_far = crowd.answers
        eventually(lambda: crowd.answers > so_far + 50 or crowd.failures, "answers after that")
    assert crowd.pids == {"old"} and not crowd.failures


def test_workers_that_are_busy_leave_new_connections_to_those_that_are_not(serve):
    server = serve("stuck:application", "--workers", "4")
    server.booted(4)
    busy = [Wire(server.address).send("GET /nap?3 HTTP/1.1\r\nHost: test\r\n\r\n") for _ in range(3)]
    try:
        server.log.wait("napping", 3)
        times = []
        for _ in range(40):
            began = time.monotonic()
            with Wire(server.address) as wire:
                assert wire.get("/", "Connection: close").status == 200
            times.append(time.monotonic() - began)
        assert max(times) < 1.5, times
    finally:
        for wire in busy:
            wire.close()
