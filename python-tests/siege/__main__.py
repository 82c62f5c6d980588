"""Lays siege to a server on the loopback, in turns: thousands of slow clients, a flood of short
connections, a storm of resets, connections whose network is gone. Beside each, normal requests have
to be answered as if nothing were.

    python python-tests/siege                                   # the last build of rwsgi, three minutes
    python python-tests/siege --slow 2000 --seconds 10 --rate 300
    python python-tests/siege -- gunicorn --workers 2 --threads 4

No dependencies; epoll, and few bytes: at full size the besiegers take a fraction of a core, and say
which. In truth they would stand elsewhere, so here they run when nobody else wants to (SCHED_IDLE).

The exit status is 1 if a normal request failed, the 99th percentile of their times grew by more than
--factor (over the worse of two times of peace, before and after), a worker died, or the server kept
memory it took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), str(HERE), *(p for p in sys.path if Path(p or ".").resolve() != HERE)]

from crowd import Crowd, half_open  # noqa: E402
from support.network import Elsewhere, NoNetworks  # noqa: E402
from support.server import Servers, server_command  # noqa: E402

#: KiB a slow client may cost while it is there; and of what the crowd took, the share that may be
#: left over, beside some MiB of pages shared with the master until they were first written to.
EACH, SHARE, SLACK = 64, 0.25, 4


def percentile(times, share):
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def memory(pids):
    """Proportional set size of these processes in MiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def cpu(pids):
    """Seconds of processor time they have used."""
    ticks = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / 100


class Siege:
    """One siege: the server, the crowd, what was seen."""

    def __init__(self, server, address, options):
        self.server, self.address, self.options = server, address, options
        self.workers = server.booted(2)
        self.crowd = Crowd(address, options.drip, random.Random(options.seed))
        self.complaints: list[str] = []
        #: Each phase's 99th percentile.
        self.p99: dict[str, float] = {}

    def traffic(self, rate, seconds, share_new, *words):
        words = [sys.executable, str(HERE / "traffic.py"), *map(str, (*self.address, rate, seconds, share_new)), *words]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def phase(self, name, seconds, storm=0.0, flood=0.0):
        """Normal traffic for so long; beside it the crowd, resets, and a flood, so many a second."""
        began, used, own = time.monotonic(), cpu(self.workers), time.process_time()
        drops = self.crowd.drops
        flooding = self.traffic(flood, seconds, 1, "idle") if flood else None
        normal = self.traffic(self.options.rate, seconds, self.options.new)
        most = 0.0
        for process in filter(None, (normal, flooding)):
            # What is said at the end is more than a pipe holds: it is read as it comes.
            reader = ReadAll(process)
            while reader.is_alive():
                self.crowd.turn(storm)
                if time.monotonic() - began > most:
                    most += 5
            self.judge(name if process is normal else f"{name}: the flood", json.loads(reader.text), process is normal)
        span = time.monotonic() - began
        print(f"  {'':12} server {(cpu(self.workers) - used) / span:4.2f} of a core, the crowd {(time.process_time() - own) / span:4.2f}; "
              f"memory {memory(self.workers):6.1f} MiB; {len(self.crowd.clients)} slow clients, "
              f"{(self.crowd.drops - drops) / span:.0f} drops a second, {self.crowd.sent_away} sent away so far",
              flush=True)

    def judge(self, name, seen, compared):
        times, failures = seen["times"], seen["failures"]
        p99 = percentile(times, 0.99)
        print(f"{name:14} {len(times):7} answered {len(failures):3} failed  p50 {percentile(times, 0.5) * 1e3:6.2f} ms"
              f"  p99 {p99 * 1e3:6.2f}  max {max(times, default=0) * 1e3:7.2f}"
              f"  (client: {seen['cpu']:.2f} of a core, {seen['late'] * 1e3:.1f} ms late, {seen['again']} tried again)", flush=True)
        self.complaints += [f"{name}: {failure}" for failure in failures[:10]]
        if compared:
            self.p99[name] = p99

    def compare(self):
        """Each phase with the worse of the two times of peace: this machine may have other work."""
        peace = max(self.p99.pop("peace"), self.p99.pop("after"))
        for name, p99 in self.p99.items():
            print(f"{name:14} p99 is {p99 / peace:.2f} times that in peace")
            if p99 > max(peace * self.options.factor, self.options.floor / 1e3):
                self.complaints.append(f"{name}: the 99th percentile is {p99 / peace:.2f} times that in peace")

    def gather(self):
        """Waits until all slow clients are there."""
        self.crowd.wanted = self.options.slow
        until = time.monotonic() + 60
        while len(self.crowd.clients) - len(self.crowd.coming) < self.options.slow * 0.98:
            self.crowd.turn()
            if time.monotonic() > until:
                self.complaints.append(f"only {len(self.crowd.clients)} slow clients could connect")
                return

    def run(self, network, elsewhere):
        options = self.options
        self.phase("warming up", 2)
        self.p99.clear()
        before = besieged = memory(self.workers)
        self.phase("peace", options.peace)
        if options.slow:
            self.gather()
            self.phase("slow clients", options.seconds, storm=options.storm)
            besieged = memory(self.workers)
            if besieged > before + SLACK + options.slow * EACH / 1024:
                self.complaints.append(f"{options.slow} slow clients cost {besieged - before:.0f} MiB")
            self.crowd.end()
        if options.flood:
            self.phase("flood", max(1, options.flood / options.flood_rate), flood=options.flood_rate)
        if options.resets:
            self.phase("resets", max(1, options.resets / options.flood_rate), storm=options.flood_rate)
        if options.half_open and network:
            lost = half_open(network, elsewhere, options.half_open)
            self.phase("half-open", min(10, options.seconds))
            for sock in lost:
                sock.close()
        self.phase("after", options.peace)
        self.compare()
        self.look_back(before, max(0, besieged - before) * SHARE + SLACK)

    def look_back(self, before, allowed):
        settled = time.monotonic() + 30
        while memory(self.workers) > before + allowed and time.monotonic() < settled:
            time.sleep(0.5)
        left = memory(self.workers)
        print(f"memory of the workers: {before:.1f} MiB before, {left:.1f} after; {self.crowd.resets} connections broken off")
        if left > before + allowed:
            self.complaints.append(f"{left - before:.1f} MiB are not given back")
        if len(self.server.log.find("Booting worker")) != 2:
            self.complaints.append("a worker died")
        # Of each worker ten lines a second and a burst may be about peers.
        if len(self.server.log.lines) > 500 + 25 * (self.options.seconds * 2 + 120):
            self.complaints.append(f"the log was flooded: {len(self.server.log.lines)} lines")


