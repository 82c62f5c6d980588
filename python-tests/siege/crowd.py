"""The besiegers: slow clients by the thousand, resets, connections from a network that goes away. One
thread with epoll, so that they take little from the server they share a machine with."""

from __future__ import annotations

import random
import select
import socket
import struct
import time

REQUEST = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
TICK = 0.004
RESET = struct.pack("ii", 1, 0)
READS = select.EPOLLIN | select.EPOLLRDHUP
STARES = select.EPOLLRDHUP

#: What a slow client sends at once, what it drips, whether it reads.
KINDS = [
    (b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ", b"a", True),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"b", True),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n", True),
    (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", False),
    (b"", b"", True),
]


class Crowd:
    """Keeps `count` slow clients there: whom the server sends away comes anew. `turn()` gives it time."""

    def __init__(self, address, drip_every: float, dice: random.Random):
        self.address, self.drip_every, self.dice = address, drip_every, dice
        self.poll = select.epoll()
        self.clients: dict[int, tuple[socket.socket, tuple[bytes, bytes, bool]]] = {}
        self.coming: set[int] = set()
        self.drippers: list[int] = []
        self.wanted = self.made = self.sent_away = self.resets = self.drops = 0
        self.ticked = time.monotonic()
        self.rest: dict[str, float] = {}

    def connect(self, small: bool) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((f"127.0.{30 + self.made % 20}.1", 0))
        self.made += 1
        sock.connect_ex(self.address)
        return sock

    def join(self) -> None:
        kind = KINDS[self.made % len(KINDS)]
        sock = self.connect(not kind[2])
        self.clients[sock.fileno()] = sock, kind
        self.coming.add(sock.fileno())
        self.poll.register(sock, select.EPOLLOUT)

    def leave(self, fd: int) -> None:
        sock, _ = self.clients.pop(fd)
        self.coming.discard(fd)
        self.poll.unregister(sock)
        sock.close()

    def turn(self, storm: float = 0.0, ramp: float = 600.0) -> None:
        """One tick: so many resets a second, so many newcomers at most. Ticks are short, because who
        comes in a burst is in the way of whoever comes with it, however fast a server is; and those who
        come at once are late at once."""
        for fd, events in self.poll.poll(max(0.0, self.ticked + TICK - time.monotonic())):
            self.look(fd, events)
        now = time.monotonic()
        if now < self.ticked + TICK:
            return
        passed, self.ticked = min(now - self.ticked, 0.1), now
        coming = self.share("newcomers", ramp * passed)
        for _ in range(min(self.wanted - len(self.clients), coming)):
            self.join()
        self.drip(self.share("drops", len(self.clients) * passed / self.drip_every))
        for _ in range(self.share("resets", storm * passed)):
            self.reset()

    def share(self, what: str, amount: float) -> int:
        """The whole part; the rest counts next time."""
        whole = int(amount + self.rest.get(what, 0.0))
        self.rest[what] = amount + self.rest.get(what, 0.0) - whole
        return whole

    def look(self, fd: int, events: int) -> None:
        if fd not in self.clients:
            return
        sock, (first, _, reads) = self.clients[fd]
        try:
            if fd in self.coming:
                self.coming.discard(fd)
                if first:
                    sock.send(first)
                self.poll.modify(fd, READS if reads else STARES)
                return
            # A word before the end is the refusal.
            if reads and events & select.EPOLLIN and sock.recv(4096) and not events & select.EPOLLRDHUP:
                return
        except OSError:
            pass
        self.sent_away += 1
        self.leave(fd)

    def drip(self, count: int) -> None:
        """Each client's turn comes once in `drip_every` seconds."""
        for _ in range(count):
            if not self.drippers:
                self.drippers = list(self.clients)
                self.dice.shuffle(self.drippers)
            fd = self.drippers.pop()
            if fd in self.clients and fd not in self.coming and (drop := self.clients[fd][1][1]):
                self.drops += 1
                try:
                    self.clients[fd][0].send(drop)
                except OSError:
                    pass

    def reset(self) -> None:
        """A connection that is broken off, somewhere up to the reply."""
        sock = self.connect(False)
        try:
            if number := self.dice.randrange(3):
                sock.send(REQUEST if number == 1 else REQUEST[: self.dice.randrange(len(REQUEST))])
        except OSError:
            pass
        if self.dice.random() < 0.7:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
        self.resets += 1

    def end(self) -> None:
        self.wanted = 0
        for fd in list(self.clients):
            self.leave(fd)


def half_open(network, address, count: int) -> list[socket.socket]:
    """Connections from a network that is gone by the time this returns."""
    made = network.connect(address, count)
    for number, sock in enumerate(made):
        sock.sendall(KINDS[number % len(KINDS)][0])
    network.pull()
    return made
