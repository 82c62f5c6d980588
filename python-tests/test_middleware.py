"""Middleware and agents between the server and an application do what they are for.

The applications are in apps/wrapped. WhiteNoise in a Django project: test_django_project.py.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.browser import Browser
from support.server import eventually
from support.wire import Wire


@pytest.fixture
def visit(serve):
    """Starts an application of apps/wrapped; returns a browser at it."""

    def visit(name: str, *args, **more) -> Browser:
        return Browser(serve(f"wrapped.{name}", *args, **more))

    return visit


def test_whitenoise(visit, tmp_path):
    data = b"body { color: #123456 }\n" * 1000
    (tmp_path / "site.css").write_bytes(data)
    (tmp_path / "site.css.gz").write_bytes(gzip.compress(data))
    (tmp_path / "site.hashed.js").write_text("1")
    browser = visit("static", "--workers", "2", env={"STATIC": str(tmp_path)})
    plain = browser.get("/static/site.css", headers={"Accept-Encoding": "identity"})
    assert plain.content == data and plain.headers["Content-Length"] == str(len(data))
    assert plain.headers["Content-Type"].startswith("text/css") and "max-age=60" in plain.headers["Cache-Control"]
    small = browser.get("/static/site.css", headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip" and small.content == data
    assert int(small.headers["Content-Length"]) == (tmp_path / "site.css.gz").stat().st_size
    part = browser.get("/static/site.css", headers={"Range": "bytes=-10", "Accept-Encoding": "identity"})
    assert (part.status_code, part.content, part.headers["Content-Range"]) == (206, data[-10:], f"bytes {len(data) - 10}-{len(data) - 1}/{len(data)}")
    assert browser.get("/static/site.css", headers={"Range": "bytes=99999-", "Accept-Encoding": "identity"}).status_code == 416
    assert browser.get("/static/site.css", headers={"If-None-Match": plain.headers["ETag"]}).status_code == 304
    head = browser.head("/static/site.css", headers={"Accept-Encoding": "identity"})
    assert head.headers["Content-Length"] == str(len(data)) and head.content == b""
    assert "immutable" in browser.get("/static/site.hashed.js").headers["Cache-Control"]
    assert browser.post("/static/site.css").status_code == 405
    assert browser.get("/echo/x").json()["name"] == "x", "the application behind it is not reached"


SAID = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example",
        "X-Forwarded-Port": "8443", "X-Forwarded-Prefix": "/shop"}


def test_proxy_fix(visit):
    browser = visit("fixed")
    seen = browser.get("/echo/x", headers=SAID).json()
    assert (seen["url"], seen["client"]) == ("https://shop.example:8443/shop/echo/x", "203.0.113.7")
    without = browser.get("/echo/x").json()
    assert (without["url"], without["client"]) == (browser.server.url("/echo/x"), "127.0.0.1")


@pytest.mark.skipif("SERVER" in os.environ, reason="about rwsgi's own settings")
def test_proxy_fix_in_a_server_that_trusts_the_same_proxies(visit):
    """What both apply is applied once."""
    browser = visit("fixed", "--forwarded-for", "x-forwarded-for", "--forwarded-host", "x-forwarded-host", "--forwarded-port",
                    "--forwarded-prefix", "--forwarded-allow-ips", "127.0.0.1,198.51.100.1")
    seen = browser.get("/echo/x", headers=SAID).json()
    assert (seen["url"], seen["client"]) == ("https://shop.example:8443/shop/echo/x", "203.0.113.7")


def test_the_debugger_of_werkzeug(visit):
    """Its page shows the traceback, and code typed into it runs in the frame."""
    browser = visit("debugged", "--workers", "1", "--threads", "2")
    assert browser.get("/echo/x").json()["name"] == "x"
    page = browser.get("/error")
    assert page.status_code == 500 and "ValueError: a view&#39;s own failure, 42" in page.text
    secret = re.search(r'SECRET = "(\w+)"', page.text)[1]
    frame = re.findall(r'id="frame-(\d+)"', page.text)[-1]
    for code, answer in [("number * 2", "84"), ("__name__", "wrapped.site")]:
        shown = browser.get("/error", params={"__debugger__": "yes", "cmd": code, "frm": frame, "s": secret})
        assert shown.status_code == 200 and answer in shown.text, shown.text
    refused = browser.get("/error", params={"__debugger__": "yes", "cmd": "number * 2", "frm": frame, "s": "guessed"})
    assert shown.text.startswith(">>>") and not refused.text.startswith(">>>"), "the secret is not needed"
    script = browser.get("/error", params={"__debugger__": "yes", "cmd": "resource", "f": "debugger.js"})
    assert script.headers["Content-Type"].startswith("text/javascript") and "EVALEX" in script.text
    browser.server.log.wait("ValueError: a view's own failure, 42")


def test_the_debug_toolbar_of_django(visit, tmp_path):
    browser = visit("toolbar", "--workers", "1", "--threads", "4", env={"DATABASE": str(tmp_path / "site.sqlite")})
    page = browser.get("/", headers={"Accept-Encoding": "identity"})
    assert "1 groups" in page.text and page.headers["Content-Length"] == str(len(page.content))
    number = re.search(r'data-request-id="([^"]+)"', page.text)[1]

    def panel(name):
        shown = browser.get("/__debug__/render_panel/", params={"request_id": number, "panel_id": name})
        assert shown.status_code == 200, shown.text
        return shown.json()["content"]

    assert "readers" in panel("SQLPanel") and "auth_group" in panel("SQLPanel")
    assert "wrapped.toolbar.groups" in panel("RequestPanel")
    assert "SERVER_SOFTWARE" in panel("HeadersPanel")
    style = browser.get("/static/debug_toolbar/css/toolbar.css")
    assert style.status_code == 200 and "djDebug" in style.text


def test_compression_by_django(visit, tmp_path):
    """GZipMiddleware: a page with a length, a stream without one."""
    browser = visit("toolbar", "--workers", "1", env={"DATABASE": str(tmp_path / "site.sqlite")})
    page = browser.get("/", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = page.raw.read(decode_content=False)
    assert page.headers["Content-Encoding"] == "gzip" and page.headers["Content-Length"] == str(len(raw))
    assert b"1 groups" in gzip.decompress(raw)
    stream = browser.get("/stream", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = stream.raw.read(decode_content=False)
    assert stream.headers["Transfer-Encoding"] == "chunked" and stream.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(raw) == b"".join(b"%d\n" % n for n in range(10_000)) and len(raw) < 40_000


class Events:
    """What Sentry was sent."""

    def __init__(self, path):
        self.path = path

    def all(self, kind):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def wait(self, kind, count):
        eventually(lambda: len(self.all(kind)) >= count, f"{count} x {kind} in {self.path}")
        return self.all(kind)


def test_sentry(visit, tmp_path):
    """Events carry the request and the frames' variables; transactions continue the caller's trace."""
    events = Events(tmp_path / "events.jsonl")
    browser = visit("watched", "--workers", "2", env={"EVENTS": str(events.path)})
    assert browser.get("/error?q=1&r=%C3%A9", headers={"X-Mark": "this one"}).status_code == 500
    [event] = events.wait("event", 1)
    [failure] = event["exception"]["values"]
    assert (failure["type"], failure["value"]) == ("ValueError", "a view's own failure, 42")
    assert failure["stacktrace"]["frames"][-1]["vars"]["number"] == "42"
    asked = event["request"]
    assert (asked["url"], asked["query_string"], asked["method"]) == (browser.server.url("/error"), "q=1&r=%C3%A9", "GET")
    assert asked["headers"]["X-Mark"] == "this one" and asked["env"]["SERVER_PORT"] == str(browser.server.port)
    assert event["user"]["ip_address"] == "127.0.0.1" and event["release"] == "site@1.0" and event["transaction"] == "error"

    trace = "0af7651916cd43dd8448eb211c80319c"
    assert browser.post("/echo/Ada", data=b"body", headers={"sentry-trace": f"{trace}-b7ad6b7169203331-1"}).json()["body"] == "body"
    eventually(lambda: [t for t in events.all("transaction") if t["transaction"] == "echo"], "the transaction")
    [done] = [t for t in events.all("transaction") if t["transaction"] == "echo"]
    assert (done["contexts"]["trace"]["trace_id"], done["contexts"]["trace"]["parent_span_id"]) == (trace, "b7ad6b7169203331")
    assert done["contexts"]["trace"]["data"]["http.response.status_code"] == 200 and done["request"]["method"] == "POST"


def test_sentry_around_a_plain_application(visit, tmp_path):
    """What fails before the reply, and what fails while the server iterates over it."""
    events = Events(tmp_path / "events.jsonl")
    browser = visit("watched", "--workers", "1", env={"EVENTS": str(events.path)})
    assert browser.get("/plain/at-once").status_code == 500
    assert browser.get("/plain/in-the-iterator").status_code == 500
    first, second = events.wait("event", 2)
    assert first["exception"]["values"][0]["value"] == "a plain application's failure"
    assert second["exception"]["values"][0]["type"] == "ZeroDivisionError"
    assert second["request"]["url"] == browser.server.url("/plain/in-the-iterator")
    assert first["exception"]["values"][0]["mechanism"]["type"] == "wsgi"


def test_opentelemetry(visit):
    """A span for each request, with what it was about, within the caller's trace, closed with the reply."""
    browser = visit("traced", "--workers", "1")
    trace = "0af7651916cd43dd8448eb211c80319c"
    browser.post("/echo/Ada?q=1", data=b"body", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01", "User-Agent": "tests"})
    browser.get("/slow-stream")
    with Wire(browser.server.address) as wire:
        assert wire.get("/error").status == 500
    spans = browser.get("/spans").json()["spans"]
    view, posted, _, streamed, _, failed = spans
    assert posted["name"].startswith("POST") and posted["kind"] == "SpanKind.SERVER"
    says = posted["attributes"]
    assert (says["http.method"], says["http.scheme"], says["http.target"], says["http.status_code"]) == ("POST", "http", "/echo/Ada?q=1", 200)
    assert (says["net.peer.ip"], says["net.host.port"], says["http.user_agent"], says["http.flavor"]) == ("127.0.0.1", browser.server.port, "tests", "1.1")
    assert (posted["context"]["trace_id"], posted["parent_id"]) == (f"0x{trace}", "0xb7ad6b7169203331")
    assert view["name"] == "the view" and view["parent_id"] == posted["context"]["span_id"]
    assert streamed["parent_id"] is None and streamed["context"]["trace_id"] != f"0x{trace}"
    assert seconds(streamed) >= 0.25, "the span was closed before the last part left"
    assert failed["status"]["status_code"] == "ERROR" and "ValueError" in failed["status"]["description"]


def seconds(span) -> float:
    begun, ended = (datetime.fromisoformat(span[key].replace("Z", "+00:00")) for key in ("start_time", "end_time"))
    return (ended - begun).total_seconds()


def test_opentelemetry_keeps_threads_apart(visit):
    """Requests at the same time in one worker: a root span each, nothing inherited from the request before."""
    browser = visit("traced", "--workers", "1", "--threads", "4")

    def get(number):
        with Wire(browser.server.address) as wire:
            return [wire.get("/slow-stream" if number % 2 else f"/echo/{number}.{n}").status for n in range(5)]

    with ThreadPoolExecutor(8) as pool:
        assert set(sum(pool.map(get, range(8)), [])) == {200}
    spans = browser.get("/spans").json()["spans"]
    roots = {span["context"]["span_id"]: span for span in spans if span["kind"] == "SpanKind.SERVER"}
    views = [span for span in spans if span["name"] == "the view"]
    assert len(roots) == len(views) == 40
    assert all(root["parent_id"] is None for root in roots.values())
    assert len({root["context"]["trace_id"] for root in roots.values()}) == 40
    assert {view["parent_id"] for view in views} == set(roots)


@pytest.mark.parametrize("delay", ["100", "60000"], ids=["by its thread", "at exit"])
@pytest.mark.parametrize("preload", [True, False], ids=["preload", "import"])
def test_opentelemetry_in_batches(visit, tmp_path, preload, delay):
    """The exporting thread does not survive a fork: it begins anew in each worker, and what is left is exported at its end."""
    path = tmp_path / "spans.jsonl"
    browser = visit("batched", "--workers", "2", *(["--preload"] if preload else []), env={"SPANS": str(path), "DELAY": delay})
    browser.server.booted(2)
    asked: dict[str, str] = {}

    def both():
        target = f"/echo/{len(asked)}"
        with Wire(browser.server.address) as wire:
            asked[target] = wire.get(target, "Connection: close").get("x-worker")
        return len(set(asked.values())) == 2

    def exported():
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {line["target"]: str(line["worker"]) for line in lines}

    eventually(both, "an answer of each worker")
    if delay == "60000":
        assert exported() == {}
        assert browser.server.stop() == 0
        assert exported() == asked
    else:
        eventually(lambda: exported() == asked, "all spans")


def sample(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return None


def test_prometheus_client_sums_over_workers(serve, tmp_path):
    """Whichever worker is asked answers for all, also for one that died; a dead one is not alive any more."""
    (tmp_path / "gunicorn.conf.py").write_text(
        "from prometheus_client import multiprocess\ndef child_exit(server, worker):\n    multiprocess.mark_process_dead(worker.pid)\n")
    (tmp_path / "values").mkdir()
    server = serve("wrapped.counted", "-c", str(tmp_path / "gunicorn.conf.py"), "--workers", "2",
                   env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "values")})
    server.booted(2)
    asked, workers = 0, set()

    def ask():
        nonlocal asked
        with Wire(server.address) as wire:
            workers.add(wire.get("/echo/x", "Connection: close").get("x-worker"))
        asked += 1
        return len(workers)

    eventually(lambda: ask() == 2, "both workers")
    with Wire(server.address) as wire:
        reply = wire.get("/metrics", "Accept: text/plain")
    assert reply.status == 200 and reply.get("content-type").startswith("text/plain; version=")
    assert sample(reply.text, "site_requests_total", path="/echo/x") == asked
    assert sample(reply.text, "site_request_seconds_count") == asked and sample(reply.text, "site_workers") == 2
    os.kill(int(min(workers)), signal.SIGKILL)
    server.log.wait("Booting worker with pid", 3)

    def live():
        with Wire(server.address) as wire:
            reply = wire.get("/metrics", "Connection: close", "Accept-Encoding: identity")
        assert sample(reply.text, "site_requests_total", path="/echo/x") == asked
        return sample(reply.text, "site_workers")

    eventually(lambda: live() == 1, "the dead worker's gauge is gone")


