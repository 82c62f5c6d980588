"""Access logs for machines, ids of requests, and where the time of slow ones went."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
from support.server import eventually
from support.wire import Wire


class Logged:
    """A server with an access log of JSON lines."""

    def __init__(self, serve, tmp_path, *args, app="probe:application"):
        self.path = tmp_path / "access.log"
        self.server = serve(app, "--access-logfile", str(self.path), *args)

    def lines(self, count: int) -> list[dict]:
        def complete():
            text = self.path.read_text() if self.path.exists() else ""
            return text.count("\n") >= count and text

        text = eventually(complete, f"{count} lines")
        return [json.loads(line) for line in text.splitlines()]

    def get(self, *args, **kwargs):
        with Wire(self.server.address) as wire:
            return wire.get(*args, **kwargs)


def test_typed_values(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-log-json", "--access-log-request-headers", "X-Tenant,x-none",
                 "--access-log-response-headers", "content-type", "--request-id")
    with Wire(log.server.address) as wire:
        wire.request("POST", "/echo?a=b%20c", "X-Tenant: blue", "User-Agent: me", "Referer: http://r/", body=b"12345")
    [line] = log.lines(1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    uuid.UUID(line.pop("request_id"))
    for name in ("duration", "receive_time", "wait_time", "app_time", "write_time"):
        assert 0 <= line.pop(name) < 5, name
    assert line.pop("pid") in log.server.booted(1)
    assert line.pop("response_headers")["content-type"]
    assert line.pop("response_bytes") > 0
    assert line == {
        "remote_addr": "127.0.0.1", "method": "POST", "path": "/echo", "query": "a=b%20c", "protocol": "HTTP/1.1",
        "status": 200, "request_bytes": 5, "referer": "http://r/", "user_agent": "me",
        "request_headers": {"x-tenant": "blue"},
    }


@pytest.mark.parametrize("args", [("--access-log-json-ecs",), ("--access-logformat", "ecs")])
def test_elastics_names(serve, tmp_path, args):
    log = Logged(serve, tmp_path, *args)
    log.get("/pid?x=1", "User-Agent: me")
    [line] = log.lines(1)
    assert line["@timestamp"].endswith("Z") and line["event.category"] == ["web"] and line["event.outcome"] == "success"
    assert (line["http.request.method"], line["http.response.status_code"]) == ("GET", 200)
    assert (line["url.original"], line["url.path"], line["url.query"]) == ("/pid?x=1", "/pid", "x=1")
    assert line["client.ip"] == "127.0.0.1" and line["http.version"] == "1.1" and line["user_agent.original"] == "me"
    assert isinstance(line["event.duration"], int) and line["event.duration"] > 0


def test_whatever_the_bytes(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-logformat", "json", "--access-log-request-headers", "x-odd")
    odd = bytes(byte for byte in range(0x20, 0x100) if byte != 0x7F).decode("latin-1")
    log.get('/x"%0a%00%ff%e2%80%ae\\y', f"X-Odd: {odd}", 'User-Agent: a"b\\c\xe9\x85')
    with Wire(log.server.address) as wire:
        wire.send(b"\x00\x01\r\n\r\n").reply()
    first, second = log.lines(2)
    assert first["path"] == '/x"\n\0\ufffd\u202e\\y'
    assert first["user_agent"] == 'a"b\\c\ufffd', "one for a sequence that was cut"
    assert "\\" in first["request_headers"]["x-odd"]
    assert second["status"] == 400 and "method" not in second
    raw = log.path.read_bytes().decode("utf-8")
    assert "\u202e" not in raw and raw.isprintable() is False and raw.replace("\n", "").isprintable()


def test_skipping_and_sampling(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-log-json", "--access-log-skip", "/health,/static/*", "--access-log-sample", "10")
    with Wire(log.server.address) as wire:
        for path in ("/health", "/static/a", "/static/"):
            wire.get(path)
        for _ in range(20):
            wire.get("/counted")
        wire.get("/fail?how=ValueError&when=call")
    lines = log.lines(3)
    time.sleep(0.2)
    lines = log.lines(3)
    assert [line["path"] for line in lines] == ["/counted", "/counted", "/fail"]


def test_text_formats_are_filtered_too(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-logformat", '{"path": "%(U)s"}', "--access-log-skip", "/health")
    log.get("/health")
    log.get("/pid")
    assert log.lines(1) == [{"path": "/pid"}]


# Ids


def environ(reply) -> dict:
    return {key: value[1] for key, value in json.loads(reply.body)["environ"].items()}


def test_a_trusted_peers_id_goes_through(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-log-json", "--request-id")
    reply = log.get("/environ", "X-Request-ID: from-the-proxy-1")
    seen = environ(reply)
    assert seen["rwsgi.request_id"] == seen["HTTP_X_REQUEST_ID"] == "from-the-proxy-1" == reply.get("x-request-id")
    assert log.lines(1)[0]["request_id"] == "from-the-proxy-1"


@pytest.mark.parametrize("args, fields", [
    ((), ()), ((), ("X-Request-Id: not one",)), ((), ("X-Request-Id: " + "a" * 200,)),
    (("--forwarded-allow-ips", "10.9.8.7"), ("X-Request-Id: pretended",)),
])
def test_otherwise_a_new_one_is_made(serve, args, fields):
    server = serve("probe:application", "--request-id", *args)
    ids = []
    with Wire(server.address) as wire:
        for _ in range(20):
            reply = wire.get("/environ", *fields)
            seen = environ(reply)
            ids.append(reply.get("x-request-id"))
            assert seen["rwsgi.request_id"] == seen["HTTP_X_REQUEST_ID"] == ids[-1]
    assert len(set(ids)) == 20
    for each in map(uuid.UUID, ids):
        assert each.version == 7 and each.variant == uuid.RFC_4122
        assert abs((each.int >> 80) / 1000 - time.time()) < 60


def test_failures_name_their_request_and_others_do_not_differ(serve):
    server = serve("probe:application", "--request-id", "--workers", "2")
    with Wire(server.address) as wire:
        reply = wire.get("/fail?how=ValueError&when=call", "X-Request-Id: broken-1")
        assert reply.status == 500 and reply.get("x-request-id") == "broken-1"
    with Wire(server.address) as wire:
        for path in ("/body?kind=large-blocks", "/lazy", "/file?kind=plain"):
            reply = wire.get(path)
            assert len([1 for name, _ in reply.fields if name.lower() == "x-request-id"]) == 1, path


@pytest.mark.parametrize("sent, status", [
    (b"GET /x HTTP/9.9\r\n\r\n", 505),
    (b"GET /x HTTP/1.1\r\nX-Request-Id: unread\r\n\r\n", 400),
    (b"GET /x HTTP/1.1\r\nHost: a\r\n", 408),
    (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 408),
])
def test_a_refused_request_has_one_too(serve, tmp_path, sent, status):
    """The client is told it, and the lines of both logs bear it."""
    log = Logged(serve, tmp_path, "--access-log-json", "--request-id", "--header-timeout", "0.5", "--body-timeout", "0.5")
    with Wire(log.server.address) as wire:
        reply = wire.send(sent).reply()
    name = reply.get("x-request-id")
    assert reply.status == status and uuid.UUID(name).version == 7
    [line] = log.lines(1)
    assert (line["status"], line["request_id"]) == (status, name)
    log.server.log.wait(f"127.0.0.1: .*\\(id {name}\\)")


@pytest.mark.parametrize("apart", [False, True])
def test_a_refused_body_keeps_the_id_of_its_head(serve, apart):
    server = serve("probe:application", "--request-id")
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: from-the-proxy-2\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Wire(server.address) as wire:
        if apart:
            wire.send(head[:-2])
            wire.send(head[-2:] + b"5\r\nhe")
            wire.send(b"llo")
        else:
            wire.send(head + b"5\r\nhello")
        reply = wire.send(b"!!").reply()
        assert reply.status == 400 and reply.get("x-request-id") == "from-the-proxy-2"
    server.log.wait(r"Invalid request from ip=127.0.0.1: .* \(id from-the-proxy-2\)")
    with Wire(server.address) as wire:
        reply = wire.get("/x", "X-Request-Id: from-the-proxy-3", "X-Forwarded-Proto: https", "X-Forwarded-Protocol: http")
        assert reply.status == 400 and reply.get("x-request-id") == "from-the-proxy-3"


def test_without_asking_there_is_none(serve):
    server = serve("probe:application")
    with Wire(server.address) as wire:
        reply = wire.get("/environ", "X-Request-Id: mine")
    assert reply.get("x-request-id") is None
    assert "rwsgi.request_id" not in environ(reply) and environ(reply)["HTTP_X_REQUEST_ID"] == "mine"


# Time


@pytest.mark.parametrize("name, form", [("X-Request-Start", "t={:.3f}"), ("X-Queue-Start", "{ms}"), ("X-Request-Start", "t={us}")])
def test_queue_time_of_trusted_peers(serve, tmp_path, name, form):
    log = Logged(serve, tmp_path, "--access-log-json")
    begun = time.time() - 0.25
    value = form.format(begun, ms=int(begun * 1e3), us=int(begun * 1e6))
    reply = log.get("/environ", f"{name}: {value}")
    seen = json.loads(reply.body)["environ"]["rwsgi.queue_time"]
    assert seen[0] == "float" and 0.2 < float(seen[1]) < 10
    assert 0.2 < log.lines(1)[0]["queue_time"] < 10


@pytest.mark.parametrize("args, value", [
    (("--forwarded-allow-ips", "10.9.8.7"), "t=1795142891.250"), ((), "yesterday"), ((), "t=1000000000.0"), ((), ""),
])
def test_no_queue_time(serve, tmp_path, args, value):
    log = Logged(serve, tmp_path, "--access-log-json", *args)
    if args:
        value = f"t={time.time() - 0.1:.3f}"
    reply = log.get("/environ", f"X-Request-Start: {value}")
    assert "rwsgi.queue_time" not in environ(reply)
    assert "queue_time" not in log.lines(1)[0]


def test_slow_requests_say_where_their_time_went(serve, tmp_path):
    log = Logged(serve, tmp_path, "--access-log-json", "--slow-request", "0.4", "--request-id")
    log.get("/pid")
    log.get("/sleep?for=0.5", "X-Request-Id: slow-1", f"X-Request-Start: t={time.time() - 0.2:.3f}")
    found = log.server.log.wait(
        r'\[WARNING\] Slow request: GET /sleep\?for=0\.5 200 from 127\.0\.0\.1 took (\d\.\d{3}) s '
        r"\(queue (\d\.\d{3}), receive \d\.\d{3}, wait \d\.\d{3}, application (\d\.\d{3}), write \d\.\d{3}; id slow-1\)")
    assert float(found[1]) >= 0.5 and float(found[2]) >= 0.15 and float(found[3]) >= 0.49
    assert len(log.server.log.find("Slow request")) == 1
    assert log.lines(2)[1]["app_time"] >= 0.49
