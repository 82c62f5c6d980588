"""What --preload saves: the memory of four workers of a Flask and SQLAlchemy application.

    python python-tests/load/memory.py [--workers N] [--requests N] [-- SERVER ARGUMENTS...]

Needs Flask and SQLAlchemy in the environment it runs in, and a built server ($RWSGI names one). Starts
the server without and with --preload, sends it requests, and adds up what /proc/PID/smaps_rollup says:
PSS counts a page shared by n processes as 1/n in each, so that the sum is what the server costs; USS
is what a process has for itself. Time is from a worker's fork to its serving (one is killed for it).
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.server import APPS, Server, clean_environment, eventually, server_command  # noqa: E402


def family(pid: int) -> dict[int, str]:
    """The server's processes and their roles."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        pids = [pid, *map(int, children.read().split())]
    titles = {each: Path(f"/proc/{each}/cmdline").read_bytes().decode() for each in pids}
    return {each: title.split()[1] for each, title in titles.items() if title.startswith("rwsgi:")}


def memory(pid: int) -> dict[str, float]:
    """Kinds of memory of a process, in MB."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) / 1000
    return {"PSS": fields["Pss"], "USS": fields["Private_Clean"] + fields["Private_Dirty"]}


def requests(port: int, count: int) -> None:
    """One connection each, so that every worker gets its share."""
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/")
        reply = connection.getresponse()
        assert reply.status == 200 and b"Volume 19" in reply.read()
        connection.close()


def replacement(server: Server) -> float:
    """Milliseconds from the death of a worker to the line its successor serves by."""
    before = {pid for pid, role in family(server.pid).items() if role == "worker"}
    began = time.perf_counter()
    os.kill(min(before), signal.SIGKILL)

    def replaced():
        now = {pid for pid, role in family(server.pid).items() if role == "worker"}
        # A worker that serves has its event loop.
        return [pid for pid in now - before if any("eventpoll" in link for link in links(pid))]

    eventually(replaced, "a replacement")
    return (time.perf_counter() - began) * 1000


def links(pid: int) -> list[str]:
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(fd))
        except OSError:
            continue
    return found


def measure(arguments: list[str], options: argparse.Namespace) -> dict[str, float]:
    argv = [*server_command(), "--bind", "127.0.0.1:0", "--workers", str(options.workers), *arguments]
    with TemporaryDirectory() as directory:
        server = Server([*argv, "--chdir", str(APPS), "orm_site:app"], cwd=Path(directory), env=clean_environment())
        try:
            server.wait_listening()
            server.booted(options.workers)
            requests(server.port, options.requests)
            each = {pid: (role, memory(pid)) for pid, role in family(server.pid).items()}
            figures = {
                "all processes, PSS": sum(kinds["PSS"] for _, kinds in each.values()),
                "workers, PSS": sum(kinds["PSS"] for role, kinds in each.values() if role == "worker"),
                "one worker, USS": statistics.mean(kinds["USS"] for role, kinds in each.values() if role == "worker"),
                "replacement, ms": statistics.median(replacement(server) for _ in range(5)),
            }
            server.stop()
        finally:
            server.destroy()
        return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("arguments", nargs="*", help="further arguments of the server")
    options = parser.parse_args()
    without = measure(options.arguments, options)
    preloaded = measure(["--preload", *options.arguments], options)
    print(f"{options.workers} workers, {options.requests} requests, Python {sys.version.split()[0]}, MB\n")
    print(f"{'':22}{'without':>10}{'--preload':>12}")
    for name in without:
        print(f"{name:22}{without[name]:10.1f}{preloaded[name]:12.1f}")


if __name__ == "__main__":
    main()
