"""Who connects while others keep all threads busy is served in turn with them."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.server import eventually
from support.wire import Wire


class Regulars:
    """Clients that ask again as soon as they are answered, each on a connection of its own."""

    def __init__(self, address, path: str, count: int):
        self.address, self.path = address, path
        self.answers = [0] * count
        self.errors: list[Exception] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(index,)) for index in range(count)]

    def ask(self, index: int) -> None:
        try:
            with Wire(self.address, timeout=20) as wire:
                while not self.over.is_set():
                    assert wire.get(self.path).status == 200
                    self.answers[index] += 1
        except Exception as error:
            self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not self.errors

    def all_served(self) -> bool:
        return bool(self.errors) or all(self.answers)


@contextmanager
def stopped(pids: list[int]):
    """Nothing is accepted meanwhile."""

    def state(pid):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0]

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    eventually(lambda: [state(pid) for pid in pids] == ["T"] * len(pids), "a stop")
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_that_are_all_busy_take_newcomers_in_turn(serve, workers):
    server = serve("crowd:application", "--threads", "2", "--workers", str(workers))
    server.booted(workers)
    with Regulars(server.address, "/?sleep=0.01", 10 * workers) as regulars:
        eventually(lambda: sum(regulars.answers) > 50, "answers")
        for _ in range(5):
            before = sum(regulars.answers)
            with Wire(server.address, timeout=10) as newcomer:
                assert newcomer.get("/new").status == 200
            # Two rounds, and what the client's own threads are late.
            assert sum(regulars.answers) - before < 60 * workers
        eventually(regulars.all_served, "an answer for each of them", patience=10)


@pytest.mark.parametrize(("path", "workers"), [("/", 1), ("/?sleep=0.002", 1), ("/?sleep=0.01", 2)])
def test_a_crowd_that_comes_at_once_is_let_in_in_turn_with_those_that_are_served(serve, path, workers):
    server = serve("crowd:application", "--workers", str(workers))
    workers = server.booted(workers)
    with stopped(workers):
        regulars = Regulars(server.address, path, 40).__enter__()
        try:
            eventually(lambda: waiting_for(server.address[1]) == 40, "connections")
        except BaseException:
            regulars.over.set()
            raise
    try:
        eventually(regulars.all_served, "an answer for each of them", patience=10)
        answers = sum(regulars.answers)
    finally:
        regulars.__exit__()
    # One at a time behind a whole round of those that were let in, the last would come after 40 * 41 / 2;
    # with two workers after half of that.
    assert answers < (400 if len(workers) == 1 else 200)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_worker_with_fewer_connections_gets_those_that_come(serve, preload):
    server = serve("crowd:application", "--workers", "2", *preload)
    _, second = server.booted(2)
    before = sockets_of(second)
    with ExitStack() as stack:
        with stopped([second]):
            # It counts as one with fewer, and those that come are not left to it for long.
            regulars = stack.enter_context(Regulars(server.address, "/", 16))
            eventually(regulars.all_served, "an answer for each of them", patience=10)
        taken = []
        for _ in range(4):
            # So long one is not waited for that was waited for in vain, or that has just lost some.
            again = time.monotonic() + 0.2
            eventually(lambda: time.monotonic() > again, "the end of that time")
            with ExitStack() as crowd:
                wires = [crowd.enter_context(Wire(server.address, timeout=10)) for _ in range(16)]
                for wire in wires:
                    wire.send("GET /new HTTP/1.1\r\nHost: test\r\n\r\n")
                assert [wire.reply().text for wire in wires] == ["/new"] * 16
                taken.append(sockets_of(second) - before)
            eventually(lambda: sockets_of(second) == before, "their end")
        # Nearly all, where the machine lets it run.
        assert sum(taken) >= 36, taken


def sockets_of(pid: int) -> int:
    def target(fd: Path) -> str:
        try:
            return os.readlink(fd)
        except OSError:
            return ""

    return sum(target(fd).startswith("socket:") for fd in Path(f"/proc/{pid}/fd").iterdir())


def waiting_for(port: int) -> int:
    """Established connections that lead to a port."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        count += state == "01" and int(remote.rsplit(":")[1], 16) == port
    return count
