"""Hooks of gunicorn.conf.py: in which process, in which order, with which arguments."""

from __future__ import annotations

import os
import signal

import pytest
from support.conf import environ
from support.server import eventually
from support.wire import Wire

ALL = """
    bind = "127.0.0.1:0"
    def on_starting(server): note("on_starting", str(server.pid), server.cfg.workers)
    def on_reload(server): note("on_reload", server.cfg.workers)
    def when_ready(server): note("when_ready", [str(s) for s in server.LISTENERS], server.num_workers)
    def pre_fork(server, worker): note("pre_fork", worker.pid, worker.age)
    def post_fork(server, worker):
        worker.mark = f"marked {worker.age}"
        note("post_fork", worker.pid, worker.age, worker.ppid, server.pid)
    def post_worker_init(worker): note("post_worker_init", worker.pid, worker.mark, callable(worker.wsgi), worker.booted)
    def worker_int(worker): note("worker_int", str(worker))
    def worker_exit(server, worker): note("worker_exit", worker.pid)
    def child_exit(server, worker): note("child_exit", worker.pid, worker.pid in server.WORKERS, worker.mark if hasattr(worker, "mark") else None)
    def nworkers_changed(server, new_value, old_value): note("nworkers_changed", new_value, old_value)
    def on_exit(server): note("on_exit", len(server.WORKERS))
"""


def test_the_life_of_a_server(configured):
    server = configured.start(ALL + "    workers = 2\n")
    configured.wait_note("post_worker_init", 2)
    workers = server.booted(2)
    assert server.stop() == 0
    notes = configured.notes()
    names = [note[1] for note in notes]
    assert names[:4] == ["nworkers_changed", "on_starting", "when_ready", "pre_fork"] and names[-1] == "on_exit"
    master = server.pid
    in_master = {"nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"}
    assert all((pid == master) == (name in in_master) for pid, name, *_ in notes)
    url = f"http://127.0.0.1:{server.port}"
    assert configured.notes("on_starting") == [[master, "on_starting", str(master), 2]]
    assert configured.notes("when_ready") == [[master, "when_ready", [url], 2]]
    assert configured.notes("nworkers_changed") == [[master, "nworkers_changed", 2, None]]
    assert [n[2:] for n in configured.notes("pre_fork")] == [["[booting]", 1], ["[booting]", 2]]
    assert sorted(n[2] for n in configured.notes("post_fork")) == sorted(workers)
    assert all(n[0] == n[2] and n[4] == n[5] == master for n in configured.notes("post_fork"))
    assert sorted(n[3:] for n in configured.notes("post_worker_init")) == [["marked 1", True, False], ["marked 2", True, False]]
    assert sorted(n[2] for n in configured.notes("worker_exit")) == sorted(workers)
    assert sorted(n[2:] for n in configured.notes("child_exit")) == sorted([pid, False, None] for pid in workers)
    assert configured.notes("on_exit") == [[master, "on_exit", 0]]
    assert configured.notes("worker_int") == []


def test_preloading_calls_pre_fork_where_the_application_is(configured):
    server = configured.start(ALL + "    workers = 2\n    preload_app = True\n")
    configured.wait_note("post_worker_init", 2)
    mold = int(server.log.wait(r"Booting mold with pid: (\d+)")[1])
    # One that serves: who dies before that ends the first start.
    os.kill(environ(server)["pid"], signal.SIGKILL)
    configured.wait_note("post_worker_init", 3)
    assert server.stop() == 0
    assert [n[0] for n in configured.notes("pre_fork")] == [mold] * 3
    assert [n[2:] for n in configured.notes("pre_fork")] == [["[booting]", 1], ["[booting]", 2], ["[booting]", 3]]
    assert sorted(n[2] for n in configured.notes("post_fork")) == sorted(server.booted(3))
    assert all(n[0] == n[2] and n[4] == n[5] == server.pid for n in configured.notes("post_fork"))
    assert sorted(n[4] for n in configured.notes("post_worker_init")) == [True] * 3
    assert {n[0] for n in configured.notes("child_exit")} == {server.pid}
    assert sorted(n[2] for n in configured.notes("child_exit")) == sorted(server.booted(3))


