"""rwsgi as a container's only process: process 1 of its own namespaces, on a root file system that
is read-only and has no /tmp, as a user nobody has heard of, configured by environment alone.

What Docker sets up is set up here with unshare, mount and chroot: no image is needed for it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests
from support.server import EXAMPLES, ROOT, Server, clean_environment, eventually, needs_program, server_command

UID = 10001

APP = """
import json, os, subprocess, sys

def application(environ, start_response):
    path, body = environ["PATH_INFO"], b""
    if path == "/upload":
        total = 0
        while block := environ["wsgi.input"].read(65536):
            total += len(block)
        body = str(total).encode()
    elif path == "/orphan":
        # A grandchild whose parent is gone belongs to process 1.
        shell = "sh -c 'sleep 0.1; exit 3' & echo $!"
        body = subprocess.run(["sh", "-c", shell], capture_output=True).stdout
    elif path == "/processes":
        states = [open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()[0] for pid in os.listdir("/proc") if pid.isdigit()]
        body = json.dumps(states).encode()
    else:
        def writable(directory):
            try:
                open(os.path.join(directory, "x"), "w")
            except OSError:
                return False
            return True
        body = json.dumps(dict(
            pid=os.getpid(), parent=os.getppid(), uid=os.getuid(), gid=os.getgid(), python=sys.executable,
            tmp=os.path.isdir("/tmp"), writable=[d for d in ("/", "/app", "/tmp", "/var/tmp") if writable(d)],
        )).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

# Mounts are seen by this process and its children only, and end with it.
BUILD = """
set -eu
mount --make-rprivate /
cd "$1"
mount --bind . .
cd "$1"
for directory in bin lib lib32 lib64 usr; do
    if [ -L /$directory ]; then ln -s "$(readlink /$directory)" $directory
    elif [ -d /$directory ]; then mkdir -p $directory; mount --rbind /$directory $directory; fi
done
mkdir -p proc dev etc root
for device in null urandom; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mount -t proc proc proc
mount -o remount,bind,ro .
shift
exec /usr/sbin/chroot . /usr/bin/setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all -- "$@"
"""


class Container:
    """A server behind `unshare`, which is not process 1 of it and passes no signal on."""

    def __init__(self, root: Path, *arguments: str, **variables: str | None):
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BUILD, "build", str(root),
                   "/srv/rwsgi", *arguments]
        keep = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONDONTWRITEBYTECODE": "1"}
        variables = {name: value for name, value in variables.items() if value is not None}
        self.server = Server(command, cwd=root, env={**keep, **variables})

    @property
    def master(self) -> int:
        """Process 1, by its number out here."""
        pid = self.server.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.fixture
def root(tmp_path) -> Path:
    for program in ("unshare", "setpriv", "chroot"):
        needs_program(program)
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"]).returncode:
        pytest.skip("namespaces cannot be made here")
    if not Path("/usr/bin/python3").exists():
        pytest.skip("no Python under /usr, which is all of the system the container sees")
    root = tmp_path / "root"
    (root / "srv").mkdir(parents=True)
    (root / "app").mkdir()
    launcher = Path(server_command()[0]).resolve()
    shutil.copy(launcher, root / "srv/rwsgi")
    cores = [directory / "librwsgi_core.so" for directory in (launcher.parent, launcher.parent / "deps")]
    shutil.copy(max((c for c in cores if c.exists()), key=lambda c: c.stat().st_mtime), root / "srv")
    (root / "app/inside.py").write_text(APP)
    return root


@pytest.fixture
def contain(root):
    running = []

    def start(*arguments, **variables):
        container = Container(root, *arguments, **{"RWSGI_CHDIR": "/app", "RWSGI_WSGI_APP": "inside", "RWSGI_BIND": "127.0.0.1:0", **variables})
        running.append(container)
        container.server.wait_listening()
        return container

    yield start
    for container in running:
        container.server.destroy()


def test_everything_by_environment(contain):
    container = contain(WEB_CONCURRENCY="2", RWSGI_THREADS="2")
    server = container.server
    server.booted(2)
    seen = requests.get(server.url(), timeout=30).json()
    assert seen["parent"] == 1 and seen["uid"] == seen["gid"] == UID
    assert seen["tmp"] is False and seen["writable"] == [], "the conditions are those meant"
    assert (seen["python"]) == "/usr/bin/python3"


def test_port_is_said_as_a_platform_says_it(contain):
    container = contain(RWSGI_BIND=None, PORT="0")
    assert re.search(r"http://0\.0\.0\.0:[1-9]", container.server.log.text)


def test_a_large_upload_needs_no_writable_directory(contain):
    container = contain()
    body = b"x" * (20 << 20)
    answer = requests.post(container.server.url("/upload"), data=body, timeout=60)
    assert answer.text == str(len(body))


