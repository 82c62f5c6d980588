"""The service under load: its master through upgrades and deaths, its application through deploys."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

from support.server import Server, clean_environment, eventually

APP = Path(__file__).with_name("load_app.py")
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """A promoted master stays our descendant, so that its end can be seen."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def alive(pid: int) -> bool:
    """Whether a process runs; buries it if it is a dead one that was left to us."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[1])
    except FileNotFoundError:
        return None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Service:
    def __init__(self, command: list[str], directory: Path):
        self.directory = directory
        self.journal = directory / "journal"
        self.pidfile = directory / "pid"
        self.address = ("127.0.0.1", free_port())
        self.version = 1
        self.starts = 0
        self.argv = [*command, "--bind", "127.0.0.1:%d" % self.address[1], "--chdir", str(directory), "--pid", str(self.pidfile)]
        if "gunicorn" in Path(command[0]).name:
            self.argv.append("--no-control-socket")
        self.argv.append("load_app:application")
        shutil.copy(APP, directory / "load_app.py")
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.pidfile.unlink(missing_ok=True)
        self.server = Server(self.argv, cwd=self.directory, env=clean_environment(LOAD_JOURNAL=str(self.journal)))
        self.master = self.server.pid
        self.server.wait_listening()
        self.server.booted(1)

    @property
    def up(self) -> bool:
        return self.server.returncode is None if self.master == self.server.pid else alive(self.master)

    def signal(self, number: int) -> None:
        os.kill(self.master, number)

    def deploy(self, broken: bool = False) -> int:
        """Puts a new version in place; its number."""
        self.version += 1
        text = re.sub(r"^VERSION = .*$", f"VERSION = {self.version}", APP.read_text(), flags=re.M)
        if broken:
            text = text.replace("JOURNAL =", "raise RuntimeError('a broken deploy')\nJOURNAL =")
        beside = self.directory / "load_app.new"
        beside.write_text(text)
        beside.rename(self.directory / "load_app.py")
        # Byte code is found by the second of the source's time and its size: two deploys in one second look alike.
        shutil.rmtree(self.directory / "__pycache__", ignore_errors=True)
        return self.version

    def upgrade(self) -> None:
        """USR2, then the end of the old master, then the new one's promotion."""
        old = self.master
        second = Path(f"{self.pidfile}.2")
        self.signal(signal.SIGUSR2)
        self.master_2 = eventually(lambda: second.exists() and int(second.read_text() or 0), "the second master's pidfile")
        eventually(lambda: self._serves(self.master_2), "a worker of the second master")
        os.kill(old, signal.SIGTERM)
        eventually(lambda: not alive(old) or (self.server.pid == old and self.server.returncode is not None), "the end of the first master", 60)
        self.master = self.master_2
        eventually(lambda: self.pidfile.exists() and self.pidfile.read_text().strip() == str(self.master), "the promotion")

    def _serves(self, master: int) -> bool:
        """Whether a child of this master has been seen to answer."""
        return any(parent(pid) == master for pid in self.answering())

    def answering(self) -> list[int]:
        """Set by the program: pids that answered lately."""
        return []

    def entered(self) -> dict[str, int]:
        """request id -> worker it entered"""
        if not self.journal.exists():
            return {}
        return {key: int(pid) for key, pid in (line.split() for line in self.journal.read_text().splitlines() if line.count(" ") == 1)}

    def stop(self) -> str | None:
        """Ends it gracefully; what was wrong with that, if anything."""
        if not self.up:
            return "it was not running at the end"
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        while self.up:
            if time.monotonic() > deadline:
                self.server.destroy()
                os.kill(self.master, signal.SIGKILL)
                return "still running a minute after SIGTERM"
            time.sleep(0.05)
        if self.master == self.server.pid and self.server.returncode != 0:
            return f"exit status {self.server.returncode}"
        try:
            self.server.log.wait_end()
        except AssertionError:
            return "processes were left behind"
        return None
