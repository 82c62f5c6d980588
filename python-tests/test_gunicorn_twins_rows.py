"""Settings whose row in gunicorn-compat.toml says `same`, tried with Gunicorn and with the server under test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from support.server import eventually, needs_program
from support.twins import Twin, twins  # noqa: F401
from support.wire import Wire


def request(line: str, *fields: str, body: str = "") -> bytes:
    return ("\r\n".join([line, "Host: example:8080", *fields, "Connection: close"]) + "\r\n\r\n" + body).encode("latin-1")


def seen(reply: bytes):
    """The status; of what was served what environ has of the request."""
    status = reply.split(b"\r\n", 1)[0].decode()
    if status != "HTTP/1.1 200 OK":
        return status
    environ = json.loads(reply.split(b"\r\n\r\n", 1)[1])
    wanted = re.compile("HTTP_|REQUEST_|PATH_|SCRIPT_|CONTENT_|RAW_|wsgi.url")
    return {name: value for name, value in environ.items() if wanted.match(name)}


METHODS = [request(f"{name} / HTTP/1.1") for name in ("get", "GE", "G#T", "ABCDEFGHIJKLMNOPQRSTUV", "X-Y", "PROPFIND")]
UNDERSCORES = [request("GET /app/x HTTP/1.1", "SCRIPT_NAME: /app"), request("GET /x HTTP/1.1", "X_A: 1", "X-A: 2"),
               request("GET /x HTTP/1.1", "Remote_User: me", "PATH_INFO: /z"), request("GET /x HTTP/1.1", "REMOTE_USER: me", "REMOTE-USER: you")]
#: Where anybody may say anything, Gunicorn lets a SCRIPT_NAME of anybody count.
OTHERS = UNDERSCORES[1:]
LINES = [request(f"GET /{'a' * count} HTTP/1.1") for count in (1, 6, 7, 8, 4090, 8170, 8181, 8182, 9000)]
SIZES = [request("GET / HTTP/1.1", "X: " + "a" * count) for count in (44, 45, 46, 47, 48, 49, 8180, 8190, 9000)]
COUNTS = [request("GET / HTTP/1.1", *["X: a"] * count) for count in (1, 2, 3, 98, 99)]
SPACES = [request("GET / HTTP/1.1", field, body=body) for field, body in
          (("X : a", ""), ("X\t: a", ""), ("X Y: a", ""), (" : a", ""), ("Content-Length : 3", "abc"))]
STRANGERS = ["--forwarded-allow-ips", "10.0.0.1"]


@pytest.mark.parametrize("args, requests", [
    (["--limit-request-line", "20"], LINES),
    (["--limit-request-line", "9000"], LINES),
    (["--limit-request-field_size", "50"], SIZES),
    (["--limit-request-field_size", "0"], SIZES),
    (["--limit-request-fields", "4"], COUNTS),
    (["--limit-request-fields", "0"], COUNTS),
    (["--permit-unconventional-http-method"], METHODS),
    (["--casefold-http-method"], METHODS),
    (["--casefold-http-method", "--permit-unconventional-http-method"], METHODS),
    (["--strip-header-spaces"], SPACES),
    (["--header-map", "drop"], UNDERSCORES),
    (["--header-map", "drop", *STRANGERS], UNDERSCORES),
    (["--header-map", "drop", "--forwarder-headers", "REMOTE_USER"], UNDERSCORES),
    (["--header-map", "drop", "--forwarder-headers", "*", *STRANGERS], UNDERSCORES),
    (["--header-map", "refuse"], UNDERSCORES),
    (["--header-map", "refuse", "--forwarder-headers", "", *STRANGERS], UNDERSCORES),
    (["--header-map", "dangerous"], UNDERSCORES),
    (["--header-map", "dangerous", *STRANGERS], OTHERS),
    (["--header-map", "dangerous", "--forwarder-headers", "REMOTE_USER"], OTHERS),
], ids=lambda value: " ".join(value) if isinstance(value[0], str) else "")
def test_requests(twins, args, requests):  # noqa: F811
    def played(twin):
        twin.start(*args)
        return [seen(twin.ask(data)) for data in requests]

    theirs, ours = twins(played)
    assert ours == theirs


@pytest.mark.parametrize("backlog", ["1", "5", "4096"])
def test_backlog(twins, backlog):  # noqa: F811
    ss = needs_program("ss")

    def played(twin):
        twin.start("--backlog", backlog)
        shown = subprocess.run([ss, "-ltnH", f"sport = :{twin.server.port}"], capture_output=True, text=True, check=True).stdout
        return shown.split()[2]

    theirs, ours = twins(played)
    # The kernel has a limit of its own.
    assert ours == theirs == str(min(int(backlog), int(open("/proc/sys/net/core/somaxconn").read())))


PLACES = """
import json, os, sys
found = [path for path in sys.path if HERE in path]
try:
    import here
except ImportError:
    here = None
