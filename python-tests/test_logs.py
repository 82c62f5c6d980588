"""The access log's atoms, the error log's lines, and where both go."""

from __future__ import annotations

import re

import pytest
from support.server import eventually
from support.wire import Wire


def logged(serve, tmp_path, form, path="/pid", *fields, method="GET", body=None, app="probe:application"):
    """The access line for one request."""
    target = tmp_path / "access.log"
    server = serve(app, "--access-logfile", str(target), "--access-logformat", form)
    with Wire(server.address) as wire:
        reply = wire.request(method, path, *fields, body=body)
    line = eventually(lambda: target.exists() and target.read_text().endswith("\n") and target.read_text(), "a line")
    assert line.count("\n") == 1
    return line.rstrip("\n"), reply, server


def test_the_default_format(serve):
    server = serve("probe:application", "--access-logfile", "-")
    with Wire(server.address) as wire:
        wire.get("/pid?a=b", "User-Agent: an agent", "Referer: http://from.example/")
    line = server.out.wait("GET")[0] and server.out.lines[0]
    assert re.fullmatch(
        r'127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /pid\?a=b HTTP/1\.1" 200 \d+ "http://from\.example/" "an agent"',
        line,
    ), line


@pytest.mark.parametrize("form, expected", [
    ("%(h)s", r"127\.0\.0\.1"), ("%(l)s", "-"), ("%(u)s", "ada"), ("%(r)s", r"GET /pid\?x=1 HTTP/1\.1"), ("%(m)s", "GET"), ("%(U)s", "/pid"),
    ("%(q)s", "x=1"), ("%(H)s", r"HTTP/1\.1"), ("%(s)s", "200"), ("%(B)s", r"\d+"), ("%(b)s", r"\d+"), ("%(f)s", "-"), ("%(a)s", "-"),
    ("%(T)s", "0"), ("%(D)s", r"\d+"), ("%(M)s", r"\d+"), ("%(L)s", r"0\.\d{6}"), ("%(p)s", r"<?\d+>?"),
    ("%({x-one}i)s", "incoming"), ("%({X-ONE}i)s", "incoming"), ("%({content-type}o)s", "application/json"), ("%({no-such}i)s", "-"),
    ("%({REQUEST_METHOD}e)s", "GET"), ("%({NO_SUCH}e)s", "-"), ("%(no_such)s", "-"), ("a%%b", "a%b"), ("%(t)s", r"\[.+\]"),
    ("%(m)s %(s)s x %(m)s", "GET 200 x GET"),
])
def test_atoms(serve, tmp_path, form, expected):
    line, _, _ = logged(serve, tmp_path, form, "/pid?x=1", "X-One: incoming", "Authorization: Basic YWRhOnNlY3JldA==")
    assert re.fullmatch(expected, line), (form, line)


def test_sizes_are_those_of_the_body(serve, tmp_path):
    line, reply, _ = logged(serve, tmp_path, "%(B)s %(b)s", "/body?kind=large-blocks")
    assert line == f"{65536 * 32} {65536 * 32}" and len(reply.body) == 65536 * 32


def test_nothing_sent_counts_as_nothing(serve, tmp_path):
    line, _, _ = logged(serve, tmp_path, "%(B)s %(b)s", "/pid", method="HEAD")
    assert re.fullmatch(r"0 [0-]", line), line


def test_a_request_cannot_write_its_own_lines(serve, tmp_path):
    line, _, _ = logged(serve, tmp_path, '"%(r)s" "%(a)s" %(U)s', '/x"%0a%0dy', 'User-Agent: a"b\\c\xe9\x85')
    assert "\x85" not in line
    assert not re.search(r'(?<!\\)"b', line), "the quote is escaped"


def test_failures_are_logged_with_their_status(serve, tmp_path):
    line, _, _ = logged(serve, tmp_path, "%(m)s %(s)s", "/fail?how=ValueError&when=call")
    assert line == "GET 500"


def test_access_log_to_standard_output(serve):
    server = serve("probe:application", "--access-logfile", "-", "--access-logformat", "seen %(m)s")
    with Wire(server.address) as wire:
        wire.get("/pid")
        server.out.wait("^seen GET$", patience=5)
        for _ in range(500):
            wire.get("/pid")
    server.out.wait("^seen GET$", count=501)


def test_no_access_log_without_asking(serve):
    server = serve("probe:application")
    with Wire(server.address) as wire:
        wire.get("/pid")
    assert server.stop() == 0
    assert server.out.text == ""


def test_error_log_to_a_file(serve, tmp_path):
    target, sock = tmp_path / "error.log", tmp_path / "s.sock"
    server = serve("probe:application", "--error-logfile", str(target), bind=[f"unix:{sock}"], listens=False)
    eventually(lambda: target.exists() and "Listening at" in target.read_text(), "the line in the file")
    with Wire(str(sock)) as wire:
        wire.get("/errors")
        wire.get("/fail?how=ValueError&when=call")
    eventually(lambda: "probe failed" in target.read_text(), "the traceback in the file")
    assert "probe: one line" in target.read_text()
    assert server.stop() == 0
    assert server.log.text == ""


def test_the_lines_operators_look_for(serve):
    server = serve("probe:application", "--workers", "2")
    pids = server.booted(2)
    line = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[%s\] \[INFO\] %s"
    server.log.wait(line % (server.pid, "Starting "))
    server.log.wait(line % (server.pid, r"Listening at: http://127\.0\.0\.1:\d+ \(%d\)" % server.pid))
    for pid in pids:
        server.log.wait(r"\[INFO\] Booting worker with pid: %d" % pid)
    assert server.stop() == 0
    server.log.wait("Handling signal: term")
    server.log.wait(line % (server.pid, "Shutting down: Master"))


@pytest.mark.parametrize("level, shown", [("info", True), ("warning", False), ("error", False)])
def test_log_level(serve, tmp_path, level, shown):
    sock = tmp_path / "s.sock"
    server = serve("probe:application", "--log-level", level, bind=[f"unix:{sock}"], listens=False)

    def answers():
        try:
            with Wire(str(sock)) as wire:
                return wire.get("/pid").status == 200
        except OSError:
            return False

    eventually(answers, "an answer")
    assert ("Listening at" in server.log.text) is shown


def test_usr1_reopens_the_logs(serve, tmp_path):
    import signal

    target = tmp_path / "access.log"
    server = serve("probe:application", "--access-logfile", str(target), "--access-logformat", "%(U)s")
    with Wire(server.address) as wire:
        wire.get("/before")
        eventually(lambda: target.exists() and "/before" in target.read_text(), "the first line")
        target.rename(tmp_path / "rotated")
        server.kill(signal.SIGUSR1)
        server.log.wait("(?i)handling signal: usr1")

        def in_new_file():
            wire.get("/after")
            return target.exists() and "/after" in target.read_text()

        eventually(in_new_file, "a line in the new file")
    assert "/before" in (tmp_path / "rotated").read_text()
