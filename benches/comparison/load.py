"""The load: wrk on its own CPU, and connections that are only there."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .processes import Failed, pin
from .workloads import Workload

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    requests: int
    seconds: float
    p50: float
    """Microseconds."""
    p99: float
    max: float
    bad: int
    """Answers that are not 2xx or 3xx."""
    broken: int
    timeouts: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def script(workload: Workload, scratch: Path) -> Path:
    """wrk's script for this workload."""
    lines = [SCRIPT.read_text(), f"wrk.method = {json.dumps(workload.method)}"]
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in workload.headers.items()]
    if workload.body:
        lines.append(f'wrk.body = string.rep("p", {workload.body})')
    file = scratch / f"{workload.key}.lua"
    file.write_text("\n".join(lines) + "\n")
    return file


def run(workload: Workload, port: int, seconds: float, lua: Path, cpus: set[int] | None, nice: int = 0) -> Load:
    argv = ["nice", "-n", str(nice)] if nice else []
    argv += [
        "wrk", "-t1", f"-c{workload.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(lua),
        f"http://127.0.0.1:{port}{workload.path}",
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, preexec_fn=pin(cpus))
    for line in ended.stdout.splitlines():
        if line.startswith("RESULT "):
            return Load(**json.loads(line.removeprefix("RESULT ")))
    raise Failed(f"wrk ended with {ended.returncode}: {ended.stderr.strip()}")


def hold(port: int, count: int, path: str = "/hello") -> list[socket.socket]:
    """Opens connections, asks once on each, and leaves them open."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: idle\r\n\r\n".encode()
    held, end = [], time.monotonic() + 60
    try:
        for _ in range(count):
            # Servers that serve one connection at a time let each of the others wait for its turn.
            if time.monotonic() > end:
                raise TimeoutError(f"only {len(held)} in a minute")
            opened = socket.create_connection(("127.0.0.1", port), timeout=20)
            held.append(opened)
            opened.sendall(request)
            if not opened.recv(4096).startswith(b"HTTP/1.1 200"):
                raise Failed("an idle connection got no good answer")
    except OSError as error:
        release(held)
        raise Failed(f"cannot hold {count} connections: {error}") from error
    return held


def release(held: list[socket.socket]) -> None:
    for connection in held:
        connection.close()
