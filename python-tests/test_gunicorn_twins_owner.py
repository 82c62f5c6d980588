"""Who servers run as and whose their files are, compared with Gunicorn; only root can ask for that."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.server import clean_environment, eventually, server_command
from support.wire import Wire

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

NOBODY = 65534
#: Supplementary groups of whoever starts the servers.
GROUPS = [0, 4, 6]

APP = """
import json, os

HERE = os.path.dirname(os.path.abspath(__file__))

def may(try_it):
    try:
        try_it()
    except OSError as error:
        return error.strerror
    return True

def app(environ, start_response):
    mask = os.umask(0)
    os.umask(mask)
    facts = dict(
        uid=os.getresuid(), gid=os.getresgid(), groups=sorted(os.getgroups()), umask=oct(mask), cwd=os.path.relpath(os.getcwd(), HERE),
        home=os.environ.get("HOME"), secret=may(lambda: open(HERE + "/secret")), shared=may(lambda: open(HERE + "/shared")),
        new=may(lambda: open(HERE + "/new", "w")), log=may(lambda: open(HERE + "/logs/error", "a")),
        kill=may(lambda: os.kill(os.getppid(), 0)),
    )
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
#: Starts a program as it would be started by somebody else.
AS = "import os, sys; os.setgroups({groups}); os.umask({umask}); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture(scope="module")
def interpreter() -> str:
    """One that other users can run: what lies below /root they cannot read."""
    check = "import ctypes, json, sys; sys.exit(sys.version_info < (3, 10))"
    for path in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([path, "-c", check], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True).returncode == 0:
                return path
    pytest.skip("no Python 3.10 that others can run")


@pytest.fixture
def place():
    """A directory that others can reach, with Gunicorn in it."""
    if "gunicorn" in Path(server_command()[0]).name:
        pytest.skip("Gunicorn itself is under test")
    gunicorn, packaging = pytest.importorskip("gunicorn"), pytest.importorskip("packaging")
    with tempfile.TemporaryDirectory(prefix="rwsgi-owner-") as name:
        place = Path(name)
        place.chmod(0o755)
        for package in (gunicorn, packaging):
            shutil.copytree(Path(package.__file__).parent, place / "site" / package.__name__)
        yield place


