"""Interleaved rounds: every server of a workload is started and measured once in each round, so that what the
machine does meanwhile hits all of them alike. The median of the rounds counts; of a ratio, that of the rounds' ratios."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from . import load
from .environment import say
from .processes import Failed, Process, fetch, free_port
from .servers import Server, Setup
from .workloads import Workload

NGINX = """\
daemon off; worker_processes 1; pid {scratch}/nginx.pid; error_log {scratch}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
    client_body_temp_path {scratch}/nginx-body; proxy_temp_path {scratch}/nginx-proxy;
    fastcgi_temp_path {scratch}/nginx-fcgi; uwsgi_temp_path {scratch}/nginx-uwsgi; scgi_temp_path {scratch}/nginx-scgi;
    server {{ listen 127.0.0.1:{port}; location = /file {{ alias {scratch}/10m.bin; }} }}
}}
"""


@dataclass
class Bench:
    """What stays the same over a whole run."""

    built: Path
    scratch: Path
    seconds: float
    rounds: int
    server_cpus: set[int] | None
    load_cpus: set[int] | None


WARM = 1.0
"""Seconds under load before a server is measured."""


@dataclass
class Figures:
    """One server at one workload; lists have one entry for each round."""

    server: str
    cpu: list[float] = field(default_factory=list)
    """CPU microseconds per request."""
    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    memory: int = 0
    """PSS in kB."""
    failure: str = ""
    notes: list[str] = field(default_factory=list)

    def median(self, name: str) -> float:
        values = getattr(self, name)
        return statistics.median(values) if values else float("nan")

    def against(self, other: Figures) -> float:
        """Its CPU time as a part of the other's, who was measured in the same rounds: what the machine did in a
        round both have felt."""
        ratios = [one / two for one, two in zip(self.cpu, other.cpu)]
        return statistics.median(ratios) if ratios else float("nan")


class Running:
    """A server that was started for a workload."""

    def __init__(self, bench: Bench, server: Server, workload: Workload, label: str = "", extra: tuple[str, ...] = (),
                 cpus: set[int] | None = None, figures: Figures | None = None):
        self.bench, self.server, self.workload = bench, server, workload
        self.figures = figures or Figures(label or server.name)
        self.port = free_port()
        name = f"{workload.key}-{self.figures.server}".replace(" ", "-")
        access = bench.scratch / f"{name}.access" if workload.access_log else None
        target = workload.target
        if server.name == "nginx":
            target = str(bench.scratch / "nginx.conf")
            Path(target).write_text(NGINX.format(scratch=bench.scratch, port=self.port))
        setup = Setup(self.port, target, workload.threads, access, extra)
        # Python servers that have no setting for it find the applications by PYTHONPATH.
        env = {"BENCH_FILE": str(bench.scratch / "10m.bin"), "PYTHONPATH": str(load.SCRIPT.parent / "apps")}
        self.process = Process(server.command(setup, bench.built), bench.scratch / f"{name}.log",
                               cpus or bench.server_cpus, env)
        self.held: list = []

    def check(self) -> None:
        """One request has to be answered as it should before anything is measured."""
        workload = self.workload
        self.process.wait_ready(self.port, workload.path if workload.method == "GET" else "/hello")
        body = b"p" * workload.body if workload.body else None
        status, length = fetch(self.port, workload.path, workload.method, body, workload.headers)
        if status != 200 or workload.length not in (-1, length):
            raise Failed(f"answers {status} with {length} bytes")
        if workload.idle:
            self.held = load.hold(self.port, workload.idle)

    def measure(self, seconds: float, lua: Path, keep: bool = True) -> None:
        before = self.process.cpu()
        made = load.run(self.workload, self.port, seconds, lua, self.bench.load_cpus)
        after = self.process.cpu()
        used = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
        if made.requests == 0:
            raise Failed("answered nothing under load")
        if not keep:
            return
        self.figures.cpu.append(used / made.requests * 1e6)
        self.figures.rate.append(made.rate)
        self.figures.p50.append(made.p50)
        self.figures.p99.append(made.p99)
        self.figures.memory = self.process.memory()
        if made.bad or made.timeouts or made.broken:
            note = f"{made.bad} bad answers, {made.broken} broken connections, {made.timeouts} timeouts"
            self.figures.notes.append(note)

    def stop(self) -> None:
        load.release(self.held)
        self.process.stop()


def takes_part(server: Server, workload: Workload) -> str:
    """Why a server is not measured at a workload; empty: it is."""
    if server.only and workload.key not in server.only:
        return "a floor of other workloads"
    if workload.access_log and not server.access_log:
        return "has no access log"
    if workload.threads > 1 and not server.has_threads:
        return "has no threads"
    if workload.idle and not server.keeps_alive:
        return "has no keep-alive"
    return ""


def compare(bench: Bench, workload: Workload, servers: list[Server]) -> list[Figures]:
    """All servers at one workload."""
    say(f"{workload.title}:")
    return interleave(bench, [(server, workload, "", ()) for server in servers if not takes_part(server, workload)])


def interleave(bench: Bench, contestants: list[tuple[Server, Workload, str, tuple[str, ...]]]) -> list[Figures]:
    """Measures all of them in turn, in each round in a process of its own: where an interpreter's memory lies
    and how its strings hash is another matter after each start, and worth some percent."""
    figures = [Figures(label or server.name) for server, _, label, _ in contestants]
    order = list(zip(figures, contestants))
    for _ in range(bench.rounds):
        # Nobody comes always first, or always after the same one.
        random.shuffle(order)
        for one, (server, workload, label, extra) in order:
            if not one.failure:
                once(Running(bench, server, workload, label, extra, figures=one))
    for one in figures:
        say(f"  {one.server:24} " + (f"failed: {one.failure}" if one.failure else
            f"{one.median('cpu'):8.2f} us {one.median('rate'):9.0f}/s  {one.memory / 1024:6.1f} MB  {'; '.join(one.notes)}"))
    return figures


def once(one: Running) -> None:
    """Checks a server, warms it up, measures it."""
    try:
        one.check()
        lua = load.script(one.workload, one.bench.scratch)
        # The first requests of a process are not like the others.
        one.measure(WARM, lua, keep=False)
        one.measure(one.bench.seconds, lua)
    except (Failed, OSError) as error:
        one.figures.failure = str(error)
    finally:
        one.stop()