def test_preloaded_requests_are_observed(configured):
    server = configured.start("""
        preload_app = True
        def pre_request(worker, req): note("pre_request", worker.pid, req.path)
        def post_request(worker, req, environ, resp): note("post_request", worker.pid, resp.status_code)
    """, app="probe:application")
    with Wire(server.address) as wire:
        assert wire.get("/pid").status == 200
    (pid,) = server.booted(1)
    assert configured.wait_note("post_request") == [pid, "post_request", pid, 200]
    assert configured.notes("pre_request") == [[pid, "pre_request", pid, "/pid"]]


def test_preloading_survives_a_pre_fork_that_raises(configured):
    server = configured.start("""
        preload_app = True
        def pre_fork(server, worker):
            note("pre_fork", worker.age)
            if worker.age == 2:
                raise RuntimeError("not this one")
    """)
    with Wire(server.address) as wire:
        assert wire.get("/").status == 200
    server.kill(signal.SIGTTIN)
    server.log.wait(r"Mold \(pid:\d+\) exited with code 3. Its workers are not affected")
    assert "RuntimeError: not this one" in server.log.text
    with Wire(server.address) as wire:
        assert wire.get("/").status == 200


def test_a_quick_stop_interrupts(configured):
    server = configured.start(ALL)
    configured.wait_note("post_worker_init")
    (pid,) = server.booted(1)
    server.stop(signal.SIGINT)
    assert configured.notes("worker_int") == [[pid, "worker_int", f"<Worker {pid}>"]]


def test_workers_come_and_go(configured):
    server = configured.start(ALL)
    configured.wait_note("post_worker_init")
    server.kill(signal.SIGTTIN)
    configured.wait_note("post_worker_init", 2)
    server.kill(signal.SIGTTOU)
    gone = configured.wait_note("child_exit")
    assert gone[2] in server.booted(2)
    assert [n[2:] for n in configured.notes("nworkers_changed")] == [[1, None], [2, 1], [1, 2]]
    names = [n[1] for n in configured.notes()]
    second = names.index("nworkers_changed", 1)
    assert names.index("pre_fork", second) > second, "it is told before it forks"


def test_a_reload_uses_the_new_hooks(configured):
    server = configured.start(ALL)
    configured.wait_note("post_worker_init")
    configured.write(ALL + "    workers = 2\n    def post_fork(server, worker): note('new_post_fork', worker.cfg.workers)\n"
                           "    def post_worker_init(worker): note('new_init')\n")
    server.kill(signal.SIGHUP)
    configured.wait_note("new_init", 2)
    server.log.wait("Reload complete")
    names = [n[1] for n in configured.notes()]
    assert names.index("on_reload") < names.index("new_post_fork")
    assert configured.notes("on_reload")[0][2] == 2
    assert {n[2] for n in configured.notes("new_post_fork")} == {2}
    assert [n[2:] for n in configured.notes("nworkers_changed")] == [[1, None], [2, 1]]


def test_an_upgrade_calls_pre_exec_in_the_new_process(configured):
    server = configured.start(ALL + "    def pre_exec(server): note('pre_exec', _os.getppid())\n")
    configured.wait_note("post_worker_init")
    server.kill(signal.SIGUSR2)
    new, _, parent = configured.wait_note("pre_exec")
    assert parent == server.pid
    configured.wait_note("post_worker_init", 2)
    assert configured.notes("on_starting")[1][0] == new, "exec keeps the process"
    os.kill(new, signal.SIGTERM)
    eventually(lambda: len(configured.notes("on_exit")) == 1, "the new master's end")


def test_worker_abort_comes_with_the_timeout(configured):
    server = configured.start("""
        import sys
        timeout = 1
        def worker_abort(worker): note("worker_abort", worker.pid, len(sys._current_frames()) > 1)
        def post_request(worker, req, environ, resp): note("post_request", req.path, resp.status_code)
    """, app="probe:application")
    with Wire(server.address) as wire:
        assert wire.get("/sleep?for=20").status == 504
    (pid,) = server.booted(1)
    assert configured.notes("worker_abort") == [[pid, "worker_abort", pid, True]]
    assert configured.notes("post_request") == [[pid, "post_request", "/sleep", 504]]


# Requests


REQUESTS = """
    def pre_request(worker, req):
        worker.log.debug("%s %s", req.method, req.path)
        note("pre_request", req.method, req.uri, req.path, req.query, list(req.version), req.scheme, req.req_number, worker.nr,
             dict(req.headers).get("X-ONE"), req.should_close())
    def post_request(worker, req, environ, resp):
        note("post_request", req.path, environ["PATH_INFO"], resp.status, resp.status_code, dict(resp.headers).get("X-App"), resp.sent,
             resp.headers_sent)
"""


