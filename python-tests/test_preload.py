"""--preload: the application is imported once per generation, in the mold, which forks the workers."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from support.server import eventually
from support.wire import Malformed, Wire

APP = """
import gc, json, os, sys, threading, time
VERSION = {version!r}
with open({imports!r}, "a") as imports:
    imports.write(f"{{os.getpid()}} {{os.getuid()}} {{int(gc.isenabled())}}\\n")
{more}
STATE = {{"rows": list(range(1000)), "importer": os.getpid()}}

def application(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        print("stuck now", file=sys.stderr, flush=True)
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({{
        "version": VERSION, "pid": os.getpid(), "parent": os.getppid(), "uid": os.getuid(),
        "importer": STATE["importer"], "rows": len(STATE["rows"]), "gc": gc.isenabled(),
        "frozen": gc.get_freeze_count(), "threads": threading.active_count(),
    }}).encode()]
"""


class Site:
    """An application on disk that notes who imports it, and can be deployed anew."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.imported = directory / "imports"
        self.deploy("one")

    def deploy(self, version: str, more: str = "") -> None:
        text = APP.format(version=version, imports=str(self.imported), more=more)
        (self.directory / "site_app.py").write_text(text)

    def imports(self) -> list[list[int]]:
        """Process id, user and state of the garbage collector at each import, in order."""
        if not self.imported.exists():
            return []
        return [[int(word) for word in line.split()] for line in self.imported.read_text().splitlines()]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def start(serve, site):
    def start(*args, **more):
        return serve("site_app:application", "--preload", *args, chdir=site.directory, **more)

    return start


def ask(server, path="/"):
    with Wire(server.address) as wire:
        return json.loads(wire.get(path, "Connection: close").body)


def until_version(server, version: str) -> None:
    """Until only that version answers: a worker that was told to go serves what it has accepted."""
    eventually(lambda: {ask(server)["version"] for _ in range(8)} == {version}, f"version {version}")


def children(pid: int) -> dict[int, str]:
    """Live children and their titles."""
    found = {}
    with open(f"/proc/{pid}/task/{pid}/children") as kids:
        for child in kids.read().split():
            try:
                title = Path(f"/proc/{child}/cmdline").read_bytes().rstrip(b"\0 ").decode()
            except FileNotFoundError:
                continue
            if title:
                found[int(child)] = title
    return found


def molds(server) -> list[int]:
    return [pid for pid, title in children(server.pid).items() if title == "rwsgi: mold [site_app:application]"]


def workers(server) -> list[int]:
    return [pid for pid, title in children(server.pid).items() if title == "rwsgi: worker [site_app:application]"]


def until_workers(server, count: int) -> list[int]:
    eventually(lambda: len(workers(server)) == count, f"{count} workers")
    return workers(server)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_the_application_is_imported_once_and_shared(start, site):
    server = start("--workers", "3")
    first = until_workers(server, 3)
    [mold] = molds(server)
    answer = ask(server)
    assert site.imports() == [[mold, os.getuid(), 0]]
    assert answer["importer"] == mold and answer["pid"] in first and answer["parent"] == server.pid
    assert answer["rows"] == 1000 and answer["gc"] and answer["frozen"] > 1000
    server.kill(signal.SIGTTIN)
    until_workers(server, 4)
    os.kill(answer["pid"], signal.SIGKILL)
    eventually(lambda: answer["pid"] not in workers(server) and len(workers(server)) == 4, "a replacement")
    assert {ask(server)["importer"] for _ in range(8)} == {mold}
    assert len(site.imports()) == 1


def test_the_master_holds_no_application_code(start, site):
    """A module of the library that only the application imports is mapped in the mold, not in the master."""
    site.deploy("one", "import sqlite3")
    server = start("--workers", "1")
    [worker] = until_workers(server, 1)
    [mold] = molds(server)
    assert "_sqlite3" in maps(mold) and "_sqlite3" in maps(worker)
    assert "_sqlite3" not in maps(server.pid)
    assert server.pid not in [pid for pid, *_ in site.imports()]


def test_recycling_takes_workers_from_the_mold(start, site):
    server = start("--workers", "1", "--max-requests", "3")
    pids = set()
    eventually(lambda: pids.add(ask(server)["pid"]) or len(pids) >= 4, "four workers")
    assert len(site.imports()) == 1


