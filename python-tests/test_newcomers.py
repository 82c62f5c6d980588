"""Who connects while others keep all threads busy is served in turn with them."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
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


def waiting_for(port: int) -> int:
    """Established connections that lead to a port."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        count += state == "01" and int(remote.rsplit(":")[1], 16) == port
    return count