def test_translogger_of_paste(visit):
    browser = visit("old")
    browser.get("/echo/x?q=%20", headers={"User-Agent": "tests/1", "Referer": "http://from.example/"})
    line = browser.server.log.wait(r"^paste: .*")[0]
    assert re.fullmatch(r'paste: 127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /echo/x\?q=%20 HTTP/1.1" '
                        r'200 \d+ "http://from.example/" "tests/1"', line), line


def test_gzipper_of_paste(visit):
    browser = visit("old")
    zipped = browser.get("/stream", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = zipped.raw.read(decode_content=False)
    assert zipped.headers["Content-Encoding"] == "gzip" and zipped.headers["Content-Length"] == str(len(raw))
    assert gzip.decompress(raw) == b"".join(b"%d\n" % n for n in range(10_000))
    assert "Content-Encoding" not in browser.get("/stream", headers={"Accept-Encoding": "identity"}).headers


@pytest.fixture(scope="module")
def linted(serve_module):
    return serve_module("wrapped.linted", "--threads", "2")


@pytest.mark.parametrize("request_line, body, expected", [
    ("GET /?a=b%20c", None, (200, b"checked")), ("HEAD /", None, (200, b"")), ("POST /", b"x" * 5000, (200, b"x" * 5000)),
    ("POST /", b"", (200, b"")), ("PUT /", [b"one", b"two" * 1000], (200, b"one" + b"two" * 1000)),
    ("GET /stream", None, (200, b"".join(b"%d\n" % n for n in range(100)))), ("GET /late", None, (500, b"handled")), ("DELETE /", None, (200, b"checked")),
    ("OPTIONS /", None, (200, b"checked")),
])
def test_lint_finds_nothing(linted, request_line, body, expected):
    method, path = request_line.split()
    browser = Browser(linted)
    for _ in range(3):
        reply = browser.request(method, path, data=iter(body) if isinstance(body, list) else body)
        assert (reply.status_code, reply.content) == expected, linted.log.text
    assert "AssertionError" not in linted.log.text and "WSGIWarning" not in linted.log.text


def test_lint_lets_the_application_s_failure_through(linted):
    assert Browser(linted).get("/fail").status_code == 500
    linted.log.wait("ValueError: the application's own failure")
    assert "AssertionError" not in linted.log.text
