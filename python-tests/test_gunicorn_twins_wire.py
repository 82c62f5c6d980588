"""The same requests, formats and collectors for Gunicorn and for the server: environ, access lines,
statsd and syslog datagrams, the configuration hooks see, and how a start fails.

What differs on purpose is told here, and in docs/gunicorn.md or gunicorn-compat.toml with its reason.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
from support.server import clean_environment, eventually
from support.twins import twins  # noqa: F401


#: Gunicorn's master does not see a worker end that was told to while it booted.
BOOTED = """
import json, os
def post_worker_init(worker):
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps([worker.pid, "booted"]) + "\\n")
"""


def request(line: str, *fields: str, body: str = "") -> bytes:
    return ("\r\n".join([line, "Host: example:8080", *fields, "Connection: close"]) + "\r\n\r\n" + body).encode("latin-1")


def environ(reply: bytes) -> dict:
    while reply.startswith(b"HTTP/1.1 100"):
        reply = reply.split(b"\r\n\r\n", 1)[1]
    assert re.match(rb"HTTP/1.[01] 200", reply), reply
    seen = json.loads(reply.split(b"\r\n\r\n", 1)[1])
    # Different for each connection, or said to differ.
    for key in ("REMOTE_PORT", "SERVER_PORT", "SERVER_SOFTWARE"):
        if key in seen and (key == "SERVER_SOFTWARE" or seen[key].isdigit() and int(seen[key]) > 1024):
            seen[key] = "set"
    return seen


SAME = {
    "target": request("GET /a%20b/%C3%A9/%2F//?x=%20&y=1 HTTP/1.1", "X-A: 1", "X-A: 2", "X-B: \xe9"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "body": request("POST /p HTTP/1.1", "Content-Type: text/plain; charset=x", "Content-Length: 3", body="abc"),
    "scheme": request("GET / HTTP/1.1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Forwarded-Host: other"),
    "underscores": request("GET /app/x HTTP/1.1", "SCRIPT_NAME: /app", "X_Under: 1", "Remote_User: me"),
    "asterisk": request("OPTIONS * HTTP/1.1"),
    "path parameters": request("GET //a//b/../c;p=1?q HTTP/1.1"),
    "fields": request("GET / HTTP/1.1", "Authorization: Basic dTpw", "Expect: 100-continue", "TE: trailers", "X-Empty:", "X-Long: a  b\tc"),
    "no cookie twice": request("GET / HTTP/1.1", "Cookie: a=1; b=2"),
}


@pytest.mark.parametrize("args", [[], ["--threads", "2", "--workers", "2"]], ids=["sync", "threads"])
def test_environ(twins, args):  # noqa: F811
    def played(twin):
        twin.start(*args)
        twin.wait_note("booted", 2 if args else 1)
        return {name: environ(twin.ask(data)) for name, data in SAME.items()}

    theirs, ours = twins(played, BOOTED)
    assert theirs["HTTP/1.0"].pop("wsgi.early_hints"), "which could not be sent"
    assert ours == theirs


def test_environ_that_differs(twins):  # noqa: F811
    def played(twin):
        twin.start()
        return [environ(twin.ask(data)) for data in (
            request("GET / HTTP/1.1", "Cookie: a=1", "Cookie: b=2"),
            request("POST / HTTP/1.1", "Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n"),
            request("GET http://absolute/x?y HTTP/1.1"))]

    theirs, ours = twins(played)
    assert theirs[0].pop("HTTP_COOKIE") == "a=1,b=2" and ours[0].pop("HTTP_COOKIE") == "a=1; b=2"
    assert theirs[1].pop("HTTP_TRANSFER_ENCODING") == "chunked" and ours[1].pop("CONTENT_LENGTH") == "3"
    assert theirs[2].pop("HTTP_HOST") == "example:8080" and ours[2].pop("HTTP_HOST") == "absolute"
    assert ours == theirs


def test_environ_behind_a_unix_socket_and_a_prefix(twins):  # noqa: F811
    def played(twin):
        trust = ["--forwarder-headers", "SCRIPT_NAME,PATH_INFO,REMOTE_USER", "--header-map", "dangerous"]
        twin.start(*trust, bind=("unix:s.sock",), env={"SCRIPT_NAME": "/app"})
        twin.server.log.wait("Listening at")
        os.chdir(twin.directory)
        return [environ(twin.ask(data)) for data in (
            request("GET /app/x HTTP/1.1"), b"GET /app/ HTTP/1.0\r\n\r\n", request("GET /other/y HTTP/1.1", "SCRIPT_NAME: /other", "Remote_User: me"))]

    before = os.getcwd()
    try:
        theirs, ours = twins(played)
    finally:
        os.chdir(before)
    assert theirs[1].pop("wsgi.early_hints")
    assert ours == theirs
    assert ours[0]["SCRIPT_NAME"] == "/app" and ours[2]["REMOTE_ADDR"] == ""


def test_variables(twins):  # noqa: F811
    def played(twin):
        twin.start("--env", "ONE=b c", "--env", "TWO=", "--env", "THREE=a=b")
        seen = json.loads(twin.ask("/variables").split(b"\r\n\r\n", 1)[1])
        return {name: value.replace(str(twin.directory), "") for name, value in seen.items()}

    theirs, ours = twins(played)
    assert ours.pop("SERVER_SOFTWARE").startswith(theirs.pop("SERVER_SOFTWARE") + " (rwsgi/")
    assert ours == theirs


# Logs

ATOMS = ["h", "l", "u", "r", "m", "U", "q", "H", "s", "f", "a", "T", "{x-in}i", "{X-IN}i", "{cookie}i", "{none}i", "{x-twice}i", "{x-out}o",
         "{X-Twice}o", "{server}o", "{date}o", "{PATH_INFO}e", "{path_info}e", "{raw_uri}e", "{wsgi.url_scheme}e", "{WSGI.URL_SCHEME}e",
         "{server_protocol}e", "{wsgi.multithread}e", "{none}e", "unknown"]
LOGGED = [
    request("GET /a%20b?x=%22y HTTP/1.1", 'X-In: he"llo', 'Referer: http://r/"', "User-Agent: x y", "X-Twice: 1", "X-Twice: 2", "Cookie: a=1"),
    b"GET / HTTP/1.0\r\n\r\n",
    request("GET /x HTTP/1.1", "Authorization: Basic dXNlcjpwYXNz"),
    request("GET /x HTTP/1.1", "Authorization: basic w6k6cGFzcw=="),
    request("GET /x HTTP/1.1", "Authorization: Basic !!!"),
    request("GET /x HTTP/1.1", "Authorization: Bearer abc"),
    request("GET //twice?a?b HTTP/1.1", "X-Forwarded-For: 9.9.9.9"),
]


@pytest.mark.parametrize("configuration", ["", "logconfig_dict = {'version': 1, 'loggers': {'gunicorn.access': {'level': 'INFO', 'handlers': "
                         "['console'], 'propagate': False}}, 'formatters': {'generic': {'format': '%(message)s'}}}"], ids=["own", "logging"])
def test_access_lines(twins, configuration):  # noqa: F811
    def played(twin):
        twin.start("--access-logfile", "-", "--access-logformat", "|".join(f"%({atom})s" for atom in ATOMS))
        for data in LOGGED:
            twin.ask(data)
        twin.server.stop()
        lines = [line for line in twin.server.out.lines if line.startswith("127.0.0.1|")]
        return [dict(zip(ATOMS, line.split("|"), strict=True)) for line in lines]

    theirs, ours = twins(played, configuration)
    assert ours == theirs and len(ours) >= len(LOGGED)


def test_access_lines_of_failures(twins):  # noqa: F811
    """An application that raises; what cannot be a line's text; requests that are refused."""

    def played(twin):
        twin.start("--access-logfile", "-", "--access-logformat", "%(s)s %(m)s %(r)s %(U)s")
        for data in (request("GET /raise HTTP/1.1"), request("GET /%0aforged HTTP/1.1"), b"BAD\r\n\r\n", request("GET / HTTP/9.0")):
            twin.ask(data)
        twin.server.stop()
        return twin.server.out.lines

    theirs, ours = twins(played)
    assert theirs == ["500 GET GET /raise HTTP/1.1 None", "200 GET GET /%0aforged HTTP/1.1 /", "forged"]
    assert ours == ["500 GET GET /raise HTTP/1.1 /raise", r"200 GET GET /%0aforged HTTP/1.1 /\x0aforged", "400 - - -", "505 GET GET / HTTP/9.0 /"]


