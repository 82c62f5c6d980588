"""The clients: each holds its kind of load and verifies every byte that comes back."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from dataclasses import dataclass

from support.wire import Wire

from load.expected import content

IDS = itertools.count(1)


@dataclass
class Outcome:
    """One request, from the first byte sent to the verdict."""

    kind: str
    key: str
    started: float
    ended: float
    error: str | None
    #: The worker that answered earlier on the same connection, if there was one.
    peer: int | None
    version: int | None = None
    pid: int | None = None


class Results:
    """What all clients saw."""

    def __init__(self):
        self._lock = threading.Lock()
        self.outcomes: list[Outcome] = []
        #: worker pid -> when it last answered
        self.pids: dict[int, float] = {}
        self.version_seen: dict[int, float] = {}

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)
            if outcome.pid:
                self.pids[outcome.pid] = outcome.ended
            if outcome.version:
                self.version_seen[outcome.version] = outcome.ended

    def answered(self) -> dict[int, float]:
        """When which worker last did."""
        with self._lock:
            return dict(self.pids)

    def since(self, moment: float) -> list[Outcome]:
        """The good replies to requests begun after `moment`."""
        with self._lock:
            recent = itertools.takewhile(lambda o: o.ended >= moment, reversed(self.outcomes))
            return [o for o in recent if o.started >= moment and o.error is None]


class Client(threading.Thread):
    """One connection at a time; `pause` seconds between requests. With `keep` connections are reused."""

    def __init__(self, kind: str, address, results: Results, *, keep: bool, pause: float):
        super().__init__(name=kind, daemon=True)
        self.kind, self.address, self.results, self.keep, self.pause = kind, address, results, keep, pause
        self.over = threading.Event()
        self.wire: Wire | None = None
        self.peer: int | None = None

    def run(self):
        while not self.over.is_set():
            self.results.add(self._once())
            self.over.wait(self.pause)
        self._drop()

    def _drop(self):
        if self.wire:
            self.wire.close()
        self.wire = self.peer = None

    def _once(self) -> Outcome:
        key = f"{self.kind}-{next(IDS)}"
        outcome = Outcome(self.kind, key, time.monotonic(), 0.0, None, self.peer)
        try:
            if self.wire is None:
                self.wire = Wire(self.address, timeout=40)
            reply = self._exchange(key)
            outcome.pid, outcome.version = int(reply.get("x-worker-pid")), int(reply.get("x-version"))
            self.peer = outcome.pid
            if reply.closes or not self.keep:
                self.wire.expect_end()
                self._drop()
        except Exception as error:  # whatever it is, it is this request's failure and is told one by one
            outcome.error = f"{type(error).__name__}: {str(error)[:200]}"
            self._drop()
        outcome.ended = time.monotonic()
        return outcome

    def _exchange(self, key: str):
        request, expected = self._request(key)
        connection = "" if self.keep else "Connection: close\r\n"
        self.wire.send(request.replace(b"\r\n", f"\r\nHost: load\r\nX-Load-Id: {key}\r\n{connection}".encode(), 1))
        reply = self.wire.reply()
        if reply.status != 200:
            raise AssertionError(f"status {reply.status}")
        if reply.body != expected:
            raise AssertionError(f"body of {len(reply.body)} bytes instead of {len(expected)}, or other bytes")
        return reply

    def _request(self, key: str) -> tuple[bytes, bytes]:
        match self.kind.split("-")[0]:
            case "slow":
                return b"GET /slow?sleep=0.3 HTTP/1.1\r\n\r\n", content(key, 200)
            case "large":
                return b"GET /large?size=300000 HTTP/1.1\r\n\r\n", content(key, 300_000)
            case "stream":
                return b"GET /stream?blocks=10&pause=0.03 HTTP/1.1\r\n\r\n", b"".join(content(f"{key}-{n}", 3000) for n in range(10))
            case "upload":
                data = content(key, 200_000)
                answer = f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()
                if int(key.rsplit("-", 1)[1]) % 2:
                    return b"PUT /upload HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + data, answer
                chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (data[i:i + 7000] for i in range(0, len(data), 7000)))
                return b"PUT /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", answer
            case _:
                return b"GET /fast HTTP/1.1\r\n\r\n", content(key, 200)


def crowd(address, results: Results) -> list[Client]:
    """A mix that keeps two or three workers busy without saturating a small machine."""
    make = lambda kind, keep, pause: Client(kind, address, results, keep=keep, pause=pause)  # noqa: E731
    return [
        make("fast-keep", True, 0.01), make("fast-keep", True, 0.01), make("fast-keep", True, 0.3),
        make("fast-once", False, 0.01), make("fast-once", False, 0.02),
        make("slow-keep", True, 0.01), make("slow-once", False, 0.01),
        make("upload-keep", True, 0.1), make("upload-once", False, 0.1),
        make("stream-keep", True, 0.05), make("stream-once", False, 0.1),
        make("large-keep", True, 0.1),
    ]