def app(environ, start_response):
    body = json.dumps([found, os.getcwd(), os.environ.get("A"), getattr(here, "__file__", None)]).replace(HERE, "HERE").encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize("args, configuration, env", [
    ([], "", {}),
    (["--pythonpath", "a"], "", {}),
    (["--pythonpath", "./a/../b"], "", {}),
    (["--chdir", "sub", "--pythonpath", "../a"], "", {}),
    (["--chdir", "sub/.."], "pythonpath = 'b'\n", {}),
    ([], "chdir = 'sub'\nraw_env = ['A=1', 'A=2']\n", {}),
    (["--env", "A=9"], "raw_env = ['A=1']\n", {"A": "0"}),
])
def test_places_and_variables(twins, args, configuration, env):  # noqa: F811
    def played(twin):
        for name in ("a", "b", "sub"):
            (twin.directory / name).mkdir()
            (twin.directory / name / "here.py").touch()
        for directory in (twin.directory, twin.directory / "sub"):
            (directory / "places.py").write_text(f"HERE = {str(twin.directory)!r}\n{PLACES}")
        twin.start(*args, app="places:app", env=env)
        return json.loads(twin.ask().split(b"\r\n\r\n", 1)[1])

    theirs, ours = twins(played, configuration)
    assert ours == theirs


def test_the_first_of_several_places_comes_first(twins):  # noqa: F811
    def played(twin):
        for name in ("a", "b"):
            (twin.directory / name).mkdir()
            (twin.directory / name / "here.py").touch()
        (twin.directory / "places.py").write_text(f"HERE = {str(twin.directory)!r}\n{PLACES}")
        twin.start("--pythonpath", "a,b", app="places:app")
        return json.loads(twin.ask().split(b"\r\n\r\n", 1)[1])

    theirs, ours = twins(played)
    assert theirs[0][:2] == ["HERE/b", "HERE/a"] and ours[0][:2] == ["HERE/a", "HERE/b"]
    assert (theirs[3], ours[3]) == ("HERE/b/here.py", "HERE/a/here.py")


WRITES = """
import os, subprocess, sys
print("loaded", flush=True)
def app(environ, start_response):
    print("printed", flush=True)
    print("told", file=sys.stderr, flush=True)
    os.write(1, b"raw out\\n")
    os.write(2, b"raw err\\n")
    subprocess.run(["echo", "of a child"])
    environ["wsgi.errors"].write("of the request\\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
"""


@pytest.mark.parametrize("args, reopened", [([], False), (["--capture-output"], False), (["--capture-output"], True)],
                         ids=["plain", "captured", "reopened"])
def test_what_applications_write(twins, args, reopened):  # noqa: F811
    """To the error log's file with capture_output, else where it always goes."""
    def played(twin: Twin):
        (twin.directory / "writes.py").write_text(WRITES)
        log = twin.directory / "error.log"
        twin.start(*args, "--error-logfile", "error.log", app="writes:app", listens=False)
        listening = eventually(lambda: log.exists() and re.search(r"http://127.0.0.1:(\d+)", log.read_text()), "a port")
        address = ("127.0.0.1", int(listening[1]))

        def ask():
            with Wire(address) as wire:
                return wire.send(request("GET / HTTP/1.1")).rest()

        def plain(lines):
            return [line for line in lines if line and not line.startswith("[")]

        assert ask().startswith(b"HTTP/1.1 200")
        if reopened:
            log.rename(log.with_suffix(".1"))
            twin.server.kill(signal.SIGUSR1)
            eventually(log.exists, "a new file")
            # The workers are told after the master has opened it.
            eventually(lambda: ask() and "raw err" in log.read_text(), "a line in it")
            return "raw out" in log.read_text(), plain(twin.server.out.lines), plain(twin.server.log.lines)
        twin.server.stop()
        return plain(log.read_text().splitlines()), plain(twin.server.out.lines), plain(twin.server.log.lines)

    theirs, ours = twins(played)
    assert ours == theirs
    assert bool(ours[1]) == (not args)


SHOWS = """
import json, os
def app(environ, start_response):
    body = json.dumps({name: os.environ.get(name) for name in ("ONE", "TWO", "THREE", "READ")}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""
#: Says in a variable of its own what it has found.
VARIABLES = "import os\nraw_env = [*{}, 'READ=' + os.environ.get('ONE', 'none') + os.environ.get('TWO', 'none')]\n"


def test_variables_of_a_reload(twins):  # noqa: F811
    """Those of the configuration before are what they were when the server was started."""
    def played(twin):
        (twin.directory / "shows.py").write_text(SHOWS)
        configuration = twin.directory / "gunicorn.conf.py"
        configuration.write_text(VARIABLES.format(["ONE=a", "TWO=a", "TWO=b"]))
        twin.start(app="shows:app", env={"TWO": "from outside"})
        found = []

        def ask():
            return json.loads(twin.ask().split(b"\r\n\r\n", 1)[1])

        def workers():
            return [int(m[1]) for m in twin.server.log.find(r"Booting worker with pid: (\d+)")]

        for variables in (["TWO=c", "THREE=c"], [], ["ONE=d"]):
            found.append(ask())
            configuration.write_text(VARIABLES.format(variables))
            before = workers()[-1]
            twin.server.kill(signal.SIGHUP)
            twin.server.log.wait(rf"Worker exiting \(pid: {before}\)")
        # A worker that comes later, and a configuration that is not taken on.
        configuration.write_text("1 / 0")
        if twin.name == "rwsgi":
            twin.server.kill(signal.SIGHUP)
            twin.server.log.wait("ZeroDivisionError")
        count = len(workers())
        os.kill(workers()[-1], signal.SIGKILL)
        twin.server.log.wait("Booting worker with pid", count + 1)
        return [*found, ask()]

    theirs, ours = twins(played)
    assert ours == theirs
    outside = {"ONE": None, "TWO": "from outside", "THREE": None, "READ": "nonefrom outside"}
    assert ours == [{**outside, "ONE": "a", "TWO": "b"}, {**outside, "TWO": "c", "THREE": "c"}, outside, {**outside, "ONE": "d"}]
