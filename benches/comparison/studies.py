"""What is measured of rwsgi by itself: what its options, idleness, starting, big bodies and a second
worker cost. Each study returns a piece of the report, with its goals and whether they were met."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from . import load
from .environment import APPS, python, say
from .processes import Failed, Process, free_port
from .rounds import Bench, Running, interleave
from .servers import SERVERS, Setup
from .workloads import WORKLOADS, Workload

HELLO = WORKLOADS[0]
RWSGI = SERVERS[0]
GIGABYTE = 1 << 30
SETTLED = 12
"""Seconds after which a server that nobody talks to has nothing left to do."""


def lines(title: str, rows: list[tuple[str, str, str]]) -> str:
    table = [f"### {title}", "", "| | measured | goal |", "|---|---:|---:|"]
    table += [f"| {what} | {value} | {goal} |" for what, value, goal in rows]
    for what, value, goal in rows:
        say(f"  {what}: {value} (goal: {goal or 'none'})")
    return "\n".join(table) + "\n"


@contextmanager
def serving(bench: Bench, workload: Workload = HELLO, extra: tuple[str, ...] = (),
            cpus: set[int] | None = None) -> Iterator[Running]:
    started = Running(bench, RWSGI, workload, f"study {workload.key}", extra, cpus)
    try:
        started.check()
        yield started
    finally:
        started.stop()


def variants(bench: Bench, quick: bool) -> str:
    """hello with something added, interleaved with hello alone."""
    say("Options, against hello alone:")
    crowd = 1000 if quick else 10_000
    cases = [
        ("alone", HELLO, "", ()),
        ("access log to a file", replace(HELLO, access_log=True), "1.12", ()),
        ("1000 idle connections", replace(HELLO, idle=1000), "1.03", ()),
        (f"{crowd} idle connections", replace(HELLO, idle=crowd), "1.03", ()),
        ("--threads 4", replace(HELLO, threads=4), "1.20", ()),
    ]
    figures = interleave(bench, [(RWSGI, workload, f"rwsgi {label}", extra) for label, workload, _, extra in cases])
    alone = figures[0]
    rows = []
    for (label, _, goal, _), one in zip(cases, figures):
        value = f"failed: {one.failure}" if one.failure else f"{one.median('cpu'):.2f} us, {one.against(alone):.2f} x"
        rows.append((label, value, f"<= {goal} x" if goal else ""))
    return lines("Hello with something added", rows)


def idle(bench: Bench, quick: bool) -> str:
    """Memory and wake-ups of a server nobody talks to, and what a flood of connections does."""
    say("Idle cost:")
    count, seconds = (1000, 2) if quick else (10_000, 10)
    rows = []
    with serving(bench) as one:
        load.run(HELLO, one.port, 1, load.script(HELLO, bench.scratch), bench.load_cpus)
        before = one.process.memory()
        slowest, held = flood(one.port, count)
        rows.append((f"longest wait of another client while {count} connections come", f"{slowest * 1e3:.1f} ms", "no hiccup"))
        try:
            # What a connection keeps for its next request is given back when that does not come.
            time.sleep(SETTLED)
            each = (one.process.memory() - before) * 1024 / count
            rows.append(("memory for an idle connection", f"{each:.0f} bytes", "< 1024 bytes"))
            woken = one.process.wakeups()
            time.sleep(seconds)
            woken = one.process.wakeups() - woken
            rows.append((f"wake-ups in {seconds} s, all processes", str(woken), "0"))
        finally:
            load.release(held)
    return lines("Idle", rows)


def flood(port: int, count: int) -> tuple[float, list[socket.socket]]:
    """Opens many connections at once while another client asks again and again."""
    slowest, over = 0.0, threading.Event()

    def ask() -> None:
        nonlocal slowest
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            while not over.is_set():
                begun = time.monotonic()
                client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
                client.recv(4096)
                slowest = max(slowest, time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        held = load.hold(port, count)
    finally:
        over.set()
        asking.join()
    return slowest, held


def start_up(bench: Bench, quick: bool) -> str:
    """From the command to the first answer, against the interpreter alone."""
    say("Start-up:")
    rounds = 3 if quick else 15
    alone, first = [], []
    for _ in range(rounds):
        begun = time.monotonic()
        subprocess.run([python(), "-c", "import bench_app"], cwd=APPS, check=True)
        alone.append(time.monotonic() - begun)
        first.append(first_answer(bench))
    base, ours = statistics.median(alone), statistics.median(first)
    return lines("Start-up", [
        ("python -c 'import app'", f"{base * 1e3:.1f} ms", ""),
        ("rwsgi, to the first answer", f"{ours * 1e3:.1f} ms (+ {(ours - base) * 1e3:.1f} ms)", "+ 30 ms"),
    ])


def first_answer(bench: Bench) -> float:
    port = free_port()
    begun = time.monotonic()
    command = RWSGI.command(Setup(port, HELLO.target), bench.built)
    process = Process(command, bench.scratch / "start-up.log")
    try:
        while time.monotonic() - begun < 20:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                    client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
                    if client.recv(4096):
                        return time.monotonic() - begun
            except ConnectionRefusedError:
                time.sleep(0.0005)
        raise Failed(f"no answer: {process.tail()}")
    finally:
        process.stop()


class Watched:
    """The most memory a server has while something goes on."""

    def __init__(self, process: Process):
        self.process, self.most, self.over = process, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self) -> None:
        while not self.over.is_set():
            self.most = max(self.most, self.process.memory())
            self.over.wait(0.05)

    def __enter__(self) -> Watched:
        self.before = self.process.memory()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    @property
    def growth(self) -> str:
        return f"{max(0, self.most - self.before) / 1024:.1f} MB"


def bodies(bench: Bench, quick: bool) -> str:
    """A gigabyte up, a gigabyte down, and files by sendfile over both kinds of sockets."""
    say("Big bodies:")
    size = GIGABYTE // 16 if quick else GIGABYTE
    name = f"{size >> 20} MB"
    rows = []
    with serving(bench) as one:
        with Watched(one.process) as watched:
            took = upload(one.port, size)
        rows.append((f"upload of {name}", f"{size / took / 1e6:.0f} MB/s, memory + {watched.growth}", "disk speed, < 32 MB"))
        with Watched(one.process) as watched:
            with socket.create_connection(("127.0.0.1", one.port)) as client:
                took = download(client, f"/stream?{size}", size)
        rows.append((f"streamed reply of {name}", f"{size / took / 1e6:.0f} MB/s, memory + {watched.growth}", "flat memory"))
        with socket.create_connection(("127.0.0.1", one.port)) as client:
            took = min(download(client, "/file", 10 << 20) for _ in range(5))
        rows.append(("file_wrapper of 10 MB over TCP", f"{(10 << 20) / took / 1e6:.0f} MB/s", ""))
    path = bench.scratch / "study.sock"
    with serving(bench, extra=("--bind", f"unix:{path}")):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(path))
        with client:
            took = min(download(client, "/file", 10 << 20) for _ in range(5))
        rows.append(("file_wrapper of 10 MB over a unix socket", f"{(10 << 20) / took / 1e6:.0f} MB/s", ""))
    return lines("Big bodies", rows)


def upload(port: int, size: int) -> float:
    block = b"u" * (1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as client:
        begun = time.monotonic()
        client.sendall(f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size >> 20):
            client.sendall(block)
        answer = b""
        while str(size).encode() not in answer:
            piece = client.recv(4096)
            if not piece:
                raise Failed(f"the upload was answered by {answer!r}")
            answer += piece
        return time.monotonic() - begun


def download(client: socket.socket, path: str, size: int) -> float:
    room = bytearray(1 << 20)
    begun = time.monotonic()
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(65_536)
        if not piece:
            raise Failed(f"{path} was answered by {head!r}")
        head += piece
    left = size - (len(head) - head.index(b"\r\n\r\n") - 4)
    while left > 0:
        count = client.recv_into(room)
        if not count:
            raise Failed(f"{path} ended {left} bytes early")
        left -= count
    return time.monotonic() - begun


def scaling(bench: Bench, _quick: bool) -> str:
    """Two workers on two CPUs, and how connections spread over workers."""
    say("Scaling:")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        return lines("Two workers", [("skipped: this machine has one CPU", "", "")])
    burn = Workload("burn", "200 us of CPU", "/burn", 14)
    lua, rates, spread = load.script(burn, bench.scratch), {1: [], 2: []}, []
    for _ in range(bench.rounds):
        for workers in (1, 2):
            with serving(bench, burn, ("--workers", str(workers)), set(cpus[:workers])) as one:
                before = one.process.cpu()
                rates[workers].append(load.run(burn, one.port, bench.seconds, lua, set(cpus), nice=19).rate)
                after = one.process.cpu()
                if workers == 2:
                    used = sorted(after[pid] - before.get(pid, 0) for pid in after)[-2:]
                    spread.append(used[0] / max(used[1], 1e-9))
    one, two = statistics.median(rates[1]), statistics.median(rates[2])
    return lines("Two workers on two CPUs, an application that burns 200 us", [
        ("one worker", f"{one:,.0f} requests/s", ""),
        ("two workers", f"{two:,.0f} requests/s, {two / one:.2f} x", ">= 1.9 x"),
        ("the less busy worker's share of the busier one's", f"{statistics.median(spread):.2f}", ">= 0.90"),
    ])


STUDIES = {"variants": variants, "idle": idle, "start-up": start_up, "bodies": bodies, "scaling": scaling}
