"""Configuration files in the style of well-known projects, unchanged but for paths and ports."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from support.conf import environ
from support.server import eventually
from support.wire import Wire


def test_netbox(configured):
    """contrib/gunicorn.py: plain settings with computed values."""
    server = configured.start("""
        # The IP address (typically localhost) and port that the NetBox WSGI process should listen on
        bind = '127.0.0.1:8001'

        # Number of gunicorn workers to spawn. This should typically be 2n+1, where
        # n is the number of CPU cores present.
        workers = 2

        # Number of threads per worker process
        threads = 3

        # Timeout (in seconds) for a request to complete
        timeout = 120

        # The maximum number of requests a worker can handle before being respawned
        max_requests = 5000
        max_requests_jitter = 500
    """)
    server.booted(2)
    seen = environ(server)
    assert seen["wsgi.multithread"] == 1 and seen["wsgi.multiprocess"] == 1


def test_sentry(configured):
    """A self-hosted service whose hooks set worker state and end it cleanly."""
    server = configured.start("""
        import gc, os, threading
        preload_app = False
        worker_class = "gthread"
        workers = int(os.environ.get("WEB_WORKERS", 2))
        threads = 4
        backlog = 512
        keepalive = 5
        loglevel = os.getenv("LOG_LEVEL", "info")
        forwarded_allow_ips = "*"
        secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}

        def post_fork(server, worker):
            server.log.info("Worker spawned (pid: %s)", worker.pid)
            gc.freeze()
            worker.flusher = threading.Event()

        def when_ready(server):
            server.log.info("Server is ready. Spawning workers")

        def worker_exit(server, worker):
            worker.flusher.set()
            note("flushed", worker.pid)

        def worker_int(worker):
            worker.log.info("worker received INT or QUIT signal")
            import threading, sys, traceback
            id2name = {th.ident: th.name for th in threading.enumerate()}
            code = []
            for threadId, stack in sys._current_frames().items():
                code.append("\\n# Thread: %s(%d)" % (id2name.get(threadId, ""), threadId))
                for filename, lineno, name, line in traceback.extract_stack(stack):
                    code.append('File: "%s", line %d, in %s' % (filename, lineno, name))
            worker.log.debug("\\n".join(code))

        def worker_abort(worker):
            worker.log.info("worker received SIGABRT signal")
    """, env={"WEB_WORKERS": "3"})
    workers = server.booted(3)
    server.log.wait("Server is ready. Spawning workers")
    server.log.wait(r"Worker spawned \(pid: \d+\)", 3)
    assert environ(server, "/", "X-Forwarded-Proto: https")["wsgi.url_scheme"] == "https"
    server.stop(signal.SIGINT)
    server.log.wait("worker received INT or QUIT signal", 3)
    assert sorted(n[2] for n in configured.notes("flushed")) == sorted(workers)


def test_mozilla(configured):
    """Settings from the environment, a request id for each request, statsd-like counters by hook."""
    server = configured.start("""
        import os, time
        bind = f"0.0.0.0:{os.environ.get('PORT', 8000)}"
        workers = os.environ.get("WEB_CONCURRENCY", 1)
        accesslog = "-"
        errorlog = "-"
        access_log_format = '%({x-request-id}i)s "%(r)s" %(s)s %(b)s'
        raw_env = ["DJANGO_SETTINGS_MODULE=shop.settings"]
        counters = {}

        def pre_request(worker, req):
            worker.started = time.monotonic()
            if not any(name == "X-REQUEST-ID" for name, _ in req.headers):
                req.headers.append(("X-REQUEST-ID", f"made-{worker.age}-{worker.nr}"))

        def post_request(worker, req, environ, resp):
            key = f"{req.method}.{resp.status.split()[0]}"
            counters[key] = counters.get(key, 0) + 1
            note("counters", counters, time.monotonic() - worker.started < 5)
    """)
    assert environ(server)["HTTP_X_REQUEST_ID"] == "made-1-0"
    assert environ(server, "/", "X-Request-Id: given")["HTTP_X_REQUEST_ID"] == "given"
    server.out.wait(r'^given "GET / HTTP/1.1" 200 \d+$')
    configured.wait_note("counters", 2)
    assert configured.notes("counters")[1][2:] == [{"GET.200": 2}, True]


def test_paperless_ngx(configured):
    """gunicorn.conf.py of Paperless-ngx, with the WSGI worker."""
    server = configured.start("""
        import os

        # See https://docs.gunicorn.org/en/stable/settings.html for
        # explanations of settings
        bind = f'{os.getenv("PAPERLESS_BIND_ADDR", "[::]")}:{os.getenv("PAPERLESS_PORT", 8000)}'

        workers = int(os.getenv("PAPERLESS_WEBSERVER_WORKERS", 1))
        timeout = 120
        preload_app = False

        worker_tmp_dir = "/dev/shm"


        def pre_fork(server, worker):
            pass


        def pre_exec(server):
            server.log.info("Forked child, re-executing.")


        def when_ready(server):
            server.log.info("Server is ready. Spawning workers")


        def worker_int(worker):
            worker.log.info("worker received INT or QUIT signal")

            ## get traceback info
            import sys
            import threading
            import traceback

            id2name = {th.ident: th.name for th in threading.enumerate()}
            code = []
            for threadId, stack in sys._current_frames().items():
                code.append(f"\\n# Thread: {id2name.get(threadId, '')}({threadId})")
                for filename, lineno, name, line in traceback.extract_stack(stack):
                    code.append(f'File: "{filename}", line {lineno}, in {name}')
                    if line:
                        code.append(f"  {line.strip()}")
            worker.log.debug("\\n".join(code))


        def worker_abort(worker):
            worker.log.info("worker received SIGABRT signal")
    """)
    server.log.wait("Server is ready. Spawning workers")
    assert environ(server)["REQUEST_METHOD"] == "GET"
    server.stop(signal.SIGQUIT)
    server.log.wait("worker received INT or QUIT signal")


def test_superset(configured):
    """docker/run-server.sh: everything on the command line and in the environment."""
    configured.write("def post_fork(server, worker): server.log.info('spawned by superset')\n", name="superset_gunicorn.py")
    server = configured.serve(
        None, "-c", "superset_gunicorn.py", "--access-logfile", "-", "--error-logfile", "-", "--workers", "1", "--worker-class", "gthread", "--threads", "20",
        "--log-level", "info", "--timeout", "60", "--keep-alive", "2", "--max-requests", "0", "--max-requests-jitter", "0",
        "--limit-request-line", "0", "--limit-request-field_size", "0", "forms:factory()", cwd=configured.directory,
    )
    server.log.wait("spawned by superset")
    with Wire(server.address) as wire:
        assert wire.get("/").text == "((), {})"
    server.out.wait('"GET / HTTP/1.1" 200')


def test_mlflow(configured):
    """mlflow server: GUNICORN_CMD_ARGS from --gunicorn-opts, the rest on the command line."""
    server = configured.serve(
        "seen:application", "-w", "4", cwd=configured.directory,
        env={"GUNICORN_CMD_ARGS": "--log-level debug --timeout 180 --access-logfile -", "PROMETHEUS_MULTIPROC_DIR": str(configured.directory)},
    )
    assert len(set(server.booted(4))) == 4
    assert environ(server)["wsgi.multiprocess"] == 1
    server.out.wait('"GET / HTTP/1.1" 200')


@pytest.mark.parametrize("workers", [2])
def test_prometheus_in_several_processes(configured, workers):
    """prometheus_client's recipe: the values of all workers are added up, gauges of the dead are dropped."""
    pytest.importorskip("prometheus_client")
    directory = configured.directory / "metrics"
    (configured.directory / "measured.py").write_text("""
import os
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
served = Counter("served", "Requests served")
alive = Gauge("alive", "Workers", multiprocess_mode="liveall")
alive.set(1)
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/metrics":
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        return [generate_latest(registry)]
    served.inc()
    return [str(os.getpid()).encode()]
""")
    server = configured.start(f"""
        import os, shutil
        from prometheus_client import multiprocess
        workers = {workers}

        def on_starting(server):
            path = os.environ["PROMETHEUS_MULTIPROC_DIR"]
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)

        def child_exit(server, worker):
            multiprocess.mark_process_dead(worker.pid)
            note("dead", worker.pid)
    """, app="measured:app", chdir=configured.directory, env={"PROMETHEUS_MULTIPROC_DIR": str(directory)})

    def get(path):
        with Wire(server.address) as wire:
            return wire.get(path).text

    def metric(name):
        return {line for line in get("/metrics").splitlines() if line.startswith(name)}

    pids = set()
    count = 0
    while len(pids) < workers:
        count += 1
        pids.add(int(get("/")))
        assert count < 500
    assert metric("served_total") == {f"served_total {float(count)}"}
    assert len(metric("alive{")) == workers

    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    assert configured.wait_note("dead")[2] == victim
    server.booted(workers + 1)
    eventually(lambda: len(metric("alive{")) == workers, "the successor's gauge")
    assert f'alive{{pid="{victim}"}} 1.0' not in metric("alive{")
    assert metric("served_total") == {f"served_total {float(count)}"}, "what the dead has counted stays"