def test_process_1_reaps_what_is_left_to_it(contain):
    container = contain()
    server = container.server
    orphan = requests.get(server.url("/orphan"), timeout=30).text.strip()
    assert orphan.isdigit()
    eventually(lambda: not Path(f"/proc/{container.master}/root/proc/{orphan}").exists(), "the orphan is reaped")
    assert "Z" not in requests.get(server.url("/processes"), timeout=30).json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_it_stops_when_told_and_with_0(contain, number):
    """A process 1 has no default actions: a signal it does not handle is lost, and Docker kills it."""
    container = contain(WEB_CONCURRENCY="2")
    server = container.server
    server.booted(2)
    begun = time.monotonic()
    os.kill(container.master, number)
    assert server.wait(patience=10) == 0
    assert time.monotonic() - begun < 10
    server.log.wait_end()


def test_a_running_request_is_answered_on_term(contain, root):
    (root / "app/slow.py").write_text(
        "import time\n"
        "def application(environ, start_response):\n"
        "    print('inside', file=environ['wsgi.errors'], flush=True)\n"
        "    time.sleep(1.5)\n"
        "    start_response('200 OK', [('Content-Length', '4')])\n"
        "    return [b'done']\n")
    container = contain(RWSGI_WSGI_APP="slow")
    server = container.server
    client = subprocess.Popen(["python3", "-c", f"import urllib.request as u; print(u.urlopen({server.url()!r}).read().decode())"],
                              stdout=subprocess.PIPE, text=True)
    server.log.wait("inside")
    os.kill(container.master, signal.SIGTERM)
    assert client.communicate(timeout=30)[0] == "done\n"
    assert server.wait() == 0


def test_a_killed_worker_is_replaced(contain):
    container = contain()
    server = container.server
    first = requests.get(server.url(), timeout=30).json()["pid"]
    [worker] = Path(f"/proc/{container.master}/task/{container.master}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    server.booted(2)
    assert requests.get(server.url(), timeout=30).json()["pid"] != first


# The image


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "deploy/Dockerfile").read_text()
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.M))
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last_stage() -> dict[str, str]:
    steps = instructions()
    start = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    return dict(steps[start:])


def test_the_image_runs_as_it_is_tested_here():
    stage = last_stage()
    assert len([word for word, _ in instructions() if word == "FROM"]) == 3
    assert re.fullmatch(r"python:\$\{PYTHON\}-slim", stage["FROM"])
    assert stage["USER"] == f"{UID}:{UID}"
    assert json.loads(stage["ENTRYPOINT"]) == ["rwsgi"], "exec form: a shell would keep the signals"
    assert isinstance(json.loads(stage["CMD"]), list)
    assert stage["STOPSIGNAL"] == "SIGTERM"
    assert "PORT=8000" in shlex.split(stage["ENV"]) and stage["EXPOSE"] == "8000"
    for word, rest in instructions():
        if word == "RUN":
            script = re.sub(r"--mount=\S+\s*", "", rest)
            subprocess.run(["sh", "-n", "-c", script], check=True)


def test_the_health_check_tells_an_answer_from_none(serve):
    _, command = last_stage()["HEALTHCHECK"].split("CMD ", 1)
    argv = json.loads(command)
    server = serve("hello:application", "--status-bind", "127.0.0.1:0", chdir=EXAMPLES)
    address = server.log.wait(r"Status at: http://(\S+)")[1]
    server.booted()

    def healthy():
        env = clean_environment(RWSGI_STATUS_BIND=address)
        return subprocess.run(["python3", *argv[1:]], env=env, capture_output=True).returncode == 0

    assert argv[0] == "python"
    eventually(healthy, "ready when a worker serves")
    server.stop()
    assert not healthy()


def test_what_is_sent_to_the_builder_builds(tmp_path):
    """.dockerignore lets through what the build reads, and no more."""
    needs_program("cargo")
    listed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert listed[0] == "*"
    kept = [line[1:] for line in listed if line.startswith("!")]
    for name in kept:
        source = ROOT / name
        assert source.exists(), name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc", "__pycache__", "*.so"))
        else:
            shutil.copy(source, tmp_path / name)
    # Cargo's own targets (benches and all) and pyproject's files are there.
    subprocess.run(["cargo", "metadata", "--no-deps", "--offline", "--format-version=1"], cwd=tmp_path,
                   check=True, capture_output=True)
    included = re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', "".join(p.read_text() for p in (tmp_path / "src").rglob("*.rs")))
    sources = {p: p.read_text() for p in (tmp_path / "src").rglob("*.rs")}
    for path, text in sources.items():
        for name in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text):
            assert (path.parent / name).resolve().exists(), f"{path} includes {name}"
    assert included
    for stage_copy in [rest for word, rest in instructions() if word == "COPY" and "--from" not in rest]:
        source = stage_copy.split()[0]
        assert source in (".", "${APP}") or source in kept
