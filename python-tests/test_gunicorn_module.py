"""The module `gunicorn` that configurations import, and programs that are their own configuration."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.conf import environ
from support.server import Server, clean_environment, server_command
from support.wire import Wire

STANDALONE = '''
import multiprocessing
import gunicorn.app.base


def number_of_workers():
    return 2


def handler_app(environ, start_response):
    response_body = b'Works fine'
    status = '200 OK'
    response_headers = [('Content-Type', 'text/plain')]
    start_response(status, response_headers)
    return [response_body]


class StandaloneApplication(gunicorn.app.base.BaseApplication):

    def __init__(self, app, options=None):
        self.options = options or {}
        self.application = app
        super().__init__()

    def load_config(self):
        config = {key: value for key, value in self.options.items()
                  if key in self.cfg.settings and value is not None}
        for key, value in config.items():
            self.cfg.set(key.lower(), value)

    def load(self):
        return self.application


if __name__ == '__main__':
    options = {
        'bind': '%s:%s' % ('127.0.0.1', '0'),
        'workers': number_of_workers(),
    }
    StandaloneApplication(handler_app, options).run()
'''


@pytest.fixture
def run(serve, tmp_path):
    """Starts a command line in the test's directory."""

    def run(*argv, **env):
        server = Server([str(word) for word in argv], cwd=tmp_path, env=clean_environment(**env))
        serve.running.append(server)
        return server

    return run


def text(server) -> str:
    with Wire(server.address) as wire:
        return wire.get("/").text


def lines_of(tmp_path, code: str, *args) -> list:
    """What an application whose module holds `code` binds to `lines`, with our module in place."""
    (tmp_path / "gunicorn.conf.py").write_text(code + "\nprint(__import__('json').dumps(lines, default=str))\n")
    done = subprocess.run([*server_command(), "--gunicorn-module", "always", "--print-config", *args], cwd=tmp_path,
                          env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[0])


def test_the_standalone_recipe(run, tmp_path):
    (tmp_path / "standalone.py").write_text(STANDALONE)
    server = run(*server_command(), "--script", "standalone.py").wait_listening()
    assert len(set(server.booted(2))) == 2
    assert text(server) == "Works fine"
    server.kill(signal.SIGHUP)
    server.log.wait("Reload complete")
    assert text(server) == "Works fine"


def test_the_standalone_recipe_from_plain_python(run, tmp_path):
    core = Path(server_command()[0]).with_name("librwsgi_core.so")
    if not core.exists():
        pytest.skip("the core is not beside the launcher")
    shutil.copy(core, tmp_path / "rwsgi_core.so")
    (tmp_path / "standalone.py").write_text("import rwsgi_core\nrwsgi_core.provide_gunicorn()\n" + STANDALONE)
    server = run(sys.executable, "standalone.py").wait_listening()
    assert text(server) == "Works fine"


def test_a_program_is_upgraded(run, tmp_path):
    (tmp_path / "standalone.py").write_text(STANDALONE)
    server = run(*server_command(), "--script", "standalone.py").wait_listening()
    server.kill(signal.SIGUSR2)
    server.log.wait("Listening at:", 2)
    new = int(server.log.find(r"Listening at: .* \((\d+)\)")[1][1])
    assert new != server.pid
    os.kill(new, signal.SIGTERM)
    server.log.wait("Shutting down: Master")
    assert text(server) == "Works fine"


def test_a_program_with_hooks_and_arguments(run, tmp_path):
    (tmp_path / "program.py").write_text(
        STANDALONE.replace("'workers': number_of_workers(),", "'workers': 1, 'post_fork': hook, 'proc_name': sys.argv[1],")
        .replace("import multiprocessing", "import sys\ndef hook(server, worker): server.log.info('hook %s', server.proc_name)"))
    server = run(*server_command(), "--script", "program.py", "shop").wait_listening()
    server.log.wait(r"\[INFO\] hook shop")
    assert server.stop() == 0


