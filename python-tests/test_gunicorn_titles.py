"""The package `setproctitle` in configuration files and applications, and who reads what it writes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import eventually
from support.wire import Wire


def children(pid: int) -> list[int]:
    """As psutil's `Process.children()`."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (each / "stat").read_text().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(each.name))
    return found


def cmdline(pid: int) -> list[str]:
    """As psutil's `Process.cmdline()`."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    separator = "\0" if data.endswith("\0") else " "
    return data.removesuffix(separator).split(separator) if data else []


def title(pid: int) -> str:
    return " ".join(word for word in cmdline(pid) if word)


# What the web server of Airflow 2 has Gunicorn read, but for the names' module.
AIRFLOW = """
    import setproctitle
    GUNICORN_WORKER_READY_PREFIX = "[ready] "

    def post_worker_init(_):
        old_title = setproctitle.getproctitle()
        setproctitle.setproctitle(GUNICORN_WORKER_READY_PREFIX + old_title)
"""


class Monitor:
    """How Airflow's `webserver` looks after the workers of the Gunicorn it has started."""

    def __init__(self, server):
        self.server = server

    def ready(self) -> list[int]:
        return [pid for pid in children(self.server.pid) if (words := cmdline(pid)) and "[ready] " in words[0]]

    def wait(self, count: int, without=()) -> list[int]:
        """All workers there are, once they are `count`, ready, and none of these."""
        def settled():
            ready = self.ready()
            whole = len(ready) == len(children(self.server.pid)) == count
            return whole and not set(ready) & set(without) and ready
        return eventually(settled, f"{count} ready workers, of {[cmdline(pid) for pid in children(self.server.pid)]}")


def test_workers_that_say_they_are_ready_are_counted(configured):
    server = configured.start(AIRFLOW, "--workers", "2", "--name", "airflow-webserver")
    monitor = Monitor(server)
    first = monitor.wait(2)
    assert {title(pid) for pid in first} == {"[ready] rwsgi: worker [airflow-webserver]"}
    assert title(server.pid) == "rwsgi: master [airflow-webserver]"
    # A refresh as Airflow does it: one worker more, and when that is ready an old one goes.
    server.kill(signal.SIGTTIN)
    more = monitor.wait(3)
    assert set(first) < set(more)
    server.kill(signal.SIGTTOU)
    fewer = monitor.wait(2)
    assert set(more) - set(first) < set(fewer) < set(more)
    server.kill(signal.SIGHUP)
    monitor.wait(2, without=more)
    # One that dies is replaced by one that says so, too.
    victim = monitor.ready()[0]
    os.kill(victim, signal.SIGKILL)
    monitor.wait(2, without=[victim])


def test_a_title_is_what_was_set_last(configured):
    """Hooks come after the server's own title, in the master as in a worker; a reload begins anew."""
    server = configured.start("""
        from setproctitle import getproctitle, setproctitle, setthreadtitle
        workers = 1
        proc_name = "shop"
        note("before", getproctitle())

        def when_ready(server):
            setproctitle(title=getproctitle() + " and more")

        def post_fork(server, worker):
            setproctitle("first \\u00e4")
            assert getproctitle() == "first \\u00e4", getproctitle()

        def post_worker_init(worker):
            note("title", getproctitle())
            for wrong in ("a\\0b", 5, b"bytes"):
                try:
                    setproctitle(wrong)
                except (TypeError, ValueError):
                    pass
                else:
                    raise AssertionError(wrong)
            setproctitle("long" * 100_000)
            assert 10 < len(getproctitle()) < 400_000 and not getproctitle().strip("long")
            setproctitle("second one of many")
            note("name", open("/proc/self/comm").read())
            setthreadtitle("thread")
            note("done", open("/proc/self/comm").read())
    """)
    assert configured.wait_note("done")[2] == "thread\n"
    (worker,) = children(server.pid)
    assert configured.notes("title")[0][2] == "first \u00e4"
    # The kernel keeps 15 bytes.
    assert configured.notes("name")[0][2] == "second one of m\n"
    assert title(worker) == "second one of many"
    assert title(server.pid) == "rwsgi: master [shop] and more"
    assert "--bind 127.0.0.1:0" in configured.notes("before")[0][2]
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    eventually(lambda: title(server.pid) == "rwsgi: master [shop]", "the master's own title")


PROCESSES = """
    import multiprocessing, os, subprocess, sys
    from setproctitle import getproctitle, setproctitle

    SHOWN = "open('/proc/self/cmdline').read().rstrip(chr(0))"

    def child(pipe):
        setproctitle("a child")
        pipe.send((getproctitle(), eval(SHOWN)))

    def application(environ, start_response):
        mine, other = multiprocessing.get_context("fork").Pipe()
        process = multiprocessing.get_context("fork").Process(target=child, args=(other,))
        process.start()
        seen = [*mine.recv()]
        process.join()
        # A program of its own, with nothing of the server's.
        alone = f"from setproctitle import *; setproctitle('alone'); print(getproctitle(), {SHOWN}, sep='|')"
        seen += subprocess.run([sys.executable, "-c", f"import sys; {alone}"], capture_output=True, text=True,
                               check=True).stdout.strip().split("|")
        setproctitle("of the application")
        seen += [getproctitle(), eval(SHOWN)]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["|".join(seen).encode()]
"""


def test_processes_of_the_application_have_titles_of_their_own(configured):
    (configured.directory / "processes.py").write_text(re.sub("(?m)^    ", "", PROCESSES))
    server = configured.start("", app="processes:application", chdir=None)
    with Wire(server.address) as wire:
        seen = wire.get("/").body.decode().split("|")
    assert seen == ["a child"] * 2 + ["alone"] * 2 + ["of the application"] * 2
    (worker,) = children(server.pid)
    assert title(worker) == "of the application"


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_an_application_that_sets_a_title_when_it_is_loaded(configured, preload):
    """With preload it is the title of the process that loads it; workers have their own."""
    (configured.directory / "titled.py").write_text(
        "import setproctitle\nfrom setproctitle import setproctitle as set_title\nset_title('loaded')\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [setproctitle.getproctitle().encode()]\n"
    )
    server = configured.start("", *preload, app="titled:application", chdir=None)
    with Wire(server.address) as wire:
        assert wire.get("/").body == (b"rwsgi: worker [titled:application]" if preload else b"loaded")


def test_who_does_not_import_it_pays_nothing(configured):
    (configured.directory / "plain.py").write_text(
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec('setproctitle')\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [f\"{found is not None} {'setproctitle' in sys.modules} {'logging' in sys.modules}\".encode()]\n"
    )
    server = configured.start("", app="plain:application", chdir=None)
    with Wire(server.address) as wire:
        assert wire.get("/").body == b"True False False"


@pytest.mark.parametrize("version", ["1.1.10", "1.2.3", "1.3.0"])
def test_older_packages(configured, version):
    """Up to 1.2 the package is one extension module. On Python 3.10 and newer 1.1 fails without us."""
    packages = configured.directory / "packages"
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", packages]
    built = subprocess.run([*map(str, command), f"setproctitle=={version}"], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(f"setproctitle {version} cannot be built here: {built.stderr[-300:]}")
    server = configured.start(AIRFLOW + """
        assert setproctitle.__file__.startswith(PACKAGES), setproctitle.__file__
    """.replace("PACKAGES", repr(str(packages))), "--workers", "2", env={"PYTHONPATH": str(packages)})
    Monitor(server).wait(2)