def test_configurations_of_tiangolos_images(configured):
    """json, multiprocessing and names that are no settings."""
    server = configured.start("""
        import json
        import multiprocessing
        import os

        workers_per_core_str = os.getenv("WORKERS_PER_CORE", "1")
        max_workers_str = os.getenv("MAX_WORKERS")
        use_max_workers = None
        if max_workers_str:
            use_max_workers = int(max_workers_str)
        web_concurrency_str = os.getenv("WEB_CONCURRENCY", None)
        host = os.getenv("HOST", "0.0.0.0")
        port = os.getenv("PORT", "80")
        bind_env = os.getenv("BIND", None)
        use_loglevel = os.getenv("LOG_LEVEL", "info")
        use_bind = bind_env if bind_env else f"{host}:{port}"
        cores = multiprocessing.cpu_count()
        workers_per_core = float(workers_per_core_str)
        default_web_concurrency = workers_per_core * cores
        web_concurrency = 2
        accesslog_var = os.getenv("ACCESS_LOG", "-")
        use_accesslog = accesslog_var or None
        errorlog_var = os.getenv("ERROR_LOG", "-")
        use_errorlog = errorlog_var or None
        graceful_timeout_str = os.getenv("GRACEFUL_TIMEOUT", "120")
        timeout_str = os.getenv("TIMEOUT", "120")
        keepalive_str = os.getenv("KEEP_ALIVE", "5")

        # Gunicorn config variables
        loglevel = use_loglevel
        workers = web_concurrency
        bind = use_bind
        errorlog = use_errorlog
        worker_tmp_dir = "/dev/shm"
        accesslog = use_accesslog
        graceful_timeout = int(graceful_timeout_str)
        timeout = int(timeout_str)
        keepalive = int(keepalive_str)

        # For debugging and testing
        log_data = {"loglevel": loglevel, "workers": workers, "bind": bind}
        print(json.dumps(log_data))
    """)
    server.booted(2)
    assert not server.log.find("did you mean"), server.log.text
    assert len(server.out.find("loglevel")) == 1
