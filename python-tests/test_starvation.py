"""A machine that has run out of something: the service goes on with what there is, does not spin,
and recovers by itself. What needs a privilege the tests do not have is skipped, saying so."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.server import APPS, clean_environment, eventually, server_command
from support.status import figure
from support.wire import Malformed, Wire

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


def get(address, path="/", method="GET", body=None, timeout=10):
    with Wire(address, timeout) as wire:
        return wire.request(method, path, body=body)


def serves(address):
    assert get(address).body == b"ok"


def cpu_seconds(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def descendants(pid):
    """Whoever ends while this looks is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


@contextlib.contextmanager
def small_disk(path, options="size=1m"):
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


@pytest.fixture
def bare():
    """Starts servers whose log nobody collects: (process, port). They are ended by their ids."""
    started = []

    def start(*args, **how):
        from test_misbehaving import find_port

        how.setdefault("stderr", subprocess.DEVNULL)
        command = how.pop("command", server_command())
        argv = [*command, "--bind", "127.0.0.1:0", "--chdir", str(APPS), *args, "starving"]
        process = subprocess.Popen(argv, env=clean_environment(), stdin=subprocess.DEVNULL, start_new_session=True, **how)
        started.append(process)
        process.port = find_port(process)
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_out_of_descriptors(serve, threads):
    """Accepting stops and comes back; connections that are open go on; nothing spins."""
    server = serve("starving", "--threads", threads, "--keep-alive", "30")
    worker = server.booted(1)[0]
    with Wire(server.address) as kept:
        assert kept.get("/").body == b"ok"
        used = max(int(fd) for fd in os.listdir(f"/proc/{worker}/fd")) + 1
        before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 2, before[1]))
        crowd = [Wire(server.address) for _ in range(20)]
        server.log.wait("Cannot accept connections")
        spent = cpu_seconds(worker)
        time.sleep(1.5)
        assert cpu_seconds(worker) - spent < 0.5, "spinning"
        assert kept.get("/").body == b"ok"
        assert len(server.log.find("Cannot accept connections")) <= 5
        resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
        for wire in crowd:
            assert wire.get("/").body == b"ok"
            wire.close()
    serves(server.address)