@pytest.mark.parametrize("change, said", [
    ("'workers': number_of_workers(),", 'workers = "many" (__main__:StandaloneApplication)'),
])
def test_a_wrong_option_of_a_program(tmp_path, change, said):
    (tmp_path / "program.py").write_text(STANDALONE.replace(change, "'workers': 'many',"))
    done = subprocess.run([*server_command(), "--script", "program.py"], cwd=tmp_path, env=clean_environment(), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and said in done.stderr


def test_a_program_that_fails(tmp_path):
    (tmp_path / "program.py").write_text("def f():\n    raise ValueError('no')\nf()\n")
    done = subprocess.run([*server_command(), "--script", "program.py"], cwd=tmp_path, env=clean_environment(), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 1 and "ValueError: no" in done.stderr and "<rwsgi>" not in done.stderr


def test_the_program_gunicorn_itself(run, tmp_path):
    (tmp_path / "hello.py").write_text("def app(e, s):\n    s('200 OK', [])\n    return [b'hello']\n")
    (tmp_path / "run.py").write_text("from gunicorn.app.wsgiapp import run\nrun()\n")
    server = run(*server_command(), "--script", "run.py", "--bind", "127.0.0.1:0", "hello:app").wait_listening()
    assert text(server) == "hello"


def test_a_wsgi_application_with_options(run, tmp_path):
    """As Feast, Connexion and others do it."""
    (tmp_path / "hello.py").write_text("def app(e, s):\n    s('200 OK', [])\n    return [b'hello']\n")
    (tmp_path / "run.py").write_text('''
from gunicorn.app.wsgiapp import WSGIApplication
class Application(WSGIApplication):
    def __init__(self, app_uri, options=None):
        self.options = options or {}
        self.app_uri = app_uri
        super().__init__()
    def load_config(self):
        for key, value in self.options.items():
            if key in self.cfg.settings and value is not None:
                self.cfg.set(key.lower(), value)
Application("hello:app", {"bind": "127.0.0.1:0", "workers": 1}).run()
''')
    server = run(*server_command(), "--script", "run.py").wait_listening()
    assert text(server) == "hello"


def test_names(tmp_path):
    lines = lines_of(tmp_path, """
import gunicorn, gunicorn.app.base, gunicorn.app.wsgiapp, gunicorn.glogging, gunicorn.config, gunicorn.errors, gunicorn.util
import gunicorn.instrument.statsd, gunicorn.http.wsgi, gunicorn.arbiter, gunicorn.workers.sync, gunicorn.http.errors
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.config import Config
config = Config()
config.set("workers", 7)
worker_class = ThreadWorker
lines = [gunicorn.__version__ == ".".join(map(str, gunicorn.version_info)), gunicorn.SERVER_SOFTWARE, gunicorn.__rwsgi__,
         gunicorn.util.parse_address("[::1]:80"), gunicorn.util.parse_address("unix:/x"), config.workers, config.bind, len(config.settings),
         gunicorn.glogging.CONFIG_DEFAULTS["version"], gunicorn.glogging.SafeAtoms({"a": 'x"y'})["a"], gunicorn.glogging.SafeAtoms({})["{X}i"],
         isinstance(gunicorn.errors.HaltServer("x", 3), BaseException), gunicorn.http.wsgi.FileWrapper.__name__]
""")
    assert lines == [True, "gunicorn/27.0.1", True, ["::1", 80], "/x", 7, ["127.0.0.1:8000"], 120, 1, 'x\\"y', "-", True, "FileWrapper"]


@pytest.mark.parametrize("module", ["sync.SyncWorker", "gthread.ThreadWorker", "base.Worker", "ggevent.GeventWorker"])
def test_derived_workers_are_refused_clearly(tmp_path, module):
    name, kind = module.split(".")
    (tmp_path / "gunicorn.conf.py").write_text(f"from gunicorn.workers.{name} import {kind}\nclass Mine({kind}): pass\n")
    done = subprocess.run([*server_command(), "--gunicorn-module", "always", "x:y"], cwd=tmp_path, env=clean_environment(),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "rwsgi cannot run worker classes derived from Gunicorn's" in done.stderr and "post_worker_init" in done.stderr


def test_the_switch(tmp_path):
    code = "import importlib.util as u\nlines = [str(u.find_spec('gunicorn').origin) if u.find_spec('gunicorn') else None]"
    (always,) = lines_of(tmp_path, code)
    assert always == "<rwsgi>/gunicorn/__init__.py"
    (never,) = lines_of(tmp_path, code, "--gunicorn-module", "never")
    assert never is None or "site-packages" in never
    (auto,) = lines_of(tmp_path, code, "--gunicorn-module", "auto")
    assert auto == (never or always)


def test_the_server_header_by_way_of_the_module(configured):
    server = configured.start("import gunicorn\ngunicorn.SERVER = 'Nothing to see'", "--gunicorn-module", "always")
    with Wire(server.address) as wire:
        assert wire.get("/").get("Server") == "Nothing to see"


def test_an_application_that_imports_it(configured):
    (configured.directory / "importing.py").write_text(
        "import gunicorn\nfrom gunicorn.http.wsgi import FileWrapper\nimport json\n"
        "def app(environ, start_response):\n    start_response('200 OK', [])\n"
        "    return [json.dumps({'same': environ['wsgi.file_wrapper'] is FileWrapper, 'v': gunicorn.__version__}).encode()]\n")
    server = configured.serve("importing:app", "--gunicorn-module", "always", chdir=configured.directory)
    assert environ(server) == {"same": True, "v": "27.0.1"}