class ReadAll:
    """Collects what a process says until it ends."""

    def __init__(self, process):
        self.process, self.text = process, ""
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        self.text = self.process.stdout.read()
        self.process.wait()

    def is_alive(self):
        return self.thread.is_alive()


def arguments():
    parser = argparse.ArgumentParser(prog="siege", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--slow", type=int, default=10_000, help="slow clients: dripping heads, bodies and chunks, silent, never reading [10000]")
    add("--drip", type=float, default=5, help="seconds between two drops of a slow client [5]")
    add("--rate", type=int, default=1000, help="normal requests a second [1000]")
    add("--new", type=float, default=0.2, help="share of them that come on a new connection [0.2]")
    add("--peace", type=float, default=20, help="seconds measured without a siege [20]")
    add("--seconds", type=float, default=60, help="seconds among slow clients [60]")
    add("--storm", type=int, default=0, help="beside the slow clients, connections broken off a second [0]")
    add("--flood", type=int, default=50_000, help="short connections, each with a request [50000]")
    add("--resets", type=int, default=20_000, help="connections broken off [20000]")
    add("--flood-rate", type=int, default=1500, help="of either a second [1500]")
    add("--half-open", type=int, default=1000, help="connections whose network goes away; needs root [1000]")
    add("--factor", type=float, default=2.0, help="how much the 99th percentile may grow [2]")
    add("--floor", type=float, default=0.0, help="milliseconds up to which it may do what it likes [0]")
    add("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    add("server", nargs="*", help="the server's command line, after --")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.slow + options.half_open + 2000
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(wanted, 20_000)), hard))
    if hard < wanted:
        options.slow = max(100, hard - options.half_open - 2000)
        print(f"only {hard} descriptors allowed: {options.slow} slow clients")
    command = options.server or [*server_command(), "--workers", "2", "--backlog", "4096", "--write-timeout", "20",
                                 "--worker-connections", str(options.slow + options.half_open + 2000)]
    print(f"seed {options.seed}: {' '.join(command)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="siege-") as directory, contextlib.ExitStack() as stack:
        network = None
        if options.half_open:
            try:
                network = stack.enter_context(Elsewhere())
            except NoNetworks as why:
                print(f"no half-open connections: {why}")
        servers = Servers(Path(directory))
        addresses = ["127.0.0.1:0", *([f"{network.here}:0"] if network else [])]
        server = servers("siege_app", command=command, chdir=HERE, bind=addresses)
        try:
            local, elsewhere = (
                (host, int(port)) for host, port in re.findall(r"http://([\d.]+):(\d+)", server.log.text)[:2]
            ) if network else (server.address, None)
            siege = Siege(server, local, options)
            os.sched_setscheduler(0, os.SCHED_IDLE | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            siege.run(network, elsewhere)
        finally:
            server.stop(9) if sys.exc_info()[0] else server.stop(patience=60)
    print("\n".join(siege.complaints) or "held")
    return 1 if siege.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
