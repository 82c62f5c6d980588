"""Lays siege to a server on the loopback: thousands of slow clients, floods of connections and
resets, and beside them normal clients, whose requests have to be answered as if nothing were.

    python python-tests/siege                                   # the last build of rwsgi, a minute
    python python-tests/siege --slow 2000 --seconds 10 --rate 300
    python python-tests/siege -- gunicorn --workers 2 --threads 4

One process, one thread, no dependencies. Measured first in peace, then under siege; the exit status
is 1 if a normal request failed, its 99th percentile grew by more than --factor, or the server kept
memory it took.
"""

from __future__ import annotations

import argparse
import random
import resource
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

from support.server import Servers, server_command  # noqa: E402

NORMAL = b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"
RESET = struct.pack("ii", 1, 0)


class Slow:
    """One slow client: what it sends at once, what it drips, whether it reads."""

    KINDS = {
        "head": (b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ", b"a", True),
        "body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"b", True),
        "chunks": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n", True),
        "reader": (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", b"", False),
        "silent": (b"", b"", True),
    }


class Siege:
    def __init__(self, address, dice):
        self.address, self.dice = address, dice
        self.slow: list[tuple[socket.socket, bytes, bool]] = []
        self.pending: list[tuple[socket.socket, bytes]] = []
        self.lost = 0
        #: So many slow clients are there to be; they come a few at a time, as the kernel's queue is short.
        self.growing = 0

    def connect(self, small=False):
        sock = socket.socket()
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        try:
            sock.connect(self.address)
        except BlockingIOError:
            pass
        return sock

    def besiege(self, count):
        """Adds slow clients until `count` are there."""
        kinds = list(Slow.KINDS)
        for _ in range(count - len(self.slow)):
            first, drip, reads = Slow.KINDS[kinds[len(self.slow) % len(kinds)]]
            sock = self.connect(small=not reads)
            self.slow.append((sock, drip, reads))
            self.pending.append((sock, first))

    def drip(self, share):
        """A share of the slow clients sends a few bytes; those the server sent away come anew."""
        pending, self.pending[:] = list(self.pending), []
        for sock, first in pending:
            try:
                sock.send(first)
            except BlockingIOError:
                self.pending.append((sock, first))
            except OSError:
                pass
        for index in self.dice.sample(range(len(self.slow)), int(len(self.slow) * share)):
            sock, drip, reads = self.slow[index]
            try:
                if drip:
                    sock.send(drip)
                elif reads and sock.recv(1) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                sock.close()
                self.lost += 1
                first = next(f for f, d, r in Slow.KINDS.values() if d == drip and r == reads)
                self.slow[index] = (self.connect(small=not reads), drip, reads)
                self.pending.append((self.slow[index][0], first))

    def storm(self, count):
        """Connections that are reset, or closed half-way into a request, at once."""
        for number in range(count):
            sock = socket.socket()
            sock.settimeout(2)
            try:
                sock.connect(self.address)
                if number % 3:
                    sock.send(NORMAL[: self.dice.randrange(len(NORMAL) + 1)])
                if number % 2:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except OSError:
                pass
            sock.close()

    def end(self):
        for sock, _, _ in self.slow:
            sock.close()
        self.slow.clear()
        self.growing = 0
        self.pending.clear()


class Normal:
    """Normal traffic: so many requests a second, over kept connections and new ones."""

    def __init__(self, address, dice):
        self.address, self.dice, self.kept = address, dice, []
        self.times: list[float] = []
        self.failures: list[str] = []

    def request(self):
        began = time.monotonic()
        try:
            fresh = not self.kept or self.dice.random() < 0.2
            sock = socket.create_connection(self.address, timeout=10) if fresh else self.kept.pop()
            sock.sendall(NORMAL)
            data = b""
            while not data.endswith(b"siege ok"):
                piece = sock.recv(4096)
                if not piece:
                    if not fresh and not data:
                        # A kept connection may be closed by its server before the request is there.
                        sock.close()
                        return
                    raise ConnectionError(f"ended after {data!r}")
                data += piece
            if len(self.kept) < 20:
                self.kept.append(sock)
            else:
                sock.close()
        except OSError as error:
            self.failures.append(f"{type(error).__name__}: {error} after {time.monotonic() - began:.3f} s")
        self.times.append(time.monotonic() - began)


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def measure(address, siege, options, seconds):
    """Normal traffic for so long; between two requests the siege gets its turns."""
    normal = Normal(address, siege.dice)
    began, done, turns = time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        due = int(now * options.rate)
        if done < due:
            normal.request()
            done += 1
        elif siege.growing and turns < now * 20:
            turns += 1
            siege.besiege(min(siege.growing, len(siege.slow) + 40))
            siege.drip(0.01)
            siege.storm(options.storm // 20)
        else:
            time.sleep(0.0005)
    for sock in normal.kept:
        sock.close()
    return normal


def memory(pids):
    """Proportional set size of these processes in MiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="siege", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=int, default=10_000, help="slow clients [10000]")
    parser.add_argument("--rate", type=int, default=1000, help="normal requests a second [1000]")
    parser.add_argument("--seconds", type=float, default=60, help="length of the siege [60]")
    parser.add_argument("--storm", type=int, default=400, help="connections reset or broken off, a second [400]")
    parser.add_argument("--flood", type=int, default=50_000, help="short connections at the end, one after the other [50000]")
    parser.add_argument("--factor", type=float, default=2.0, help="how much the 99th percentile may grow [2]")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("server", nargs="*", help="the server's command line, after --")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.slow + 4000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted), hard))
    if hard < wanted:
        options.slow = max(100, hard - 4000)
        print(f"only {hard} descriptors allowed: {options.slow} slow clients")
    command = options.server or [
        *server_command(), "--workers", "2", "--worker-connections", str(options.slow + 2000), "--backlog", "4096"]
    print(f"seed {options.seed}: {' '.join(command)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="siege-") as directory:
        servers = Servers(Path(directory))
        server = servers("siege_app", command=command, chdir=Path(__file__).parent)
        try:
            return run(server, options)
        finally:
            server.stop(9) if sys.exc_info()[0] else server.stop(patience=60)


def run(server, options) -> int:
    dice = random.Random(options.seed)
    workers = server.booted(2)
    siege, complaints = Siege(server.address, dice), []
    measure(server.address, siege, options, 1)
    before = memory(workers)
    peace = measure(server.address, siege, options, min(10, options.seconds))
    siege.growing = options.slow
    war = measure(server.address, siege, options, options.seconds)
    besieged = memory(workers)
    siege.end()
    siege.storm(options.flood)
    after = measure(server.address, siege, options, min(5, options.seconds))
    settle = time.monotonic() + 20
    while memory(workers) > before + 24 and time.monotonic() < settle:
        time.sleep(0.5)
    left = memory(workers)
    for name, part in (("peace", peace), ("siege", war), ("after", after)):
        times = part.times
        print(f"{name:6} {len(times):7} requests  {len(part.failures):3} failed  p50 {percentile(times, 0.5) * 1e3:7.2f} ms"
              f"  p99 {percentile(times, 0.99) * 1e3:7.2f} ms  max {max(times) * 1e3:8.2f} ms")
        complaints += [f"{name}: {failure}" for failure in part.failures[:20]]
    print(f"memory of the workers {before:.1f} MiB in peace, {besieged:.1f} under siege, {left:.1f} after; "
          f"{siege.lost} slow clients sent away")
    limit = max(percentile(peace.times, 0.99) * options.factor, 0.005)
    if percentile(war.times, 0.99) > limit:
        complaints.append(f"p99 under siege is {percentile(war.times, 0.99) * 1e3:.2f} ms, over {limit * 1e3:.2f}")
    if left > before + 24:
        complaints.append(f"{left - before:.1f} MiB are not given back")
    if server.booted(2) != workers or len(server.log.find("Booting worker")) != 2:
        complaints.append("a worker died")
    if len(server.log.lines) > 2000 + options.seconds * 60:
        complaints.append(f"the log was flooded: {len(server.log.lines)} lines")
    print("\n".join(complaints) or "held")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
