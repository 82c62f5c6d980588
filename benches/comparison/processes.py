"""Processes under measurement: started on a CPU of their own, watched through /proc, ended by pid."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server that does not start or does not answer as it should."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pin(cpus: set[int] | None):
    """For `preexec_fn`: a session of its own on these CPUs, with room for many connections."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def enter() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if cpus:
            os.sched_setaffinity(0, cpus)

    return enter


class Process:
    """One server: a process and all its descendants."""

    def __init__(self, argv: list[str], log: Path, cpus: set[int] | None = None, env: dict[str, str] | None = None,
                 cwd: Path | None = None):
        self.argv, self.log = argv, log
        with open(log, "wb") as out:
            self.child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env={**os.environ, **(env or {})},
                preexec_fn=pin(cpus), start_new_session=True,
            )

    def wait_ready(self, port: int, path: str, patience: float = 20.0) -> None:
        """Returns at the first good answer."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if self.child.poll() is not None:
                raise Failed(f"ended with {self.child.returncode}: {self.tail()}")
            try:
                if fetch(port, path)[0] == 200:
                    return
            except OSError:
                pass
            except http.client.HTTPException as error:
                raise Failed(f"answers badly: {error!r}") from error
            time.sleep(0.02)
        raise Failed(f"does not answer: {self.tail()}")

    def tail(self) -> str:
        return " | ".join(self.log.read_text(errors="replace").splitlines()[-3:])

    def pids(self) -> list[int]:
        found, left = [], [self.child.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    left += [int(child) for child in children.read_text().split()]
                except OSError:
                    pass
        return found

    def cpu(self) -> dict[int, float]:
        """CPU seconds (user and system, with children that have ended) of every process."""
        used = {}
        for pid in self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            used[pid] = sum(int(field) for field in fields[11:15]) / TICKS
        return used

    def memory(self) -> int:
        """PSS in kB of all its processes."""
        total = 0
        for pid in self.pids():
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                continue
        return total

    def wakeups(self) -> int:
        """Context switches of all threads of all processes so far: an idle server makes none."""
        total = 0
        for pid in self.pids():
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                try:
                    lines = status.read_text().splitlines()
                except OSError:
                    continue
                total += sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return total

    def stop(self) -> None:
        """Asks, waits, then insists; only on processes of ours."""
        pids = self.pids()
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT if "serve.py" in " ".join(self.argv) else signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                pass
        for pid in pids:
            try:
                if os.getsid(pid) == self.child.pid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.child.wait()


def fetch(port: int, path: str, method: str = "GET", body: bytes | None = None,
          headers: dict[str, str] | None = None) -> tuple[int, int]:
    """Status and length of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, len(answer.read())
    finally:
        connection.close()
