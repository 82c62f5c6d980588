"""The same events for Gunicorn and for the server: which hooks are called, in which process, in
which order, and what `server` and `worker` look like then.

What differs on purpose is told here where it is undone, and in gunicorn-compat.toml with its reason.
"""

from __future__ import annotations

import os
import signal

import pytest
from support.server import eventually
from support.twins import APP, twins  # noqa: F401

HOOKS = '''
import json, os

def note(name, *what):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps([os.getpid(), name, *what]) + "\\n")

def of_server(server):
    return dict(own=server.pid == os.getpid(), workers=server.num_workers, age=server.worker_age, children=len(server.WORKERS),
                name=server.master_name, shown=server.proc_name, timeout=server.timeout, old_master=server.master_pid != 0,
                new_master=server.reexec_pid != 0, configured=server.cfg.workers)

def of_worker(worker):
    pid = worker.pid if worker.pid == "[booting]" else worker.pid == os.getpid()
    return dict(pid=pid, age=worker.age, booted=worker.booted, aborted=worker.aborted, alive=worker.alive, served=worker.nr,
                child=worker.ppid == os.getppid(), loaded=getattr(worker, "wsgi", None) is not None, timeout=worker.timeout,
                watched=worker.reloader is not None, shown=str(worker) == f"<Worker {worker.pid}>")

def on_starting(server): note("on_starting", of_server(server))
def on_reload(server): note("on_reload", of_server(server))
def when_ready(server): note("when_ready", of_server(server), len(server.LISTENERS))
def pre_fork(server, worker): note("pre_fork", of_server(server), of_worker(worker))
def post_fork(server, worker): note("post_fork", of_server(server), of_worker(worker))
def post_worker_init(worker): note("post_worker_init", of_worker(worker))
def worker_int(worker): note("worker_int", of_worker(worker))
def worker_abort(worker): note("worker_abort", of_worker(worker))
def pre_exec(server): note("pre_exec", of_server(server))
def pre_request(worker, req): note("pre_request", of_worker(worker), req.uri)
def post_request(worker, req, environ, resp): note("post_request", of_worker(worker), req.uri, getattr(resp, "status", None))
def child_exit(server, worker): note("child_exit", of_server(server), of_worker(worker))
def worker_exit(server, worker): note("worker_exit", of_server(server), of_worker(worker))
def nworkers_changed(server, new, old): note("nworkers_changed", new, old)
def on_exit(server): note("on_exit", of_server(server))
'''


def play(events, *args, **more):
    """Starts a server, waits until it serves, lets `events` happen, ends it; the notes by process."""

    def played(twin):
        twin.start(*args, **more)
        twin.wait_note("post_worker_init")
        assert twin.ask("/first").startswith(b"HTTP/1.1 200")
        twin.wait_note("post_request")
        events(twin)
        if twin.server.returncode is None:
            twin.server.stop()
        ages = {}
        for pid, name, *what in twin.notes("post_fork"):
            ages.setdefault(pid, what[1]["age"])
        roles = {}
        for pid, name, *what in twin.notes():
            role = "master" if pid == twin.server.pid else f"worker {ages[pid]}" if pid in ages else "another"
            roles.setdefault(role, []).append([name, *what])
        return roles

    return played


def names(notes) -> list[str]:
    return [name for name, *_ in notes]


def worker(twin) -> int:
    return twin.notes("post_fork")[0][0]


def nothing(twin):
    pass


def stop(number):
    return lambda twin: twin.server.stop(number)


def signalled(number):
    def events(twin):
        os.kill(worker(twin), number)
        twin.wait_note("post_worker_init", 2)
        twin.wait_note("child_exit")

    return events


def more_and_less(twin):
    twin.server.kill(signal.SIGTTIN)
    twin.wait_note("post_worker_init", 2)
    twin.server.kill(signal.SIGTTOU)
    twin.wait_note("child_exit")


def requests(twin):
    for path in ("/a?b=c", "/raise"):
        twin.ask(path)
    twin.wait_note("post_request", 3)


def crash(twin):
    assert twin.ask("/exit") == b""
    twin.wait_note("post_worker_init", 2)