LOGGER_CLASS = """
from gunicorn.glogging import Logger
class Mine(Logger): pass
logger_class = Mine
"""
#: Refused by both; Gunicorn has an access line where its request object was made already.
REFUSED = [request("GET /host HTTP/1.1", "Host: b"), request("GET /length HTTP/1.1", "Content-Length: x"),
           request("GET /lengths HTTP/1.1", "Content-Length: 1", "Content-Length: 1"),
           request("POST /both HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"),
           request("GET /coding HTTP/1.1", "Transfer-Encoding: strange, chunked"),
           request("GET /type HTTP/1.1", "Content-Type: a/b", "Content-Type: a/b"), request("GET /field HTTP/1.1", "no field"), b"BAD\r\n\r\n"]


@pytest.mark.parametrize("configuration", ["", LOGGER_CLASS], ids=["written by the server", "by a logger"])
def test_access_lines_of_refused_requests(twins, configuration):  # noqa: F811
    def played(twin):
        args = ["--gunicorn-module", "always"] if twin.name == "rwsgi" and configuration else []
        twin.start(*args, "--access-logfile", "-", "--access-logformat", "line %(h)s %(s)s %(m)s %(r)s %(q)s %(H)s %(b)s %(f)s")
        replies = [twin.ask(data).split(b" ", 2)[1] for data in REFUSED]
        twin.ask("/last")
        twin.server.out.wait("GET /last")
        return replies, [line for line in twin.server.out.lines if line.startswith("line ") and "/last" not in line]

    (their_replies, theirs), (our_replies, ours) = twins(played, configuration)
    assert their_replies == our_replies and {"400"} <= {reply.decode() for reply in our_replies}
    # Each of theirs, and those that they have not.
    assert [line for line in ours if line in theirs] == theirs and len(theirs) >= 4
    assert len(ours) == len(REFUSED) - (1 if configuration else 0)