def test_hooks_around_a_request(configured):
    server = configured.start(REQUESTS)
    with Wire(server.address) as wire:
        first = wire.get("/a%20b?c=d", "X-One: 1")
        wire.get("/two")
    configured.wait_note("post_request", 2)
    pid = server.booted(1)[0]
    assert configured.notes("pre_request") == [
        [pid, "pre_request", "GET", "/a%20b?c=d", "/a%20b", "c=d", [1, 1], "http", 1, 0, "1", False],
        [pid, "pre_request", "GET", "/two", "/two", "", [1, 1], "http", 2, 1, None, False],
    ]
    assert configured.notes("post_request")[0] == [pid, "post_request", "/a%20b", "/a b", "200 OK", 200, "seen", len(first.body), True]


def test_pre_request_changes_environ(configured):
    server = configured.start("""
        def pre_request(worker, req):
            req.headers.append(("X-REQUEST-ID", "made here"))
            req.headers = [pair for pair in req.headers if pair[0] != "X-SECRET"]
            req.headers.append(("X-TWICE", "2"))
            req.scheme = "https"
    """)
    seen = environ(server, "/", "X-Secret: s", "X-Twice: 1", "Cookie: a=1")
    assert seen["HTTP_X_REQUEST_ID"] == "made here" and seen["HTTP_X_TWICE"] == "1,2"
    assert "HTTP_X_SECRET" not in seen and seen["wsgi.url_scheme"] == "https" and seen["HTTP_COOKIE"] == "a=1"


def test_pre_request_rewrites_the_target(configured):
    server = configured.start("""
        def pre_request(worker, req):
            req.path = "/else%20where"
            req.query = "x=1"
            req.uri = "/else%20where?x=1"
    """)
    seen = environ(server, "/here")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["RAW_URI"]) == ("/else where", "x=1", "/else%20where?x=1")


@pytest.mark.parametrize("arguments", ["worker, req", "worker, req, environ", "worker, req, environ, resp", "*all", "worker, req, environ=None"])
def test_post_request_takes_two_to_four_arguments(configured, arguments):
    server = configured.start(f"def post_request({arguments}): note('post_request')")
    environ(server)
    configured.wait_note("post_request")


def test_post_request_sees_failures(configured):
    server = configured.start("def post_request(worker, req, environ, resp): note('post_request', req.path, resp.status_code)")
    with Wire(server.address) as wire:
        assert wire.get("/raise").status == 500
    with Wire(server.address) as wire:
        assert wire.get("/silent").status == 500
    configured.wait_note("post_request", 2)
    assert [n[2:] for n in configured.notes("post_request")] == [["/raise", 500], ["/silent", 500]]


def test_a_raising_pre_request_fails_the_request(configured):
    server = configured.start("""
        def pre_request(worker, req):
            if req.path == "/bad": raise ValueError("not this one")
        def post_request(worker, req, environ, resp): note("post_request", environ == {}, resp)
    """)
    with Wire(server.address) as wire:
        assert wire.get("/bad").status == 500
    server.log.wait(r"ValueError: not this one")
    assert environ(server)["PATH_INFO"] == "/"


def test_a_raising_post_request_is_logged_and_forgotten(configured):
    server = configured.start("def post_request(worker, req, environ, resp): raise ValueError('too late')")
    with Wire(server.address) as wire:
        assert wire.get("/").status == 200
        server.log.wait(r"\[ERROR\] Exception in post_request hook")
        server.log.wait(r"ValueError: too late")
        assert wire.get("/").status == 200


def test_hooks_in_several_threads(configured):
    server = configured.start("threads = 4\ndef post_request(worker, req, environ, resp): note('post_request', req.path)")
    for number in range(8):
        environ(server, f"/{number}")
    configured.wait_note("post_request", 8)
    assert {n[2] for n in configured.notes("post_request")} == {f"/{n}" for n in range(8)}


# Hooks that raise


@pytest.mark.parametrize("hook, status", [
    ("on_starting(server)", 1), ("when_ready(server)", 1), ("nworkers_changed(server, new, old)", 1), ("pre_fork(server, worker)", 255),
    ("post_fork(server, worker)", 3), ("post_worker_init(worker)", 3),
])
def test_a_raising_hook_ends_the_start(configured, hook, status):
    name = hook.partition("(")[0]
    server = configured.start(f"def {hook}: raise ValueError('no ' + 'good')", listens=False)
    assert server.wait() == status
    server.finished = True
    log = server.log.wait_end()
    assert f"Exception in {name} hook" in log and "ValueError: no good" in log


