"""Normal traffic: so many requests a second, whatever becomes of those before, over kept connections
and new ones. A process of its own, so that what it measures is not held up by what else is done.

    python traffic.py HOST PORT RATE SECONDS SHARE_OF_NEW_CONNECTIONS [idle]

With `idle` it is one of the besiegers, and runs when nobody else wants to.

Says as JSON what came of it: `times` in seconds from a request's first byte (its connection included)
to the last of its reply, `failures`, `late` (how far behind its own plan it was, in the worst of a
hundred) and `cpu` (its share of a core).
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import socket
import sys
import time

KEPT = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
END = b"siege ok"
#: An idle connection is not used again shortly before its server would close it.
FRESH = 1.0
PATIENCE = 10.0


class Flight:
    """A request under way, or an idle connection."""

    __slots__ = ("socket", "request", "began", "data", "reused")

    def __init__(self, sock, request, began, reused):
        self.socket, self.request, self.began, self.data, self.reused = sock, request, began, b"", reused


class Traffic:
    def __init__(self, address, share_new):
        self.address, self.share_new = address, share_new
        self.poll = select.epoll()
        self.flights: dict[int, Flight] = {}
        self.idle: list[Flight] = []
        self.times: list[float] = []
        self.late: list[float] = []
        self.failures: list[str] = []
        self.again = 0
        self.count = 0

    def launch(self, now):
        if random.random() >= self.share_new:
            while self.idle:
                flight = self.idle.pop()
                if now - flight.began < FRESH:
                    flight.began, flight.data, flight.reused = now, b"", True
                    self.flights[flight.socket.fileno()] = flight
                    self.send(flight)
                    return
                self.drop(flight)
        self.connect(CLOSING if random.random() < self.share_new else KEPT, now)

    def connect(self, request, began):
        sock = socket.socket()
        sock.setblocking(False)
        self.count += 1
        # Each address has as many ports as it has; loopback has as many addresses as one likes.
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        if self.address[0].startswith("127."):
            sock.bind((f"127.0.{1 + self.count % 20}.1", 0))
        flight = Flight(sock, request, began, False)
        self.flights[sock.fileno()] = flight
        if sock.connect_ex(self.address) == 0:
            self.poll.register(sock, select.EPOLLIN)
            self.send(flight)
        else:
            self.poll.register(sock, select.EPOLLOUT)

    def send(self, flight):
        try:
            flight.socket.send(flight.request)
        except OSError as error:
            self.lost(flight, error)

    def lost(self, flight, why):
        self.flights.pop(flight.socket.fileno(), None)
        self.drop(flight)
        if flight.reused and not flight.data:
            # A server may close an idle connection as a request crosses the end; clients try again.
            self.again += 1
            self.connect(KEPT, flight.began)
            return
        self.failures.append(f"{why!r} after {time.monotonic() - flight.began:.3f} s and {len(flight.data)} bytes")

    def drop(self, flight):
        self.poll.unregister(flight.socket)
        flight.socket.close()

    def ready(self, fd, events, now):
        flight = self.flights.get(fd)
        if flight is None:
            gone = [idle for idle in self.idle if idle.socket.fileno() == fd]
            for idle in gone:
                self.idle.remove(idle)
                self.drop(idle)
            return
        if events & select.EPOLLOUT:
            if code := flight.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.lost(flight, OSError(code, "connect"))
            self.poll.modify(fd, select.EPOLLIN)
            return self.send(flight)
        try:
            data = flight.socket.recv(4096)
        except OSError as error:
            return self.lost(flight, error)
        if not data:
            return self.lost(flight, EOFError())
        flight.data += data
        if flight.data.endswith(END):
            self.times.append(now - flight.began)
            del self.flights[fd]
            if flight.request is KEPT and len(self.idle) < 30:
                flight.began = now
                self.idle.append(flight)
            else:
                self.drop(flight)

    def run(self, rate, seconds):
        total, done, began, looked = int(rate * seconds), 0, time.monotonic(), 0.0
        while done < total or self.flights:
            now = time.monotonic()
            while done < total and (due := began + done / rate) <= now:
                self.late.append(now - due)
                self.launch(now)
                done += 1
            wait = max(0.0, began + done / rate - time.monotonic()) if done < total else 0.1
            for fd, events in self.poll.poll(wait):
                self.ready(fd, events, time.monotonic())
            if now - looked > 1:
                looked = now
                for flight in [f for f in self.flights.values() if now - f.began > PATIENCE]:
                    flight.reused = False
                    self.lost(flight, TimeoutError())


def main():
    host, port, rate, seconds, share_new, *idle = sys.argv[1:]
    if idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    traffic = Traffic((host, int(port)), float(share_new))
    began = time.monotonic()
    traffic.run(float(rate), float(seconds))
    used = resource.getrusage(resource.RUSAGE_SELF)
    late = sorted(traffic.late)
    json.dump({
        "times": traffic.times, "failures": traffic.failures, "again": traffic.again,
        "late": late[int(len(late) * 0.99)] if late else 0,
        "cpu": (used.ru_utime + used.ru_stime) / (time.monotonic() - began),
    }, sys.stdout)


if __name__ == "__main__":
    main()