def test_a_reload_loads_new_code_in_a_new_mold(start, site):
    server = start("--workers", "2")
    until_workers(server, 2)
    [old] = molds(server)
    site.deploy("two")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    until_version(server, "two")
    eventually(lambda: not alive(old) and len(molds(server)) == 1, "the end of the old mold")
    assert [pid for pid, *_ in site.imports()] == [old, *molds(server)]


@pytest.mark.parametrize("broken, says", [
    ("raise LookupError('a bad deploy')", "LookupError: a bad deploy"),
    ("import time; time.sleep(600)", "MOLD BOOT TIMEOUT"),
    ("os.kill(os.getpid(), 9)", "was sent SIGKILL"),
])
def test_a_broken_deploy_keeps_the_old_code(start, site, broken, says):
    server = start("--workers", "2", "--boot-timeout", "2")
    first, [mold] = until_workers(server, 2), molds(server)
    site.deploy("broken", broken)
    server.kill(signal.SIGHUP)
    server.log.wait("Reload failed")
    server.log.wait(re.escape(says))
    assert {ask(server)["version"] for _ in range(4)} == {"one"}
    assert molds(server) == [mold] and workers(server) == first
    site.deploy("repaired")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    until_version(server, "repaired")


def test_a_killed_mold_is_replaced_and_its_workers_stay(start, site):
    server = start("--workers", "2")
    first, [mold] = until_workers(server, 2), molds(server)
    os.kill(mold, signal.SIGKILL)
    server.log.wait(rf"Mold \(pid:{mold}\) was sent SIGKILL")
    assert ask(server)["pid"] in first
    [victim, other] = first
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in workers(server) and len(workers(server)) == 2, "a replacement")
    assert other in workers(server) and molds(server) not in ([], [mold])
    assert len(site.imports()) == 2


def test_a_mold_that_cannot_come_back_leaves_the_workers_serving(start, site):
    server = start("--workers", "1")
    assert ask(server)["version"] == "one"
    [mold] = molds(server)
    site.deploy("broken", "raise LookupError('a bad deploy')")
    os.kill(mold, signal.SIGKILL)
    server.log.wait("molds in a row died")
    assert ask(server)["version"] == "one"
    site.deploy("repaired")
    eventually(lambda: molds(server), "a mold")
    assert ask(server)["version"] == "one"


@pytest.mark.parametrize("app, code", [("broken.raising:application", 4), ("broken.exiting:application", 3)])
def test_a_first_start_that_fails_ends_with_its_code(serve, app, code):
    server = serve(app, "--preload", "--workers", "2", listens=False)
    assert server.wait() == code
    assert len(server.log.find("Booting mold")) == 1 and not server.log.find("Booting worker")


def test_a_first_import_that_hangs_is_ended(start, site):
    site.deploy("one", "time.sleep(600)")
    server = start("--boot-timeout", "1", listens=False)
    assert server.wait() == 3
    assert server.log.find("MOLD BOOT TIMEOUT")


def test_a_first_import_that_hangs_does_not_hold_up_a_stop(start, site):
    site.deploy("one", "time.sleep(600)")
    server = start()
    eventually(site.imports, "the import")
    assert server.stop(signal.SIGTERM, patience=10) == 0


def test_a_killed_master_leaves_nobody(start, site):
    server = start("--workers", "3")
    left = until_workers(server, 3) + molds(server)
    server.kill(signal.SIGKILL)
    server.wait()
    server.log.wait_end()
    eventually(lambda: not any(alive(pid) for pid in left), "the end of all")
    server.finished = True


@pytest.mark.parametrize("preload", [True, False])
def test_a_stuck_worker_does_not_outlive_a_killed_master(serve, site, preload):
    server = serve("site_app:application", *["--preload"][:preload], "--workers", "1", "--timeout", "0",
                   "--graceful-timeout", "1", chdir=site.directory)
    [worker] = until_workers(server, 1)
    with Wire(server.address) as wire:
        wire.send("GET /stuck HTTP/1.1\r\nHost: test\r\n\r\n")
        server.log.wait("stuck now")
        server.kill(signal.SIGKILL)
        server.wait()
        eventually(lambda: not alive(worker), "the end of the worker", patience=10)
        with pytest.raises((Malformed, ConnectionResetError)):
            wire.reply()
    server.log.wait("The master is gone and 1 requests do not end")
    server.log.wait_end()
    server.finished = True