class Owned:
    """One server, started in a directory of its own."""

    def __init__(self, name: str, place: Path, interpreter: str, args, umask: int):
        self.here = place / name
        (self.here / "logs").mkdir(parents=True)
        for file, mode in (("secret", 0o600), ("shared", 0o640)):
            (self.here / file).write_text("x")
            (self.here / file).chmod(mode)
        (self.here / "owned.py").write_text(APP)
        if name == "gunicorn":
            command = [interpreter, "-m", "gunicorn", "--no-control-socket"]
        else:
            command = [shutil.which(server_command()[0]), "--python", interpreter]
        here = str(self.here)
        args = ["--bind", f"unix:{here}/sock", "--pid", f"{here}/pid", "--error-logfile", f"{here}/logs/error",
                "--access-logfile", f"{here}/logs/access", *(arg.replace("HERE", here) for arg in args), "owned:app"]
        start = [sys.executable, "-c", AS.format(groups=GROUPS, umask=umask)]
        env = clean_environment(VIRTUAL_ENV=None, PYTHONPATH=str(place / "site"), HOME="/root")
        self.process = subprocess.Popen([*start, *command, *args], cwd=self.here, env=env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.signal_daemon(signal.SIGTERM)
        try:
            eventually(lambda: self.process.poll() is not None and not self.has_daemon(), "the end")
        finally:
            self.signal_daemon(signal.SIGKILL)
            # Once it is reaped its number may be somebody else's.
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()

    def has_daemon(self) -> bool:
        """Whether there is a master that has left the session; its number alone may be another's by now."""
        with contextlib.suppress(OSError):
            return self.master != self.process.pid and os.readlink(f"/proc/{self.master}/cwd") == str(self.here)
        return False

    def signal_daemon(self, number: int) -> None:
        if self.has_daemon():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.master, number)

    @property
    def master(self) -> int:
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.known = int((self.here / "pid").read_text())
        return getattr(self, "known", self.process.pid)

    def asked(self) -> dict:
        """What the application says about its process."""
        def answer():
            with contextlib.suppress(OSError):
                with Wire(str(self.here / "sock")) as wire:
                    return json.loads(wire.get("/").body)
        return eventually(answer, "an answer")

    def facts(self) -> dict:
        facts = {f"app.{name}": value for name, value in self.asked().items()}
        for line in Path(f"/proc/{self.master}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("Uid", "Gid", "Groups", "Umask"):
                facts[f"master.{name}"] = value.split()
        for file in ("sock", "pid", "logs/error", "logs/access", "new"):
            with contextlib.suppress(FileNotFoundError):
                stat = (self.here / file).stat()
                facts[file] = [stat.st_uid, stat.st_gid, oct(stat.st_mode & 0o7777)]
        return facts


BOTH = ["--user", "nobody", "--group", "nogroup"]
#: Root's own groups do not stay with workers that are somebody else, and with them goes what they open.
KEPT = {"app.groups": (GROUPS, [NOBODY])}
LESS = {**KEPT, "app.shared": (True, "Permission denied")}


@pytest.mark.parametrize("args, umask, unlike", [
    pytest.param([], 0o022, {}, id="nothing"),
    pytest.param(["--user", "nobody"], 0o022, KEPT, id="user"),
    pytest.param(["--user", str(NOBODY)], 0o022, KEPT, id="user-id"),
    pytest.param(["--group", "nogroup"], 0o022, {}, id="group"),
    pytest.param(BOTH, 0o022, LESS, id="both"),
    pytest.param(["--user", "4711", "--group", "4712"], 0o022, {**LESS, "app.groups": (GROUPS, [4712])}, id="unnamed"),
    # Gunicorn forgets the group itself.
    pytest.param([*BOTH, "--initgroups"], 0o022, {"app.gid": ([0] * 3, [NOBODY] * 3), "app.shared": (True, "Permission denied")}, id="initgroups"),
    pytest.param(["--user", "root", "--group", "0"], 0o022, {}, id="root"),
    pytest.param(["--umask", "0077", *BOTH], 0o022, LESS, id="umask"),
    pytest.param(["--umask", "7"], 0o027, {}, id="umask-decimal"),
    pytest.param(BOTH, 0o027, LESS, id="umask-inherited"),
    pytest.param(["--daemon"], 0o077, {}, id="daemon"),
    pytest.param(["--daemon", *BOTH], 0o077, LESS, id="daemon-user"),
    pytest.param(["--preload", *BOTH], 0o022, LESS, id="preload"),
    pytest.param(["--worker-tmp-dir", "/dev/shm", *BOTH], 0o022, LESS, id="worker-tmp-dir"),
    pytest.param(["--chdir", "logs", "--pythonpath", "HERE"], 0o022, {}, id="chdir"),
])
def test_who_and_whose(place, interpreter, args, umask, unlike):
    seen = []
    for name in ("gunicorn", "rwsgi"):
        with Owned(name, place, interpreter, args, umask) as server:
            seen.append(server.facts())
    theirs, ours = seen
    assert {"sock", "pid", "logs/error", "logs/access", "app.groups", "master.Uid"} <= theirs.keys()
    assert {name: (value, ours.get(name)) for name, value in theirs.items() if ours.get(name) != value} == unlike
    assert ours.keys() == theirs.keys()


@pytest.mark.parametrize("args, said", [
    (["--user", "nobodyatall"], "o such user: 'nobodyatall'"),
    (["--group", "nobodyatall"], "o such group: 'nobodyatall'"),
    (["--user", ""], "user"),
    (["--pid", "/nothing/pid"], "/nothing"),
    (["--access-logfile", "/nothing/log"], "/nothing/log"),
    (["--error-logfile", "/nothing/log"], "/nothing/log"),
    (["--chdir", "/nothing"], "/nothing"),
])
def test_what_ends_a_start_is_said_to_who_started_it(place, interpreter, args, said):
    """Also where the error log is a file."""
    for name in ("gunicorn", "rwsgi"):
        with Owned(name, place, interpreter, args, 0o022) as server:
            out = server.process.communicate(timeout=30)[0].decode()
            assert (server.process.returncode, said in out) == (1, True), (name, out)


def test_a_directory_for_bodies_has_to_be_there(place, interpreter):
    with Owned("rwsgi", place, interpreter, ["--worker-tmp-dir", "HERE/owned.py"], 0o022) as server:
        out = server.process.communicate(timeout=30)[0].decode()
        assert server.process.returncode == 1 and "worker_tmp_dir (command line, --worker-tmp-dir): " in out and "is no directory" in out


def test_logs_that_are_moved_away_come_back_as_the_workers(place, interpreter):
    """The directory is root's: only the master can make files in it."""
    with Owned("rwsgi", place, interpreter, BOTH, 0o022) as server:
        server.asked()
        logs = [server.here / "logs" / name for name in ("error", "access")]
        for log in logs:
            log.rename(log.with_suffix(".1"))
        os.kill(server.master, signal.SIGUSR1)
        eventually(lambda: all(log.exists() and log.stat().st_uid == NOBODY for log in logs), "new files")
        assert [(log.stat().st_uid, log.stat().st_gid) for log in logs] == [(NOBODY, NOBODY)] * 2

        def written():
            server.asked()
            return "GET / HTTP/1.1" in logs[1].read_text()
        eventually(written, "a line in the new file")
