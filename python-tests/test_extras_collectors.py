"""Logs and metrics that go to other programs: syslog, statsd, captured streams, rotated files."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest
from support.server import eventually
from support.wire import Wire


class Collector:
    """A socket that datagrams are sent to."""

    def __init__(self, family=socket.AF_INET, address=("127.0.0.1", 0)):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.messages = []

    @property
    def port(self):
        return self.socket.getsockname()[1]

    def take(self):
        while True:
            try:
                self.messages.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return self.messages

    def wait(self, pattern):
        def found():
            return next((m for text in self.take() if (m := re.fullmatch(pattern, text, re.S))), None)

        try:
            return eventually(found, pattern, 10)
        except AssertionError:
            raise AssertionError(f"no {pattern!r} in {self.messages}") from None


def get(server, path="/"):
    with Wire(server.address) as wire:
        return wire.get(path)


# syslog


def test_both_logs_go_to_syslog_too(serve):
    syslog = Collector()
    server = serve("extras:application", "--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{syslog.port}",
                   "--log-syslog-prefix", "shop", "--log-syslog-facility", "local3", "--access-logformat", "%(r)s %(s)s")
    get(server, "/x")
    get(server, "/fail")
    master = syslog.wait(r"<158>gunicorn\.shop\.error: \[(\d+)\] Listening at: http://127\.0\.0\.1:\d+ \(\d+\)\0")
    assert int(master[1]) == server.pid
    syslog.wait(r"<158>gunicorn\.shop\.access: \[\d+\] GET /x HTTP/1\.1 200\0")
    syslog.wait(r"<155>gunicorn\.shop\.error: \[\d+\] Error handling request GET /fail\n.*ValueError: on purpose\0")
    assert server.log.find("Listening at"), "and still where it went before"


def test_the_access_log_can_be_kept_out(serve):
    syslog = Collector()
    server = serve("extras:application", "--log-syslog", "--log-syslog-to", f"udp://127.0.0.1:{syslog.port}",
                   "--disable-redirect-access-to-syslog", "--access-logfile", "-")
    get(server)
    server.out.wait("GET / HTTP/1.1")
    syslog.wait(r"<14>gunicorn\.extras\.application\.error: \[\d+\] Booting worker with pid: \d+\0")
    assert not [text for text in syslog.messages if "access" in text.split(":")[0]]


def test_syslog_at_a_unix_socket_that_comes_and_goes(serve, tmp_path):
    path = tmp_path / "log"
    server = serve("extras:application", "--log-syslog", "--log-syslog-to", f"unix://{path}")
    server.log.wait("Cannot send to syslog at unix://")
    syslog = Collector(socket.AF_UNIX, str(path))
    eventually(lambda: get(server).status == 200 and syslog.take(), "a line")
    syslog.wait(r"<14>gunicorn\.extras\.application\.access: \[\d+\] 127\.0\.0\.1 - - .*\0")


# statsd


def test_statsd_gets_gunicorns_metrics(serve):
    statsd = Collector()
    server = serve("extras:application", "--statsd-host", f"127.0.0.1:{statsd.port}", "--statsd-prefix", "shop",
                   "--dogstatsd-tags", "a:b,c", "--workers", "2", "--enable-backlog-metric")
    get(server)
    get(server, "/fail")
    tags = r"\|#a:b,c"
    for pattern in (
        r"shop\.gunicorn\.requests:1\|c\|@1\.0", r"shop\.gunicorn\.request\.duration:\d+\.\d+\|ms",
        r"shop\.gunicorn\.request\.status\.200:1\|c\|@1\.0", r"shop\.gunicorn\.request\.status\.500:1\|c\|@1\.0",
        r"shop\.gunicorn\.log\.exception:1\|c\|@1\.0", r"shop\.gunicorn\.workers:2\|g", r"shop\.gunicorn\.backlog:\d+\|h",
    ):
        statsd.wait(pattern + tags)
    server.kill(signal.SIGTTIN)
    statsd.wait(r"shop\.gunicorn\.workers:3\|g" + tags)


def test_statsd_that_is_not_there_costs_nothing(serve, tmp_path):
    server = serve("extras:application", "--statsd-host", f"unix://{tmp_path}/nothing")
    assert get(server).status == 200
    assert not server.log.find("ERROR|WARNING")


# Files


def test_streams_are_captured(serve, tmp_path):
    log = tmp_path / "error.log"
    server = serve("extras:application", "--capture-output", "--error-logfile", str(log), listens=False)
    url = eventually(lambda: log.exists() and re.search(r"Listening at: http://127.0.0.1:(\d+)", log.read_text()), "a log")
    address = ("127.0.0.1", int(url[1]))

    def complain():
        with Wire(address) as wire:
            assert wire.get("/complain").text == "complained"

    complain()
    eventually(lambda: {"to stdout", "to stderr"} <= set(log.read_text().splitlines()), "both lines")
    moved = log.rename(tmp_path / "error.log.1")
    server.kill(signal.SIGUSR1)
    eventually(log.exists, "a new file")
    # The worker reopens when the signal has reached it.
    eventually(lambda: complain() or "to stderr" in log.read_text(), "the line in the new file")
    assert "Listening at" in moved.read_text()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_logs_are_reopened(serve, tmp_path, number):
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    server = serve("extras:application", "--error-logfile", str(error), "--access-logfile", str(access), listens=False)
    url = eventually(lambda: error.exists() and re.search(r"Listening at: http://127.0.0.1:(\d+)", error.read_text()), "a log")
    address = ("127.0.0.1", int(url[1]))

    def ask(path):
        with Wire(address) as wire:
            wire.get(path)

    ask("/before")
    eventually(lambda: "/before" in access.read_text(), "the line")
    for path in (error, access):
        path.rename(path.with_suffix(".1"))
    server.kill(number)
    eventually(lambda: error.exists() and access.exists(), "new files")
    eventually(lambda: ask("/after") or "/after" in access.read_text(), "the line in the new file")
    assert "/before" not in access.read_text()
    server.kill(signal.SIGTERM)
    assert server.wait() == 0
    assert "Shutting down: Master" in error.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_logs_belong_to_the_workers_group(serve, tmp_path):
    # Another user may not be able to read this interpreter's library; another group does as well.
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    server = serve("extras:application", "--error-logfile", str(error), "--access-logfile", str(access),
                   "--group", "65534", listens=False)
    url = eventually(lambda: error.exists() and re.search(r"Listening at: http://127.0.0.1:(\d+)", error.read_text()), "a log")
    assert {os.stat(path).st_gid for path in (error, access)} == {65534}
    for path in (error, access):
        path.rename(path.with_suffix(".1"))
    server.kill(signal.SIGUSR1)
    eventually(lambda: error.exists() and access.exists() and os.stat(access).st_gid == 65534, "new files")

    def lines():
        with Wire(("127.0.0.1", int(url[1]))) as wire:
            wire.get("/two")
        return "/two" in access.read_text()

    eventually(lines, "the line in the new file")
    assert os.stat(error).st_gid == 65534
