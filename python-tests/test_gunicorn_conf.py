"""gunicorn.conf.py: found, run, believed, and complained of."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from support.conf import environ
from support.server import APPS, clean_environment, server_command


def refused(directory, *args, **env) -> tuple[int, str]:
    """Exit status and what was said of a start that fails."""
    done = subprocess.run([*server_command(), *args], cwd=directory, env=clean_environment(**env), capture_output=True,
                          text=True, timeout=60)
    return done.returncode, done.stderr


def printed(directory, *args, **env) -> dict[str, tuple[str, str]]:
    """--print-config as {name: (value, origin)}."""
    done = subprocess.run([*server_command(), "--print-config", *args], cwd=directory, env=clean_environment(**env),
                          capture_output=True, text=True, timeout=60, check=True)
    rows = {}
    for line in done.stdout.splitlines():
        name, separator, rest = line.removeprefix("# ").partition(" = ")
        if separator:
            value, _, origin = rest.rpartition("  # ")
            rows[name.strip()] = (value, origin)
    return rows


def test_the_file_of_the_start_directory_is_found(configured):
    server = configured.start("""
        import multiprocessing
        workers = min(2, multiprocessing.cpu_count() + 1)
        raw_env = ["FROM=the file"]
    """)
    server.booted(2)
    assert environ(server)["wsgi.multiprocess"] == 1


@pytest.mark.parametrize("name", ["conf/settings.py", "file:conf/settings.py", "python:conf.settings", "conf/settings.txt"])
def test_ways_to_name_it(tmp_path, name):
    (tmp_path / "conf").mkdir()
    for file in ("settings.py", "settings.txt"):
        (tmp_path / "conf" / file).write_text("threads = 7\n")
    assert printed(tmp_path, "-c", name)["threads"] == ("7", f"{name.removeprefix('file:')} line 1" if ":" not in name or name.startswith("file:") else f"{name} line 1")


def test_values_of_every_type_python_has(tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text(
        "import os, pathlib\n"
        "bind = ['127.0.0.1:1', 'unix:/tmp/x']\nworkers = int('3')\ntimeout = 1.5\nkeepalive = '4'\nuser = os.getuid()\n"
        "pidfile = pathlib.Path('/run/x.pid')\nraw_env = ('A=1', 'B=2')\nloglevel = 'DEBUG'\naccesslog = '-'\nerrorlog = None\n"
        "preload_app = False\nsecure_scheme_headers = {'X-Proto': 'https'}\nforwarded_allow_ips = '*'\numask = 0o22\nsendfile = None\n"
        "max_requests = 0\nlimit_request_line = 8190\nworker_class = 'gthread'\nreload = False\ncertfile = None\n"
    )
    rows = printed(tmp_path)
    expected = {
        "bind": '["127.0.0.1:1", "unix:/tmp/x"]', "workers": "3", "timeout": "1.5", "keepalive": "4", "user": f'"{os.getuid()}"',
        "pidfile": '"/run/x.pid"', "raw_env": '["A=1", "B=2"]', "loglevel": '"debug"', "accesslog": '"-"', "errorlog": '""',
        "preload_app": "false", "secure_scheme_headers": '{ X-PROTO = "https" }', "forwarded_allow_ips": '["*"]', "umask": "0o022",
        "worker_class": '"gthread"',
    }
    assert {name: rows[name][0] for name in expected} == expected
    assert rows["sendfile"][1] == "default"


def test_stronger_sources_win(tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text("workers = 2\nthreads = 2\nkeepalive = 2\nbacklog = 2\n")
    rows = printed(tmp_path, "--workers", "5", GUNICORN_CMD_ARGS="--workers 4 --threads 4", RWSGI_KEEPALIVE="9")
    assert [rows[name][0] for name in ("workers", "threads", "keepalive", "backlog")] == ["5", "4", "9", "2"]
    assert rows["backlog"][1] == "gunicorn.conf.py line 4"


def test_a_file_named_in_gunicorn_cmd_args(configured):
    configured.write("raw_env = ['FROM=args']\nwsgi_app = 'seen:application'", name="other.py")
    server = configured.start(app=None, env={"GUNICORN_CMD_ARGS": "-c other.py --workers 3 --threads 4 --access-logfile -"})
    assert len(set(server.booted(3))) == 3
    assert environ(server)["wsgi.multithread"] == 1
    server.out.wait(r'"GET / HTTP/1.1" 200')


def test_the_application_named_in_the_file(configured):
    server = configured.start("wsgi_app = 'seen:application'", app=None)
    assert environ(server)["REQUEST_METHOD"] == "GET"


def test_of_two_files_the_toml_is_read(configured):
    configured.write("workers = 3")
    (configured.directory / "rwsgi.toml").write_text("workers = 1\n")
    server = configured.start()
    server.log.wait(r"\[WARNING\] There are rwsgi.toml and gunicorn.conf.py: only rwsgi.toml is read")


def test_near_misses_are_warned_of_and_other_names_are_not(configured):
    server = configured.start("""
        import os, sys
        from pathlib import Path
        wokers = 4
        log_level = "debug"
        BASE = Path(".")
        max_workers = 5
        class Thing: pass
        def helper(): pass
    """)
    server.log.wait(r"\[WARNING\] wokers \(gunicorn.conf.py line 4\) is no setting and has no effect; did you mean workers\?")
    server.log.wait(r"did you mean loglevel\?")
    assert len(server.log.find(r"did you mean")) == 2


@pytest.mark.parametrize("text, line, what", [
    ("workers = 2\nfrobnicate()\n", 2, "NameError: name 'frobnicate' is not defined"),
    ("def f():\n    return 1 / 0\n\nx = f()\n", 2, "ZeroDivisionError"),
    ("workers = = 2\n", 1, "SyntaxError"),
    ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
    ("import no_such_module_here\n", 1, "ModuleNotFoundError"),
])
def test_a_file_that_fails_says_where(tmp_path, text, line, what):
    (tmp_path / "gunicorn.conf.py").write_text(text)
    status, said = refused(tmp_path, "seen:application")
    assert status == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"rwsgi: gunicorn.conf.py line {line}: Failed to read config file: ") and what in last
    assert "<rwsgi>" not in said


@pytest.mark.parametrize("text, said", [
    ("\nworkers = 'many'\n", r'workers = "many" (gunicorn.conf.py line 2): not a whole number'),
    ("reuse_port = 1\n", "reuse_port = 1 (gunicorn.conf.py line 1): neither true nor false"),
    ("def post_fork(worker): pass\n", "post_fork (gunicorn.conf.py line 1): takes 1 arguments, and is called with 2: server, worker"),
    ("post_fork = 'no.such.hook'\n", "post_fork (gunicorn.conf.py line 1): cannot be imported"),
    ("post_fork = 5\n", "post_fork = 5 (gunicorn.conf.py line 1): neither callable nor a dotted name"),
    ("http_protocols = 'h2'\n", "http_protocols (gunicorn.conf.py line 1): "),
    ("from gunicorn.workers.gthread import ThreadWorker\nclass Mine(ThreadWorker): pass\n", "rwsgi cannot run worker classes derived"),
])
def test_a_value_that_is_wrong_says_where(tmp_path, text, said):
    (tmp_path / "gunicorn.conf.py").write_text(text)
    status, output = refused(tmp_path, "--gunicorn-module", "always", "--bind", "127.0.0.1:0", "--chdir", str(APPS), "seen:application")
    assert status == 1 and said in output, output


def test_a_check_looks_at_hooks(tmp_path):
    (tmp_path / "gunicorn.conf.py").write_text("def child_exit(worker): pass\n")
    status, said = refused(tmp_path, "--check-config", "--chdir", str(APPS), "seen:application")
    assert status == 1 and "child_exit (gunicorn.conf.py line 1): takes 1 arguments" in said


def test_a_missing_file_is_an_error(tmp_path):
    status, said = refused(tmp_path, "-c", "nowhere.py", "seen:application")
    assert status == 1 and said.strip() == "rwsgi: nowhere.py: cannot be read: No such file or directory"


def test_a_reload_runs_the_file_again(configured):
    server = configured.start("raw_env = ['STAGE=one']\nimport os; os.environ['SEEN'] = 'one'", "--workers", "1")
    server.booted(1)
    # Same length, same second: a cache of compiled code would not notice.
    configured.write("raw_env = ['STAGE=two']\nimport os; os.environ['SEEN'] = 'two'\nworkers = 2")
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")


def test_a_reload_finds_what_raw_env_covers_up_byte_for_byte(configured):
    text = "import os\nnote('found', repr(os.environb[b'ODD']))\nraw_env = ['ODD=covered']\n"
    server = configured.start(text, env={"ODD": os.fsdecode(b"caf\xe9 \xff")})
    assert environ(server)["pid"]
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    [first, *later] = [note[2] for note in configured.notes("found")]
    assert first == repr(b"caf\xe9 \xff")
    assert later and set(later) == {first}


def test_a_reload_with_a_broken_file_changes_nothing(configured):
    server = configured.start("workers = 1")
    before = environ(server)["pid"]
    configured.write("workers = 1\nboom()")
    server.kill(signal.SIGHUP)
    server.log.wait(r"NameError: name 'boom' is not defined")
    server.log.wait(r"\[ERROR\] Reload: gunicorn.conf.py line 2")
    assert environ(server)["pid"] == before
    assert server.stop() == 0


def test_output_of_the_file_is_written_once(configured):
    server = configured.start("print('said once')\nworkers = 3")
    server.booted(3)
    server.stop()
    assert server.out.wait_end().count("said once") == 1


def test_modules_beside_the_file_are_found(configured):
    (configured.directory / "siblings.py").write_text("COUNT = 2\n")
    server = configured.start("from siblings import COUNT\nworkers = COUNT")
    assert len(set(server.booted(2))) == 2