@pytest.mark.parametrize("events, args", [
    pytest.param(nothing, [], id="TERM"),
    pytest.param(stop(signal.SIGINT), [], id="INT"),
    pytest.param(stop(signal.SIGQUIT), [], id="QUIT"),
    pytest.param(stop(signal.SIGINT), ["--threads", "2"], id="INT with threads"),
    pytest.param(more_and_less, [], id="TTIN and TTOU"),
    pytest.param(crash, [], id="a crash"),
    *(pytest.param(signalled(number), [], id=f"{number.name} to a worker") for number in
      (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT)),
])
def test_the_same(twins, events, args):  # noqa: F811
    theirs, ours = twins(play(events, *args), HOOKS)
    assert ours == theirs


def test_around_requests(twins):  # noqa: F811
    theirs, ours = twins(play(requests), HOOKS)
    # An application that raised before start_response: our page's status is known, theirs is written after the hook.
    assert [note for note in theirs["worker 1"] if note[0] == "post_request"][2][3] is None
    [failed] = [note for note in ours["worker 1"] if note[0] == "post_request" and note[2] == "/raise"]
    assert failed[3] == "500 Internal Server Error"
    failed[3] = None
    assert ours == theirs


def test_a_reload(twins):  # noqa: F811
    def events(twin):
        twin.server.kill(signal.SIGHUP)
        twin.wait_note("post_worker_init", 2)
        twin.wait_note("child_exit")

    theirs, ours = twins(play(events), HOOKS)
    # The new number holds when a worker of the new configuration serves: until then the reload can fail.
    assert names(theirs["master"])[4:7] == ["nworkers_changed", "on_reload", "pre_fork"]
    assert names(ours["master"])[4:7] == ["on_reload", "pre_fork", "nworkers_changed"]
    ours["master"].insert(4, ours["master"].pop(6))
    assert ours == theirs


def test_a_change_of_the_code(twins):  # noqa: F811
    def events(twin):
        # Gunicorn looks once a second, and takes what it finds first for unchanged.
        source = twin.directory / "hello.py"

        def changed():
            # Whole at once: a worker that finds half of it cannot load it, which ends Gunicorn.
            source.with_suffix(".new").write_text(APP + "\n# changed\n")
            source.with_suffix(".new").replace(source)
            return len(twin.notes("post_worker_init")) >= 2

        eventually(changed, "the successor")
        twin.wait_note("child_exit")

    theirs, ours = twins(play(events, "--reload"), HOOKS)
    # Gunicorn calls worker_int in a thread that the end of the worker may overtake.
    theirs_of_worker, ours_of_worker = ([n for n in roles["worker 1"] if n[0] != "worker_int"] for roles in (theirs, ours))
    assert ours_of_worker == theirs_of_worker
    assert names(ours["worker 1"]) == ["post_fork", "post_worker_init", "pre_request", "post_request", "worker_int", "worker_exit"]
    assert [n[1]["watched"] for n in ours["worker 1"] if n[0] == "post_worker_init"] == [True]
    # The successor serves before the worker goes.
    assert names(theirs["master"])[3:6] == ["pre_fork", "child_exit", "pre_fork"]
    assert names(ours["master"])[3:6] == ["pre_fork", "pre_fork", "child_exit"]


def test_max_requests(twins):  # noqa: F811
    def events(twin):
        twin.ask("/last")
        twin.wait_note("post_worker_init", 2)
        twin.wait_note("child_exit")

    theirs, ours = twins(play(events, "--max-requests", "2"), HOOKS)
    assert names(ours["worker 1"]) == names(theirs["worker 1"])
    assert names(theirs["master"])[3:6] == ["pre_fork", "child_exit", "pre_fork"]
    assert names(ours["master"])[3:6] == ["pre_fork", "pre_fork", "child_exit"]


def test_a_timeout(twins):  # noqa: F811
    def events(twin):
        twin.ask("/sleep")
        twin.wait_note("worker_abort")
        if twin.name == "gunicorn":
            twin.wait_note("post_worker_init", 2)

    theirs, ours = twins(play(events, "--timeout", "1"), HOOKS)
    end = ["pre_request", "worker_abort", "post_request", "worker_exit"]
    assert names(theirs["worker 1"])[4:] == names(ours["worker 1"])[4:] == end
    # One stuck request is no reason to end the worker.
    assert "worker 2" in theirs and "worker 2" not in ours
    assert ours["worker 1"][-2][2:] == ["/sleep", "504 Gateway Timeout"]