@pytest.mark.parametrize("preload", [True, False])
def test_a_worker_whose_import_hangs_does_not_outlive_a_killed_master(serve, site, preload):
    site.deploy("one", "time.sleep(600)")
    server = serve("site_app:application", *["--preload"][:preload], chdir=site.directory)
    eventually(site.imports, "the import")
    [[importer, *_]] = site.imports()
    server.kill(signal.SIGKILL)
    server.wait()
    eventually(lambda: not alive(importer), "its end", patience=10)
    server.log.wait_end()
    server.finished = True


def test_threads_before_the_fork_are_warned_of(start, site):
    more = "[threading.Thread(target=time.sleep, args=(600,), daemon=True).start() for _ in range(2)]"
    site.deploy("one", more)
    server = start("--workers", "3")
    until_workers(server, 3)
    server.log.wait(r"WARNING\] preload_app: 2 threads run")
    assert ask(server)["threads"] == 1
    assert len(server.log.find("preload_app: 2 threads")) == 1


def test_no_warning_without_threads(start):
    server = start("--workers", "2")
    until_workers(server, 2)
    ask(server)
    assert not server.log.find("WARNING")


def test_terminal_signals_end_all_in_order(start, site):
    """What a terminal or a service manager sends to everybody does not end the mold before its workers."""
    site.deploy("one", "import atexit; atexit.register(lambda: os.write(2, b'exit of %d\\n' % os.getpid()))")
    server = start("--workers", "2")
    seen = set()
    eventually(lambda: seen.add(ask(server)["pid"]) or len(seen) == 2, "two workers that serve")
    [mold] = molds(server)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    server.log.wait_end()
    ends = [int(found[1]) for found in server.log.find(r"exit of (\d+)")]
    assert len(ends) == 3 and ends[-1] == mold
    assert not server.log.find("Its workers are not affected")


def test_workers_drop_their_privileges(start, site):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    site.directory.chmod(0o755)
    server = start("--workers", "1", "--user", "65534", "--group", "65534")
    assert ask(server)["uid"] == 65534
    [mold] = molds(server)
    assert site.imports() == [[mold, 0, 0]]
    os.kill(workers(server)[0], signal.SIGKILL)
    eventually(lambda: len(server.log.find("Booting worker")) == 2, "a second worker")
    assert ask(server)["uid"] == 65534


def test_preloading_is_turned_on_by_a_reload(serve, site):
    config = site.directory / "rwsgi.toml"
    config.write_text("workers = 2\n")
    server = serve("site_app:application", "-c", str(config), chdir=site.directory)
    until_workers(server, 2)
    assert molds(server) == []
    config.write_text("workers = 2\npreload_app = true\n")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    assert len(molds(server)) == 1
    eventually(lambda: {ask(server)["importer"] for _ in range(8)} == set(molds(server)), "preloaded workers")
    config.write_text("workers = 2\n")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete", 2)
    eventually(lambda: not molds(server), "the end of the mold")
    answer = ask(server)
    assert answer["importer"] == answer["pid"]


def test_one_process_after_the_other_reopens_its_log(start, site, tmp_path):
    log = tmp_path / "error.log"
    server = start("--workers", "1", "--error-logfile", str(log), listens=False)
    eventually(lambda: log.exists() and "has loaded" in log.read_text() and workers(server), "a start")
    log.rename(tmp_path / "old.log")
    server.kill(signal.SIGUSR1)
    eventually(lambda: log.exists(), "a new file")
    moved = (tmp_path / "old.log").stat().st_ino

    def holds_old(pid):
        return any(os.stat(fd).st_ino == moved for fd in Path(f"/proc/{pid}/fd").iterdir() if os.path.exists(fd))

    eventually(lambda: not any(holds_old(pid) for pid in [server.pid, *molds(server), *workers(server)]), "closing")


def test_an_upgrade_brings_its_own_mold(start, site, tmp_path):
    pidfile = tmp_path / "pid"
    server = start("--workers", "2", "--pid", str(pidfile))
    until_workers(server, 2)
    server.kill(signal.SIGUSR2)
    successor = Path(f"{pidfile}.2")
    eventually(successor.exists, "a second master")
    new = int(successor.read_text())
    eventually(lambda: len(children(new)) == 3, "its mold and workers")
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    assert {ask(server)["parent"] for _ in range(4)} == {new}
    os.kill(new, signal.SIGTERM)
    server.log.wait_end()
    server.finished = True
