"""Connections that wait together are read together and answered together, where requests take microseconds."""

from __future__ import annotations

import os
import random
import signal
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.server import eventually
from support.wire import Wire

SIZE = 16


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def post(body: bytes) -> bytes:
    return b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Burst:
    """Connections whose requests are all there before the worker looks."""

    def __init__(self, server, stack: ExitStack):
        self.server, [self.worker] = server, server.booted()
        self.wires = [stack.enter_context(Wire(server.address, timeout=8)) for _ in range(SIZE)]
        for wire in self.wires:
            assert wire.get("/first").text == "/first"

    @contextmanager
    def stopped(self):
        os.kill(self.worker, signal.SIGSTOP)
        eventually(lambda: Path(f"/proc/{self.worker}/stat").read_text().rsplit(")")[-1].split()[0] == "T", "a stop")
        try:
            yield
        finally:
            os.kill(self.worker, signal.SIGCONT)

    def send(self, requests: list[bytes]) -> None:
        with self.stopped():
            for wire, request in zip(self.wires, requests, strict=True):
                wire.send(request)

    def texts(self, requests: list[bytes]) -> list[str]:
        self.send(requests)
        return [wire.reply().text for wire in self.wires]

    def warm_up(self) -> None:
        """Comes until those who wait are read before the first of them is served, and replies are held."""

        def many():
            for wire in self.wires[:8]:
                wire.send(get("/fast") * 15)
            assert [wire.reply().text for wire in self.wires[:8] for _ in range(15)] == ["/fast"] * 120

        def attempt():
            many()
            found = [int(text) for text in self.texts([get("/unread")] * SIZE)]
            # Alone the first one would leave all others unread, and so on.
            names = [task.read_text().strip() for task in Path(f"/proc/{self.worker}/task").glob("*/comm")]
            return max(found) < SIZE - 2 and "rwsgi-keeper" in names

        eventually(attempt, "rows")
        many()


@contextmanager
def burst(serve, *args: str):
    server = serve("rows:application", *args)
    with ExitStack() as stack:
        it = Burst(server, stack)
        it.warm_up()
        yield it


def test_each_connection_gets_its_own_reply(serve):
    with burst(serve) as it:
        for turn in range(30):
            paths = [f"/say?{turn}-{number}" for number in range(SIZE)]
            assert it.texts([get(path) for path in paths]) == [path[5:] for path in paths]


def test_what_comes_in_one_piece_or_many_stays_whole(serve):
    dice = random.Random(1)
    with burst(serve) as it:
        for _ in range(20):
            sizes = [dice.choice((0, 1, 700, 5_000, 15_000, 16_384, 30_000, 60_000)) for _ in range(SIZE)]
            bodies = [dice.randbytes(size).hex().encode()[:size] for size in sizes]
            assert it.texts([post(body) for body in bodies]) == [body.decode() for body in bodies]
        # Cut anywhere: the first half is read ahead, and the rest comes later.
        requests = [post(body) for body in bodies]
        cuts = [dice.randrange(1, len(request)) for request in requests]
        it.send([request[:cut] for request, cut in zip(requests, cuts)])
        for wire, request, cut in zip(it.wires, requests, cuts):
            wire.send(request[cut:])
        assert [wire.reply().body for wire in it.wires] == bodies


def test_pipelined_requests_are_answered_in_order(serve):
    with burst(serve) as it:
        for turn in range(10):
            it.send([b"".join(get(f"/say?{turn}.{number}.{place}") for place in range(1 + number % 4)) for number in range(SIZE)])
            for number, wire in enumerate(it.wires):
                for place in range(1 + number % 4):
                    assert wire.reply().text == f"{turn}.{number}.{place}"


def test_a_request_that_is_held_up_holds_up_no_reply(serve, tmp_path):
    with burst(serve) as it:
        for place in (15, 8, 3):
            fifo = tmp_path / f"gate-{place}"
            os.mkfifo(fifo)
            paths = ["/fast"] * SIZE
            paths[place] = f"/gate?{fifo}"
            it.send([get(path) for path in paths])
            it.server.log.wait("rows: at the gate", 1 + (15, 8, 3).index(place))
            # Whoever came before it; those behind it wait as they always did.
            assert [wire.reply().text for wire in it.wires[:place]] == ["/fast"] * place
            fifo.write_bytes(b"")
            assert it.wires[place].reply().text == str(fifo)
            assert [wire.reply().text for wire in it.wires[place + 1:]] == ["/fast"] * (15 - place)
            it.warm_up()


@pytest.mark.parametrize("depth", [15, 16, 17, 32])
def test_a_request_that_is_held_up_holds_up_no_pipeline(serve, tmp_path, depth):
    """After sixteen requests of a connection others have their turn."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    with burst(serve) as it:
        it.send([get("/fast") * depth, *[get("/fast")] * 6, get(f"/gate?{fifo}"), *[get("/fast")] * 8])
        it.server.log.wait("rows: at the gate")
        assert [it.wires[0].reply().text for _ in range(min(depth, 16))] == ["/fast"] * min(depth, 16)
        fifo.write_bytes(b"")
        assert [it.wires[0].reply().text for _ in range(depth - 16)] == ["/fast"] * (depth - 16)
        assert [wire.reply().status for wire in it.wires[1:]] == [200] * 15


def test_those_who_leave_or_say_no_more_cost_nobody_a_reply(serve):
    with burst(serve) as it:
        with it.stopped():
            for number, wire in enumerate(it.wires):
                wire.send(b"GARBAGE\r\n\r\n" if number % 4 == 2 else get(f"/say?{number}"))
                if number % 4 == 1:
                    wire.socket.shutdown(socket.SHUT_WR)
                if number % 4 == 3:
                    wire.close()
        for number, wire in enumerate(it.wires):
            if number % 4 in (0, 1):
                assert wire.reply().text == str(number)
            if number % 4 == 2:
                assert wire.reply().status == 400
        with Wire(it.server.address) as wire:
            assert wire.get("/after").text == "/after"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_stop_in_the_middle_leaves_no_reply_behind(serve, tmp_path, number):
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    with burst(serve) as it:
        it.send([*[get("/fast")] * 8, get(f"/gate?{fifo}"), *[get("/fast")] * 7])
        it.server.log.wait("rows: at the gate")
        it.server.kill(number)
        it.server.log.wait("(?i)handling signal")
        fifo.write_bytes(b"")
        assert [wire.reply().text for wire in it.wires[:8]] == ["/fast"] * 8
        if number == signal.SIGTERM:
            assert it.wires[8].reply().text == str(fifo)
            assert [wire.reply().text for wire in it.wires[9:]] == ["/fast"] * 7
    assert it.server.wait() == 0