STUCK = '''
def app(environ, start_response):
    if environ["PATH_INFO"] == "/stuck":
        # Neither a signal nor an exception gets it out of here.
        import ctypes
        lock = ctypes.PyDLL(None).pthread_mutex_lock
        mutex = ctypes.create_string_buffer(128)
        lock(mutex), lock(mutex)
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
'''


def test_a_worker_that_has_to_be_killed(twins):  # noqa: F811
    """child_exit can tell it from others."""
    def events(twin):
        pid = worker(twin)
        assert twin.ask("/stuck") == b""
        twin.wait_note("child_exit")
        assert twin.notes("child_exit")[0][0] != pid

    def played(twin):
        (twin.directory / "stuck.py").write_text(STUCK)
        args = ["--timeout", "1"] if twin.name == "gunicorn" else ["--timeout", "1", "--timeout-grace", "1"]
        return play(events, *args, app="stuck:app")(twin)

    theirs, ours = twins(played, HOOKS)
    exits = [[note for note in roles["master"] if note[0] == "child_exit"] for roles in (theirs, ours)]
    # The first one was stuck, the other one is there at the end.
    assert [[note[2]["aborted"] for note in notes] for notes in exits] == [[True, False]] * 2
    assert [note[2] for note in exits[1]] == [note[2] for note in exits[0]]


def test_an_upgrade(twins):  # noqa: F811
    def events(twin):
        twin.server.kill(signal.SIGUSR2)
        new = twin.wait_note("pre_exec")[0]
        try:
            twin.wait_note("post_worker_init", 2)
            assert twin.server.stop_master(signal.SIGQUIT) == 0
        finally:
            os.kill(new, signal.SIGTERM)
        twin.server.log.wait_end()
        twin.server.finished = True

    theirs, ours = twins(play(events), HOOKS)
    new_masters = [roles.pop("another") for roles in (theirs, ours)]
    new_workers = [roles.pop("worker 1") for roles in (theirs, ours)]
    assert ours == theirs
    assert names(new_masters[1]) == names(new_masters[0])
    for theirs, ours in zip(*new_masters):
        if theirs[0] in ("pre_exec", "on_starting", "when_ready", "pre_fork"):
            # A suffix of the name that is gone when the old master is.
            theirs[1].pop("shown"), ours[1].pop("shown")
            assert ours == theirs
    assert names(new_workers[1]) == names(new_workers[0])


@pytest.mark.parametrize("events", [nothing, stop(signal.SIGINT), signalled(signal.SIGKILL)], ids=["TERM", "INT", "KILL"])
def test_preloaded(twins, events):  # noqa: F811
    theirs, ours = twins(play(events, "--preload"), HOOKS)
    # pre_fork is called where the application is, which is not the master.
    forks = ours.pop("another")
    assert [note[2] for note in forks] == [note[2] for note in theirs["master"] if note[0] == "pre_fork"]
    for (_, our_server, _), (_, their_server, _) in zip(forks, [n for n in theirs["master"] if n[0] == "pre_fork"]):
        assert their_server.pop("own") and not our_server.pop("own")
        assert our_server == their_server
    theirs["master"] = [note for note in theirs["master"] if note[0] != "pre_fork"]
    for roles in (theirs, ours):
        for note in roles["master"]:
            if isinstance(note[1], dict):
                note[1].pop("age")
    assert ours == theirs


WORKER_IDS = '''
# As many configurations have it: each worker has a small number that nobody else has.
def _next(server):
    taken = {worker.number for worker in server.WORKERS.values() if worker.alive}
    return next(number for number in range(1, 100) if number not in taken)
def pre_fork(server, worker): worker.number = _next(server)
def post_fork(server, worker): note("number", worker.age, worker.number)
'''


@pytest.mark.parametrize("args", [[], ["--preload"]], ids=["plain", "preload"])
def test_small_numbers_for_workers(twins, args):  # noqa: F811
    def played(twin):
        twin.start(*args)
        assert twin.ask().startswith(b"HTTP/1.1 200")
        twin.server.kill(signal.SIGTTIN)
        twin.wait_note("number", 2)
        os.kill(twin.wait_note("number")[0], signal.SIGKILL)
        twin.wait_note("number", 3)
        return [note[2:] for note in twin.notes("number")]

    theirs, ours = twins(played, HOOKS.split("def of_server")[0] + WORKER_IDS)
    assert ours == theirs == [[1, 1], [2, 2], [3, 1]]
