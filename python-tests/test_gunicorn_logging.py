"""Logging that is configured in Python: logger_class, logconfig, logconfig_dict, logconfig_json."""

from __future__ import annotations

import json
import re
import signal

import pytest
from support.conf import environ
from support.server import APPS, eventually
from support.wire import Wire

#: Paths in the file count from the start directory.
HERE = {"chdir": None, "env": {"PYTHONPATH": str(APPS)}}
ALWAYS = ("--gunicorn-module", "always")


def wait_lines(path, pattern: str, count: int = 1) -> list[str]:
    def found():
        text = path.read_text() if path.exists() else ""
        lines = [line for line in text.splitlines() if re.search(pattern, line)]
        return lines if len(lines) >= count else None

    return eventually(found, f"{count} lines of {path.name} matching {pattern!r}")


def test_a_logger_class_of_the_files_own(configured):
    configured.start("""
        import logging
        from gunicorn.glogging import Logger

        class NoHealth(logging.Filter):
            def filter(self, record):
                return record.args["U"] != "/healthz"

        class CustomLogger(Logger):
            def setup(self, cfg):
                super().setup(cfg)
                self.access_log.addFilter(NoHealth())
            def atoms(self, resp, req, environ, request_time):
                atoms = super().atoms(resp, req, environ, request_time)
                atoms["mine"] = "m-" + resp.status
                return atoms
            def critical(self, msg, *args, **kwargs):
                super().critical("CUSTOM " + msg, *args, **kwargs)

        logger_class = CustomLogger
        accesslog = "access.log"
        errorlog = "error.log"
        access_log_format = "%(h)s %(r)s %(s)s %(B)s %(mine)s %({x-one}i)s %({x-app}o)s %({wsgi.url_scheme}e)s %(T)s"
        def when_ready(server): server.log.critical("ready %s", 1)
    """, *ALWAYS, listens=False, **HERE)
    (server,) = configured.serve.running
    errors, access = configured.directory / "error.log", configured.directory / "access.log"
    url = re.search(r"http://127.0.0.1:(\d+)", wait_lines(errors, "Listening at")[0])
    wait_lines(errors, r"\[CRITICAL\] CUSTOM ready 1$")
    with Wire(("127.0.0.1", int(url[1]))) as wire:
        size = len(wire.get("/x", "X-One: 1").body)
        wire.get("/healthz")
        assert wire.get("/raise").status == 500
    wait_lines(access, "/raise")
    assert access.read_text().splitlines() == [
        f"127.0.0.1 GET /x HTTP/1.1 200 {size} m-200 OK 1 seen http 0",
        "127.0.0.1 GET /raise HTTP/1.1 500 0 m-500 Internal Server Error - - http 0",
    ]
    wait_lines(errors, "RuntimeError: as asked")
    access.rename(configured.directory / "access.1")
    server.kill(signal.SIGUSR1)
    eventually(access.exists, "the new access log")

    def in_the_new_one():
        with Wire(("127.0.0.1", int(url[1]))) as wire:
            wire.get("/y")
        return "/y" in access.read_text()

    # The file is there as soon as one process has opened it; the worker may be the last.
    eventually(in_the_new_one, "a line in the new access log")
    assert server.out.lines == [] and server.log.lines == []


def test_logconfig_dict_and_the_atoms_as_arguments(configured):
    configured.start("""
        import json, logging
        class Json(logging.Formatter):
            def format(self, record):
                if record.name == "gunicorn.access":
                    return json.dumps({k: record.args[k] for k in ("m", "U", "s", "B", "D", "{x-one}i")})
                return json.dumps({"level": record.levelname, "message": record.getMessage()})
        accesslog = "-"
        logconfig_dict = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": Json}},
            "handlers": {"file": {"class": "logging.FileHandler", "filename": "all.jsonl", "formatter": "json"}},
            "root": {"level": "INFO", "handlers": ["file"]},
            "loggers": {
                "gunicorn.error": {"level": "INFO", "handlers": ["file"], "propagate": False},
                "gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False},
            },
        }
    """, listens=False, **HERE)
    path = configured.directory / "all.jsonl"
    url = re.search(r"http://127.0.0.1:(\d+)", wait_lines(path, "Listening at")[0])
    with Wire(("127.0.0.1", int(url[1]))) as wire:
        size = len(wire.get("/a%20b", "X-One: 1").body)
    line = json.loads(wait_lines(path, '"U"')[0])
    assert line.pop("D") >= 0
    assert line == {"m": "GET", "U": "/a b", "s": "200", "B": size, "{x-one}i": "1"}


def test_defaults_of_logconfig_dict(configured):
    server = configured.start("""
        logconfig_dict = {"formatters": {"generic": {"format": "D %(levelname)s %(name)s %(message)s"}}}
    """)
    environ(server)
    server.log.wait(r"^D INFO gunicorn.error Listening at")
    server.out.wait(r'^D INFO gunicorn.access 127.0.0.1 - - \[.*\] "GET / HTTP/1.1" 200 \d+')