class Collector:
    """A UDP port, and what arrives there."""

    def __init__(self):
        self.received: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        # An empty datagram is the end.
        while data := self.socket.recv(65536):
            self.received.append(data.decode())
        self.socket.close()

    def end(self) -> list[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"", ("127.0.0.1", int(self.address.rpartition(":")[2])))
        eventually(lambda: self.socket.fileno() < 0, "the collector's end")
        return self.received


@pytest.mark.parametrize("args, configuration", [
    ([], ""),
    (["--statsd-prefix", "shop", "--dogstatsd-tags", "a:b,c"], ""),
    (["--statsd-prefix", "shop."], ""),
    ([], "logger_class = 'gunicorn.instrument.statsd.Statsd'"),
], ids=["plain", "prefix and tags", "dot", "class"])
def test_statsd(twins, args, configuration):  # noqa: F811
    def played(twin):
        collector = Collector()
        twin.start("--statsd-host", collector.address, *args)
        twin.ask("/")
        twin.ask("/raise")
        twin.ask("/metric")
        twin.server.kill(signal.SIGTTIN)
        twin.wait_note("booted", 2)
        twin.server.stop()
        seen = [re.sub(r":[\d.]+\|ms", ":N|ms", line) for line in collector.end()]
        # How often it is told while workers come and go is not.
        return sorted(line for line in seen if "gunicorn.workers" not in line), {line for line in seen if "gunicorn.workers" in line}

    theirs, ours = twins(played, BOOTED + configuration)
    assert ours[0] == theirs[0]
    assert {line for line in theirs[1] if not re.search(":0", line)} <= ours[1]


@pytest.mark.parametrize("args", [
    [], ["--log-syslog-prefix", "pre", "--log-syslog-facility", "local3", "--name", "na:me"], ["--name", "na:me"],
    ["--access-logfile", "-", "--disable-redirect-access-to-syslog"],
], ids=["plain", "prefix", "name", "no access"])
def test_syslog(twins, args):  # noqa: F811
    def played(twin):
        collector = Collector()
        twin.start("--log-syslog", "--log-syslog-to", f"udp://{collector.address}", *args)
        twin.server.booted(1)
        twin.ask("/")
        twin.server.stop()
        plain = [re.sub(r"\[\d+\]|pid: ?\d+|\(\d+\)|:\d{4,} |\[\d\d/.*?\]", "N", line) for line in collector.end()]
        return [re.sub(r'" 200 \d+ ', '" 200 N ', line) for line in plain]

    theirs, ours = twins(played)
    told = r"Starting|Using worker|Control socket|Retiring"
    assert [line for line in ours if not re.search(told, line)] == [line for line in theirs if not re.search(told, line)]
    assert any("Starting rwsgi" in line for line in ours)


# What hooks see of the configuration

DUMP = """
import json
def when_ready(server):
    names = [*server.cfg.settings, "address", "uid", "gid", "env", "reuse_port", "paste_global_conf", "worker_class_str"]
    shown = {name: getattr(server.cfg, name) for name in names if not callable(getattr(server.cfg, name))}
    with open("configuration.json", "w") as file:
        json.dump(shown, file, default=str)
"""
#: Known under another name, or a row of gunicorn-compat.toml says that nothing is done with it.
UNLIKE = {"wsgi_app", "limit_request_line", "control_socket", "control_socket_disable", "ssl_version"}


