"""Which servers are compared, and how each is started for a workload.

One worker process each, so that a figure is a figure of one CPU. Everything that protects a server
is left at its default; only what would end a measurement is widened (keep-alive time, connections).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .environment import APPS, VENV, python


@dataclass(frozen=True)
class Setup:
    """What a workload asks of a server."""

    port: int
    target: str
    threads: int = 1
    access_log: Path | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    name: str
    command: Callable[[Setup, Path], list[str]]
    package: str | None = None
    floor: bool = False
    """Answers without Python: shows what is left when a server costs nothing."""
    streams: bool = True
    """Sends each block when it is yielded, as PEP 3333 demands."""
    keeps_alive: bool = True
    has_threads: bool = True
    access_log: str = ""
    """'file': to a file of its own, 'output': to its output, '': has none."""
    only: tuple[str, ...] = field(default=())
    """Workloads it takes part in; empty: all."""


def bin_(name: str) -> str:
    return str(VENV / "bin" / name)


def rwsgi(setup: Setup, built: Path) -> list[str]:
    log = ["--access-logfile", str(setup.access_log)] if setup.access_log else []
    return [
        str(built / "rwsgi"), "--python", python(), setup.target, "--chdir", str(APPS),
        "--bind", f"127.0.0.1:{setup.port}", "--workers", "1", "--threads", str(setup.threads),
        "--keep-alive", "120", "--worker-connections", "20000", "--backlog", "2048", *log, *setup.extra,
    ]


def gunicorn(kind: str) -> Callable[[Setup, Path], list[str]]:
    def command(setup: Setup, _: Path) -> list[str]:
        log = ["--access-logfile", str(setup.access_log)] if setup.access_log else []
        return [
            bin_("gunicorn"), setup.target, "--chdir", str(APPS), "--bind", f"127.0.0.1:{setup.port}",
            "--workers", "1", "--worker-class", kind, "--threads", str(setup.threads if kind == "gthread" else 1),
            "--keep-alive", "120", "--worker-connections", "20000", *log,
        ]

    return command


def uwsgi(setup: Setup, _: Path) -> list[str]:
    log = ["--logto", str(setup.access_log)] if setup.access_log else ["--disable-logging"]
    threads = ["--threads", str(setup.threads)] if setup.threads > 1 else []
    return [
        bin_("uwsgi"), "--http11-socket", f"127.0.0.1:{setup.port}", "--master", "--processes", "1", "--need-app",
        "--wsgi", setup.target, "--chdir", str(APPS), "--listen", "1024", "--die-on-term", "--virtualenv", str(VENV),
        *threads, *log,
    ]


def granian(setup: Setup, _: Path) -> list[str]:
    log = ["--access-log"] if setup.access_log else ["--no-access-log"]
    return [
        bin_("granian"), "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(setup.port), "--workers", "1",
        "--blocking-threads", str(setup.threads), "--no-ws", "--backlog", "2048", "--working-dir", str(APPS), *log,
        setup.target,
    ]


def waitress(setup: Setup, _: Path) -> list[str]:
    return [
        bin_("waitress-serve"), f"--listen=127.0.0.1:{setup.port}", f"--threads={setup.threads}",
        "--connection-limit=20000", "--channel-timeout=120", setup.target,
    ]


def scripted(name: str) -> Callable[[Setup, Path], list[str]]:
    def command(setup: Setup, _: Path) -> list[str]:
        return [python(), str(APPS / "serve.py"), name, str(setup.port), setup.target, str(setup.threads)]

    return command


def fake_app(setup: Setup, built: Path) -> list[str]:
    command = rwsgi(setup, built)
    return [str(built / "examples" / "fake_app"), *command[3:]]


def nginx(setup: Setup, _: Path) -> list[str]:
    return ["nginx", "-c", setup.target]


PLAIN = ("hello", "browser", "new-connection", "one-connection", "post-10k", "body-10k", "body-1m")

SERVERS = (
    Server("rwsgi", rwsgi, access_log="file"),
    Server("bjoern", scripted("bjoern"), "bjoern", has_threads=False),
    Server("fastwsgi", scripted("fastwsgi"), "fastwsgi", has_threads=False, streams=False),
    Server("granian", granian, "granian", access_log="output"),
    Server("uwsgi", uwsgi, "uwsgi", access_log="file"),
    Server("gunicorn sync", gunicorn("sync"), "gunicorn", keeps_alive=False, has_threads=False, access_log="file"),
    Server("gunicorn gthread", gunicorn("gthread"), "gunicorn", access_log="file"),
    Server("waitress", waitress, "waitress"),
    Server("cheroot", scripted("cheroot"), "cheroot"),
    Server("constant loop", lambda setup, built: [str(built / "examples" / "constant"), str(setup.port)],
           floor=True, only=("hello", "browser", "one-connection")),
    Server("rwsgi without Python", fake_app, floor=True, only=PLAIN),
    Server("nginx", nginx, floor=True, only=("file-10m",)),
)
