"""A server under test: started, listened to, ended.

Every wait is for an event (a line in a log, the end of a stream, an exit), with a deadline that
only a defect reaches. Ports are chosen by the kernel and read from the log, so that any number of
servers run side by side. A process is only ever signalled by its own id.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "python-tests" / "apps"
EXAMPLES = ROOT / "examples"

#: Long enough for a loaded two-core machine, short enough to end a hanging suite.
PATIENCE = 30.0

LISTENING = re.compile(r"(?:https?://(?:\[[0-9a-fA-F:]+\]|[^\s:,]+):\d+|unix:[^\s,]+)")


def server_command() -> list[str]:
    """The server to test: $SERVER (a command line, for instance "gunicorn --threads 4"), else
    $RWSGI (a path), else the release build, else the debug build."""
    if command := os.environ.get("SERVER"):
        words = shlex.split(command)
        beside = Path(sys.executable).parent / words[0]
        return [str(beside) if beside.exists() else words[0], *words[1:]]
    if path := os.environ.get("RWSGI"):
        return [path]
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    for build in ("release", "debug"):
        if (target / build / "rwsgi").exists():
            return [str(target / build / "rwsgi")]
    raise FileNotFoundError(f"no rwsgi in {target}/release or {target}/debug: run `cargo build --release`")


def clean_environment(**extra: str | None) -> dict[str, str]:
    """This process's environment without anything a server reads its settings from; None removes."""
    read_by_servers = ("RWSGI_", "GUNICORN_", "LISTEN_")
    names = {"PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE", "SCRIPT_NAME", "NOTIFY_SOCKET",
             "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "DJANGO_SETTINGS_MODULE"}
    env = {k: v for k, v in os.environ.items() if k not in names and not k.startswith(read_by_servers)}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if sys.prefix != sys.base_prefix:
        env["VIRTUAL_ENV"] = sys.prefix
    for name, value in extra.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def eventually(condition, what: str, patience: float = PATIENCE):
    """The first true value of `condition()`; looks often, fails at the deadline naming `what`."""
    deadline = time.monotonic() + patience
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.01)


class Output:
    """The lines of one stream as they arrive; the end of the stream means every writer is gone."""

    def __init__(self, stream):
        self._lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self._thread.start()

    def _collect(self, stream):
        with stream:
            for line in stream:
                with self._news:
                    self._lines.append(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def lines(self) -> list[str]:
        with self._news:
            return list(self._lines)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def find(self, pattern: str) -> list[re.Match]:
        return [m for line in self.lines if (m := re.search(pattern, line))]

    def wait(self, pattern: str, count: int = 1, patience: float = PATIENCE) -> re.Match:
        """The count-th line that matches, now or later."""
        deadline = time.monotonic() + patience
        with self._news:
            while True:
                found = [m for line in self._lines if (m := re.search(pattern, line))]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "the stream ended" if self._ended else f"{patience:g} s passed"
                    raise AssertionError(
                        f"{why} with {len(found)} of {count} lines matching {pattern!r}:\n" + "\n".join(self._lines)
                    )
                self._news.wait(left)

    def wait_end(self, patience: float = PATIENCE) -> str:
        """All text, once every process that could write to the stream has gone."""
        deadline = time.monotonic() + patience
        with self._news:
            while not self._ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"after {patience:g} s a process still holds the log open:\n" + "\n".join(self._lines))
                self._news.wait(left)
            return "\n".join(self._lines)


class Server:
    """One server process tree. `stop()` or `finish()` must be called; the fixtures do."""

    def __init__(self, argv: list[str], *, cwd: Path, env: dict[str, str], pass_fds=()):
        self.argv = argv
        self.finished = False
        self.process = subprocess.Popen(
            argv, cwd=cwd, env=env, pass_fds=pass_fds, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )
        self.out = Output(self.process.stdout)
        self.log = Output(self.process.stderr)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.poll()

    # Addresses

    @property
    def listening(self) -> list[str]:
        """Every URL the log says the server listens at, in order."""
        return [url for m in self.log.find(r"Listening at: (.*)") for url in LISTENING.findall(m[1])]

    def wait_listening(self, count: int = 1, patience: float = PATIENCE) -> "Server":
        self.log.wait("Listening at:", patience=patience)
        eventually(lambda: len(self.listening) >= count, f"{count} addresses in {self.listening}")
        return self

    @property
    def address(self):
        """Of the first listener: (host, port), or the path of a unix socket."""
        return parse_address(self.listening[0])

    @property
    def port(self) -> int:
        return self.address[1]

    def url(self, path: str = "/") -> str:
        return f"http://{self.address[0]}:{self.port}{path}"

    # Processes

    def booted(self, count: int = 1) -> list[int]:
        """The ids of the first `count` workers, waited for."""
        self.log.wait(r"Booting worker with pid: \d+", count)
        return [int(m[1]) for m in self.log.find(r"Booting worker with pid: (\d+)")]

    def kill(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit status."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {patience:g} s:\n{self.log.text}") from None

    def stop(self, number: int = signal.SIGTERM, patience: float = PATIENCE) -> int:
        """Signals the master, waits for it and for everything it started."""
        if self.returncode is None:
            self.kill(number)
        status = self.wait(patience)
        self.log.wait_end()
        self.finished = True
        return status

    def finish(self) -> None:
        """The end of a test: a server still running has to leave cleanly and completely."""
        try:
            was_running = self.returncode is None and not self.finished
            status = self.stop() if not self.finished else self.returncode
            if was_running:
                assert status == 0, f"exit status {status} after SIGTERM:\n{self.log.text}"
            assert "panicked at" not in self.log.text, self.log.text
        finally:
            self.destroy()

    def destroy(self) -> None:
        """Whatever the test did wrong, nothing of this server's session survives it."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()


def parse_address(url: str):
    if url.startswith("unix:"):
        return url.removeprefix("unix:")
    host, port = re.fullmatch(r"https?://(.+):(\d+)", url).groups()
    return host.strip("[]"), int(port)


class Servers:
    """What the `serve` fixture hands out: called with an application and arguments, starts one."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.running: list[Server] = []

    def __call__(self, app: str | None, *args: str, bind=("127.0.0.1:0",), chdir: Path | None = APPS,
                 env: dict[str, str | None] | None = None, listens: bool = True, cwd: Path | None = None,
                 command: list[str] | None = None, pass_fds=()) -> Server:
        """Starts `app` with `args`. `listens=False` does not wait until it listens (it may not)."""
        command = command or server_command()
        argv = [*command]
        if "gunicorn" in Path(command[0]).name:
            argv += ["--no-control-socket"]
        for address in bind:
            argv += ["--bind", str(address)]
        if chdir is not None:
            argv += ["--chdir", str(chdir)]
        argv += map(str, args)
        if app is not None:
            argv.append(app)
        server = Server(argv, cwd=cwd or self.directory, env=clean_environment(**(env or {})), pass_fds=pass_fds)
        self.running.append(server)
        if listens:
            try:
                server.wait_listening(len(bind) or 1)
            except AssertionError:
                server.destroy()
                server.finished = True
                raise
        return server

    def finish(self) -> None:
        failures = []
        for server in self.running:
            try:
                server.finish()
            except AssertionError as failure:
                failures.append(f"{shlex.join(server.argv)}\n{failure}")
        assert not failures, "\n\n".join(failures)


def needs_program(name: str) -> str:
    """The path of a program the test runs, or a skip that says what is missing."""
    import pytest

    # Servers live in sbin, which is not on everybody's PATH.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return shutil.which(name, path=path) or pytest.skip(f"{name} is not installed")