@pytest.mark.parametrize("args, configuration", [
    ([], ""),
    (["--workers", "2", "--threads", "3", "--timeout", "7", "--name", "shop", "--pythonpath", "a,b", "--umask", "022", "--env", "A=1",
      "--forwarded-allow-ips", "*", "--no-sendfile", "--worker-class", "gthread", "--keep-alive", "5", "--log-level", "debug",
      "--access-logfile", "-", "--max-requests", "9", "--statsd-prefix", "x", "--statsd-host", "[::1]:99", "--proxy-protocol", "v1"], ""),
    (["--reload", "--reload-extra-file", "hello.py"], "workers = 4\nforwarded_allow_ips = '10.0.0.0/8, ::1'\nraw_env = ['B=2']\nkeepalive = 0\nstatsd_host = 'unix:///s'\n"
     "proc_name = ' a b\\n'\nloglevel = ' debug '\nsyslog_prefix = 'x '\n"),
], ids=["defaults", "command line", "file"])
def test_the_configuration_hooks_see(twins, args, configuration):  # noqa: F811
    def played(twin):
        twin.start(*args)
        twin.wait_note("booted")
        seen = json.loads((twin.directory / "configuration.json").read_text())
        twin.wait_note("booted", seen["workers"])
        return {name: "HERE" if value == str(twin.directory) else value for name, value in seen.items()}

    theirs, ours = twins(played, BOOTED + DUMP + configuration)
    assert {name: (theirs[name], ours.get(name)) for name in theirs if name not in UNLIKE and ours.get(name) != theirs[name]} == {}


# How a start fails

STARTS = [
    # name, arguments, more, Gunicorn's exit code, ours
    ("a check", ["--check-config", "hello:app"], {}, 0, 0),
    ("a check of what is not there", ["--check-config", "nothing:app"], {}, 1, 4),
    ("a module that is not there", ["nothing:app"], {}, 3, 4),
    ("a name that is not there", ["hello:nothing"], {}, 4, 4),
    ("no callable", ["hello:json"], {}, 4, 4),
    ("arguments that are no literals", ["hello:app(x)"], {}, 4, 4),
    ("no application", [], {}, 1, 1),
    ("an unknown option", ["--nothing", "hello:app"], {}, 2, 2),
    ("an unknown option in the variable", ["hello:app"], {"env": {"GUNICORN_CMD_ARGS": "--nothing"}}, 2, 2),
    ("no number", ["--workers", "many", "hello:app"], {}, 2, 1),
    ("a number below zero", ["--workers", "-1", "hello:app"], {}, 1, 1),
    ("no number in the file", ["hello:app"], {"file": "workers = 'many'"}, 1, 1),
    ("no boolean in the file", ["hello:app"], {"file": "reload = 1"}, 1, 1),
    ("a file that does not compile", ["hello:app"], {"file": "x = ("}, 1, 1),
    ("a file that raises", ["hello:app"], {"file": "1 / 0"}, 1, 1),
    ("a file that is not there", ["--config", "nothing.py", "hello:app"], {}, 1, 1),
    ("a module of settings that is not there", ["--config", "python:nothing", "hello:app"], {}, 1, 1),
    ("an unknown user", ["--user", "nobodyatall", "hello:app"], {}, 1, 1),
    ("a directory that is not there", ["--chdir", "/nothing", "hello:app"], {}, 1, 1),
    ("a log that cannot be written", ["--error-logfile", "/nothing/log", "hello:app"], {}, 1, 1),
    ("a pid file that cannot be written", ["--pid", "/nothing/pid", "hello:app"], {}, 1, 1),
    ("a variable without a value", ["--env", "A", "hello:app"], {}, 1, 1),
    ("an unknown worker class", ["--worker-class", "nothing", "hello:app"], {}, 1, 1),
    ("networks that are none", ["--forwarded-allow-ips", "x", "hello:app"], {}, 1, 1),
    ("the version", ["--version"], {}, 0, 0),
]


def test_exit_codes(twins):  # noqa: F811
    def played(twin):
        codes = {}
        for name, args, more, *_ in STARTS:
            (twin.directory / "gunicorn.conf.py").write_text(more.get("file", ""))
            quiet = ["--no-control-socket"] if twin.name == "gunicorn" else []
            done = subprocess.run([*twin.command, *quiet, "--bind", "127.0.0.1:0", *args], cwd=twin.directory, capture_output=True, text=True,
                                  env=clean_environment(**more.get("env", {})), timeout=60)
            codes[name] = done.returncode
            assert done.returncode == 0 or done.stderr.strip(), name
        return codes

    theirs, ours = twins(played)
    assert theirs == {name: code for name, *_, code, _ in STARTS}
    assert ours == {name: code for name, *_, code in STARTS}