def test_a_raising_child_exit_ends_the_server_as_in_gunicorn(configured):
    server = configured.start("workers = 2\ndef child_exit(server, worker): raise ValueError('no')")
    os.kill(server.booted(2)[0], signal.SIGKILL)
    assert server.wait() == 255
    server.finished = True
    assert "Exception in child_exit hook" in server.log.wait_end()


def test_a_raising_on_reload_gives_the_reload_up(configured):
    server = configured.start("def on_reload(server): raise ValueError('no')")
    before = environ(server)["pid"]
    server.kill(signal.SIGHUP)
    server.log.wait("Reload: the hook on_reload raised an exception")
    assert environ(server)["pid"] == before


@pytest.mark.parametrize("hook", ["worker_exit(server, worker)", "on_exit(server)", "worker_int(worker)"])
def test_a_raising_hook_at_the_end_is_logged(configured, hook):
    name = hook.partition("(")[0]
    server = configured.start(f"def {hook}: raise ValueError('no')")
    server.booted(1)
    environ(server)
    server.stop(signal.SIGINT if name == "worker_int" else signal.SIGTERM)
    server.log.wait(f"Exception in {name} hook")


# The rest


def test_hooks_by_name(configured):
    (configured.directory / "my_hooks.py").write_text("def ready(server): server.log.warning('ready by name')\n")
    server = configured.start("when_ready = 'my_hooks.ready'")
    server.log.wait(r"\[WARNING\] ready by name")


def test_hooks_in_a_toml(configured):
    (configured.directory / "my_hooks.py").write_text("def ready(server): server.log.warning('ready by name')\n")
    (configured.directory / "rwsgi.toml").write_text(f"when_ready = 'my_hooks.ready'\n")
    server = configured.start(env={"PYTHONPATH": str(configured.directory)})
    server.log.wait(r"\[WARNING\] ready by name")


def test_bound_methods_and_partials_are_hooks(configured):
    server = configured.start("""
        import functools
        class Hooks:
            def post_fork(self, server, worker): note("method", worker.pid)
        def both(what, server, worker): note(what, worker.pid)
        post_fork = Hooks().post_fork
        pre_fork = functools.partial(both, "partial")
    """)
    configured.wait_note("method")
    configured.wait_note("partial")


def test_the_log_of_hooks(configured):
    server = configured.start("""
        def when_ready(server):
            server.log.info("one %s", 1)
            server.log.warning("%(a)s", {"a": "two"})
            server.log.error("100%")
            try: 1 / 0
            except ZeroDivisionError: server.log.exception("three")
            server.log.log(20, "four")
            server.log.critical("five")
    """)
    for line in (r"\[INFO\] one 1", r"\[WARNING\] two", r"\[ERROR\] 100%", r"\[ERROR\] three", "ZeroDivisionError", r"\[INFO\] four", r"\[CRITICAL\] five"):
        server.log.wait(line)


def test_attributes_real_configurations_use(configured):
    server = configured.start("""
        proc_name = "shop"
        timeout = 33
        def when_ready(server):
            note("server", server.proc_name, server.master_name, server.timeout, server.app.cfg.timeout, server.cfg.settings["timeout"].get(),
                 server.address, server.worker_age, server.num_workers, server.cfg.bind, server.cfg.env, server.cfg.worker_class_str,
                 server.cfg.is_ssl)
        def post_worker_init(worker):
            worker.start_time = 5
            note("worker", worker.timeout, worker.cfg.proc_name, worker.alive, worker.aborted, worker.nr, worker.max_requests > 0,
                 worker.app.wsgi() is worker.wsgi, worker.start_time, [str(s) for s in worker.sockets], worker.tmp.last_update() > 0)
            worker.notify()
    """)
    url = f"http://127.0.0.1:{server.port}"
    assert configured.wait_note("server")[2:] == ["shop", "Master", 33, 33, 33, ["127.0.0.1:0"], 0, 1, ["127.0.0.1:0"], {}, "sync", None]
    assert configured.wait_note("worker")[2:] == [16.5, "shop", True, False, 0, True, True, 5, [url], True]