def test_logconfig_files(configured):
    (configured.directory / "log.ini").write_text("""
[loggers]
keys=root,gunicorn.error,gunicorn.access
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=console
[logger_gunicorn.error]
level=DEBUG
handlers=console
propagate=0
qualname=gunicorn.error
[logger_gunicorn.access]
level=INFO
handlers=console
propagate=0
qualname=gunicorn.access
[handler_console]
class=StreamHandler
formatter=plain
args=(sys.stderr,)
[formatter_plain]
format=INI %(levelname)s %(message)s
""")
    server = configured.serve("seen:application", "--log-config", "log.ini", cwd=configured.directory, **HERE)
    environ(server)
    server.log.wait("^INI INFO Listening at")
    server.log.wait('^INI INFO 127.0.0.1 - - .*"GET / HTTP/1.1" 200')


def test_logconfig_json(configured):
    (configured.directory / "log.json").write_text(json.dumps({"formatters": {"generic": {"format": "JSON %(levelname)s %(message)s"}}}))
    server = configured.start("logconfig_json = 'log.json'", **HERE)
    environ(server)
    server.log.wait("^JSON INFO Listening at")
    server.out.wait('^JSON INFO .*"GET / HTTP/1.1" 200')


def test_a_logger_that_cannot_be_made(configured):
    server = configured.start("logconfig_dict = {'handlers': {'x': {'class': 'no.such.Handler'}}}", listens=False)
    assert server.wait() == 1
    server.finished = True
    assert "the Python logger cannot be set up: " in server.log.wait_end()


def test_a_reload_with_a_logger_that_cannot_be_made_changes_nothing(configured):
    server = configured.start("workers = 1")
    before = environ(server)["pid"]
    configured.write("logconfig = 'nowhere.ini'")
    server.kill(signal.SIGHUP)
    server.log.wait("log config 'nowhere.ini' not found")
    assert environ(server)["pid"] == before


def test_a_reload_brings_a_logger_and_takes_it_away(configured):
    server = configured.start("workers = 1")
    configured.write("logconfig_dict = {'formatters': {'generic': {'format': 'PY %(message)s'}}}")
    server.kill(signal.SIGHUP)
    server.log.wait(r"^PY Reload complete")
    configured.write("accesslog = '-'")
    server.kill(signal.SIGHUP)
    server.log.wait(r"\[INFO\] Reload complete")
    environ(server)
    server.out.wait('"GET / HTTP/1.1" 200')


def test_a_logger_that_raises_loses_no_line(configured):
    server = configured.start("""
        from gunicorn.glogging import Logger
        class Bad(Logger):
            def info(self, msg, *args, **kwargs): raise ValueError("cannot")
        logger_class = Bad
    """, *ALWAYS)
    server.log.wait("ValueError: cannot")


def test_the_loggers_of_applications(configured):
    """`app.logger.handlers = logging.getLogger("gunicorn.error").handlers`, as Flask's recipes have it."""
    (configured.directory / "recipe.py").write_text("""
import logging
gunicorn_logger = logging.getLogger("gunicorn.error")
logger = logging.getLogger("mine")
logger.handlers = gunicorn_logger.handlers
logger.setLevel(gunicorn_logger.level)
def app(environ, start_response):
    logger.info("from %s", "the app")
    logger.debug("not this")
    start_response("200 OK", [])
    return [b"{}"]
""")
    server = configured.serve("recipe:app", chdir=configured.directory)
    environ(server)
    server.log.wait(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] \[INFO\] from the app$")
    assert not server.log.find("not this")


@pytest.mark.parametrize("chosen", ["'gunicorn.glogging.Logger'", "'simple'", "gunicorn.glogging.Logger"])
def test_the_default_logger_is_no_python_logger(configured, chosen):
    server = configured.start(f"import gunicorn.glogging\nlogger_class = {chosen}\naccesslog = '-'", *ALWAYS)
    environ(server)
    server.out.wait('"GET / HTTP/1.1" 200')
    server.log.wait(r"^\[.*\] \[\d+\] \[INFO\] Listening at")


def test_access_lines_from_threads_and_streams(configured):
    server = configured.start("""
        from gunicorn.glogging import Logger
        class Mine(Logger): pass
        logger_class = Mine
        accesslog = "-"
        threads = 4
        access_log_format = "%(U)s %(s)s %(B)s"
    """, *ALWAYS, app="probe:application")
    with Wire(server.address) as wire:
        wire.get("/pid")
        wire.request("HEAD", "/pid")
    server.out.wait(r"^/pid 200 [1-9]\d*$")
    server.out.wait(r"^/pid 200 ", 2)