def test_no_new_processes(serve, tmp_path):
    """A worker that cannot be replaced is tried again after a pause, and is there once it can be."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("a limit of processes binds only an own user: needs root and setpriv")
    home = Path("/var/tmp/rwsgi-nproc-test")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    binary = Path(server_command()[0])
    for name in ("rwsgi", "librwsgi_core.so"):
        shutil.copy(binary.parent / name, home / name)
    shutil.copy(APPS / "starving.py", home)
    home.chmod(0o755)
    as_user = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups"]
    command = [*as_user, str(home / "rwsgi")]

    def allow(processes):
        done = subprocess.run([*as_user, "prlimit", "--pid", str(server.pid), f"--nproc={processes}:"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot set a limit: {done.stderr}")

    try:
        server = serve("starving", command=command, chdir=home, cwd=Path("/"), env={"HOME": None, "VIRTUAL_ENV": None}, listens=False)
        try:
            server.wait_listening()
        except AssertionError as failure:
            server.destroy()
            server.finished = True
            pytest.skip(f"an unprivileged user cannot run this build: {str(failure)[-200:]}")
        worker = server.booted(1)[0]
        serves(server.address)
        allow(1)
        os.kill(worker, signal.SIGKILL)
        server.log.wait("(?i)cannot (fork|start|make|spawn)|resource temporarily unavailable")
        spent = cpu_seconds(server.pid)
        time.sleep(2)
        assert cpu_seconds(server.pid) - spent < 0.5, "spinning"
        assert len(server.log.find("(?i)resource temporarily unavailable")) < 20
        allow(500)
        server.booted(2)
        serves(server.address)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def limit_memory(pid, more):
    """The process may have so many more bytes than it has."""
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size + more, before[1]))
    return before


@pytest.mark.parametrize("threads", ["1", "3"])
def test_out_of_memory_in_the_application(serve, threads):
    """It gets its MemoryError, its client a 500, and everybody else what they came for."""
    server = serve("starving", "--threads", threads)
    [worker] = server.booted(1)
    serves(server.address)
    limit_memory(worker, 512 << 20)
    for _ in range(20):
        assert get(server.address, "/hold?1000000000").status == 500
        assert get(server.address, "/hold?1000000").body == b"1000000"
    server.log.wait("MemoryError")
    with Wire(server.address) as wire:
        # Longer than what may be had: it goes to a file.
        assert wire.request("POST", "/size", body=b"x" * 1_000_000).status == 200
    assert server.booted(1) == [worker] and len(server.log.find("Booting worker")) == 1


def test_no_memory_for_another_thread(serve):
    """Those that are there serve on; when there is memory again, so are the others."""
    server = serve("starving", "--threads", "4")
    [worker] = server.booted(1)
    serves(server.address)
    # Less than a thread's stack.
    before = limit_memory(worker, 6 << 20)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.address)) for _ in range(6)]
        for wire in wires:
            wire.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [wire.reply().status for wire in wires] == [200] * 6
    server.log.wait("Cannot start a thread")
    resource.prlimit(worker, resource.RLIMIT_AS, before)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.address)) for _ in range(8)]
        began = time.monotonic()
        for wire in wires:
            wire.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [wire.reply().status for wire in wires] == [200] * 8
        assert time.monotonic() - began < 3, "one after the other"
    assert len(server.log.find("Booting worker")) == 1
    # Said, and not once for each request.
    assert len(server.log.find("(?i)thread")) < 20


@root_only
def test_a_full_disk_for_bodies(serve, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        server = serve("starving", "--worker-tmp-dir", disk, "--spool-threshold", "64K")
        with Wire(server.address) as wire:
            wire.send(b"POST /size HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                wire.send(b"x" * 8_000_000)
            with contextlib.suppress(Malformed, ConnectionError):
                assert wire.reply().status == 507
        server.log.wait("Cannot keep a request body")
        assert get(server.address, "/size", "POST", b"x" * 500_000).body == b"500000"
        serves(server.address)
        server.stop()


@root_only
def test_a_full_disk_for_logs(serve, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        server = serve("starving", "--access-logfile", disk / "access", "--capture-output", "--status-bind", "127.0.0.1:0")
        (disk / "filler").write_bytes(b"x" * 1_000_000)
        for _ in range(300):
            assert get(server.address, "/" + "z" * 500).status == 200
        (disk / "filler").unlink()
        assert figure(server, "rwsgi_log_lines_dropped_total", log="access") > 100
        get(server.address, "/after-the-flood")
        eventually(lambda: b"/after-the-flood" in (disk / "access").read_bytes(), "logging to go on")
        server.stop()


def test_a_log_whose_reader_is_gone(bare):
    read, write = os.pipe()
    server = bare(stderr=write)
    os.close(write)
    serves(("127.0.0.1", server.port))
    os.close(read)
    for _ in range(50):
        assert get(("127.0.0.1", server.port), "/shout").status == 200
        assert get(("127.0.0.1", server.port), "/raise").status == 500
    assert server.poll() is None


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_log_whose_reader_is_stuck(bare, threads):
    read, write = os.pipe()
    server = bare("--threads", threads, "--access-logfile", "-", stderr=write, stdout=write)
    os.close(write)
    began = time.monotonic()
    for _ in range(300):
        assert get(("127.0.0.1", server.port), "/shout").status == 200
    assert get(("127.0.0.1", server.port), "/raise").status == 500
    assert time.monotonic() - began < 20
    os.close(read)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_stopped_worker_goes_on(serve, threads):
    """SIGSTOP stops clocks, too: an idle worker that was stopped over its timeout is no hung one."""
    server = serve("starving", "--threads", threads, "--timeout", "1", "--timeout-grace", "0.5")
    worker = server.booted(1)[0]
    serves(server.address)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(3)
    os.kill(worker, signal.SIGCONT)
    assert int(get(server.address, "/pid").body) == worker


def test_a_stopped_worker_keeps_nobody_waiting(serve):
    """What is in the queue goes to the others; what it had begun waits for SIGCONT."""
    server = serve("starving", "--workers", "2", "--timeout", "30")
    server.booted(2)
    with Wire(server.address) as held:
        stopped = int(held.get("/pid").body)
        os.kill(stopped, signal.SIGSTOP)
        try:
            held.send(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(20):
                assert int(get(server.address, "/pid").body) != stopped
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert int(held.reply().body) == stopped
    assert len(server.log.find("Booting worker")) == 2


def test_as_pid_1_with_foreign_children(serve):
    """The first process of a container inherits every orphan of it, and has to bury them."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a process namespace of its own needs root and unshare")
    if subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no new process namespaces")
    server = serve("starving", command=["unshare", "-pf", "--kill-child", *server_command()])
    for _ in range(30):
        assert get(server.address, "/orphan").body == b"ok"

    def zombies():
        states = []
        for pid in descendants(server.pid):
            with contextlib.suppress(OSError):
                states.append(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0])
        return [state for state in states if state == "Z"]

    eventually(lambda: not zombies(), "the orphans to be buried", patience=10)
    serves(server.address)
    init = descendants(server.pid)[0]
    os.kill(init, signal.SIGTERM)
    server.wait()
    server.finished = True


@root_only
def test_nowhere_to_write(serve, tmp_path):
    """No /tmp, no /dev/shm, no HOME, as in a small container: bodies still spill."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this machine allows no new mount namespaces")
    build = Path(server_command()[0]).parent
    app = tmp_path / "app"
    app.mkdir()
    shutil.copy(APPS / "starving.py", app)
    stage = Path("/mnt")
    script = (
        f"mount -t tmpfs none {stage} && mkdir {stage}/app && cp {build}/rwsgi {build}/librwsgi_core.so {stage}/"
        f" && cp {app}/starving.py {stage}/app/ && mount -o remount,ro {stage}"
        " && for d in /tmp /var/tmp /dev/shm; do mount -t tmpfs -o ro none $d || exit 99; done"
        f" && cd {stage} && exec {stage}/rwsgi \"$@\"")
    server = serve("starving", "--spool-threshold", "64K", chdir=stage / "app", env={"HOME": None, "TMPDIR": None, "VIRTUAL_ENV": None},
                   command=["unshare", "-m", "sh", "-c", script, "sh"], listens=False, cwd=Path("/"))
    try:
        server.wait_listening()
    except AssertionError as failure:
        if server.returncode == 99 or "mount" in str(failure):
            server.finished = True
            pytest.skip(f"cannot build such a container here: {str(failure)[-200:]}")
        raise
    assert get(server.address, "/size", "POST", b"x" * 3_000_000).body == b"3000000"
    serves(server.address)
