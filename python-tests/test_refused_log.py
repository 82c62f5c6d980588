"""The access log of requests that never reach the application, written by the server or by a Python logger."""

from __future__ import annotations

import json
import re
import socket

import pytest
from support.wire import Wire

FORM = "%(m)s|%(r)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%({user-agent}i)s|"
TRUSTED = "127.0.0.2"
LIMITS = ["--limit-request-body", "100", "--limit-request-line", "4094", "--forwarded-allow-ips", TRUSTED]
#: Only for what is to come too late: a pause between two pieces must not make anything else late.
HASTE = ["--header-timeout", "1", "--body-timeout", "1"]

LONG = "/" + "a" * 5000
#: What is sent, and the access line without its status; None: nothing of a request line was understood.
CASES = {
    "field": ("GET /a?b=1 HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nbad field\r\n\r\n", 400, "GET|GET /a?b=1 HTTP/1.1|/a|b=1|HTTP/1.1|400|0|me|"),
    "first-field": ("GET /a HTTP/1.0\r\n: x\r\n\r\n", 400, "GET|GET /a HTTP/1.0|/a||HTTP/1.0|400|0|-|"),
    "host": ("GET /%41 HTTP/1.1\r\nUser-Agent: me\r\n\r\n", 400, "GET|GET /%41 HTTP/1.1|/A||HTTP/1.1|400|0|me|"),
    "scheme": ("GET /s HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Protocol: http\r\n\r\n", 400,
               "GET|GET /s HTTP/1.1|/s||HTTP/1.1|400|0|-|"),
    "chunk": ("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, "POST|POST /c HTTP/1.1|/c||HTTP/1.1|400|0|-|"),
    "413": ("POST /u HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nContent-Length: 101\r\n\r\n", 413, "POST|POST /u HTTP/1.1|/u||HTTP/1.1|413|0|me|"),
    "414": (f"GET {LONG} HTTP/1.1\r\nHost: a\r\n\r\n", 414, f"GET|GET {LONG[:4090]} -|{LONG[:4090]}||-|414|0|-|"),
    "421": ("GET https://b/x?y HTTP/1.1\r\nHost: b\r\n\r\n", 421, "GET|GET https://b/x?y HTTP/1.1|/x|y|HTTP/1.1|421|0|-|"),
    "431": (f"GET /h HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\nX: {'x' * 9000}\r\n\r\n", 431, "GET|GET /h HTTP/1.1|/h||HTTP/1.1|431|0|me|"),
    "505": ("GET /v?w HTTP/2.0\r\nHost: a\r\n\r\n", 505, "GET|GET /v?w HTTP/2.0|/v|w|HTTP/2.0|505|0|-|"),
    "version": ("GET /v HTTP/x\r\nHost: a\r\n\r\n", 400, "GET|GET /v -|/v||-|400|0|-|"),
    "target": ("GET /caf\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    "form": ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "GET|GET * HTTP/1.1|-||HTTP/1.1|400|0|-|"),
    "words": ("GET / a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    "method": ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    "tls": ("\x16\x03\x01\x02\x00\x01", 400, None),
    "ended-line": ("GET /e HTT", 400, None),
    "ended-head": ("GET /e HTTP/1.1\r\nUser-Agent: me\r\nHos", 400, "GET|GET /e HTTP/1.1|/e||HTTP/1.1|400|0|me|"),
    "late-head": ("GET /l HTTP/1.1\r\nUser-Agent: me\r\nHos", 408, "GET|GET /l HTTP/1.1|/l||HTTP/1.1|408|0|me|"),
    "late-body": ("POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 408, "POST|POST /l HTTP/1.1|/l||HTTP/1.1|408|0|-|"),
}

LOGGER = """
    import json
    from gunicorn.glogging import Logger

    class Seen(Logger):
        def access(self, resp, req, environ, request_time):
            super().access(resp, req, environ, request_time)
            if resp.status_code != 200:
                note("seen", req.method, req.uri, req.path, req.version, dict(req.headers), req.remote_addr, req.scheme,
                     resp.status, resp.status_code, resp.sent, resp.headers, request_time.total_seconds(),
                     environ["REMOTE_ADDR"], environ["REMOTE_PORT"], environ["REQUEST_METHOD"], environ.get("HTTP_USER_AGENT"))

    logger_class = Seen
    accesslog = "-"
"""


class Pair:
    """A server with time, and one in haste for what is late."""

    def __init__(self, start):
        self.patient, self.hasty = start(*LIMITS), start(*LIMITS, *HASTE)

    def of(self, name: str):
        return self.hasty if name.startswith("late") else self.patient


@pytest.fixture(scope="module")
def plain(serve_module):
    return Pair(lambda *args: serve_module("probe:application", *args, "--access-logfile", "-", "--access-logformat", FORM))


@pytest.fixture(scope="module")
def python(serve_module):
    directory = serve_module.directory
    notes = f"""
    import json as _json
    def note(*what):
        with open({str(directory / 'notes')!r}, "a") as file:
            file.write(_json.dumps(what) + "\\n")
    """
    (directory / "gunicorn.conf.py").write_text(re.sub("(?m)^    ", "", notes + LOGGER))
    return Pair(lambda *args: serve_module("probe:application", *args, "--access-logformat", FORM, "--gunicorn-module", "always",
                                           cwd=directory))


def refused(server, name: str, pieces: int) -> None:
    sent, status, _ = CASES[name]
    data = sent.encode("latin-1")
    with Wire(server.address, source=TRUSTED if name == "scheme" else "") as wire:
        step = -(-len(data) // pieces)
        for start in range(0, len(data), step):
            try:
                wire.send(data[start:start + step])
            except (BrokenPipeError, ConnectionResetError):
                break
        if name.startswith("ended"):
            wire.socket.shutdown(socket.SHUT_WR)
        assert wire.reply().status == status


def lines_up_to(server, mark: str) -> list[str]:
    """What was logged until the request for `mark` was, which comes last."""
    with Wire(server.address) as wire:
        assert wire.get(mark).status == 200
    server.out.wait(re.escape(f"GET {mark} HTTP/1.1"))
    lines = server.out.lines
    (end,) = (n for n, line in enumerate(lines) if f"GET {mark} HTTP/1.1" in line)
    begin = max((n + 1 for n, line in enumerate(lines[:end]) if "|200|" in line), default=0)
    return lines[begin:end]


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_a_line_says_what_was_understood(plain, name, pieces):
    server = plain.of(name)
    refused(server, name, pieces)
    (line,) = lines_up_to(server, f"/pid?plain-{name}-{pieces}")
    status, expected = CASES[name][1:]
    assert line == (expected or f"-|-|-||-|{status}|0|-|")


@pytest.mark.parametrize("name", CASES)
def test_a_python_logger_is_told_of_what_was_a_request(python, name):
    server = python.of(name)
    refused(server, name, 1)
    lines = lines_up_to(server, f"/pid?python-{name}")
    # Atoms of Python are what environ holds: an empty path is empty.
    expected = CASES[name][2] and CASES[name][2].replace("|-||", "|||")
    assert lines == ([expected] if expected else [])


def test_what_a_python_logger_is_given(python, serve_module):
    notes = serve_module.directory / "notes"
    before = len(notes.read_text().splitlines()) if notes.exists() else 0
    refused(python.patient, "field", 1)
    lines_up_to(python.patient, "/pid?given")
    (seen,) = [json.loads(line) for line in notes.read_text().splitlines()[before:]]
    port = seen[6][1]
    assert seen == ["seen", "GET", "/a?b=1", "/a", [1, 1], {"HOST": "a", "USER-AGENT": "me"}, ["127.0.0.1", port], "http",
                    "400 Bad Request", 400, 0, [], 0.0, "127.0.0.1", str(port), "GET", "me"]
